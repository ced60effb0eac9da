"""`reduced`: a transform to fewer dimensions for the aligned similarities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from glocal.data.features import Features, as_matrix, check_finite
from glocal.errors import DataError, ParameterError
from glocal.similarity import unit_rows
from glocal.transform.linear import LinearTransform


def reduced(
    transform: LinearTransform,
    features: Features | np.ndarray | Iterable[np.ndarray],
    dimensions: int,
    *,
    normalize: bool = False,
) -> LinearTransform:
    """The transform to r dimensions whose similarities on these features are nearest to those of `transform`.

    Its weights are W U_r and its bias b U_r, where the columns of U_r are the r leading eigenvectors of the second
    moments of Z = X̃ W + b,

        E[z zᵀ] = Wᵀ E[x̃ x̃ᵀ] W + Wᵀm bᵀ + b mᵀW + b bᵀ,     m = E[x̃],

    not centred, since S = Z Zᵀ is not: the bias shifts all rows alike and counts as they do. Z_r = Z U_r has the
    similarities S_r = Z_r Z_rᵀ that are, among all of rank r, nearest to S in the sum of squares. With all dimensions Z
    is only rotated and no similarity changes. The directions belong to these features: take those that will be
    searched, or many like them, and map queries by the same reduced transform.

    Parameters
    ----------
    transform : LinearTransform
    features : Features, (n, p) array, or iterable of (m, p) arrays
        Raw (not standardized) rows, of any number: memory is that of p × p and of 32 MB of rows.
    dimensions : int
        r, 1 to the dimensions of the transform.
    normalize : bool
        First scale each row to length 1, as in `LinearTransform.apply`.

    Returns
    -------
    LinearTransform
        With ``meta["reduced"]``: r and the dimensions that it is ``of``, the number of ``rows``, and what r dimensions
        keep: ``energy``, the share of ‖S‖²_F, which is 1 - ‖S - S_r‖²_F / ‖S‖²_F, and ``length``, that of tr S.

    Raises
    ------
    ParameterError
        r is not 1 to the dimensions of the transform.
    DataError
        The dimensions differ, a row holds NaN or infinity, or the transform maps all of them to 0.

    References
    ----------
    Eckart & Young (1936), The approximation of one matrix by another of lower rank, Psychometrika 1, 211-218.

    Examples
    --------
    >>> X = np.array([[3.0, 1.0], [1.0, 1.0], [2.0, 1.1]], dtype=np.float32)
    >>> reduced(LinearTransform(np.eye(2, dtype=np.float32), None, mean=1.0, std=2.0), X, 1)
    LinearTransform(2 to 1 dimensions, mean 1, std 2)
    """
    q, W = transform.out_dimensions, transform.weights.astype(np.float64)
    if not 1 <= dimensions <= q:
        raise ParameterError(f"dimensions is {dimensions}; the transform has {q}, so allowed are 1 to {q}.")
    given = Features(as_matrix(features)) if isinstance(features, np.ndarray) else features
    source = given.source if isinstance(given, Features) else "features"
    p, n = transform.dimensions, 0
    C, m = np.zeros((p, p)), np.zeros(p)
    for rows in (chunk for _, chunk in given.chunks()) if isinstance(given, Features) else given:
        transform.check_shape(rows.shape)
        check_finite(rows, source, range(n, n + len(rows)))
        X = transform.standardization(unit_rows(rows.astype(np.float64)) if normalize else rows, "float64")
        C += X.T @ X
        m += X.sum(axis=0)
        n += len(X)
    if not n:
        raise DataError("there is no row to find directions from.")
    b = np.zeros(q) if transform.bias is None else transform.bias.astype(np.float64)
    cross = np.outer(W.T @ (m / n), b)
    values, U = np.linalg.eigh(W.T @ (C / n) @ W + cross + cross.T + np.outer(b, b))
    values, U = np.maximum(values[::-1], 0), U[:, : -dimensions - 1 : -1]
    if not values[0] > 0:
        raise DataError("the transform maps all rows to 0; they have no directions.")
    U = U * np.where(U[np.abs(U).argmax(axis=0), np.arange(dimensions)] < 0, -1, 1)  # else the signs are the library's
    energy, length = (float(part[:dimensions].sum() / part.sum()) for part in (values**2, values))
    told = {"dimensions": dimensions, "of": q, "rows": n, "energy": energy, "length": length}
    bias = None if transform.bias is None else (b @ U).astype(transform.bias.dtype)
    weights = (W @ U).astype(transform.weights.dtype)
    return replace(transform, weights=weights, bias=bias, meta={**transform.meta, "reduced": told})
