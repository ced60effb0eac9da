"""The matches of a search in raw features, sorted by their cosine after a transform.

`rerank` is a method of `LinearTransform`.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from glocal.data.features import as_matrix
from glocal.errors import DataError, ParameterError
from glocal.similarity import unit_rows
from glocal.transform import checks

if TYPE_CHECKING:
    from glocal.transform.linear import LinearTransform


def rerank(
    transform: LinearTransform, query: Any, candidates: Any, k: int = 10
) -> tuple[Int[np.ndarray, "*q k"], Float[np.ndarray, "*q k"]]:
    """Sort the matches of a search in raw features by their cosine after the transform.

    The search index itself need not change.

    Parameters
    ----------
    query : (p,) or (q, p) array, tensor or list
        Raw features of one query, or of several.
    candidates : (c, p) or (q, c, p) array, tensor or list
        Raw features of the matches of the query, or of each query. Take 30 matches to find
        the nearest ten.
    k : int
        Number of matches to return, at most c.

    Returns
    -------
    rows, cosines : (k,) or (q, k) int and float
        Indices into the candidates in order of decreasing cosine to their query after the
        transform, and these cosines.

    Raises
    ------
    DataError, ParameterError
        There is not one list of candidates for each query, or k is not 1 to c.
    """
    x = as_matrix(query)
    C = as_matrix(candidates)
    if C.ndim != x.ndim + 1 or C.shape[:-2] != x.shape[:-1] or x.ndim < 1:
        raise DataError(
            f"query has shape {x.shape} and candidates {C.shape}; they must be (p,) and "
            "(c, p), or (q, p) and (q, c, p)."
        )
    c = C.shape[-2]
    if not isinstance(k, Integral) or not 1 <= k <= c:
        raise ParameterError(
            f"`k` is {k!r}; there are {c} candidates, so it must be an integer from 1 to {c}."
        )
    directions = []
    for X in (x, C):
        rows = transform.as_rows(X.reshape(-1, X.shape[-1])).astype(np.float64)
        checks.check_rows(transform, rows)
        Z = unit_rows(transform.map_rows(rows))
        directions.append(Z.reshape(*X.shape[:-1], -1))
    cosines = np.einsum("...d,...cd->...c", *directions)
    rows = np.argsort(-cosines, axis=-1, kind="stable")[..., :k]
    return rows, np.take_along_axis(cosines, rows, axis=-1)
