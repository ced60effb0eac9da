"""``glocal evaluate odd-one-out``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from glocal.cli.answers import AnswersFile
from glocal.cli.command import takes
from glocal.cli.evaluate.against import baseline_lines, baseline_values, check_flips_file, save_flips
from glocal.cli.evaluate.common import Scored, embedded, record
from glocal.cli.features import FeaturesPath
from glocal.cli.output import interval, status
from glocal.evaluation.alignment import OddOneOut, odd_one_out
from glocal.evaluation.flips import flips
from glocal.evaluation.result import difference_score


@takes(odd_one_out)
def odd_one_out_command(
    given: Scored,
    features: FeaturesPath,
    file: AnswersFile,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Also the paired difference to this: a transform file, or original for none."),
    ] = None,
    flips_file: Annotated[
        Path | None, typer.Option("--flips", help="Write the answers that differ from the baseline: .npy or .csv.")
    ] = None,
    **options: Any,
) -> None:
    """Agreement with people: accuracy with interval, tie rate, and loss in nats.

    Example: glocal evaluate odd-one-out --features features.npy --triplets heldout.npy --transform transform.npz
    """
    check_flips_file(flips_file, baseline)
    loaded = given.load(features)
    answers, joined = file.joined(loaded)
    Z = given.embedded(loaded)
    changed = None
    with status("scoring") as doing:
        result = odd_one_out(Z, joined.triplets, **options)
        if baseline is not None:
            doing("flips")
            before = embedded(loaded, None if baseline == "original" else baseline)
            changed = flips(before, Z, joined.triplets, **options)
    if changed is not None and flips_file is not None:
        save_flips(flips_file, changed, answers.select(joined.kept), np.flatnonzero(joined.kept))
    scores, values = list(result.scores), {**record(result), "n_dropped": joined.n_dropped}
    if changed is not None:
        scores.append(difference_score(scores[0], changed.difference, str(baseline)))
        values["baseline"] = baseline_values(str(baseline), changed, loaded, joined.triplets)
    lines = _lines(result, values, scaled=given.transform is not None)
    given.put(scores, lines, values, split=file.triplets.name)


def _lines(result: OddOneOut, values: dict[str, Any], scaled: bool) -> Iterator[str]:
    ends = interval(result.accuracy, result.low, result.high)
    yield f"accuracy ({result.similarity})  {ends}   chance {result.chance:.3f}"
    if result.dependent_through == "persons":
        yield "(the interval is over persons: it is wider than that over objects)"
    yield f"loss (dot products)  {result.loss:.4f} nats   chance {result.chance_loss:.4f}"
    if not scaled:
        yield "(without a transform the scale of the features, and with it this loss, is arbitrary)"
    yield f"tie rate  {result.tie_rate:.4f}   answers {result.n}, {values['n_dropped']} dropped in the join"
    if "baseline" in values:
        yield from baseline_lines(values["baseline"])
