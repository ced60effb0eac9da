"""Rows of a file through a transform, and the sentence that names the row that cannot go through."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

from glocal.errors import DataError
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
        for rows, what in ((X, "holds"), (Z, "is mapped to")):
            bad = ~np.isfinite(rows)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                raise DataError(
                    f"{source} {what} {rows[row, column]} at row {start + row}, column {column}; features must be "
                    "finite and in the range of their dtype. Remove or recompute that image's features."
                )
    return Z


__all__ = ["apply_checked"]
