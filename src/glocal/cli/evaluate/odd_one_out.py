"""``glocal evaluate odd-one-out``."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer

from glocal.cli.evaluate.common import ScoresOut, check_scores_out, embedded, put_scores
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
from glocal.evaluation.alignment import odd_one_out


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
    out: ScoresOut = None,
    as_json: AsJson = False,
) -> None:
    """Agreement with people: accuracy with interval, tie rate, and loss in nats.

    Example: glocal evaluate odd-one-out --features features.npy --triplets heldout.npy --transform transform.npz
    """
    check_scores_out(out)
    loaded, _, joined = load_answers(
        features, triplets, object_ids, odd_column=odd_column, base=base, order=order, weights=weights
    )
    result = odd_one_out(
        embedded(loaded, transform),
        joined.triplets,
        similarity=similarity,
    )
    split = triplets.name
    put_scores(
        out,
        transform,
        [
            ("odd-one-out", f"accuracy_{similarity}", result.accuracy, result.low, result.high, result.n, split),
            ("odd-one-out", "loss", result.loss, None, None, result.n, split),
            ("odd-one-out", f"tie_rate_{similarity}", result.tie_rate, None, None, result.n, split),
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
