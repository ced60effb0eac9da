"""``glocal sweep``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from glocal.aligner import Exact, PaperLoop
from glocal.aligner.data import Blocks
from glocal.cli.fit import CentreOption, SolverName, load_data, solver_of
from glocal.cli.inputs import AnswersFile, FeaturesPath, LocalPath, Normalize
from glocal.cli.options import flat
from glocal.cli.output import print_message, print_result, progress_bar
from glocal.finding import Subject, sentence
from glocal.results import method_in_words

if TYPE_CHECKING:
    from glocal.sweep import Sweep

KeptShare = Annotated[
    float | None,
    Option(
        help="Choose the best agreement among settings that keep this share of each image's "
        "ten nearest neighbours. [above 0 and at most 1; default: 0.9 with local features, else "
        "the smallest loss]"
    ),
]


@flat
def sweep(
    features: FeaturesPath,
    answers: AnswersFile,
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
    keep: KeptShare = None,
    select: Annotated[
        Literal["loss"] | None,
        Option(help="Choose the smallest held-out loss, instead of --keep."),
    ] = None,
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
    data = load_data(features, answers, local_features, centre, blocks, normalize)
    from glocal.sweep.run import number_of_fits
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
    record = {**_record(result), "n_dropped": data.n_dropped, "out": out}
    print_result(record, *_lines(result, out))


def _lines(result: Sweep, out: Path) -> Iterator[str]:
    """The scores of the choice, the choice, and the files, in sentences."""
    yield sentence(Subject.of_fit(result.transform.meta["fit"]))
    yield f"chosen: {method_in_words(result.best)}, {result.reason}"
    yield f"written to {out}: transform.npz (refitted on all objects), the front, means, points"


def _record(result: Sweep) -> dict[str, Any]:
    """The record of a sweep and its choice; reports points without scores or convergence."""
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
    return {
        "points": len(result.points),
        "evaluations": int(result.points["evaluations"].sum()),
        "unconverged": unconverged,
        "best": result.best,
        "keep": result.transform.meta["sweep"]["keep"],
        "reason": result.reason,
    }
