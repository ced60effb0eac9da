"""The arrays of `Answers`: which there are, what they may hold, and copies that nobody changes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from glocal.errors import DataError
from glocal.similarity import KINDS

OF_ANSWERS = {"weights": "fiub", "votes": "fiub", "person": "iubU", "seconds": "fiub"}
"""The arrays with a value for each answer, and numpy's codes of their dtypes."""
OF_CATCH_TRIALS = {"catch_passed": "b", "catch_person": "iubU"}
"""The arrays with a value for each catch trial, and numpy's codes of their dtypes."""
_VALUES = {"fiub": "number", "iubU": "integer or name", "b": "true or false"}


def import_line(options: str) -> str:
    """The command that converts a file with conventions of its own, for messages."""
    return f"glocal data import FILE {options} --out answers.npz"


def integer_rows(objects: Any) -> np.ndarray:
    """Return an array as rows of integers, or raise a DataError."""
    _check_array("objects", objects)
    if objects.dtype.kind in "SUO":
        raise DataError(
            f"answers hold names ({objects.dtype}); they must be the numbers of objects. Read a "
            "table of names with glocal data import, or import_answers in Python. Number an array "
            "of names: names, numbers = numpy.unique(array, return_inverse=True); "
            "Answers(numbers.reshape(array.shape), names=names)."
        )
    if objects.ndim != 2 or objects.shape[1] < 3:
        raise DataError(
            f"answers have shape {objects.shape}; it must be (t, 3): the pair, then the odd one."
        )
    if objects.dtype.kind in "iu":
        return objects
    if objects.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # of NaN and infinity
            whole = objects.astype(np.int64)
        if (objects == whole).all():
            return whole
    raise DataError(
        f"answers hold {objects.dtype} values of shape {objects.shape}, such as "
        f"{objects[0].tolist()[:9]}; they must be integers, the numbers of objects. Are features "
        "and answers swapped?"
    )


def odd_one_last(objects: np.ndarray, odd_column: int, kind: str) -> np.ndarray:
    """Rows of objects with this column at the end."""
    if odd_column not in (0, 1, 2):
        raise DataError(f"the odd column is {odd_column}; it must be 0, 1 or 2.")
    if odd_column == 2:
        return objects
    if kind != "odd-one-out" or objects.shape[1] != 3:
        raise DataError(
            f"`odd_column={odd_column}` is for odd-one-out answers about three objects, but these "
            f"are {kind} answers about {objects.shape[1]}. Leave it out."
        )
    pair = [column for column in (0, 1, 2) if column != odd_column]
    return objects[:, [*pair, odd_column]]


def counted_from_0(objects: np.ndarray, base: int) -> np.ndarray:
    """Objects that were counted from `base`, 0 or 1, counted from 0."""
    if base not in (0, 1):
        raise DataError(f"the base is {base}; it must be 0 or 1.")
    if base == 0:
        return objects
    smallest = int(objects.min(initial=1))
    if smallest < 1:
        raise DataError(f"answers name object {smallest} but `base=1` was stated. Pass `base=0`.")
    return objects.astype(np.int64) - 1


def sorted_objects(order: np.ndarray) -> np.ndarray:
    """The object that each raw index stands for: ``argsort(order)`` of a sort index."""
    n = order.size
    if order.ndim != 1 or not np.array_equal(np.sort(order), np.arange(n)):
        raise DataError(
            f"the order of shape {order.shape} is not a permutation of 0 to n - 1; give a sort "
            "index."
        )
    return np.argsort(order)


def check_objects(objects: np.ndarray, kind: str) -> None:
    """Raise a DataError if rows of integers are not the objects of answers of this kind."""
    n_columns = objects.shape[1]
    n_allowed = len(KINDS[kind].columns)
    if n_columns != n_allowed and not (n_columns > n_allowed and KINDS[kind].is_open):
        raise DataError(
            f"answers have shape {objects.shape}; for the kind {kind} it must be (t, {n_allowed}): "
            "pass answers.T if they are transposed. If the first column is a reference and the "
            "second the nearest to it, convert the file: "
            f"{import_line('--kind nearest-of-n')} (in Python, pass kind='nearest-of-n'). If "
            "participants or times are among the columns, give them titles."
        )
    largest = np.iinfo(np.int32).max
    # reducing along millions of short rows would take many times as long
    columns = objects.T
    is_outside = np.logical_or.reduce([(column < 0) | (column > largest) for column in columns])
    is_repeated = np.logical_or.reduce([a == b for a, b in combinations(columns, 2)])
    reasons = {
        f"object indices must be at least 0 and at most {largest}": is_outside,
        "it repeats an object, and the objects of an answer must differ": is_repeated,
    }
    for reason, is_wrong in reasons.items():
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise DataError(
                f"answer {row} is {objects[row].tolist()}; {reason}. Remove or correct such "
                f"answers ({np.count_nonzero(is_wrong)} of {len(objects)} answers)."
            )


def checked_arrays(n_answers: int, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays beside the objects, checked and read-only."""
    n_catch = np.size(arrays.get("catch_passed", ()))
    checked = {}
    for name, array in arrays.items():
        n = n_answers if name in OF_ANSWERS else n_catch
        unit = "answers" if name in OF_ANSWERS else "catch trials"
        dtype_kinds = (OF_ANSWERS | OF_CATCH_TRIALS)[name]
        _check_array(name, array)
        if array.shape != (n,) or array.dtype.kind not in dtype_kinds:
            raise DataError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; {n} {unit} need one "
                f"{_VALUES[dtype_kinds]} each."
            )
        has_floats = "f" in dtype_kinds
        checked[name] = frozen(array.astype(np.float64) if has_floats else array)
        if name in ("weights", "votes"):
            _check_weights(name, checked[name])
    return checked


def _check_weights(name: str, weights: np.ndarray) -> None:
    """Raise a DataError for weights that are negative, not finite or all 0."""
    is_wrong = ~(np.isfinite(weights) & (weights >= 0))
    are_all_0 = weights.size and not weights.any()
    if is_wrong.any() or are_all_0:
        row = int(is_wrong.argmax())
        raise DataError(
            f"{name} hold {weights[row]} at {row}; they must be finite, at least 0 and not all 0."
        )


def _check_array(name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise DataError(
            f"{name} is a {type(value).__name__}; `Answers` takes arrays. Answers.from_array "
            "converts lists, tensors and data frames."
        )


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only array without writable aliases, so that a frozen dataclass is frozen."""
    array = array.copy() if array.flags.writeable else array
    array.flags.writeable = False
    return array
