"""Whether rows are of the scale, and of the network, that a transform was fitted on."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from glocal.data.features import Features, as_matrix
from glocal.errors import DataWarning
from glocal.transform.linear import LinearTransform

_SAMPLE = 2000
_SHIFT, _SPREAD = 0.25, 2.0  # of one network on objects, ImageNet and CIFAR-10: at most .03 and 1.08
_UNIT = 2e-3
_ENOUGH = 10  # rows whose mean and spread say something


def row_lengths(X: Features | np.ndarray) -> dict[str, Any]:
    """What a transform records of the rows that it was fitted on: ``meta["rows"]``.

    Returns
    -------
    dict
        ``mean_length`` and ``std_length``, of the Euclidean lengths of the rows, and ``normalised``: all are 1.
    """
    chunks = X.chunks() if isinstance(X, Features) else [(0, X)]
    lengths = np.concatenate([np.linalg.norm(rows.astype(np.float64), axis=1) for _, rows in chunks])
    return {
        "mean_length": float(lengths.mean()), "std_length": float(lengths.std()), "normalised": _are_unit(lengths),
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
        The rows are of another scale than those of the fit, which `row_lengths` recorded or else the mean and std of
        the transform tell; or they are of another model or layer.
    """
    matrix = X.matrix if isinstance(X, Features) else X
    transform.check_shape(tuple(matrix.shape))
    said = [_scale(transform, _sample(matrix), normalize)]
    recorded, given = transform.meta.get("source") or {}, X.network if isinstance(X, Features) else {}
    for name in ("model", "layer"):
        if name in given and name in recorded and _plain(given[name]) != _plain(recorded[name]):
            said.append(f"the features are of {name} {given[name]}; the transform was fitted on {recorded[name]}")
    for sentence in filter(None, said):
        warnings.warn(f"{sentence}. Its results will be wrong.", DataWarning, stacklevel=2)


def _scale(transform: LinearTransform, rows: np.ndarray, normalize: bool) -> str | None:
    """What is to be said of the scale of rows, if anything."""
    lengths = np.linalg.norm(rows, axis=1)
    unit, fitted = normalize or _are_unit(lengths), transform.meta.get("rows") or {}
    if not len(rows):
        return None
    if fitted.get("normalised") and not unit:
        return (
            f"the rows have length {lengths.mean():.3g} and the transform was fitted on rows of length 1: "
            "pass normalize=True"
        )
    if fitted and unit and not fitted.get("normalised"):
        return f"the rows have length 1 and the transform was fitted on rows of length {fitted['mean_length']:.3g}"
    if normalize:
        rows = rows / np.where(lengths > 0, lengths, 1)[:, None]
    standard = transform.standardization(rows, "float64")
    mean, std = float(standard.mean()), float(standard.std())
    if len(rows) < _ENOUGH or (abs(mean) <= _SHIFT and 1 / _SPREAD <= std <= _SPREAD):
        return None
    return (
        f"standardized by the transform the rows have mean {mean:.3g} and std {std:.3g}, not about 0 and 1: they are "
        "of another network or layer than it was fitted on, or were scaled or normalized"
    )


def _sample(matrix: Any) -> np.ndarray:
    """Finite rows from everywhere; who uses the others names them."""
    numbers = np.unique(np.linspace(0, max(0, len(matrix) - 1), min(len(matrix), _SAMPLE)).astype(np.int64))
    rows = np.asarray(as_matrix(matrix[numbers]), dtype=np.float64)
    return rows[np.isfinite(rows).all(axis=1)]


def _are_unit(lengths: np.ndarray) -> bool:
    return bool(len(lengths) and np.abs(lengths - 1).max() < _UNIT)


def _plain(name: str) -> str:
    """A name without case, and without the difference between a slash and a dash."""
    return str(name).casefold().replace("/", "-").replace("_", "-")
