"""``glocal fit``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.aligner.arm import Arm
from glocal.aligner.settings import DataOptions, ProfileOptions, SolverOptions
from glocal.cli.answers import AnswersFile
from glocal.cli.command import changed, takes
from glocal.cli.features import FeaturesPath, LayerName, ModelName, load_features
from glocal.cli.output import AsJson, interval, progress_bar, put, put_json, put_table, say
from glocal.errors import counted
from glocal.extras import needed
from glocal.files import writable_target
from glocal.results import FitRecord, to_json
from glocal.transform.files import ENDINGS


@takes(Arm, SolverOptions, DataOptions, ProfileOptions)
def fit(
    features: FeaturesPath,
    answers: AnswersFile,
    out: Annotated[Path, typer.Option("--out", help="The transform file to write (.npz, or .safetensors).")],
    local_features: Annotated[
        Path | None, typer.Option("--local-features", help="Features of local images; their neighbours are kept.")
    ] = None,
    holdout: Annotated[
        int | None, typer.Option("--holdout", help="K: also fit without object fold 0 of K and score it.")
    ] = None,
    start: Annotated[
        str, typer.Option("--start", help="identity, or a transform file or checkpoint to start from.")
    ] = "identity",
    devices: Annotated[int | None, typer.Option("--devices", help="No longer needed.", hidden=True)] = None,
    precision: Annotated[str, typer.Option("--precision", help="Of minibatch: full, bf16-mixed or 16-mixed.")] = "full",
    checkpoints: Annotated[
        Path | None,
        typer.Option("--checkpoints", help="Of minibatch: a folder to keep a checkpoint in, and to go on from it."),
    ] = None,
    rank: Annotated[str | None, typer.Option("--rank", help="No longer needed.", hidden=True)] = None,
    model: ModelName = None,
    layer: LayerName = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Learn a transform from features and answers.

    Example: glocal fit --features features.npy --triplets triplets.npy --method global --holdout 3 --out transform.npz
    """
    writable_target(out, what="--out", endings=ENDINGS)
    if out.suffix == ".safetensors":
        needed("safetensors", f"--out {out}")
    loaded = load_features(features, model, layer)
    joined = answers.to_fit(loaded)
    local = None if local_features is None else load_features(local_features, model, layer)
    from glocal.aligner import Chosen, FitData
    from glocal.aligner import fit as fit_one
    from glocal.solver.minibatch import Engine
    from glocal.transform import LinearTransform

    engine = Engine(precision, checkpoints)
    of_loop = None if engine == Engine() else engine
    gone = {"rank": rank, "devices": devices}
    choices = Chosen.of({**options, **gone, "engine": of_loop}, local=local is not None)
    choices.warn_unused(changed(fit, {"local_features": local_features, **options}))
    epochs = choices.solver.epochs
    with progress_bar("fitting", epochs, unit="epochs" if epochs else "evaluations") as progress:
        fitted = fit_one(
            FitData(loaded, joined.triplets, local, n_dropped=joined.n_dropped, **choices.data),
            choices.arm,
            choices.solver,
            None if start == "identity" else LinearTransform.load(start),
            holdout=holdout,
            on_step=_steps(progress, epochs, ""),
            on_holdout_step=_steps(progress, epochs, "holdout: "),
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


def _steps(progress: Callable[..., None], epochs: int | None, which: str) -> Callable[[int, Any], None]:
    """What the solver calls after each step, or each epoch of that many: where the objective stands."""
    an_epoch = 0

    def on_step(count: int, at: Any) -> None:
        nonlocal an_epoch
        an_epoch = an_epoch or count  # of a resumed fit the first count is of all epochs so far
        stands = "" if at.excess is None else f", {at.excess:.3g} × tol"
        done = count if epochs is None else round(count / an_epoch)
        progress(done, epochs, f"{which}objective {at.value:.6f}{stands}")

    return on_step


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
    put(f"{settings}: {record.n_triplets} answers on {record.n_objects} objects{dropped}")
    put(f"objective {record.objective:.6f} ({parts})")
    if record.watched is not None:
        put(
            f"fitted on {record.n_fitted} of the answers; the stopping rule watched {record.watched['n']} others: "
            f"agreement {record.watched['accuracy_dot']:.3f} (dot product, ties {record.watched['ties']})"
        )
    put(f"{record.status} in {record.seconds:.1f} s: {record.reason}")
    if record.n_local:
        put(f"local images: {record.n_local} in {counted(record.n_local_blocks or 0, 'block')}")
    if record.rank is not None:
        put(f"fitted on {record.rank} directions, those of the rows; the others are a scaled identity, or 0 for naive")
    put(f"certificate: {record.certificate}")
    if record.holdout is not None:
        rows = []
        for part in ("fitted", "heldout"):
            s = record.holdout[part]
            accuracy = interval(s["accuracy_cosine"], s["low"], s["high"])
            rows.append(
                [
                    part,
                    str(s["n"]),
                    f"{s['original_accuracy_cosine']:.3f}",
                    accuracy,
                    f"{s['original_loss']:.4f}",
                    f"{s['loss']:.4f}",
                ]
            )
        put_table(
            ["answers", "n", "original accuracy", "accuracy (cosine)", "scaled original loss", "loss (nats)"], rows
        )
    put(f"written to {out}")
