"""The checks of rows: their shape, and whether they are like the rows of the fit.

`LinearTransform` calls `check_rows` when it is applied; commands call it before they read all rows.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable
from weakref import WeakSet

import numpy as np

from glocal.data.features import Features, as_matrix, rows_hint
from glocal.data.rows import Difference, difference, spaced_rows
from glocal.data.standardization import Standardization
from glocal.errors import DataError, DataWarning, warn
from glocal.transform.record import TransformRecord, folded_name


@runtime_checkable
class RowMap(Protocol):
    """What the checks read of a transform."""

    @property
    def record(self) -> TransformRecord:
        """Where the transform comes from, and how it was fitted."""

    @property
    def dimensions(self) -> int:
        """The number of columns of the rows."""

    @property
    def standardization(self) -> Standardization:
        """How the rows are standardized."""

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise a DataError if rows of this shape cannot be mapped."""


_SAMPLE_ROWS = 2000
_SAMPLE_ROWS_OF_A_CALL = 256
_warned: WeakSet[RowMap] = WeakSet()  # transforms for which a warning was issued


def real_rows(features: Any, p: int) -> Any:
    """Return an array or a tensor; raise a DataError unless it is (n, p) real numbers."""
    torch = sys.modules.get("torch")  # imported already if the features are a tensor
    if torch is not None and isinstance(features, torch.Tensor):
        X = features
        is_dense = X.layout == torch.strided
        is_real = is_dense and not X.is_complex()
    else:
        X = as_matrix(features)
        is_real = X.dtype.kind in "fiub"
    hint = rows_hint(features, X)
    shape = tuple(X.shape)
    check_shape(shape, p, hint)
    if not is_real:
        raise DataError(
            f"features hold {X.dtype} values; they must be real numbers in a dense array or "
            f"tensor.{hint}"
        )
    return X


def check_shape(shape: tuple[int, ...], p: int, hint: str = "") -> None:
    """Raise a DataError, which ends with a hint, if `shape` is not (n, p)."""
    if shape == (p,):
        raise DataError(f"this is one row of shape ({p},); pass a matrix of rows, such as X[None].")
    if len(shape) != 2 or shape[1] != p:
        raise DataError(
            f"features have shape {shape} but the transform maps {p} dimensions. It needs (n, "
            f"{p}): one row per image, of the model and layer that it was fitted on.{hint}"
        )


def check_rows(transform: RowMap, X: Any, *, force: bool = True) -> None:
    """Warn once for each transform if rows differ from those that it was fitted on.

    Commands call ``check_rows(transform, features, force=force)``: without ``--force``, rows that
    certainly belong to another transform are an error.

    Parameters
    ----------
    X : Features, (n, p) array or tensor
        Raw (not standardized) rows. A sample is checked: 2,000 rows of Features, 256 of an
        array. Features of `glocal extract` record their model and layer, which are compared too.
    force : bool
        False: a difference that `row_differences` is certain of is an error.

    Raises
    ------
    DataError
        The rows do not have the input dimension of the transform; or `force` is False and they come
        from another network or have another scale.

    Warns
    -----
    DataWarning
        The rows differ otherwise, or differ and `force` is True.
    """
    transform.check_shape(tuple((X.matrix if isinstance(X, Features) else X).shape))
    if force and transform in _warned:
        return
    differences = row_differences(transform, X)
    certain = [other.sentence for other in differences if other.is_certain]
    if certain and not force:
        name = X.source if isinstance(X, Features) else "features"
        raise DataError(
            f"{name} cannot be transformed: {certain[0]}. Give features of the network and layer "
            "of the fit, or go on with `force=True`."
        )
    if differences:
        verb = "will" if certain else "may"
        sentences = [other.sentence for other in differences]
        _warn_once(transform, sentences, f"The transformed rows {verb} be wrong.")


def _warn_once(transform: RowMap, sentences: Sequence[str], consequence: str) -> None:
    """Issue one warning about the rows of a transform, if none was issued before."""
    if transform not in _warned:
        _warned.add(transform)
        warn(f"{'; '.join(sentences)}. {consequence}", DataWarning)


def table_rows(
    transforms: Mapping[str, RowMap],
    objects: Features,
    *,
    normalize: bool = False,
    force: bool = True,
) -> Features:
    """Return the objects as all arms of a table begin from them: with rows of length 1 if one must.

    They have length 1 with `normalize`, if all do already, or if a transform was fitted on such
    rows. A transform that does not record its rows takes no part in these checks: it maps rows as
    the files have them, and one warning says so.

    Parameters
    ----------
    transforms : mapping of str to LinearTransform
        The transforms that were fitted elsewhere, by their names in messages.
    objects : Features
    force : bool
        As in `check_rows`, to which the objects are submitted.

    Raises
    ------
    DataError
        As in `check_rows`; or `force` is False, and only some of the fits had rows of length 1.
    """
    recorded: dict[str, bool] = {}
    for name, transform in transforms.items():
        transform.check_shape(objects.matrix.shape)
        if transform.record.rows is not None:
            check_rows(transform, objects, force=force)
            recorded[name] = transform.standardization.is_unit
        else:
            sentences = [f"{name} does not record whether its rows were scaled to length 1"]
            sentences += [other.sentence for other in row_differences(transform, objects)]
            _warn_once(transform, sentences, "It maps rows as they are.")
    rows = objects.unit(always=normalize or any(recorded.values()))
    others = sorted(name for name, is_unit in recorded.items() if not is_unit)
    if rows.is_unit and others:
        message = (
            f"the arms begin from rows of length 1, but {others[0]} was fitted on other rows. "
            "Leave it out, or go on with `force=True`."
        )
        if not force:
            raise DataError(message)
        warn(message, DataWarning)
    return rows


def row_differences(transform: RowMap, X: Any) -> list[Difference]:
    """List how rows and their network differ from the rows and the network of a fit.

    ``glocal try`` asks ``not row_differences(transform, features)``: whether features are of the
    network of a transform, by their record or else by their statistics.
    """
    network: dict[str, str] = {}
    size = _SAMPLE_ROWS_OF_A_CALL
    if isinstance(X, Features):
        network = X.network
        size = _SAMPLE_ROWS
        X = X.matrix
    if X.shape[1] != transform.dimensions:
        sentence = (
            f"the rows have {X.shape[1]} columns, but those of the fit {transform.dimensions}"
        )
        return [Difference(sentence, is_certain=True)]
    statistics = transform.record.rows
    differences = []
    strength = transform.record.strength
    if statistics is not None or strength:  # at strength 0 the mean of the rows is not known
        mean = transform.standardization.mean / (strength or 1.0)
        scalars = replace(transform.standardization, mean=mean)
        with np.errstate(over="ignore", invalid="ignore"):  # values near the limits of float64
            other = difference(spaced_rows(X, size), statistics, scalars)
        differences += [] if other is None else [other]
    source = transform.record.source
    for name, fitted in (("model", source.model), ("layer", source.layer)):
        current = network.get(name)
        if current and fitted and folded_name(current) != folded_name(fitted):
            sentence = (
                f"the features are of {name} {current}, but the transform was fitted on {fitted}"
            )
            differences.append(Difference(sentence, is_certain=True))
    return differences
