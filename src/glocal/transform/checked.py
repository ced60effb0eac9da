"""Rows of a file through a transform, and the sentence that names the row that cannot go through."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

from glocal.data.features import check_finite
from glocal.transform.linear import LinearTransform


def apply_checked(
    transform: LinearTransform,
    X: Shaped[np.ndarray, "n _"],
    *,
    source: str,
    start: int,
    normalize: bool = False,
) -> Shaped[np.ndarray, "n _"]:
    """`LinearTransform.apply` on rows that begin at row `start` of the file `source`.

    Raises
    ------
    DataError
        Another number of columns, or NaN or infinity in the rows or in what they are mapped to.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # said below, as an error
        Z = transform.apply(X, normalize=normalize)
        total = Z.sum(dtype=np.float64)
    if not np.isfinite(total):  # finite values may still have a sum that overflows
        numbers = range(start, start + len(X))
        check_finite(X, source, numbers)
        check_finite(Z, source, numbers, found="is mapped to")
    return Z
