"""The highest accuracy that a model can reach, from how well people agree with each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.data.repeated import tally
from glocal.evaluation.intervals import Units
from glocal.results import PEOPLE, Score

_MANY, _PART = 1_000_000, 64  # answers; of so many of which one question in 64 is looked at first


@dataclass(frozen=True)
class Ceiling:
    """How well people agree on questions that were answered twice or more; each bound is (value, low, high).

    `majority` is the optimistic bound: the mean over questions of the share of answers that equal the most frequent
    one. Where all questions have as many answers, no model that always answers alike can exceed it on these answers.
    `leave_one_out` is the cautious bound: the share of answers that equal the majority of the others' answers to the
    same question, ties shared. The 95 % intervals are over questions and respect shared objects. `units` hold the
    majority share of each question.
    """

    majority: tuple[float, float | None, float | None]
    leave_one_out: tuple[float, float | None, float | None]
    n_questions: int
    n_answers: int
    units: Units = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Both bounds, of people themselves."""
        bounds = {"majority": self.majority, "leave_one_out": self.leave_one_out}
        return tuple(
            Score("odd-one-out", f"ceiling_{name}", *bound, self.n_answers, transform=PEOPLE)
            for name, bound in bounds.items()
        )


def ceiling(answers: Answers, *, least: float = 0.0) -> Ceiling | None:
    """Both bounds of the agreement from repeated answers of any kind; None where no question was answered twice.

    Each answer is compared with the other answers to its question, also with other answers of the same person. Answers
    whose weights are not whole numbers cannot be counted: they have no ceiling either.

    Parameters
    ----------
    answers : Answers
        One row an answer; an integer weight is that many copies.
    least : float
        The share of the answers that must be to such questions, else there is None: a few are repeated by accident. Of
        more than a million answers a part of the questions tells that.

    Examples
    --------
    >>> found = ceiling(Answers.from_array([[0, 1, 2], [1, 0, 2], [0, 2, 1]]))
    >>> round(found.majority[0], 3), round(found.leave_one_out[0], 3)
    (0.667, 0.333)
    """
    if not len(answers) or (answers.weights is not None and (answers.weights % 1).any()):
        return None
    if least and len(answers) > _MANY:  # the answers to a question have one sum of objects
        some = answers.select(answers.objects.sum(axis=1) % _PART == 0)
        times = tally(some).counts.sum(axis=1) if len(some) else np.array([np.inf])
        if times[times >= 2].sum() < least / 2 * times.sum():
            return None
    found = tally(answers)
    times = found.counts.sum(axis=1)
    asked_again = times >= 2
    if not asked_again.any() or times[asked_again].sum() < least * times.sum():
        return None
    sets, counts = found.sets[asked_again], found.counts[asked_again]
    total, earned = counts.sum(axis=1), _agreeing(counts)
    majority = Units(values=counts.max(axis=1) / total, answers=sets)
    left_out = Units(values=earned / total, answers=sets, weights=total)
    bounds = [(one.mean, *one.interval(fraction=True)) for one in (majority.estimate(), left_out.estimate())]
    return Ceiling(bounds[0], bounds[1], len(sets), int(total.sum()), majority)


def _agreeing(counts: Float[np.ndarray, "s k"]) -> Float[np.ndarray, " s"]:
    """How many answers to each question equal the majority of its other answers, ties shared."""
    earned = np.zeros(len(counts))
    for choice in range(counts.shape[1]):
        others = counts.copy()
        others[:, choice] -= 1
        most = others.max(axis=1)
        earned += counts[:, choice] * (others[:, choice] == most) / (others == most[:, None]).sum(axis=1)
    return earned
