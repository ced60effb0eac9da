"""``glocal fit``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from glocal.aligner import Arm, Exact, FitData, PaperLoop
from glocal.aligner import fit as fit_transform
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
from glocal.cli.output import (
    AsJson,
    Verbose,
    in_options,
    interval,
    progress_bar,
    put,
    put_json,
    say,
)
from glocal.errors import ParameterError, needed
from glocal.files import ending, writable_target
from glocal.results import FitRecord
from glocal.transform.formats import ENDINGS

SolverName = Annotated[
    Literal["exact", "paper"],
    typer.Option(
        "--solver",
        rich_help_panel=Exact.panel,
        help="exact, or paper: the authors' procedure on mini-batches, which needs glocal[paper].",
    ),
]

Holdout = Annotated[
    int | None,
    typer.Option(help="K: also fit without fold 0 of K of objects and local images, and score it."),
]


@flat
def fit(
    features: FeaturesPath,
    answers: AnswersFile,
    out: Annotated[Path, typer.Option(help="The transform file to write (.npz or .safetensors).")],
    keep: Keep,
    arm: Arm,
    exact: Exact,
    paper: PaperLoop,
    blocks: Blocks,
    local_features: LocalPath = None,
    holdout: Holdout = None,
    solver: SolverName = "exact",
    model: ModelName = None,
    layer: LayerName = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Learn a transform that agrees with the answers and keeps a share of each image's neighbours.

    Example: glocal fit --features features.npy --answers triplets.npy --method global --holdout 3
    --out transform.npz
    """
    writable_target(out, what="--out", endings=ENDINGS)
    refuse_overwriting_inputs({"--out": out}, features, local_features, *answers.paths)
    if ending(out) == ".safetensors":
        needed("safetensors", f"--out {out}")
    loaded = load_features(features, model, layer)
    joined = answers.to_fit(loaded)
    local = None if local_features is None else load_features(local_features, model, layer)
    requested = None
    if arm.model_fields_set:
        requested = Arm.of(arm.model_dump(exclude_unset=True), local=local is not None)
    quantity = "objective" if solver == "exact" else "watched loss"
    data = FitData(loaded, joined.answers, local, n_dropped=joined.n_dropped, **blocks.model_dump())
    with progress_bar("fitting", None, unit="evaluations") as progress:
        fitted = fit_transform(
            data,
            requested,
            solver_of(solver, exact, paper),
            keep=keep.keep,
            holdout=holdout,
            on_step=lambda count, step: progress(count, None, f"{quantity} {step.value:.6f}"),
        )
    fitted.transform.save(out)
    record = fitted.record
    if as_json:
        put_json({**asdict(record), "out": str(out)})
        return
    if record.keep is not None:
        for sentence in (*record.keep["notes"], _alternatives(record.keep)):
            say(in_options(sentence))
    elif holdout is None:
        say("generalisation is unmeasured: --holdout 3 also scores answers on held-out objects.")
    put(*_result(record), _fitted(record))
    if verbose:
        put(*_fields(asdict(record)))
    put(f"written to {out}")


def solver_of(name: str, exact: Exact, paper: PaperLoop) -> Exact | PaperLoop:
    """The solver that ``--solver`` names; a ParameterError for options of the other one."""
    solver, other = (exact, paper) if name == exact.name else (paper, exact)
    if unused := sorted(other.model_fields_set - set(type(solver).model_fields)):
        flag = f"--{unused[0].replace('_', '-')}"
        raise ParameterError(
            f"{flag} is an option of --solver {other.name}; leave it out, or pass that."
        )
    return solver


def _result(record: FitRecord) -> Iterator[str]:
    """Agreement and neighbours kept of what the fit has not seen, measured or expected."""
    if record.holdout is not None:
        scores = record.holdout["heldout"]
        accuracy = interval(scores["accuracy_cosine"], scores["low"], scores["high"])
        yield (
            f"measured on {scores['n']} held-out answers: agreement "
            f"{scores['original_accuracy_cosine']:.3f} -> {accuracy}, neighbours kept "
            f"{scores['neighbours_kept']:.3f} (the {scores['k']} nearest of {scores['n_images']} "
            "held-out images)"
        )
    if (choice := record.keep) is not None:
        expected = choice["expected"]
        yield (
            f"expected on new objects: agreement {choice['original']['agreement']:.3f} -> "
            f"{expected['agreement']:.3f} ± {expected['agreement_error']:.3f}, neighbours kept "
            f"{expected['kept']:.3f} ± {expected['kept_error']:.3f} (the {choice['k']} nearest of "
            f"{choice['candidates']} {choice['of']})"
        )


def _alternatives(choice: dict[str, Any]) -> str:
    """What a keep of 0.05 less and one of 0.05 more, at most 1, are expected to give."""
    first, *others = (
        point for point in choice["curve"] if 0.01 < abs(point["keep"] - choice["keep"]) < 0.06
    )
    parts = [
        f"keep {first['keep']:g} is expected to give agreement {first['agreement']:.3f} and "
        f"{first['kept']:.3f} of the neighbours"
    ]
    for point in others:
        parts.append(f"keep {point['keep']:g} {point['agreement']:.3f} and {point['kept']:.3f}")
    return f"{', '.join(parts)}."


def _fitted(record: FitRecord) -> str:
    """Which arm was fitted, to what, and how the fit ended."""
    arm = words(asdict(record))
    if (choice := record.keep) is not None:
        first, *others = map(words, choice["anchors"])
        other = others[0] if others else "the original features"
        arm = (
            f"keep {choice['keep']:g} mixes {choice['share']:.2f} of {first} and "
            f"{1 - choice['share']:.2f} of {other}"
        )
    local = f", {record.n_local} local images" if record.n_local else ""
    dropped = f" ({record.n_dropped} answers dropped: no features)" if record.n_dropped else ""
    data = f"{record.n_answers} answers on {record.n_objects} objects{local}{dropped}"
    return f"{arm}: {data}, {record.status} in {record.seconds:.1f} s"


def words(settings: dict[str, Any]) -> str:
    """A method and those of alpha, lmbda, tau and mix that it has."""
    parts = [settings["method"]]
    for name in ("alpha", "lmbda", "tau", "mix"):
        value = settings[name]
        if value is not None and (name, value) != ("mix", 1):
            parts.append(f"{name} {value:g}")
    return " ".join(parts)


def _fields(value: Any, name: str = "") -> Iterator[str]:
    """A line for each number and text of a nested record."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _fields(item, f"{name}.{key}".lstrip("."))
    elif value is not None:
        yield f"{name}: {value}"
