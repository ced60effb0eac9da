"""Rows of features: whether they are like those that a transform was fitted on, and transforms by them alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from glocal.data.features import Features, as_matrix, check_finite
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.similarity import unit_rows
from glocal.transform.formats import normalised_name
from glocal.transform.linear import LinearTransform

_SAMPLE = 2000
_SHIFT, _SPREAD = 0.25, 2.0  # of one network on objects, ImageNet and CIFAR-10: at most .03 and 1.08
_UNIT = 2e-3
_ENOUGH = 10  # rows whose means and spread say something
_MOST, _LEAST, _FAR = 16, 4, 1.5  # columns that stand out, and how far, in standard deviations
_SAME = 0.5  # of CLIP and a ViT on other images at least .81, of texts at most .39, of other networks .18
BASELINES = ("centred", "pca")
_DIRECTIONS = 100  # of pca


def row_statistics(X: Features | np.ndarray) -> dict[str, Any]:
    """What a transform records of the rows that it was fitted on: ``meta["rows"]``.

    Returns
    -------
    dict
        ``mean_length`` and ``std_length``, of the Euclidean lengths of the rows; ``normalised``: all are 1; and
        ``columns``, by their numbers the means of the columns that stand out, standardized as the whole is. The outputs
        of transformers have such columns, whatever they are shown; where fewer than four stand out there are none.
    """
    features = X if isinstance(X, Features) else Features(X)
    scalars, lengths, total = features.standardization, [], np.zeros(features.dimensions)
    for _, rows in features.chunks():
        lengths.append(np.linalg.norm(rows.astype(np.float64), axis=1))
        total += rows.sum(axis=0, dtype=np.float64)
    means, length = (total / len(features) - scalars.mean) / scalars.std, np.concatenate(lengths)
    out = [int(column) for column in np.argsort(-np.abs(means), kind="stable")[:_MOST] if abs(means[column]) >= _FAR]
    return {
        "mean_length": float(length.mean()), "std_length": float(length.std()), "normalised": _are_unit(length),
        "columns": {str(column): round(float(means[column]), 4) for column in out} if len(out) >= _LEAST else {},
    }  # fmt: skip


def check_rows(transform: LinearTransform, X: Any, *, normalize: bool = False) -> None:
    """Warn where a transform does not fit the rows that it is to be applied to; looks at 2,000 of them at most.

    Parameters
    ----------
    X : Features, (n, p) array or tensor
        Raw (not standardized) rows. Those of `glocal extract` name their model and layer, which are compared too.
    normalize : bool
        They will be scaled to length 1 first.

    Raises
    ------
    DataError
        The dimensions differ.

    Warns
    -----
    DataWarning
        The rows are of another scale than those of the fit, which `row_statistics` recorded or else the mean and std of
        the transform tell; other columns of theirs stand out; or they are of another model or layer.
    """
    matrix = X.matrix if isinstance(X, Features) else X
    transform.check_shape(tuple(matrix.shape))
    numbers = np.unique(np.linspace(0, max(0, len(matrix) - 1), min(len(matrix), _SAMPLE)).astype(np.int64))
    rows = np.asarray(as_matrix(matrix[numbers]), dtype=np.float64)
    said = [_unlike(transform, rows[np.isfinite(rows).all(axis=1)], normalize)]  # who uses the others names them
    recorded, given = transform.meta.get("source") or {}, X.network if isinstance(X, Features) else {}
    for name in ("model", "layer"):
        if name in given and name in recorded and normalised_name(given[name]) != normalised_name(recorded[name]):
            said.append(f"the features are of {name} {given[name]}; the transform was fitted on {recorded[name]}")
    for sentence in filter(None, said):
        warnings.warn(f"{sentence}. Its results will be wrong.", DataWarning, stacklevel=2)


def baseline(name: str, features: Features) -> LinearTransform:
    """A baseline by its name, as a transform that is applied like any other.

    `centred` is the standardized features less the mean of each column, so that cosines are those of deviations;
    `pca` these on the 100 leading principal axes (all, if there are fewer). Scalars, means and axes are those of the
    given features.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    >>> bool(np.abs(baseline("centred", Features(X))(X).mean(axis=0)).max() < 1e-6)
    True
    """
    if name not in BASELINES:
        raise ParameterError(f"baseline is {name!r}; allowed are {' and '.join(BASELINES)}.")
    scalars = features.standardization
    X = scalars(features.matrix, "float64")
    means, W = X.mean(axis=0), np.eye(X.shape[1])
    if name == "pca":
        from sklearn.decomposition import PCA

        W = PCA(min(_DIRECTIONS, *X.shape), random_state=0).fit(X).components_.T
    return LinearTransform(W.astype(np.float32), (-means @ W).astype(np.float32), scalars.mean, scalars.std)


def _unlike(transform: LinearTransform, rows: np.ndarray, normalize: bool) -> str | None:
    """What is wrong with the values of rows, the first thing alone."""
    lengths = np.linalg.norm(rows, axis=1)
    unit, fitted = normalize or _are_unit(lengths), transform.meta.get("rows") or {}
    if fitted.get("normalised") and len(rows) and not unit:
        return (
            f"the rows have length {lengths.mean():.3g} and the transform was fitted on rows of length 1: "
            "divide each row by its length, as apply does with normalize=True"
        )
    if fitted and unit and not fitted.get("normalised"):
        return f"the rows have length 1 and the transform was fitted on rows of length {fitted['mean_length']:.3g}"
    if len(rows) < _ENOUGH:
        return None
    standard = transform.standardization(unit_rows(rows) if normalize else rows, "float64")
    mean, std = float(standard.mean()), float(standard.std())
    if abs(mean) > _SHIFT or not 1 / _SPREAD <= std <= _SPREAD:
        return (
            f"standardized by the transform the rows have mean {mean:.3g} and std {std:.3g}, not about 0 and 1: "
            "they are of another network or layer than it was fitted on, or were scaled or normalized"
        )
    columns = {int(column): value for column, value in fitted.get("columns", {}).items()}
    then, now = np.array([*columns.values()]), standard[:, list(columns)].mean(axis=0)
    if columns and now @ then < _SAME * then @ then:
        return (
            f"the columns that stand out in the rows of the fit ({', '.join(map(str, list(columns)[:4]))}, …) do "
            "not in these: they are of another network or layer, or of texts in place of images"
        )
    return None


def _are_unit(lengths: np.ndarray) -> bool:
    """Whether there are lengths, and all are 1."""
    return bool(len(lengths) and np.abs(lengths - 1).max() < _UNIT)


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
    given = Features(features) if isinstance(features, np.ndarray) else features
    p, n = transform.dimensions, 0
    C, m = np.zeros((p, p)), np.zeros(p)
    for rows in (chunk for _, chunk in given.chunks()) if isinstance(given, Features) else given:
        transform.check_shape(rows.shape)
        check_finite(rows, getattr(given, "source", "features"), range(n, n + len(rows)))
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
