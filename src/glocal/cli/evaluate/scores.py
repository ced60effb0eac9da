"""``glocal evaluate scores``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.cli.command import takes
from glocal.cli.evaluate.common import Scored, record
from glocal.cli.features import FeaturesPath
from glocal.cli.output import interval, status
from glocal.data.features import Features
from glocal.data.splits import check_seed
from glocal.errors import ParameterError
from glocal.evaluation.cosines import CosineShift, cosine_shift
from glocal.transform import LinearTransform


@takes()
def scores_command(
    given: Scored,
    features: FeaturesPath,
    transform: Annotated[str, typer.Option("--transform", help="A file, or a name that glocal transforms pull takes.")],
    gallery: Annotated[
        Path | None,
        typer.Option("--gallery", help="Features that each row is compared with. [default: the other rows]"),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option("--threshold", help="A cosine that you match by; repeatable. [default: reached by 1 % and 0.1 %]"),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", help="Rows of each file to look at, drawn with the seed.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 42,
) -> None:
    """How cosines move: quantiles before and after, and the threshold that keeps the number of matches.

    Before are the features as they are stored, after are the transformed ones.

    Example: glocal evaluate scores --features store.npy --transform transform.npz --threshold 0.85
    """
    if rows < 10:
        raise ParameterError(f"rows is {rows}; at least 10 rows are needed to compare pairs.")
    check_seed(seed)
    fitted = LinearTransform.from_pretrained(transform)
    X = _drawn(given.load(features), rows, seed)
    Y = None if gallery is None else _drawn(given.load(gallery), rows, seed)
    with status("comparing pairs"):
        found = cosine_shift(
            X, fitted.apply(X), None if Y is None else (Y, fitted.apply(Y)), thresholds=threshold or ()
        )
    values = {**record(found), "thresholds": [asdict(moved) for moved in found.thresholds]}
    given.put(found.scores, _lines(found), values, split=features.name)


def _drawn(features: Features, rows: int, seed: int) -> np.ndarray:
    """Some rows in float64, in their order."""
    features.check_finite()
    chosen = np.random.default_rng(seed).permutation(len(features))[:rows]
    return np.asarray(features.matrix[np.sort(chosen)], dtype=np.float64)


def _lines(found: CosineShift) -> Iterator[str]:
    yield f"cosines of {found.n} pairs     before    after"
    for level, before, after in zip(found.levels, found.before, found.after, strict=True):
        yield f"  quantile {level:<16} {before:8.4f} {after:8.4f}"
    for moved in found.thresholds:
        place = interval(moved.after, moved.low, moved.high)
        yield f"threshold {moved.before:.3f} -> {place}: {moved.matches} matches, {moved.kept:.1%} of them as before"
