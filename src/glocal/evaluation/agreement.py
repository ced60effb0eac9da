"""Agreement with people: accuracy and loss of an embedding on answers, and the human ceilings."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.data.people import tally
from glocal.errors import DataError, DataWarning
from glocal.evaluation.intervals import FRACTION, Bounded, KeptResult, Units, compared
from glocal.results import PEOPLE, Score
from glocal.similarity import choice_loss, credit, finite, of_pairs, pair_tolerance

MIN_ANSWERS = 30
"""With fewer answers a share of them says little: their agreement comes with a warning."""
MIN_REPEATED_SHARE = 0.1
"""With a smaller share of answers to repeated questions there is no ceiling to state."""


@dataclass(frozen=True)
class OddOneOut:
    """Agreement of one embedding with `n` answers.

    `low` and `high` are the 95 % interval of the accuracy over objects or, where it is wider, over
    persons (None if it was not requested, or cannot be computed from the answers). `tie_rate` is
    the fraction of answers whose highest similarity is tied, `loss` is in nats, `chance` the
    accuracy of equal similarities (1/3 for odd-one-out answers); `units` hold the credit of each
    answer. `ceiling` says how well people agree with each other, if that was computed.
    """

    accuracy: float
    low: float | None
    high: float | None
    tie_rate: float
    loss: float
    chance: float
    n: int
    similarity: str
    units: Units = field(repr=False, compare=False)
    ceiling: Ceiling | None = None

    @property
    def scores(self) -> tuple[Score, ...]:
        """Accuracy, loss and tie rate, and the bounds of people."""
        score = partial(Score, "odd-one-out", n=self.n)
        scores = (
            score(f"accuracy_{self.similarity}", self.accuracy, self.low, self.high),
            score("loss", self.loss),
            score(f"tie_rate_{self.similarity}", self.tie_rate),
        )
        return scores if self.ceiling is None else scores + self.ceiling.scores


def odd_one_out(
    Z: np.ndarray, answers: Answers, *, similarity: str = "cosine", interval: bool = True
) -> OddOneOut:
    """Score an embedding on answers of any kind.

    Accuracy: the weighted share of answers where the pair that people chose has the highest
    similarity, a tie among k pairs counting 1/k. Loss: the weighted mean of -log softmax of the
    candidate pairs' dot products at the chosen one, whichever similarity decides the accuracy
    (L_global of Muttenthaler et al. 2023, Eq. 1).

    Parameters
    ----------
    Z : (n, p) real array
        Standardized features, transformed or not; the answers index its rows.
    similarity : {"cosine", "dot"}
        What decides the model's choice.
    interval : bool
        Whether to compute `low` and `high`, and to warn where the answers are too few for them.

    Raises
    ------
    DataError
        No answer, an index that is not a row of Z, NaN or infinity in Z.

    Warns
    -----
    DataWarning
        Fewer than `MIN_ANSWERS` answers.

    Examples
    --------
    >>> Z = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> odd_one_out(Z, Answers.from_array([[0, 1, 2]]), interval=False).accuracy
    1.0
    """
    Z = finite(Z)
    S = _of_pairs(Z, answers, similarity)
    credits, is_tied = credit(S, pair_tolerance(Z, similarity))
    losses = choice_loss(S if similarity == "dot" else _of_pairs(Z, answers, "dot"))
    units = credit_units(credits, answers)
    low = high = None
    if interval:
        low, high = units.estimate().interval(FRACTION)
        if len(answers) < MIN_ANSWERS:
            warnings.warn(
                f"agreement rests on too few answers to measure it: {len(answers)}, and "
                f"{MIN_ANSWERS} are the least that say something. Collect more, or hold out more "
                "objects.",
                DataWarning,
                stacklevel=2,
            )

    def mean(values: np.ndarray) -> float:
        return float(np.average(values, weights=answers.weights))

    return OddOneOut(
        accuracy=mean(credits),
        low=low,
        high=high,
        tie_rate=mean(is_tied),
        loss=mean(losses),
        chance=answers.chance,
        n=len(answers),
        similarity=similarity,
        units=units,
    )


def answer_credit(Z: np.ndarray, answers: Answers) -> Float[np.ndarray, " t"]:
    """How right an embedding is on each answer by its cosines: 0, 1, or 1/(number tied).

    The weighted mean is the accuracy.
    """
    Z = finite(Z)
    return credit(_of_pairs(Z, answers, "cosine"), pair_tolerance(Z))[0]


def heldout_rows(credits: Mapping[str, Float[np.ndarray, " t"]], heldout: Answers) -> list[Score]:
    """The rows of arms by their `credits` on held-out answers, and of each less the first."""
    results = {}
    for arm, arm_credits in credits.items():
        units = credit_units(arm_credits, heldout)
        bounded = units.estimate().bounded(FRACTION)
        score = Score("odd-one-out", "accuracy_cosine", *bounded, len(heldout), "heldout")
        results[arm] = KeptResult((score,), units)
    first, *others = results
    return compared(results, [(arm, first) for arm in others])


@dataclass(frozen=True)
class Ceiling:
    """How well people agree on questions that were answered twice or more.

    Each bound is (value, low, high). `majority` is the optimistic bound: the mean over questions of
    the share of answers that equal the most frequent one. Where all questions have as many answers,
    no model that always answers alike can exceed it on these answers. `leave_one_out` is the
    cautious bound: the share of the `n_answers` that equal the majority of the others' answers to
    the same question, ties shared. The 95 % intervals are over questions and respect shared
    objects. `units` hold the majority share of each question.
    """

    majority: Bounded
    leave_one_out: Bounded
    n_answers: int
    units: Units = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Both bounds, of people themselves."""
        score = partial(Score, "odd-one-out", n=self.n_answers, transform=PEOPLE)
        return (
            score("ceiling_majority", *self.majority),
            score("ceiling_leave_one_out", *self.leave_one_out),
        )


