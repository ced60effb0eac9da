"""What one pass over features tells of their rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.data.features import Features

HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False)
class ColumnProfile:
    """Rows and columns of features; statistics are over the rows without NaN or infinity."""

    finite: Bool[np.ndarray, " n"]
    bad_in_column: Int[np.ndarray, " p"]
    infinite: int
    saturated: Int[np.ndarray, " p"]
    norms: Float[np.ndarray, " n"]
    mean: Float[np.ndarray, " p"]
    std: Float[np.ndarray, " p"]
    low: Float[np.ndarray, " p"]
    high: Float[np.ndarray, " p"]

    @property
    def constant(self) -> Bool[np.ndarray, " p"]:
        """The columns that hold one value."""
        return self.low == self.high


def profile(features: Features) -> ColumnProfile:
    """Read the features once for their columns and once more for the spread of these."""
    n, p = len(features), features.dimensions
    finite, norms = np.ones(n, dtype=bool), np.zeros(n)
    bad, saturated, infinite = np.zeros(p, dtype=np.int64), np.zeros(p, dtype=np.int64), 0
    total, low, high = np.zeros(p), np.full(p, np.inf), np.full(p, -np.inf)
    with np.errstate(over="ignore", invalid="ignore"):  # what cannot be squared in float64 is a finding of its own
        for start, rows in features.chunks():
            chunk = rows.astype(np.float64)
            good = np.isfinite(chunk)
            bad += (~good).sum(axis=0)
            infinite += int(np.isinf(chunk).sum())
            if features.matrix.dtype.kind == "f":
                saturated += (np.abs(chunk) == HALF).sum(axis=0)
            run = slice(start, start + len(chunk))
            finite[run] = good.all(axis=1)
            norms[run] = np.linalg.norm(np.where(good, chunk, 0), axis=1)
            kept = chunk[finite[run]]
            total += kept.sum(axis=0)
            low, high = (
                np.minimum(low, kept.min(axis=0, initial=np.inf)),
                np.maximum(high, kept.max(axis=0, initial=-np.inf)),
            )
        k = max(1, int(finite.sum()))
        mean, squares = total / k, np.zeros(p)
        for start, rows in features.chunks():
            kept = rows[finite[start : start + len(rows)]].astype(np.float64)
            squares += np.square(kept - mean).sum(axis=0)
    return ColumnProfile(finite, bad, infinite, saturated, norms, mean, np.sqrt(squares / k), low, high)
