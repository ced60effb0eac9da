"""Agreement with people: accuracy and loss of any embedding on answers of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.evaluation.result import Units, difference_score
from glocal.evaluation.statistics import answer_estimate
from glocal.results import Score
from glocal.similarity import Deciding, choice_loss, credit, of_pairs, pair_tolerance


@dataclass(frozen=True)
class OddOneOut:
    """Agreement of one embedding with one set of answers.

    `accuracy` is a fraction (ties shared), `low` and `high` its 95 % interval (None if it was not asked for, or cannot
    be computed from the answers) over ``objects`` or, where persons are known and it is wider, over ``persons``, as
    `dependent_through` says. `tie_rate` is the fraction of answers whose highest similarity is tied, `loss` the
    cross-entropy of dot products in nats, `chance` and `chance_loss` what equal similarities reach (1/3 and log 3 for
    odd-one-out answers), `n` the number of answers; `units` holds the credit of each answer.
    """

    accuracy: float
    low: float | None
    high: float | None
    tie_rate: float
    loss: float
    chance: float
    n: int
    similarity: str
    chance_loss: float
    dependent_through: str
    units: Units = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Accuracy, loss and tie rate."""
        task = "odd-one-out"
        return (
            Score(task, f"accuracy_{self.similarity}", self.accuracy, self.low, self.high, self.n),
            Score(task, "loss", self.loss, n=self.n),
            Score(task, f"tie_rate_{self.similarity}", self.tie_rate, n=self.n),
        )


def odd_one_out(
    Z: np.ndarray, triplets: Answers, *, similarity: Deciding = "cosine", interval: bool = True
) -> OddOneOut:
    """Score an embedding on answers of any kind.

    Accuracy: the weighted share of answers where the pair that people chose has the highest similarity, a tie among k
    pairs counting 1/k. Loss: the weighted mean of -log softmax of the candidate pairs' dot products at the chosen one,
    whichever similarity decides the accuracy (L_global of Muttenthaler et al. 2023, Eq. 1).

    Parameters
    ----------
    Z : (n, p) real array
        Standardized features, transformed or not.
    triplets : Answers
        Indices are rows of Z.
    similarity : {"cosine", "dot"}
        What decides the model's choice.
    interval : bool
        Whether to compute `low` and `high`.

    Returns
    -------
    OddOneOut

    Raises
    ------
    DataError
        No answer, or an index that is not a row of Z.

    Examples
    --------
    >>> Z = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> odd_one_out(Z, Answers.from_array([[0, 1, 2]]), interval=False).accuracy
    1.0
    """
    if not len(triplets):
        raise DataError("there is no triplet to score.")
    triplets.check_range(len(Z))
    weights = triplets.weights
    S = of_pairs(Z, triplets, similarity)
    earned, tied = credit(S, pair_tolerance(Z, similarity))
    nats = choice_loss(S if similarity == "dot" else of_pairs(Z, triplets, "dot"))
    low, high, through = None, None, "objects"
    if interval:
        estimate, through = answer_estimate(earned, triplets.objects, weights, triplets.person)
        low, high = estimate.interval(fraction=True)
    accuracy, tie_rate, loss = (float(np.average(values, weights=weights)) for values in (earned, tied, nats))
    return OddOneOut(
        accuracy=accuracy, low=low, high=high, tie_rate=tie_rate, loss=loss, chance=triplets.chance, n=len(triplets),
        similarity=similarity, chance_loss=triplets.chance_loss, dependent_through=through,
        units=Units(values=earned, answers=triplets.objects, weights=weights, clusters=triplets.person),
    )  # fmt: skip


def answer_credit(Z: np.ndarray, triplets: Answers, *, similarity: str = "cosine") -> Float[np.ndarray, " t"]:
    """How right an embedding is on each answer, ties shared: the values whose weighted mean is the accuracy.

    Parameters
    ----------
    Z : (n, p) real array
    triplets : Answers
        Indices are rows of Z.
    similarity : {"cosine", "dot"}

    Returns
    -------
    (t,) float
        0, 1, or 1/(number tied).

    Raises
    ------
    DataError
        An index that is not a row of Z.
    """
    triplets.check_range(len(Z))
    return credit(of_pairs(Z, triplets, similarity), pair_tolerance(Z, similarity))[0]


def heldout_rows(credits: Mapping[str, Float[np.ndarray, " t"]], heldout: Answers) -> list[Score]:
    """The rows of arms whose `credits` on the same held-out answers are known, and of each less the first."""
    scores, units = {}, {}
    for arm, earned in credits.items():
        units[arm] = Units(values=earned, answers=heldout.objects, weights=heldout.weights, clusters=heldout.person)
        estimate, _ = answer_estimate(earned, heldout.objects, heldout.weights, heldout.person)
        low, high = estimate.interval(fraction=True)
        scores[arm] = Score("odd-one-out", "accuracy_cosine", estimate.mean, low, high, len(heldout), "heldout", arm)
    first, *others = scores
    return [
        *scores.values(),
        *(difference_score(scores[arm], units[arm].less(units[first]), first) for arm in others),
    ]
