"""Whether rows are of the scale, and of the network, that a transform was fitted on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from glocal.data.features import Features, as_matrix
from glocal.errors import DataWarning
from glocal.similarity import unit_rows
from glocal.transform.files import plain
from glocal.transform.linear import LinearTransform

_SAMPLE = 2000
_SHIFT, _SPREAD = 0.25, 2.0  # of one network on objects, ImageNet and CIFAR-10: at most .03 and 1.08
_UNIT = 2e-3
_ENOUGH = 10  # rows whose means and spread say something
_MOST, _LEAST, _FAR = 16, 4, 1.5  # columns that stand out, and how far, in standard deviations
_SAME = 0.5  # of CLIP and a ViT on other images at least .81, of texts at most .39, of other networks .18


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
    transform : LinearTransform
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
    said = list(_rows(transform, _sample(matrix), normalize))
    recorded, given = transform.meta.get("source") or {}, X.network if isinstance(X, Features) else {}
    for name in ("model", "layer"):
        if name in given and name in recorded and plain(given[name]) != plain(recorded[name]):
            said.append(f"the features are of {name} {given[name]}; the transform was fitted on {recorded[name]}")
    for sentence in said:
        warnings.warn(f"{sentence}. Its results will be wrong.", DataWarning, stacklevel=2)


def _rows(transform: LinearTransform, rows: np.ndarray, normalize: bool) -> Iterator[str]:
    """What is to be said of the values of rows: the first that is wrong."""
    lengths = np.linalg.norm(rows, axis=1)
    unit, fitted = normalize or _are_unit(lengths), transform.meta.get("rows") or {}
    if fitted.get("normalised") and len(rows) and not unit:
        yield (
            f"the rows have length {lengths.mean():.3g} and the transform was fitted on rows of length 1: "
            "divide each row by its length, as apply does with normalize=True"
        )
    elif fitted and unit and not fitted.get("normalised"):
        yield f"the rows have length 1 and the transform was fitted on rows of length {fitted['mean_length']:.3g}"
    elif len(rows) >= _ENOUGH:
        standard = transform.standardization(unit_rows(rows) if normalize else rows, "float64")
        mean, std = float(standard.mean()), float(standard.std())
        columns = {int(column): value for column, value in fitted.get("columns", {}).items()}
        then, now = np.array([*columns.values()]), standard[:, list(columns)].mean(axis=0)
        if abs(mean) > _SHIFT or not 1 / _SPREAD <= std <= _SPREAD:
            yield (
                f"standardized by the transform the rows have mean {mean:.3g} and std {std:.3g}, not about 0 and 1: "
                "they are of another network or layer than it was fitted on, or were scaled or normalized"
            )
        elif columns and now @ then < _SAME * then @ then:
            yield (
                f"the columns that stand out in the rows of the fit ({', '.join(map(str, list(columns)[:4]))}, …) do "
                "not in these: they are of another network or layer, or of texts in place of images"
            )


def _sample(matrix: Any) -> np.ndarray:
    """Finite rows from everywhere; who uses the others names them."""
    numbers = np.unique(np.linspace(0, max(0, len(matrix) - 1), min(len(matrix), _SAMPLE)).astype(np.int64))
    rows = np.asarray(as_matrix(matrix[numbers]), dtype=np.float64)
    return rows[np.isfinite(rows).all(axis=1)]


def _are_unit(lengths: np.ndarray) -> bool:
    return bool(len(lengths) and np.abs(lengths - 1).max() < _UNIT)
