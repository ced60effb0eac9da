"""Transforms made from features alone: baselines, and the best reduction to fewer dimensions."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral

import numpy as np
from jaxtyping import Float

from glocal.data.features import Features
from glocal.errors import DataError, ParameterError
from glocal.transform.linear import LinearTransform
from glocal.transform.record import Reduction

BASELINES = ("centred", "pca")
_PCA_AXES = 100


def baseline(name: str, features: Features) -> LinearTransform:
    """Return one of `BASELINES`, as a transform that is applied like any other.

    `centred` subtracts the mean of each column from the standardized features, so that cosines
    become cosines of deviations. `pca` maps the centred features to their 100 leading principal
    axes, or to all if there are fewer. Scalars, means and axes are computed from `features`.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    >>> bool(np.abs(baseline("centred", Features(X))(X).mean(axis=0)).max() < 1e-6)
    True
    """
    centred = LinearTransform.centring(features)
    if name == "centred":
        return centred
    n_rows, n_columns = features.matrix.shape
    rank = min(n_rows, n_columns)
    n_axes = min(_PCA_AXES, rank)
    return reduced(centred, features, n_axes)


def reduced(
    transform: LinearTransform,
    features: Features | np.ndarray,
    dimensions: int,
) -> LinearTransform:
    """Reduce a transform to the r dimensions that best preserve its similarities.

    The reduced weights are W U_r and the bias is b U_r. The columns of U_r are the r leading
    eigenvectors of the second moments E[z zᵀ] of Z = X̃ W + b. They are not centred, since S = Z Zᵀ
    is not: the shift of all rows by the bias counts too. With Z_r = Z U_r, S_r = Z_r Z_rᵀ is the
    matrix of rank r that is nearest to S in the sum of squares. With all dimensions, Z is only
    rotated and no similarity changes. The directions depend on `features`: give the rows that will
    be searched, or many like them, and map queries by the same reduced transform.

    Parameters
    ----------
    features : Features or (n, p) array
        Any number of raw (not standardized) rows. Memory holds p × p values and 32 MB of rows.
    dimensions : int
        r, from 1 to the output dimensions of the transform.

    Returns
    -------
    LinearTransform
        The reduced transform. Its ``record.reduced`` holds r as ``dimensions``, the previous
        dimensions as ``of``, the number of ``rows``, and the shares that r dimensions keep:
        ``energy``, the share of ‖S‖²_F, which is 1 - ‖S - S_r‖²_F / ‖S‖²_F, and ``length``, the
        share of tr S.

    Raises
    ------
    ParameterError
        `dimensions` is not an integer from 1 to the output dimensions of the transform.
    DataError
        The rows do not have p columns, or hold NaN, infinity or values too large
        to be squared; or the transform maps all rows to 0.

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
    is_integer = isinstance(dimensions, Integral)
    if not is_integer or not 1 <= dimensions <= q:
        raise ParameterError(
            f"`dimensions` is {dimensions!r}; the transform has {q}, so it must be an "
            f"integer from 1 to {q}."
        )
    if not isinstance(features, Features):
        features = Features(features)
    moments = _second_moments(transform, features)
    values, U_r = _leading_axes(moments, dimensions)
    squared_values = values**2
    reduction = Reduction(
        dimensions=int(dimensions),
        of=q,
        rows=len(features),
        energy=_leading_share(squared_values, dimensions),
        length=_leading_share(values, dimensions),
    )
    bias = transform.bias
    if bias is not None:
        bias = _times(bias, U_r)
    record = transform.record.model_copy(update={"reduced": reduction})
    weights = _times(transform.weights, U_r)
    return replace(
        transform,
        weights=weights,
        bias=bias,
        record=record,
    )


def _leading_axes(
    moments: Float[np.ndarray, "q q"], r: int
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, "q r"]]:
    """All eigenvalues, the largest first, and the r leading eigenvectors as columns."""
    eigenvalues, eigenvectors = np.linalg.eigh(moments)
    descending = eigenvalues[::-1]
    values = np.maximum(descending, 0)
    largest = values[0]
    if not largest > 0:
        raise DataError("the transform maps all rows to 0, so that they have no directions.")
    vectors = eigenvectors[:, ::-1]
    leading = vectors[:, :r]
    return values, _with_fixed_signs(leading)


def _with_fixed_signs(U: Float[np.ndarray, "q r"]) -> Float[np.ndarray, "q r"]:
    """Make the largest entry of each column positive; eigh leaves the signs to the library."""
    magnitudes = np.abs(U)
    rows = magnitudes.argmax(axis=0)
    _, r = U.shape
    columns = np.arange(r)
    largest = U[rows, columns]
    is_negative = largest < 0
    signs = np.where(is_negative, -1, 1)
    return U * signs


def _leading_share(values: Float[np.ndarray, " q"], r: int) -> float:
    """The share of the sum that the first r values have."""
    leading = values[:r]
    share = leading.sum() / values.sum()
    return float(share)


def _times(rows: np.ndarray, U: Float[np.ndarray, "q r"]) -> np.ndarray:
    """The product in float64, in the dtype of the rows."""
    factors = rows.astype(np.float64)
    product = factors @ U
    return product.astype(rows.dtype)


def _second_moments(transform: LinearTransform, features: Features) -> Float[np.ndarray, "r r"]:
    """The second moments of the transformed rows."""
    r = transform.out_dimensions
    shape = (r, r)
    squares = np.zeros(shape)
    source = features.source
    chunks = features.chunks()
    for start, rows in chunks:
        X = rows.astype(np.float64)
        Z = transform.map_rows(X, source=source, first=start)
        with np.errstate(over="ignore", invalid="ignore"):  # raised below
            squares += Z.T @ Z
    is_finite = np.isfinite(squares)
    if not is_finite.all():
        raise DataError(
            f"{features.source} holds values too large to be squared and summed in float64."
        )
    return squares / len(features)
