"""``glocal fit`` and ``glocal sweep``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from glocal.advice import Subject, advise, fit_notes
from glocal.aligner import Exact, FitData, ObjectiveSettings, PaperLoop
from glocal.aligner.data import SCALAR, Blocks, Centre
from glocal.aligner.fitting import fit_and_score, fit_plan, settings_or_keep
from glocal.aligner.keep import Keep
from glocal.cli.options import KEEP, OUTPUT, LocalPath, Normalize, ObjectFiles, flat
from glocal.cli.output import (
    IS_JSON,
    held_back,
    in_options,
    print_message,
    print_result,
    progress_bar,
)
from glocal.data.features import Features
from glocal.errors import ParameterError, UnrelatedWarning, import_optional
from glocal.files import ending, writable_target
from glocal.results import UNCHANGED, FitRecord, method_in_words
from glocal.transform.formats import ENDINGS

if TYPE_CHECKING:
    from glocal.sweep import Sweep

SolverName = Annotated[
    Literal["exact", "paper"],
    Option(
        "--solver",
        rich_help_panel=Exact.panel,
        help="exact, or paper: the authors' procedure on mini-batches, which needs glocal[paper].",
    ),
]

CentreText = Literal["0", "1", "scalar"]
CentreOption = Annotated[
    CentreText | None,
    Option(
        rich_help_panel=KEEP,
        help="1 subtracts the objects' column means from all features, and scalar standardizes as "
        "the paper does. [default: 0; scalar with --solver paper]",
    ),
]


def parsed_centre(text: CentreText | None) -> Centre | None:
    """The value of ``--centre``."""
    centres: dict[CentreText | None, Centre] = {"0": 0, "1": 1, "scalar": SCALAR}
    return centres.get(text)


def load_data(
    files: ObjectFiles,
    local_features: Path | None,
    centre: CentreText | None,
    blocks: Blocks,
    normalize: bool,
) -> FitData:
    """Return the data that a command fits to."""
    features, joined = files.to_fit()
    local = None if local_features is None else Features.load(local_features)
    return FitData(
        features,
        joined.answers,
        local,
        n_dropped=joined.n_dropped,
        centre=parsed_centre(centre),
        normalize=normalize,
        **blocks.model_dump(),
    )


@flat
def fit(
    files: ObjectFiles,
    out: Annotated[
        Path,
        Option(help="The transform file to write (.npz or .safetensors).", rich_help_panel=OUTPUT),
    ],
    keep: Keep,
    settings: ObjectiveSettings,
    exact: Exact,
    paper: PaperLoop,
    blocks: Blocks,
    local_features: LocalPath = None,
    holdout: int | None = Option(
        None,
        help="Number of folds: also fit without each fold of the objects and local images, and "
        "score what it holds. With fewer than 5,000 answers a fold is one of questions. 0 gives "
        "no scores at all.",
        rich_help_panel=OUTPUT,
    ),
    solver: SolverName = "exact",
    centre: CentreOption = None,
    normalize: Normalize = False,
) -> None:
    """Learn a transform that agrees with the answers and keeps a share of each image's neighbours.

    Example: glocal fit --features features.npy --answers triplets.npy
    --local-features local.npy --out transform.npz
    """
    writable_target(out, what="--out", endings=ENDINGS)
    if ending(out) == ".safetensors":
        import_optional("safetensors", f"--out {out}")
    data = load_data(files, local_features, centre, blocks, normalize)
    what = settings_or_keep(keep, settings, local=data.local_features is not None)
    with held_back(UnrelatedWarning) as unrelated:
        plan = fit_plan(data, what, solver_of(solver, exact, paper))
    with progress_bar("fitting", unit="evaluations") as progress:
        fitted = fit_and_score(
            plan,
            holdout=holdout,
            on_step=lambda count, step: progress(count, None, f"objective {step.value:.6f}"),
        )
    fitted.transform.save(out)
    show_fit(fitted.record, out, str(out), unrelated)


def show_fit(record: FitRecord, out: Path, files: str, unrelated: Sequence[str] = ()) -> None:
    """Print the result and the names of its files; as JSON, in which they are, without notes.

    If features and answers are `unrelated`, nothing is said of a gain, and the warnings come last.
    """
    advice = advise(Subject.from_fit(record))
    sentences = []
    if record.heldout is not None and not unrelated:
        sentences.append(advice.sentence)
    if record.heldout is None or record.status == UNCHANGED:
        sentences.append(record.summary())
    if not (IS_JSON.get() or unrelated):
        for note in fit_notes(record):
            print_message(in_options(note))
    print_result(
        {**vars(record), "choice": advice.choice, "out": out}, *sentences, f"written to {files}"
    )
    for message in unrelated:
        print_message(f"warning: {in_options(message)}")


def solver_of(name: str, exact: Exact, paper: PaperLoop) -> Exact | PaperLoop:
    """The solver that ``--solver`` names; raises a ParameterError for options of the other."""
    solver, other = (exact, paper) if name == exact.name else (paper, exact)
    unread = sorted(other.model_fields_set - set(type(solver).model_fields))
    if unread:
        flag = f"--{unread[0].replace('_', '-')}"
        raise ParameterError(
            f"{flag} is an option of --solver {other.name}; leave it out, or choose that solver."
        )
    return solver


@flat
def sweep(
    files: ObjectFiles,
    out: Annotated[Path, Option(help="Folder of the sweep.")],
    exact: Exact,
    paper: PaperLoop,
    blocks: Blocks,
    local_features: LocalPath = None,
    grid: str = Option(
        "arms",
        help="Settings to fit: arms (global and glocal on one front), paper, or a TOML file. The "
        "file lists method, lmbda, mix, alpha and tau, and eta with --solver paper.",
    ),
    folds: int = Option(3, help="Number of folds of the objects and local images."),
    keep: float | None = Option(
        None,
        help="Choose the best agreement among settings that keep this share of each image's ten "
        "nearest neighbours. [above 0 and at most 1; default: 0.9 with local features, else the "
        "smallest loss]",
    ),
    select: Literal["loss"] | None = Option(
        None, help="Choose the smallest held-out loss, instead of --keep."
    ),
    centre: CentreOption = None,
    normalize: Normalize = False,
    solver: SolverName = "exact",
    jobs: int = Option(1, help="Processes that fit the grid; -1 for one per core."),
    scheduler: str | None = Option(None, help="Dask cluster to run on: address or scheduler file."),
    resume: bool = Option(False, "--resume", help="Go on with the sweep in --out."),
    dry_run: bool = Option(False, "--dry-run", help="Print the number of fits, and fit nothing."),
) -> None:
    """Fit and score a grid of settings on folds; choose one setting and refit it on all.

    Example: glocal sweep --features features.npy --answers triplets.npy
    --local-features local.npy --out sweep
    """
    data = load_data(files, local_features, centre, blocks, normalize)
    from glocal.sweep.plan import number_of_fits
    from glocal.sweep.run import sweep as run_sweep

    chosen_solver = solver_of(solver, exact, paper)
    if dry_run or isinstance(chosen_solver, PaperLoop):
        n_fits = number_of_fits(data, grid, folds=folds, solver=chosen_solver)
        if dry_run:
            return print_result({"fits": n_fits}, f"{n_fits} fits")
        print_message(f"{n_fits} fits")
    with progress_bar("sweep", unit="points") as progress:
        result = run_sweep(
            data,
            grid,
            folds=folds,
            select=select,
            keep=keep,
            jobs=jobs,
            scheduler=scheduler,
            out=out,
            resume=resume,
            solver=chosen_solver,
            progress=lambda row, count, total: progress(
                count, total, f"fold {row['fold']}, {row['method']}"
            ),
        )
    _show_sweep(result, data.n_dropped, out)


def _show_sweep(result: Sweep, n_dropped: int, out: Path) -> None:
    """Print the choice of a sweep; reports points without scores or convergence."""
    status = result.points["status"]
    trivial = int((status == "trivial").sum())
    unconverged = int((~status.isin(["converged", "trivial"])).sum())
    if trivial:
        print_message(
            f"{trivial} points have no scores, since their optimum is W = 0: their lmbda is too "
            "large."
        )
    if unconverged:
        print_message(
            f"warning: {unconverged} of {len(status)} points did not converge; see their status "
            "in points.jsonl."
        )
    fitted = result.transform.record
    record = {
        "points": len(result.points),
        "evaluations": int(result.points["evaluations"].sum()),
        "unconverged": unconverged,
        "best": result.best,
        "keep": None if fitted.sweep is None else fitted.sweep.keep,
        "reason": result.reason,
        "n_dropped": n_dropped,
        "out": out,
    }
    print_result(
        record,
        *([] if fitted.fit is None else [advise(Subject.from_fit(fitted.fit)).sentence]),
        f"chosen: {method_in_words(result.best)}, {result.reason}",
        f"written to {out}: transform.npz (refitted on all objects), the front, means, points",
    )
