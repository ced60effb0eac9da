"""What every ``glocal evaluate`` command does: embed features, read labels, append rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.data.features import Features, Standardization
from glocal.files import writable_target
from glocal.records import Score, append_rows
from glocal.transform import LinearTransform

ScoresOut = Annotated[Path | None, typer.Option("--out", help="JSON-lines file that the scores are appended to.")]
Row = tuple[str, str, float, float | None, float | None, int, str]


def embedded(features: Features, transform: Path | None, scalars: Standardization | None = None) -> np.ndarray:
    """Float64 rows of the standardized features, or of the transformed ones.

    A transform brings its own two scalars. Without one they are `scalars`, or those of these features.
    """
    if transform is None:
        return (scalars or features.standardization)(features.matrix, "float64")
    return LinearTransform.load(transform).apply(np.asarray(features.matrix, dtype=np.float64))


def embedded_single(features: Features, transform: Path | None, scalars: Standardization | None = None) -> np.ndarray:
    """The same rows, computed in float64 piece by piece and kept in float32: half the memory."""
    if transform is None:
        given = scalars or features.standardization
    else:
        fitted = LinearTransform.load(transform)
    rows = np.empty((len(features), features.dimensions), dtype=np.float32)
    for start, chunk in features.chunks():
        wide = np.asarray(chunk, dtype=np.float64)
        rows[start : start + len(wide)] = given(wide, "float64") if transform is None else fitted.apply(wide)
    return rows


def check_scores_out(out: Path | None) -> None:
    """Say before any work that scores could not be written."""
    if out is not None:
        writable_target(out, what="--out", endings=(".jsonl", ".ndjson", ".json", ".txt", ""))


def put_scores(out: Path | None, transform: Path | None, rows: Iterable[Row]) -> None:
    """Append (task, metric, value, low, high, n, split) under the name of the transform, if a file was asked for."""
    if out is not None:
        arm = "original" if transform is None else str(transform)
        append_rows(out, [Score(*row, arm) for row in rows])
