"""The same questions put to many people: what bounds any model's agreement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.answers_file import read_answers, read_list
from glocal.errors import DataError
from glocal.files import PathLike
from glocal.similarity import Part


@dataclass(frozen=True, eq=False)
class Tally:
    """How often each candidate pair of each question was chosen.

    `sets` (s, m) holds the objects of each question in a fixed order: ascending, after the reference if there is one;
    `counts` (s, k) the answers that chose each candidate pair of them.
    """

    kind: str
    sets: Int[np.ndarray, "s m"]
    counts: Float[np.ndarray, "s k"]

    def answers(self) -> Answers:
        """The answers again, one for each question and candidate pair, its count as the weight."""
        return Answers(self.sets, kind=self.kind).voted(self.counts)


def load_repeated(path: PathLike, *, kind: str | None = None, base: int = 0, order: PathLike | None = None) -> Answers:
    """Read repeated answers: any file of answers, and bare tables with the person in the fourth column.

    Parameters
    ----------
    path : path
        As `Answers.load` reads it, or ``.npy`` or text with (t, 4) integers: a, b, odd, person.
    kind, base, order
        As there.

    Raises
    ------
    FileError
        Missing, damaged or not numbers.
    DataError
        Other columns, or no answers.
    """
    found = read_answers(path, what="answers")
    table = found["answers"]
    if "kind" in found or kind == "nearest-of-n" or table.ndim != 2 or table.shape[1] != 4:
        return Answers.load(path, kind=kind, base=base, order=order)
    sort_index = None if order is None else read_list(order, what="order")
    try:
        return Answers.from_array(
            table[:, :3], kind=kind or "odd-one-out", base=base, order=sort_index, person=table[:, 3]
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def questions(part: Part) -> tuple[Int[np.ndarray, "c m"], Int[np.ndarray, " c"]]:
    """What each answer was asked, its objects in a fixed order, and which candidate pair of these it chose."""
    if len(part.pairs) == part.objects.shape[1]:  # three pairs of three objects
        ordered = np.sort(part.objects, axis=1).astype(np.int64)
        return ordered, 2 - (ordered == part.objects[:, 2:]).argmax(axis=1)
    others = np.sort(part.objects[:, 1:], axis=1)
    asked = np.concatenate([part.objects[:, :1], others], axis=1).astype(np.int64)
    return asked, (others == part.objects[:, 1:2]).argmax(axis=1)


def tally(answers: Answers) -> tuple[Tally, ...]:
    """Count the answers to each question; one table for each kind of answer.

    Raises
    ------
    DataError
        No answer, or a weight that is not a whole number: a fraction of an answer cannot be left out.
    """
    if not len(answers):
        raise DataError("there is no answer to tally.")
    weights = np.ones(len(answers)) if answers.weights is None else answers.weights
    if (weights != np.round(weights)).any():
        raise DataError("repeated answers have weights that are not whole numbers; a weight must count answers.")
    found = []
    for part in answers.parts:
        asked, choice = questions(part)
        sets, member = np.unique(asked, axis=0, return_inverse=True)
        k = len(part.pairs)
        counts = np.bincount(member.reshape(-1) * k + choice, weights[part.rows], minlength=k * len(sets))
        kind = "odd-one-out" if k == sets.shape[1] else "nearest-of-n"
        found.append(Tally(kind, sets, counts.reshape(-1, k)))
    return tuple(found)
