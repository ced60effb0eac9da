"""The same triplets shown to many people: what bounds any model's accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from glocal.data.triplets import COLUMNS, Triplets, cells_of, check_columns, header_of, read_numbers
from glocal.errors import DataError
from glocal.files import PathLike, read_lines


@dataclass(frozen=True, eq=False)
class RepeatedAnswers:
    """One row an answer; a triplet comes up as often as it was answered.

    Parameters
    ----------
    triplets : Triplets
        One answer each, the odd one last; the order of the three objects carries no meaning otherwise.
    person : (t,) array or None
        Who gave each answer.
    """

    triplets: Triplets
    person: np.ndarray | None = None

    @property
    def n_people(self) -> int | None:
        """The number of different people, if they are known."""
        return None if self.person is None else len(np.unique(self.person))


@dataclass(frozen=True, eq=False)
class Tally:
    """How often each object of each set of three was named the odd one.

    `sets` (s, 3) holds the objects in ascending order, `counts` (s, 3) the answers that named each of them.
    """

    sets: Int[np.ndarray, "s 3"]
    counts: Float[np.ndarray, "s 3"]

    def triplets(self) -> Triplets:
        """The answers again, one row for each set and odd object, its count as the weight."""
        rows = np.concatenate([self.sets[:, order] for order in ([1, 2, 0], [0, 2, 1], [0, 1, 2])])
        counts = self.counts.T.reshape(-1)
        return Triplets(rows[counts > 0], counts[counts > 0])


def load_repeated(path: PathLike, *, base: int = 0, order: PathLike | None = None) -> RepeatedAnswers:
    """Read repeated answers.

    Parameters
    ----------
    path : path
        CSV or text with the columns a, b, odd and optionally person, in any order below a line that names them, or in
        this order without one; or ``.npy`` with (t, 3) or (t, 4) integers in this order.
    base : int
        0 or 1: the index of the first object.
    order : path or None
        A sort index; the object of raw index i is ``argsort(order)[i]``.

    Raises
    ------
    FileError
        Missing, damaged or not numbers.
    DataError
        Other columns, or no triplets.
    """
    if Path(path).suffix.lower() == ".npy":
        table = read_numbers(path, what="answers")
        if table.ndim != 2 or table.shape[1] not in (3, 4):
            raise DataError(f"{path} has shape {table.shape}; answers must be (t, 3) or (t, 4): a, b, odd, person.")
        answers, person = table[:, :3], table[:, 3] if table.shape[1] == 4 else None
    else:
        answers, person = _from_text(path)
    sort_index = None if order is None else read_numbers(order, what="order").reshape(-1)
    try:
        return RepeatedAnswers(Triplets.from_array(answers, base=base, order=sort_index), person)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def tally(triplets: Triplets) -> Tally:
    """Count the answers to each set of three objects.

    Raises
    ------
    DataError
        No answer, or a weight that is not a whole number: a fraction of an answer cannot be left out.
    """
    if not len(triplets):
        raise DataError("there is no answer to tally.")
    weights = np.ones(len(triplets)) if triplets.weights is None else triplets.weights
    if (weights != np.round(weights)).any():
        raise DataError("repeated answers have weights that are not whole numbers; a weight must count answers.")
    ordered = np.sort(triplets.answers, axis=1).astype(np.int64)
    sets, member = np.unique(ordered, axis=0, return_inverse=True)
    member = member.reshape(-1)
    place = (ordered == triplets.answers[:, 2:]).argmax(axis=1)
    counts = np.bincount(member * 3 + place, weights, minlength=3 * len(sets)).reshape(-1, 3)
    return Tally(sets, counts)


def _from_text(path: PathLike) -> tuple[np.ndarray, np.ndarray | None]:
    lines = [line for line in read_lines(path, what="answers") if line]
    header = header_of(lines[0])
    rows = [cells_of(line) for line in (lines if header is None else lines[1:])]
    header = [*COLUMNS, "person"][: len(rows[0])] if header is None else header
    check_columns(path, header)
    for number, row in enumerate(rows):
        if len(row) != len(header) or not all(_is_integer(row[header.index(name)]) for name in COLUMNS):
            raise DataError(
                f"{path}: answer {number} is {','.join(row)!r}; it must be {', '.join(header)}, as integers."
            )
    table = np.array(rows).reshape(-1, len(header))
    answers = np.stack([table[:, header.index(name)].astype(np.int64) for name in COLUMNS], axis=1)
    return answers, table[:, header.index("person")] if "person" in header else None


def _is_integer(cell: str) -> bool:
    return cell.removeprefix("-").isdecimal() and len(cell) < 19
