"""Transforms made from rows of features alone: baselines, and the best of fewer dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral

import numpy as np
from jaxtyping import Float

from glocal.data.features import Features
from glocal.errors import DataError, ParameterError
from glocal.transform.linear import LinearTransform

BASELINES = ("centred", "pca")
_PCA_AXES = 100


def baseline(name: str, features: Features) -> LinearTransform:
    """A baseline by its name, as a transform that is applied like any other.

    `centred` is the standardized features less the mean of each column, so that cosines are those
    of deviations; `pca` these on the 100 leading principal axes (all, if there are fewer). Scalars,
    means and axes are those of the given features.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    >>> bool(np.abs(baseline("centred", Features(X))(X).mean(axis=0)).max() < 1e-6)
    True
    """
    if name not in BASELINES:
        raise ParameterError(f"`baseline` is {name!r}; allowed are {' and '.join(BASELINES)}.")
    if name == "centred":
        return LinearTransform.centring(features)
    from sklearn.decomposition import PCA

    scalars = features.standardization
    X = scalars(features.matrix, "float64")
    means = X.mean(axis=0)
    W = PCA(min(_PCA_AXES, *X.shape), random_state=0).fit(X).components_.T
    return LinearTransform(
        W.astype(np.float32), (-means @ W).astype(np.float32), scalars.mean, scalars.std
    )


def reduced(
    transform: LinearTransform,
    features: Features | np.ndarray | Iterable[np.ndarray],
    dimensions: int,
    *,
    normalize: bool = False,
) -> LinearTransform:
    """The transform to r dimensions with the similarities nearest to those of `transform`.

    Its weights are W U_r and its bias b U_r, where the columns of U_r are the r leading
    eigenvectors of the second moments E[z zᵀ] of Z = X̃ W + b, not centred, since S = Z Zᵀ is not:
    the bias shifts all rows alike and counts as they do. Z_r = Z U_r has the similarities S_r =
    Z_r Z_rᵀ that are, among all of rank r, nearest to S in the sum of squares. With all dimensions
    Z is only rotated and no similarity changes. The directions belong to these features: take those
    that will be searched, or many like them, and map queries by the same reduced transform.

    Parameters
    ----------
    features : Features, (n, p) array, or iterable of (m, p) arrays
        Raw (not standardized) rows, of any number: memory is that of p × p and of 32 MB of rows.
    dimensions : int
        r, 1 to the dimensions of the transform.
    normalize : bool
        First scale each row to length 1, as in `LinearTransform.apply`.

    Returns
    -------
    LinearTransform
        With ``meta["reduced"]``: r and the dimensions that it is ``of``, the number of ``rows``,
        and what r dimensions keep: ``energy``, the share of ‖S‖²_F, which is 1 - ‖S - S_r‖²_F /
        ‖S‖²_F, and ``length``, that of tr S.

    Raises
    ------
    ParameterError
        r is not 1 to the dimensions of the transform.
    DataError
        The dimensions differ, a row holds NaN or infinity, or the transform maps all of them to 0.

    References
    ----------
    Eckart & Young (1936), The approximation of one matrix by another of lower rank, Psychometrika
    1, 211-218.

    Examples
    --------
    >>> X = np.array([[3.0, 1.0], [1.0, 1.0], [2.0, 1.1]], dtype=np.float32)
    >>> reduced(LinearTransform(np.eye(2, dtype=np.float32), None, mean=1.0, std=2.0), X, 1)
    LinearTransform(2 to 1 dimensions, mean 1, std 2)
    """
    q = transform.out_dimensions
    if not isinstance(dimensions, Integral) or not 1 <= dimensions <= q:
        raise ParameterError(
            f"`dimensions` is {dimensions!r}; the transform has {q}, so allowed are the integers 1 "
            f"to {q}."
        )
    n, moments = _second_moments(transform, features, normalize)
    values, U = np.linalg.eigh(moments)
    values = np.maximum(values[::-1], 0)  # the largest first
    U = U[:, ::-1][:, :dimensions]
    if not values[0] > 0:
        raise DataError("the transform maps all rows to 0; they have no directions.")
    largest = U[np.abs(U).argmax(axis=0), np.arange(dimensions)]
    U = U * np.where(largest < 0, -1, 1)  # else the signs are the library's
    squares = values**2
    record = {
        "dimensions": dimensions,
        "of": q,
        "rows": n,
        "energy": float(squares[:dimensions].sum() / squares.sum()),
        "length": float(values[:dimensions].sum() / values.sum()),
    }
    b = transform.bias
    bias = None if b is None else (b.astype(np.float64) @ U).astype(b.dtype)
    W = transform.weights
    weights = (W.astype(np.float64) @ U).astype(W.dtype)
    meta = {**transform.meta, "reduced": record}
    return replace(transform, weights=weights, bias=bias, meta=meta)


def _second_moments(
    transform: LinearTransform,
    features: Features | np.ndarray | Iterable[np.ndarray],
    normalize: bool,
) -> tuple[int, Float[np.ndarray, "r r"]]:
    """The number of rows, and the second moments of what they are mapped to."""
    source = "features"
    chunks: Iterable[np.ndarray]
    if isinstance(features, np.ndarray):
        features = Features(features)
    if isinstance(features, Features):
        source = features.source
        chunks = (rows for _, rows in features.chunks())
    else:
        chunks = features
    n = 0
    squares = np.zeros((transform.out_dimensions, transform.out_dimensions))
    for rows in chunks:
        X = rows.astype(np.float64)
        Z = transform.map_rows(X, normalize=normalize, source=source, first=n)
        n += len(Z)
        with np.errstate(over="ignore", invalid="ignore"):  # an error below
            squares += Z.T @ Z
    if not n:
        raise DataError("there is no row to find directions from.")
    if not np.isfinite(squares).all():
        raise DataError(f"{source} holds values too large to be squared and summed in float64.")
    return n, squares / n
