"""``glocal fit``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.aligner.arm import Arm, arm_of
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact
from glocal.aligner.paper import PaperLoop
from glocal.cli.command import SolverName, changed, solver_of, takes
from glocal.cli.forms import flat
from glocal.cli.inputs import AnswersFile, FeaturesPath, LayerName, LocalPath, ModelName, load_features
from glocal.cli.output import AsJson, Verbose, interval, progress_bar, put, put_json, say
from glocal.errors import counted
from glocal.extras import needed
from glocal.files import writable_target
from glocal.options import taken
from glocal.results import FitRecord
from glocal.transform.files import ENDINGS


@flat
@takes(Arm, Exact, PaperLoop, FitData)
def fit(
    features: FeaturesPath,
    answers: AnswersFile,
    out: Annotated[Path, typer.Option("--out", help="The transform file to write (.npz, or .safetensors).")],
    local_features: LocalPath = None,
    keep: Annotated[
        float | None,
        typer.Option(help="Share of each image's ten nearest neighbours that must stay; method, alpha, lmbda and tau "
                     "follow from it. [default: 0.9 with local features and no method]"),
    ] = None,
    holdout: Annotated[
        int | None,
        typer.Option("--holdout", help="K: also fit without fold 0 of K of objects and local images, and score it."),
    ] = None,
    solver: SolverName = "exact",
    model: ModelName = None,
    layer: LayerName = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
    **options: Any,
) -> None:  # fmt: skip
    """Learn a transform from features and answers.

    Example: glocal fit --features features.npy --triplets triplets.npy --method global --holdout 3 --out transform.npz
    """
    writable_target(out, what="--out", endings=ENDINGS)
    if out.suffix == ".safetensors":
        needed("safetensors", f"--out {out}")
    loaded = load_features(features, model, layer)
    joined = answers.to_fit(loaded)
    local = None if local_features is None else load_features(local_features, model, layer)
    from glocal.aligner import fit as fit_one

    settings = {name: value for name, value in taken(Arm, options).items() if name in changed(fit, options)}
    shown = "objective" if solver == "exact" else "watched loss"
    with progress_bar("fitting", None, unit="evaluations") as progress:
        fitted = fit_one(
            FitData(loaded, joined.answers, local, n_dropped=joined.n_dropped, **taken(FitData, options)),
            arm_of(settings, local=local is not None),
            solver_of(solver, fit, options),
            keep=keep,
            holdout=holdout,
            on_step=lambda done, at: progress(done, None, f"{shown} {at.value:.6f}"),
        )
    fitted.transform.save(out)
    if holdout is None:
        say("generalisation is unmeasured: --holdout 3 also scores answers on held-out objects.")
    if as_json:
        put_json({**asdict(fitted.record), "out": str(out)})
        return
    put(*_result(fitted.record), _fitted(fitted.record))
    if verbose:
        put(*_details(fitted.record))
    put(f"written to {out}")


def _result(record: FitRecord) -> list[str]:
    """What is gained and what is kept, on objects and images that the fit has not seen."""
    if record.holdout is None:
        return []
    held = record.holdout["heldout"]
    agreement = interval(held["accuracy_cosine"], held["low"], held["high"])
    return [
        f"on new objects: agreement {held['original_accuracy_cosine']:.3f} -> {agreement} ({held['n']} answers), "
        f"neighbours kept {held['neighbours_kept']:.3f} ({held['k']} nearest of {held['n_images']})"
    ]


def _fitted(record: FitRecord) -> str:
    """What was fitted to what."""
    mix = None if record.mix == 1 else record.mix
    given = {"alpha": record.alpha, "lmbda": record.lmbda, "tau": record.tau, "mix": mix}
    settings = ", ".join([record.method, *(f"{key} {value:g}" for key, value in given.items() if value is not None)])
    local = f", {record.n_local} local images" if record.n_local else ""
    dropped = f" ({record.n_dropped} answers dropped: no features)" if record.n_dropped else ""
    ended = f"{record.status} in {record.seconds:.1f} s"
    return f"{settings}: {record.n_answers} answers on {record.n_objects} objects{local}{dropped}, {ended}"


def _details(record: FitRecord) -> list[str]:
    """What else is known about the fit."""
    lines = [
        f"objective {record.objective:.6f} ({', '.join(f'{name} {v:.6f}' for name, v in record.parts.items())})",
        record.reason, f"certificate: {record.certificate}",
    ]  # fmt: skip
    if record.n_local:
        lines.append(f"local images in {counted(record.n_local_blocks or 0, 'block')}")
    if record.gathered:
        lines.append("the rows of the objects are gathered, no objects × objects matrix is made")
    if record.rank is not None:
        lines.append(f"fitted on {record.rank} directions, those of the rows; the others are a scaled identity, or 0")
    if record.watched is not None:
        losses = ", ".join(f"{name} {value:.6f}" for name, value in record.watched["parts"].items())
        lines.append(
            f"the stopping rule watched {record.watched['n']} answers ({losses}); {record.n_fitted} were fitted"
        )
    for part, scores in (record.holdout or {}).items():
        if part in ("fitted", "heldout"):
            lines.append(
                f"{part} ({scores['n']} answers): agreement {scores['original_accuracy_cosine']:.3f} -> "
                f"{scores['accuracy_cosine']:.3f}, loss {scores['original_loss']:.4f} -> {scores['loss']:.4f} nats"
            )
    return lines
