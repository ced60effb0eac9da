"""The highest accuracy that a model can reach, from how well people agree with each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.data.repeated import Tally, tally
from glocal.errors import DataError
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.result import Units
from glocal.evaluation.statistics import triplet_estimate
from glocal.results import PEOPLE, Score
from glocal.similarity import Deciding

BRAIN_SCORE = 0.6767
"""The ceiling that the Brain-Score benchmark ``Hebart2023-match`` divides by, a constant in its source
(brain-score/vision, ``brainscore_vision/benchmarks/hebart2023/benchmark.py`` at c642dbe: the mean share of participants
who made the same choice for a given triplet; it was 0.6844 in earlier versions). It comes from another sample of
repeated triplets than yours."""


@dataclass(frozen=True)
class Bound:
    """A bound of the accuracy, a fraction, with its 95 % interval over triplets (None where it cannot be computed)."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Ceiling:
    """How well people agree on triplets that several of them answered.

    `majority` is the optimistic bound: the mean over triplets of the share of answers that equal the most frequent
    one. Where all triplets have as many answers, no model that always answers alike can exceed it on these answers.
    `leave_one_out` is the cautious bound: the share of answers that equal the majority of the others' answers to the
    same triplet, ties shared.
    The `n_single` triplets with one answer carry no information and are left out.
    """

    majority: Bound
    leave_one_out: Bound
    n_triplets: int
    n_answers: int
    n_single: int
    units: Units = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Both bounds, of people themselves."""
        bounds = {"majority": self.majority, "leave_one_out": self.leave_one_out}
        return tuple(
            Score("ceiling", f"ceiling_{name}", bound.value, bound.low, bound.high, self.n_answers, transform=PEOPLE)
            for name, bound in bounds.items()
        )


def ceiling(triplets: Answers) -> Ceiling:
    """Both bounds of the agreement from repeated answers of any kind.

    Each answer is compared with the other answers to its triplet, also with other answers of the same person.
    Intervals are over triplets and respect shared objects (`triplet_estimate`).

    Parameters
    ----------
    triplets : Answers
        One row an answer; an integer weight is that many copies.

    Raises
    ------
    DataError
        No triplet with two answers.

    Examples
    --------
    >>> found = ceiling(Answers.from_array([[0, 1, 2], [1, 0, 2], [0, 2, 1]]))
    >>> round(found.majority.value, 3), round(found.leave_one_out.value, 3)
    (0.667, 0.333)
    """
    kept, n_single = repeated(tally(triplets))
    sets, counts = kept.sets, kept.counts
    total = counts.sum(axis=1)
    majority, earned = counts.max(axis=1) / total, _agreeing(counts)
    agreement = earned / total
    return Ceiling(
        Bound(float(majority.mean()), *triplet_estimate(majority, sets).interval(fraction=True)),
        Bound(float(earned.sum() / total.sum()), *triplet_estimate(agreement, sets, total).interval(fraction=True)),
        len(sets),
        int(total.sum()),
        n_single,
        Units(values=majority, answers=sets),
    )


def _agreeing(counts: Float[np.ndarray, "s k"]) -> Float[np.ndarray, " s"]:
    """How many answers to each question equal the majority of its other answers, ties shared."""
    earned = np.zeros(len(counts))
    for choice in range(counts.shape[1]):
        others = counts.copy()
        others[:, choice] -= 1
        most = others.max(axis=1)
        earned += counts[:, choice] * (others[:, choice] == most) / (others == most[:, None]).sum(axis=1)
    return earned


@dataclass(frozen=True)
class Reached:
    """How near an embedding comes to the ceilings of the same repeated answers.

    `accuracy` is weighted by answers, with its 95 % interval `low` to `high`; `normalised` and `ratio` hold, for each
    ceiling by name, (accuracy - chance) / (ceiling - chance) and accuracy / ceiling (NaN where the ceiling is not above
    chance, or 0); `units` the credit of each answer.
    """

    accuracy: float
    low: float | None
    high: float | None
    tie_rate: float
    similarity: str
    normalised: dict[str, float]
    ratio: dict[str, float]
    ceiling: Ceiling = field(repr=False)
    units: Units = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Accuracy, what it is beside each ceiling, and the ceilings."""
        n, settings = self.ceiling.n_answers, {"similarity": self.similarity}
        return (
            Score("ceiling", f"accuracy_{self.similarity}", self.accuracy, self.low, self.high, n),
            *(
                Score("ceiling", f"normalised_by_{name}", value, n=n, settings=settings)
                for name, value in self.normalised.items()
            ),
            *self.ceiling.scores,
        )


def reached(Z: np.ndarray, triplets: Answers, *, similarity: Deciding = "cosine", brain_score: bool = False) -> Reached:
    """Score an embedding on repeated answers and compare it with their ceilings.

    Parameters
    ----------
    Z : (n, p) real array
        Standardized features, transformed or not.
    triplets : Answers
        As in `ceiling`; indices are rows of Z.
    similarity : {"cosine", "dot"}
    brain_score : bool
        Whether to compare with `BRAIN_SCORE` too.
    """
    found = ceiling(triplets)
    bounds = {"majority": found.majority.value, "leave_one_out": found.leave_one_out.value}
    bounds |= {"brain_score": BRAIN_SCORE} if brain_score else {}
    score = odd_one_out(Z, several(triplets), similarity=similarity)
    return Reached(
        score.accuracy,
        score.low,
        score.high,
        score.tie_rate,
        similarity,
        {name: normalised(score.accuracy, bound, score.chance) for name, bound in bounds.items()},
        {name: score.accuracy / bound if bound else float("nan") for name, bound in bounds.items()},
        found,
        score.units,
    )


def several(answers: Answers) -> Answers:
    """The answers to questions that were answered twice or more, one for each question and choice, weighted."""
    return repeated(tally(answers))[0].answers()


def repeated(answers: Tally) -> tuple[Tally, int]:
    """The questions with at least two answers, and the number of the others.

    Raises
    ------
    DataError
        No question has two answers.
    """
    there = answers.counts.sum(axis=1) >= 2
    if not there.any():
        raise DataError(
            f"none of the {len(there)} questions has two answers; a noise ceiling needs the same questions asked again."
        )
    return Tally(answers.kind, answers.sets[there], answers.counts[there]), int(np.count_nonzero(~there))


def normalised(accuracy: float, bound: float, chance: float = 1 / 3) -> float:
    """Accuracy on the scale from chance to a ceiling: (accuracy - chance) / (bound - chance).

    0 is chance and 1 the ceiling; below chance it is negative, above a cautious ceiling it exceeds 1. NaN where the
    ceiling does not exceed chance. The plain ratio accuracy / bound, which some report, is 0.5 for chance at a ceiling
    of 2/3.

    >>> normalised(0.5, 2 / 3)
    0.5
    """
    return (accuracy - chance) / (bound - chance) if bound > chance else float("nan")
