"""Which numbers are ties: equal apart from rounding."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def tie_tolerance(p: int, largest: float = 1.0) -> float:
    """How far apart two equal similarities can be computed to be: 8 √p eps · max|S|, float64.

    The order in which the p products of a similarity are summed, and so its last digits, differs between processors,
    between blocks of rows and between rotations of the space; the errors add up like those of a random walk of p steps.
    The bound is far above them and far below any difference that means something.

    Parameters
    ----------
    p : int
        Terms of the sum: the dimensions of the rows.
    largest : float
        max |S|; 1 for cosines.
    """
    return float(8 * np.sqrt(p) * np.finfo(np.float64).eps * largest)


def new_group(ordered: Float[np.ndarray, "*rows n"], tolerance: float) -> Bool[np.ndarray, "*rows n"]:
    """Where a group of ties begins in sorted values: farther than the tolerance from the value before.

    No grid of rounded values can tell this: equal values may lie on both sides of the edge of any cell.

    Examples
    --------
    >>> new_group(np.array([3.0, 2.0, 2.0 - 1e-15, 1.0]), 1e-12).tolist()
    [True, True, False, True]
    """
    new = np.ones(ordered.shape, dtype=bool)
    new[..., 1:] = np.abs(np.diff(ordered, axis=-1)) > tolerance
    return new


def joined(values: Float[np.ndarray, " n"], tolerance: float) -> Float[np.ndarray, " n"]:
    """The same values, ties made exactly equal: each takes the smallest value of its group.

    Examples
    --------
    >>> joined(np.array([2.0, 3.0, 2.0 - 1e-15]), 1e-12).tolist()
    [1.999999999999999, 3.0, 1.999999999999999]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = new_group(ordered, tolerance)
    found = np.empty_like(ordered)
    found[order] = ordered[new][np.cumsum(new) - 1]
    return found
