"""``glocal evaluate odd-one-out``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.cli.evaluate.against import baseline_values, check_flips_file, put_baseline, save_flips
from glocal.cli.evaluate.common import ScoresOut, check_scores_out, embedded, put_scores
from glocal.cli.features import LayerName, ModelName
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
from glocal.cli.output import interval, put, put_json, status
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.flips import flips


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
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Also the paired difference to this: a transform file, or original for none."),
    ] = None,
    flips_file: Annotated[
        Path | None, typer.Option("--flips", help="Write the answers that differ from the baseline: .npy or .csv.")
    ] = None,
    model: ModelName = None,
    layer: LayerName = None,
    out: ScoresOut = None,
    as_json: AsJson = False,
) -> None:
    """Agreement with people: accuracy with interval, tie rate, and loss in nats.

    Example: glocal evaluate odd-one-out --features features.npy --triplets heldout.npy --transform transform.npz
    """
    check_scores_out(out)
    check_flips_file(flips_file, baseline)
    loaded, given, joined = load_answers(
        features, triplets, object_ids, odd_column=odd_column, base=base, order=order, weights=weights,
        model=model, layer=layer,
    )  # fmt: skip
    Z = embedded(loaded, transform)
    changed = None
    with status("scoring") as doing:
        result = odd_one_out(Z, joined.triplets, similarity=similarity)
        if baseline is not None:
            doing("flips")
            before = embedded(loaded, None if baseline == "original" else Path(baseline))
            changed = flips(before, Z, joined.triplets, similarity=similarity)
    if changed is not None and flips_file is not None:
        save_flips(flips_file, changed, given.answers[joined.kept], np.flatnonzero(joined.kept))
    split = triplets.name
    rows = [
        ("odd-one-out", f"accuracy_{similarity}", result.accuracy, result.low, result.high, result.n, split),
        ("odd-one-out", "loss", result.loss, None, None, result.n, split),
        ("odd-one-out", f"tie_rate_{similarity}", result.tie_rate, None, None, result.n, split),
    ]
    if changed is not None:
        d = changed.difference
        rows.append(("odd-one-out", f"gain_{similarity}_over_{baseline}", d.difference, d.low, d.high, d.n, split))
    put_scores(out, transform, rows)
    if as_json:
        values = {
            name: getattr(result, name) for name in ("accuracy", "low", "high", "tie_rate", "loss", "chance", "n")
        }
        against = (
            {} if changed is None else {"baseline": baseline_values(str(baseline), changed, loaded, joined.triplets)}
        )
        put_json({**values, "similarity": similarity, "n_dropped": joined.n_dropped, **against})
        return
    put(f"accuracy ({similarity})  {interval(result.accuracy, result.low, result.high)}   chance {result.chance:.3f}")
    put(f"loss (dot products)  {result.loss:.4f} nats   chance {np.log(3):.4f}")
    if transform is None:
        put("(without a transform the scale of the features, and with it this loss, is arbitrary)")
    put(f"tie rate  {result.tie_rate:.4f}   answers {result.n}, {joined.n_dropped} dropped in the join")
    if changed is not None:
        put_baseline(baseline_values(str(baseline), changed, loaded, joined.triplets))
