"""`View`: all that a page shows of one embedding of the objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

UNKNOWN = 255  # of an 8-bit matrix: nobody was asked


@dataclass(frozen=True, eq=False)
class Matrix:
    """Dissimilarities in 8 bits: 0 … 254 are `low` … `high`, 255 is unknown; objects in order, averaged in groups."""

    cells: UInt8[np.ndarray, "m m"]
    low: float
    high: float

    def values(self) -> Float[np.ndarray, "m m"]:
        """The dissimilarities, to 1/254 of their range; NaN where unknown."""
        return np.where(self.cells == UNKNOWN, np.nan, self.low + self.cells / 254 * (self.high - self.low))


@dataclass(frozen=True, eq=False)
class Axes:
    """A transform seen from the principal axes of the features; see `glocal.evaluation.structure.spectrum`."""

    singular_values: Float[np.ndarray, " p"]
    gains: Float[np.ndarray, " p"]
    share_before: Float[np.ndarray, " p"]
    share_after: Float[np.ndarray, " p"]


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """One embedding of n objects, to be looked at beside a baseline.

    Parameters
    ----------
    names, categories : tuple of n str
        Categories are None if none were given.
    positions : (n, 2) float32
        The map, root mean square distance 1 from its middle; turned so that it fits the baseline's best.
    neighbours : (n, k) int
        Nearest first, by cosine.
    gained, lost : (g, 3) and (l, 3) int
        Answers (pair found most similar, odd one) that the baseline has wrong and this embedding right, and the
        reverse; those with the largest shift of margin first, at most 1000.
    order : (n,) int
        Objects in the order of the matrices: by category, inside it by likeness in the baseline.
    rdm, people : Matrix
        1 - cosine; and the share of people's answers about a pair that found another pair more alike (None: not
        computed).
    axes : Axes or None
        None for no transform.
    meta : dict
        network, arm, baseline, how many answers flipped out of how many and of which split, collapsed, notes.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...] | None
    positions: Float[np.ndarray, "n 2"]
    neighbours: Int[np.ndarray, "n k"]
    gained: Int[np.ndarray, "g 3"]
    lost: Int[np.ndarray, "l 3"]
    order: Int[np.ndarray, " n"]
    rdm: Matrix
    people: Matrix | None = None
    axes: Axes | None = None
    meta: dict[str, Any] = field(default_factory=dict)
