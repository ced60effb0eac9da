"""``glocal fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.aligner.arm import Arm, arm_of
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact
from glocal.aligner.paper import PaperLoop
from glocal.cli.answers import AnswersFile
from glocal.cli.command import SolverName, changed, solver_of, takes
from glocal.cli.features import FeaturesPath, LayerName, ModelName, load_features
from glocal.cli.output import AsJson, interval, progress_bar, put, put_json, put_table, say
from glocal.errors import counted
from glocal.extras import needed
from glocal.files import writable_target
from glocal.options import taken
from glocal.results import FitRecord, to_json
from glocal.transform.files import ENDINGS


@takes(Arm, Exact, PaperLoop, FitData)
def fit(
    features: FeaturesPath,
    answers: AnswersFile,
    out: Annotated[Path, typer.Option("--out", help="The transform file to write (.npz, or .safetensors).")],
    local_features: Annotated[
        Path | None, typer.Option("--local-features", help="Features of local images; their neighbours are kept.")
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option("--keep", help="Share of each image's ten nearest neighbours that must stay; method, alpha, lmbda "
                     "and tau follow from it. [default: 0.9 with local features and no method]"),
    ] = None,
    holdout: Annotated[
        int | None,
        typer.Option("--holdout", help="K: also fit without fold 0 of K of objects and local images, and score it."),
    ] = None,
    solver: SolverName = "exact",
    model: ModelName = None,
    layer: LayerName = None,
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
    if fitted.record.gathered:
        say(f"{fitted.record.n_objects} objects: their rows are gathered, no objects × objects matrix is made.")
    if holdout is None:
        say("generalisation is unmeasured: --holdout 3 also scores answers on held-out objects.")
    if as_json:
        put_json({**_plain(fitted.record), "out": str(out)})
    else:
        _summary(fitted.record, out)


def _plain(record: FitRecord) -> dict[str, object]:
    import json

    values: dict[str, object] = json.loads(to_json(record))
    return values


def _summary(record: FitRecord, out: Path) -> None:
    shown = {"method": record.method, "alpha": record.alpha, "lmbda": record.lmbda, "tau": record.tau}
    shown |= {} if record.mix in (None, 1) else {"mix": record.mix}
    settings = ", ".join(f"{key} {value}" for key, value in shown.items() if value is not None)
    parts = ", ".join(f"{name} {value:.6f}" for name, value in record.parts.items())
    dropped = f" ({record.n_dropped} dropped in the join)" if record.n_dropped else ""
    put(f"{settings}: {record.n_answers} answers on {record.n_objects} objects{dropped}")
    put(f"objective {record.objective:.6f} ({parts})")
    put(f"{record.status} in {record.seconds:.1f} s: {record.reason}")
    if record.n_local:
        put(f"local images: {record.n_local} in {counted(record.n_local_blocks or 0, 'block')}")
    if record.rank is not None:
        put(f"fitted on {record.rank} directions, those of the rows; the others are a scaled identity, or 0 for naive")
    put(f"certificate: {record.certificate}")
    if record.watched is not None:
        losses = ", ".join(f"{name} {value:.6f}" for name, value in record.watched["parts"].items())
        put(f"the stopping rule watched {record.watched['n']} answers ({losses}); {record.n_fitted} were fitted")
    if record.holdout is not None:
        rows = [
            [part, str(s["n"]), f"{s['original_accuracy_cosine']:.3f}",
             interval(s["accuracy_cosine"], s["low"], s["high"]), f"{s['original_loss']:.4f}", f"{s['loss']:.4f}"]
            for part, s in ((part, record.holdout[part]) for part in ("fitted", "heldout"))
        ]  # fmt: skip
        head = ["answers", "n", "original agreement", "agreement (cosine)", "scaled original loss", "loss (nats)"]
        put_table(head, rows)
        s = record.holdout["heldout"]
        kept = f"{s['neighbours_kept']:.3f} of the {s['k']} nearest, among {s['n_images']} held-out images"
        put(f"neighbours kept: {kept}")
    put(f"written to {out}")
