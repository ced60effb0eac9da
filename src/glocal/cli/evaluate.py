"""``glocal evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.cli.options import (
    AsJson,
    Base,
    FeaturesPath,
    ObjectIds,
    OddColumn,
    Order,
    TransformPath,
    TripletsPath,
    Weights,
    load_answers,
)
from glocal.cli.output import interval, put_json
from glocal.data.features import Features
from glocal.evaluation.alignment import odd_one_out
from glocal.files import writable_target
from glocal.records import Score, append_rows
from glocal.transform import LinearTransform

app = typer.Typer(help="Score features, transformed or not.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _evaluate() -> None:
    """Score features, transformed or not."""


@app.command("odd-one-out")
def odd_one_out_command(
    features: FeaturesPath,
    triplets: TripletsPath,
    object_ids: ObjectIds = None,
    transform: TransformPath = None,
    similarity: Annotated[str, typer.Option("--similarity", help="cosine or dot: what decides the choice.")] = "cosine",
    weights: Weights = None,
    odd_column: OddColumn = 2,
    base: Base = 0,
    order: Order = None,
    out: Annotated[Path | None, typer.Option("--out", help="JSON-lines file that the scores are appended to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Agreement with people: accuracy with interval, tie rate, and loss in nats.

    Example: glocal evaluate odd-one-out --features features.npy --triplets heldout.npy --transform transform.npz
    """
    if out is not None:
        writable_target(out, what="--out")
    loaded, _, joined = load_answers(
        features, triplets, object_ids, odd_column=odd_column, base=base, order=order, weights=weights
    )
    result = odd_one_out(
        embedded(loaded, transform),
        joined.triplets,
        similarity=similarity,
    )
    if out is not None:
        arm = "original" if transform is None else str(transform)
        low, high, n = result.low, result.high, result.n
        append_rows(
            out,
            [
                Score("odd-one-out", f"accuracy_{similarity}", result.accuracy, low, high, n, triplets.name, arm),
                Score("odd-one-out", "loss", result.loss, None, None, n, triplets.name, arm),
                Score("odd-one-out", f"tie_rate_{similarity}", result.tie_rate, None, None, n, triplets.name, arm),
            ],
        )
    if as_json:
        values = {
            name: getattr(result, name) for name in ("accuracy", "low", "high", "tie_rate", "loss", "chance", "n")
        }
        put_json({**values, "similarity": similarity, "n_dropped": joined.n_dropped})
        return
    typer.echo(
        f"accuracy ({similarity})  {interval(result.accuracy, result.low, result.high)}   chance {result.chance:.3f}"
    )
    typer.echo(f"loss (dot products)  {result.loss:.4f} nats   chance {np.log(3):.4f}")
    if transform is None:
        typer.echo("(without a transform the scale of the features, and with it this loss, is arbitrary)")
    typer.echo(f"tie rate  {result.tie_rate:.4f}   answers {result.n}, {joined.n_dropped} dropped in the join")


def embedded(features: Features, transform: Path | None) -> np.ndarray:
    """Float64 rows of the standardized features, or of the transformed ones."""
    scalars = features.standardization
    if transform is None:
        return scalars(features.matrix, "float64")
    return LinearTransform.load(transform).apply(np.asarray(features.matrix, dtype=np.float64))
