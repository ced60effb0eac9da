"""People's odd-one-out answers: (t, 3) object indices, the pair first, the odd one last."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from glocal.errors import DataError, DataWarning, FileError
from glocal.files import PathLike, atomic_write, existing_file, one_line, read_lines, read_npy

COLUMNS = ("a", "b", "odd")
_SEPARATORS = str.maketrans(",;", "  ")


@dataclass(frozen=True, eq=False)
class Triplets:
    """Immutable odd-one-out answers, 0-based, odd one last.

    Parameters
    ----------
    answers : (t, 3) integers
        Columns 0 and 1 are the pair found most similar, column 2 is the odd one out.
    weights : (t,) float64 or None
        Finite, at least 0, not all 0. An integer weight equals that many copies of the answer;
        a soft answer is up to three rows with its probabilities as weights. None means 1 each.

    Raises
    ------
    DataError
        Wrong shape or type, a negative index, an object repeated inside a triplet, or bad weights.

    Examples
    --------
    >>> answers = Triplets.from_array([[3, 1, 2], [2, 3, 1]], odd_column=0, base=1)
    >>> answers.answers.tolist()
    [[0, 1, 2], [2, 0, 1]]
    """

    answers: Integer[np.ndarray, "t 3"]
    weights: Float[np.ndarray, " t"] | None = None

    def __post_init__(self) -> None:
        _check_answers(self.answers)
        object.__setattr__(self, "answers", _frozen(self.answers))
        if self.weights is not None:
            weights = _checked_weights(self.weights, len(self.answers))
            object.__setattr__(self, "weights", _frozen(weights))

    @classmethod
    def from_array(
        cls,
        array: object,
        *,
        odd_column: int = 2,
        base: int = 0,
        order: object | None = None,
        weights: object | None = None,
    ) -> Triplets:
        """Build triplets from raw indices whose conventions are stated.

        Parameters
        ----------
        array : (t, 3) integers
            Raw indices.
        odd_column : int
            0, 1 or 2: the column that holds the odd one out.
        base : int
            0 or 1: the index of the first object.
        order : (n,) integers or None
            A sort index; the object of raw index i (after `base`) is ``argsort(order)[i]``.
        weights : (t,) numbers or None
            See `Triplets`.

        Returns
        -------
        Triplets
        """
        try:
            answers = np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
        except ValueError as error:
            raise DataError(
                "triplets have rows of different lengths; they must be (t, 3): pair, pair, odd one."
            ) from error
        if odd_column not in (0, 1, 2):
            raise DataError(f"odd column is {odd_column}; allowed are 0, 1 and 2 (columns are counted from 0).")
        if base not in (0, 1):
            raise DataError(f"index base is {base}; allowed are 0 and 1.")
        _check_shape_and_type(answers)
        if odd_column != 2:
            pair = [column for column in (0, 1, 2) if column != odd_column]
            answers = answers[:, [*pair, odd_column]]
        if base:
            if len(answers) and int(answers.min()) < 1:
                raise DataError("index base 1 was stated but the triplets name object 0. Pass --base 0.")
            answers = answers - answers.dtype.type(1)
        if order is not None:
            answers = _through_order(answers, np.asarray(order))
        return cls(answers, None if weights is None else _checked_weights(np.asarray(weights), len(answers)))

    @classmethod
    def load(
        cls,
        path: PathLike,
        *,
        odd_column: int = 2,
        base: int = 0,
        order: PathLike | None = None,
        weights: PathLike | None = None,
    ) -> Triplets:
        """Read triplets from ``.npy`` or from text (three integers a line; blanks, commas or semicolons between).

        The first line of a text may name the columns a, b and odd, in any order; others are not read, and named.

        Parameters
        ----------
        path, order, weights : path
            The answers; the sort index (text or ``.npy``); the weights (text or ``.npy``).
        odd_column, base : int
            As in `from_array`.

        Raises
        ------
        FileError
            A file is missing, unreadable or damaged.
        DataError
            The content is not what `Triplets` allows; the message names the file.
        """
        array = _named_columns(path, odd_column)
        array = read_numbers(path, what="triplets") if array is None else array
        sort_index = None if order is None else _list(read_numbers(order, what="order"))
        values = None if weights is None else _list(read_numbers(weights, what="weights"))
        try:
            return cls.from_array(array, odd_column=odd_column, base=base, order=sort_index, weights=values)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def save(self, path: PathLike) -> None:
        """Write the answers as ``.npy``, 0-based, odd last, atomically; weights are saved apart."""
        with atomic_write(path) as stream:
            np.save(stream, self.answers, allow_pickle=False)

    def __len__(self) -> int:
        return len(self.answers)

    def __repr__(self) -> str:
        weighted = "" if self.weights is None else ", weighted"
        return f"Triplets({len(self)} answers{weighted})"

    @property
    def total_weight(self) -> float:
        """Sum of the weights; the number of answers if there are none."""
        return float(len(self)) if self.weights is None else float(self.weights.sum())

    def objects(self) -> Int[np.ndarray, " k"]:
        """The sorted indices of the objects that any answer names."""
        if not len(self):
            return np.empty(0, dtype=np.int64)
        named = np.zeros(int(self.answers.max()) + 1, dtype=bool)
        named[self.answers] = True
        return np.flatnonzero(named)

    def check_range(self, n: int, *, what: str = "features", unit: str = "rows") -> None:
        """Raise a DataError if an answer names an object outside 0..n-1."""
        largest = int(self.answers.max()) if len(self) else -1
        if largest >= n:
            hint = " Is the file 1-based? Pass --base 1." if largest == n and int(self.answers.min()) >= 1 else ""
            hint = hint or " If the triplets index another list of objects, name it with --object-ids."
            raise DataError(f"triplets name object {largest} but {what} has {n} {unit} (valid 0..{n - 1}).{hint}")

    def select(self, keep: Bool[np.ndarray, " t"]) -> Triplets:
        """The answers where `keep` is true, in the same index space."""
        return Triplets(self.answers[keep], None if self.weights is None else self.weights[keep])

    def relabel(self, new_index: Int[np.ndarray, " n"]) -> tuple[Triplets, int]:
        """Map object i to ``new_index[i]``; answers with an object mapped to -1 are dropped and counted."""
        mapped = new_index.astype(np.int32)[self.answers]
        keep = (mapped >= 0).all(axis=1)
        dropped = int(len(keep) - np.count_nonzero(keep))
        if dropped:
            mapped = mapped[keep]
        weights = self.weights if self.weights is None or not dropped else self.weights[keep]
        return Triplets(mapped, weights), dropped


def read_numbers(path: PathLike, *, what: str) -> np.ndarray:
    """Read numbers from ``.npy`` or from text, (lines, columns); integers stay integers."""
    path = existing_file(path, what=what)
    if Path(path).suffix.lower() == ".npy":
        return np.array(read_npy(path, what=what))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"{what} file {path} is neither .npy nor readable text ({one_line(error)}). "
            "Save it with numpy.save or as lines of numbers."
        ) from error
    if not text.strip():
        raise FileError(f"{what} file {path} is empty. Write it again.")
    lines = text.translate(_SEPARATORS).splitlines()
    for dtype in (np.int64, np.float64):
        try:
            return np.loadtxt(lines, dtype=dtype, ndmin=2)
        except (ValueError, OverflowError) as error:
            failure = error
    raise FileError(f"{what} file {path} holds something other than rows of numbers ({one_line(failure)}).")


def cells_of(line: str) -> list[str]:
    """The cells of one line of a table: between commas or semicolons, or else between blanks."""
    row = line.replace(";", ",")
    cells = row.split(",") if "," in row else row.split()
    return [cell.strip().strip('"') for cell in cells]


def header_of(line: str) -> list[str] | None:
    """The names of columns that a line holds, in small letters; None for a line of numbers."""
    cells = cells_of(line)
    try:
        float(cells[0] if cells else "nan")
    except ValueError:
        return [cell.lower() for cell in cells]
    return None


def check_columns(path: PathLike, header: list[str]) -> None:
    """Raise a DataError unless a header names the three columns of an answer."""
    if not set(COLUMNS) <= set(header) or len(set(header)) < len(header):
        raise DataError(
            f"{path} has the columns {', '.join(header)}; answers need a, b and odd, once each, and may have person. "
            "Name them so in the first line."
        )


def _named_columns(path: PathLike, odd_column: int) -> np.ndarray | None:
    """The answers of a text whose first line names its columns; None for any other file."""
    if Path(path).suffix.lower() == ".npy" or not Path(path).is_file():
        return None
    with Path(path).open("rb") as stream:
        first = stream.readline(4096).decode("utf-8-sig", errors="replace")
    header = header_of(first)
    if header is None or not first.strip().isprintable():
        return None
    check_columns(path, header)
    if odd_column != 2:
        raise DataError(f"{path} names its column odd in the first line; leave out --odd-column (odd_column=).")
    lines = [line for line in read_lines(path, what="triplets")[1:] if line]
    others = [name for name in header if name not in COLUMNS]
    if others:
        warnings.warn(f"{path}: {', '.join(others)} is not read; a, b and odd are.", DataWarning, stacklevel=3)
    answers = np.empty((len(lines), 3), dtype=np.int64)
    places = [header.index(name) for name in COLUMNS]
    for number, line in enumerate(lines):
        cells = cells_of(line)
        try:
            answers[number] = [int(cells[place]) for place in places]
        except (ValueError, IndexError, OverflowError) as error:
            raise DataError(
                f"{path}: answer {number} is {line!r}; it must be {', '.join(header)}, with a, b and odd as integers."
            ) from error
    return answers


def _list(numbers: np.ndarray) -> np.ndarray:
    """A list of numbers, written down the lines or along one line."""
    return numbers.reshape(-1) if numbers.ndim == 2 and 1 in numbers.shape else numbers


def _check_shape_and_type(answers: np.ndarray) -> None:
    if answers.ndim != 2 or answers.shape[1] != 3:
        raise DataError(f"triplets have shape {answers.shape}; they must be (t, 3): pair, pair, odd one.")
    if not np.issubdtype(answers.dtype, np.integer):
        raise DataError(
            f"triplets hold {answers.dtype} values; object indices must be integers. "
            "If they are whole numbers, save them with array.astype('int32')."
        )


def _check_answers(answers: np.ndarray) -> None:
    _check_shape_and_type(answers)
    if not len(answers):
        return
    if int(answers.min()) < 0:
        row = int(np.flatnonzero((answers < 0).any(axis=1))[0])
        raise DataError(f"triplet {row} is {answers[row].tolist()}; object indices must be at least 0.")
    if int(answers.max()) > np.iinfo(np.int32).max:
        raise DataError(f"triplets name object {int(answers.max())}; at most {np.iinfo(np.int32).max} is supported.")
    a, b, odd = answers.T
    repeated = (a == b) | (a == odd) | (b == odd)
    if repeated.any():
        row = int(np.argmax(repeated))
        raise DataError(
            f"triplet {row} is {answers[row].tolist()} and repeats an object ({np.count_nonzero(repeated)} such "
            "triplets); the three objects must differ. Remove these answers."
        )


def _checked_weights(weights: np.ndarray, n: int) -> np.ndarray:
    if weights.shape != (n,):
        raise DataError(f"weights have shape {weights.shape} but there are {n} triplets; one weight each is needed.")
    if weights.dtype.kind not in "fiub":
        raise DataError(f"weights hold {weights.dtype} values; they must be real numbers.")
    weights = weights.astype(np.float64)
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"weight {row} is {weights[row]}; weights must be finite and at least 0.")
    if n and not weights.sum() > 0:
        raise DataError("all weights are 0; at least one answer must count.")
    return weights


def _through_order(answers: np.ndarray, order: np.ndarray) -> np.ndarray:
    n = order.size
    if order.ndim != 1 or not np.array_equal(np.sort(order), np.arange(n)):
        raise DataError(f"the order of shape {order.shape} is not a permutation of 0..{n - 1}; give a sort index.")
    if len(answers) and (int(answers.max()) >= n or int(answers.min()) < 0):
        raise DataError(f"triplets name object {int(answers.max())} but the order lists {n} objects.")
    inverse: np.ndarray = np.argsort(order).astype(np.int32)
    return inverse[answers]


def _frozen(array: np.ndarray) -> np.ndarray:
    """An unaliased read-only array: a frozen dataclass must not change under its owner."""
    if array.dtype.kind in "iu":
        shared = array.dtype == np.int32 and array.flags.c_contiguous and not array.flags.writeable
        array = array if shared else np.array(array, dtype=np.int32, order="C")
    elif array.flags.writeable:
        array = array.copy()
    array.flags.writeable = False
    return array
