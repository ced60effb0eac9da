"""The same questions put to many people: what bounds any model's agreement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.errors import DataError


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


def questions(answers: Answers) -> tuple[Int[np.ndarray, "t m"], Int[np.ndarray, " t"]]:
    """What each answer was asked, its objects in a fixed order, and which candidate pair of these it chose."""
    objects = answers.objects.astype(np.int64)
    if answers.kind == "odd-one-out":
        ordered = np.sort(objects, axis=1)
        return ordered, 2 - (ordered == objects[:, 2:]).argmax(axis=1)
    others = np.sort(objects[:, 1:], axis=1)
    return np.concatenate([objects[:, :1], others], axis=1), (others == objects[:, 1:2]).argmax(axis=1)


def tally(answers: Answers) -> Tally:
    """Count the answers to each question.

    Raises
    ------
    DataError
        No answer, or a weight that is not a whole number: a fraction of an answer cannot be left out.
    """
    if not len(answers):
        raise DataError("there is no answer to tally.")
    if answers.weights is not None and (answers.weights != np.round(answers.weights)).any():
        raise DataError("repeated answers have weights that are not whole numbers; a weight must count answers.")
    asked, chosen = questions(answers)
    n, m, k = int(asked.max()) + 1, asked.shape[1], len(answers.pairs)
    one_number = n**m < 1 << 62  # numbers sort much faster than rows
    keys = asked @ np.int64(n) ** np.arange(m)[::-1] if one_number else asked
    _, first, question = np.unique(keys, axis=None if one_number else 0, return_index=True, return_inverse=True)
    counts = np.bincount(question.reshape(-1) * k + chosen, answers.weights, minlength=k * len(first))
    return Tally(answers.kind, asked[first], counts.reshape(-1, k).astype(np.float64))
