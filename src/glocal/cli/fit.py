"""``glocal fit``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from glocal.aligner import Arm, Exact, FitData, PaperLoop
from glocal.aligner import fit as fit_one
from glocal.aligner.data import Blocks
from glocal.aligner.keep import Keep
from glocal.cli.inputs import (
    AnswersFile,
    FeaturesPath,
    LayerName,
    LocalPath,
    ModelName,
    flat,
    load_features,
    refuse_overwriting_inputs,
)
from glocal.cli.output import AsJson, Verbose, interval, progress_bar, put, put_json, say
from glocal.errors import ParameterError, needed
from glocal.files import ending, writable_target
from glocal.results import FitRecord
from glocal.transform.formats import ENDINGS

SolverName = Annotated[
    Literal["exact", "paper"],
    typer.Option(
        "--solver", rich_help_panel=Exact.panel,
        help="exact, or paper: the authors' procedure on mini-batches, which needs glocal[paper].",
    ),
]  # fmt: skip


@flat
def fit(
    features: FeaturesPath,
    answers: AnswersFile,
    out: Annotated[Path, typer.Option(help="The transform file to write (.npz, or .safetensors).")],
    keep: Keep,
    arm: Arm,
    exact: Exact,
    paper: PaperLoop,
    blocks: Blocks,
    local_features: LocalPath = None,
    holdout: Annotated[
        int | None,
        typer.Option(help="K: also fit without fold 0 of K of objects and local images, and score it."),
    ] = None,
    solver: SolverName = "exact",
    model: ModelName = None,
    layer: LayerName = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Learn a transform that agrees with the answers and keeps a share of each image's neighbours.

    Example: glocal fit --features features.npy --answers triplets.npy --method global --holdout 3 --out transform.npz
    """
    writable_target(out, what="--out", endings=ENDINGS)
    refuse_overwriting_inputs({"--out": out}, features, local_features, *answers.paths)
    if ending(out) == ".safetensors":
        needed("safetensors", f"--out {out}")
    loaded = load_features(features, model, layer)
    joined = answers.to_fit(loaded)
    local = None if local_features is None else load_features(local_features, model, layer)
    chosen = Arm.of(arm.model_dump(exclude_unset=True), local=local is not None) if arm.model_fields_set else None
    shown = "objective" if solver == "exact" else "watched loss"
    with progress_bar("fitting", None, unit="evaluations") as progress:
        fitted = fit_one(
            FitData(loaded, joined.answers, local, n_dropped=joined.n_dropped, **blocks.model_dump()),
            chosen,
            solver_of(solver, exact, paper),
            keep=keep.keep,
            holdout=holdout,
            on_step=lambda done, at: progress(done, None, f"{shown} {at.value:.6f}"),
        )
    fitted.transform.save(out)
    record = fitted.record
    if as_json:
        put_json({**asdict(record), "out": str(out)})
        return
    if record.keep is not None:
        for sentence in (*record.keep["notes"], _beside(record.keep)):
            say(sentence)
    elif holdout is None:
        say("generalisation is unmeasured: --holdout 3 also scores answers on held-out objects.")
    put(*_result(record), _fitted(record), *(_fields(asdict(record)) if verbose else ()))
    put(f"written to {out}")


def solver_of(name: str, exact: Exact, paper: PaperLoop) -> Exact | PaperLoop:
    """The solver that ``--solver`` names; a ParameterError for options of the other one."""
    used, other = (exact, paper) if name == exact.name else (paper, exact)
    if idle := sorted(other.model_fields_set - set(type(used).model_fields)):
        flag = f"--{idle[0].replace('_', '-')}"
        raise ParameterError(f"{flag} is an option of --solver {other.name}; leave it out, or pass that.")
    return used


def _result(record: FitRecord) -> Iterator[str]:
    """Agreement and neighbours kept of objects and images that the fit has not seen, measured or expected."""
    if record.holdout is not None:
        held = record.holdout["heldout"]
        after = interval(held["accuracy_cosine"], held["low"], held["high"])
        yield (
            f"measured on {held['n']} held-out answers: agreement {held['original_accuracy_cosine']:.3f} -> {after}, "
            f"neighbours kept {held['neighbours_kept']:.3f} (the {held['k']} nearest of {held['n_images']} held-out "
            "images)"
        )
    if (dial := record.keep) is not None:
        at = dial["expected"]
        yield (
            f"expected on new objects: agreement {dial['original']['agreement']:.3f} -> {at['agreement']:.3f} ± "
            f"{at['agreement_error']:.3f}, neighbours kept {at['kept']:.3f} ± {at['kept_error']:.3f} (the {dial['k']} "
            f"nearest of {dial['candidates']} {dial['of']})"
        )


def _beside(dial: dict[str, Any]) -> str:
    """What a keep of 0.05 less and one of 0.05 more, at most 1, are expected to give."""
    first, *others = (one for one in dial["curve"] if 0.01 < abs(one["keep"] - dial["keep"]) < 0.06)
    gives = f"agreement {first['agreement']:.3f} and {first['kept']:.3f} of the neighbours"
    told = [f"keep {first['keep']:g} is expected to give {gives}"]
    told += [f"keep {one['keep']:g} {one['agreement']:.3f} and {one['kept']:.3f}" for one in others]
    return f"{', '.join(told)}."


def _fitted(record: FitRecord) -> str:
    """What was given or chosen, fitted to what, and how it ended."""
    arm = words(asdict(record))
    if (dial := record.keep) is not None:
        one, *others = map(words, dial["anchors"])
        other = others[0] if others else "the original features"
        arm = f"keep {dial['keep']:g} mixes {dial['share']:.2f} of {one} and {1 - dial['share']:.2f} of {other}"
    local = f", {record.n_local} local images" if record.n_local else ""
    dropped = f" ({record.n_dropped} answers dropped: no features)" if record.n_dropped else ""
    data = f"{record.n_answers} answers on {record.n_objects} objects{local}{dropped}"
    return f"{arm}: {data}, {record.status} in {record.seconds:.1f} s"


def words(settings: dict[str, Any]) -> str:
    """A method and what it has of alpha, lmbda, tau and mix."""
    given = {name: settings[name] for name in ("alpha", "lmbda", "tau", "mix")}
    told = [f"{name} {value:g}" for name, value in given.items() if value is not None and (name, value) != ("mix", 1)]
    return " ".join([settings["method"], *told])


def _fields(value: Any, name: str = "") -> Iterator[str]:
    """A line for each number and text of a nested record."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _fields(item, f"{name}.{key}".lstrip("."))
    elif value is not None:
        yield f"{name}: {value}"
