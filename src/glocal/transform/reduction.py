"""Fewer dimensions for the aligned similarities: the leading directions of transformed features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from glocal.data.features import Features, as_matrix, check_finite
from glocal.errors import DataError, ParameterError
from glocal.similarity import unit_rows
from glocal.transform.linear import LinearTransform


@dataclass(frozen=True, eq=False)
class Leading:
    """The directions in which transformed features are longest, the longest first.

    `directions` (q, q) has one in each column; `moments` (q,) holds the mean squares of the features along them, which
    are the eigenvalues of S = Z Zᵀ divided by the `rows` n.
    """

    whole: LinearTransform
    directions: Float[np.ndarray, "q q"]
    moments: Float[np.ndarray, " q"]
    rows: int

    @property
    def energy(self) -> Float[np.ndarray, " q"]:
        """For r = 1, 2, …, q the share of ‖S‖²_F that r dimensions have; 1 less it is ‖S - S_r‖²_F / ‖S‖²_F."""
        return np.cumsum(self.moments**2) / np.sum(self.moments**2)

    @property
    def length(self) -> Float[np.ndarray, " q"]:
        """For r = 1, 2, …, q the share of tr S, the sum of the rows' squared lengths, that r dimensions have."""
        return np.cumsum(self.moments) / np.sum(self.moments)

    def transform(self, dimensions: int) -> LinearTransform:
        """The transform to the first r directions: weights W U_r (p, r) and bias b U_r.

        Raises
        ------
        ParameterError
            r is not 1 to q.
        """
        q = len(self.moments)
        if not 1 <= dimensions <= q:
            raise ParameterError(f"dimensions is {dimensions}; the transform has {q}, so allowed are 1 to {q}.")
        U, whole = self.directions[:, :dimensions], self.whole
        reduced = {
            "dimensions": dimensions, "of": q, "rows": self.rows, "energy": float(self.energy[dimensions - 1]),
            "length": float(self.length[dimensions - 1]),
        }  # fmt: skip
        return replace(
            whole,
            weights=(whole.weights.astype(np.float64) @ U).astype(whole.weights.dtype),
            bias=None if whole.bias is None else (whole.bias.astype(np.float64) @ U).astype(whole.bias.dtype),
            meta={**whole.meta, "reduced": reduced},
        )


def leading(
    transform: LinearTransform, features: Features | np.ndarray | Iterable[np.ndarray], *, normalize: bool = False
) -> Leading:
    """Find the leading directions of the transformed rows of `features`, in one pass over them.

    They are the eigenvectors of the second moments of Z = X̃ W + b,

        E[z zᵀ] = Wᵀ E[x̃ x̃ᵀ] W + Wᵀm bᵀ + b mᵀW + b bᵀ,     m = E[x̃],

    not centred, since S = Z Zᵀ is not: the bias shifts all rows alike and counts as they do. With U_r the first r of
    them, Z_r = Z U_r has the similarities S_r = Z_r Z_rᵀ that are, among all of rank r, nearest to S in the sum of
    squares. With all q directions Z is only rotated and no similarity changes. The directions belong to these features:
    take those that will be searched, or many like them, and map queries by the same reduced transform.

    Parameters
    ----------
    transform : LinearTransform
    features : Features, (n, p) array, or iterable of (m, p) arrays
        Raw (not standardized) rows, of any number: memory is that of p × p and of 32 MB of rows.
    normalize : bool
        First scale each row to length 1, as in `LinearTransform.apply`.

    Raises
    ------
    DataError
        The dimensions differ, a row holds NaN or infinity, or the transform maps all of them to 0.

    Examples
    --------
    >>> X = np.array([[3.0, 1.0], [1.0, 1.0], [2.0, 1.1]], dtype=np.float32)
    >>> leading(LinearTransform(np.eye(2, dtype=np.float32), None, mean=1.0, std=2.0), X).transform(1)
    LinearTransform(2 to 1 dimensions, mean 1, std 2)

    References
    ----------
    Eckart & Young (1936), The approximation of one matrix by another of lower rank, Psychometrika 1, 211-218.
    """
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
    W = transform.weights.astype(np.float64)
    moments = W.T @ (C / n) @ W
    if transform.bias is not None:
        b = transform.bias.astype(np.float64)
        cross = np.outer(W.T @ (m / n), b)
        moments += cross + cross.T + np.outer(b, b)
    values, U = np.linalg.eigh(moments)
    values, U = np.maximum(values[::-1], 0), U[:, ::-1]
    if not values[0] > 0:
        raise DataError("the transform maps all rows to 0; they have no directions.")
    U = U * np.where(U[np.abs(U).argmax(axis=0), np.arange(len(U))] < 0, -1, 1)  # else the signs are the library's
    return Leading(transform, U, values, n)