def ceiling(answers: Answers, *, least: float = 0.0) -> Ceiling | None:
    """Both bounds of the agreement from repeated answers of any kind.

    Each answer is compared with the other answers to its question, also with other answers of the
    same person. `least` is the share of the answers that must be to repeated questions, since a few
    are repeated by accident; with a smaller share there is no ceiling.

    Returns
    -------
    Ceiling or None
        None where no question was answered twice, or where weights are not whole numbers, so that
        answers cannot be counted.

    Examples
    --------
    >>> bounds = ceiling(Answers.from_array([[0, 1, 2], [1, 0, 2], [0, 2, 1]]))
    >>> round(bounds.majority[0], 3), round(bounds.leave_one_out[0], 3)
    (0.667, 0.333)
    """
    if not len(answers) or (answers.weights is not None and (answers.weights % 1).any()):
        return None
    questions, counts = tally(answers)  # (questions, objects), (questions, choices)
    is_repeated = counts.sum(axis=1) >= 2
    if not is_repeated.any() or counts[is_repeated].sum() < least * counts.sum():
        return None
    questions = questions[is_repeated]
    counts = counts[is_repeated]
    n_answers = counts.sum(axis=1)
    majority = Units(values=counts.max(axis=1) / n_answers, answers=questions)
    leave_one_out = Units(
        values=_agreeing(counts) / n_answers, answers=questions, weights=n_answers
    )
    return Ceiling(
        majority.estimate().bounded(FRACTION),
        leave_one_out.estimate().bounded(FRACTION),
        int(n_answers.sum()),
        majority,
    )


def credit_units(credits: Float[np.ndarray, " t"], answers: Answers) -> Units:
    """A value for each answer, with what the answers share."""
    return Units(
        values=credits, answers=answers.objects, weights=answers.weights, clusters=answers.person
    )


def _of_pairs(Z: np.ndarray, answers: Answers, similarity: str) -> Float[np.ndarray, "t k"]:
    if not isinstance(answers, Answers):
        raise DataError(
            f"`answers` is a {type(answers).__name__}; pass Answers.from_array(triplets)."
        )
    if not len(answers):
        raise DataError("there is no answer to score.")
    answers.check_range(len(Z))
    return of_pairs(Z, answers.objects, answers.pairs, similarity)


def _agreeing(counts: Float[np.ndarray, "s k"]) -> Float[np.ndarray, " s"]:
    """How many answers to each question equal the majority of its other answers, ties shared."""
    others = counts[:, None] - np.eye(counts.shape[1])  # (questions, choice of one answer, choices)
    is_most = others == others.max(axis=2, keepdims=True)
    shares = is_most / is_most.sum(axis=2, keepdims=True)
    return (counts * np.diagonal(shares, axis1=1, axis2=2)).sum(axis=1)
