"""Agreement with people: of an embedding, with its loss."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from glocal.data.answers import Answers
from glocal.errors import DataError, DataWarning, warn
from glocal.evaluation.comparison import Result, compared
from glocal.evaluation.intervals import ObjectValues
from glocal.scores import AGREEMENT, Score
from glocal.similarity import (
    SIMILARITIES,
    Choices,
    Embedding,
    Mask,
    Values,
    choice_loss,
    credit,
    finite,
    of_pairs,
    pair_tolerance,
)

_METRICS = dict(zip(SIMILARITIES, AGREEMENT, strict=True))
MIN_ANSWERS = 30
"""With fewer answers their agreement is too uncertain, and comes with a warning."""


class AnswerValues(NamedTuple):
    """The credit of an embedding on each answer, whether its choice is a tie, and its loss."""

    credits: Values
    is_tied: Mask
    losses: Values


def odd_one_out(
    Z: np.ndarray, answers: Answers, *, similarity: str = "cosine", interval: bool = True
) -> Result:
    """Score an embedding on answers of any kind.

    The agreement is the weighted share of answers in which the pair that people chose has the
    highest similarity; a tie among k pairs counts 1/k. The loss is the weighted mean of -log
    softmax of the candidate pairs' dot products at the chosen pair (L_global of Muttenthaler et al.
    2023, Eq. 1), whichever similarity decides the agreement.

    Parameters
    ----------
    Z : (n, p) real array
        Standardized features, transformed or not; the answers index its rows.
    similarity : {"cosine", "dot"}
        The similarity that decides the model's choice.
    interval : bool
        Whether to compute `low` and `high`, and to warn if there are too few answers for them.

    Returns
    -------
    Result
        ``agreement`` with ``low`` and ``high``, its 95 % interval over objects and, if they are
        known, people (None without an interval); ``tie_rate``, the share of answers whose highest
        similarity is tied; ``loss`` in nats; ``chance``, the agreement of equal similarities; ``n``
        answers; ``similarity``.

    Raises
    ------
    DataError
        If there is no answer, an index is not a row of Z, or Z holds NaN or infinity.

    Warns
    -----
    DataWarning
        If there are fewer than `MIN_ANSWERS` answers.

    Examples
    --------
    >>> Z = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> odd_one_out(Z, Answers.from_array([[0, 1, 2]]), interval=False).agreement
    1.0
    """
    Z = finite(Z)
    values = _answer_values(Z, answers, similarity)
    units = credit_units(values.credits, answers)
    low = None
    high = None
    if interval:
        _, low, high = units.bounded()
        _warn_if_few(answers)
    means = np.average(values, axis=1, weights=answers.weights)
    agreement, tie_rate, loss = means.tolist()
    n = len(answers)
    settings = {"chance": answers.chance}
    score = partial(Score, "odd-one-out", n=n, settings=settings)
    scores = [
        score(_METRICS[similarity], agreement, low, high),
        score("loss", loss),
        score("tie_rate", tie_rate),
    ]
    return Result.from_scores(
        scores,
        units,
        similarity,
        similarity=similarity,
        ceiling=None,
    )


def _answer_values(Z: Embedding, answers: Answers, similarity: str) -> AnswerValues:
    """The credit, the tie and the loss of an embedding on each answer."""
    S = _similarities(Z, answers, similarity)
    tolerance = pair_tolerance(Z, similarity)
    credits, is_tied = credit(S, tolerance)
    if similarity != "dot":
        S = _similarities(Z, answers, "dot")  # the loss is always of dot products
    losses = choice_loss(S)
    return AnswerValues(credits, is_tied, losses)


def _warn_if_few(answers: Answers) -> None:
    """Warn if there are too few answers for an agreement."""
    n = answers.effective_size
    if n < MIN_ANSWERS:
        warn(
            f"{n:.0f} answers are too few to measure agreement, which needs at least "
            f"{MIN_ANSWERS}. Collect more, or hold out more objects.",
            DataWarning,
        )


def answer_credit(Z: np.ndarray, answers: Answers, similarity: str = "cosine") -> Values:
    """The credit of an embedding on each answer: 0, 1, or 1/(number of tied pairs).

    The weighted mean of the credit is the agreement.
    """
    Z = finite(Z)
    S = _similarities(Z, answers, similarity)
    tolerance = pair_tolerance(Z, similarity)
    credits, _ = credit(S, tolerance)
    return credits


def agreement_scores(credits: Mapping[str, Values], answers: Answers, split: str) -> list[Score]:
    """The scores of arms by their credit on answers, and their differences from the first arm."""
    metric = _METRICS["cosine"]
    results = {}
    for arm, arm_credits in credits.items():
        units = credit_units(arm_credits, answers)
        value, low, high = units.bounded()
        score = Score("odd-one-out", metric, value, low, high, len(answers), split)
        results[arm] = Result((score,), units)
    first, *others = results
    pairs = [(arm, first) for arm in others]
    return compared(results, pairs)


def credit_units(credits: Values, answers: Answers) -> ObjectValues:
    """The units of one value per answer, with the objects and the people of the answers."""
    return ObjectValues(
        values=credits,
        objects=answers.objects,
        weights=answers.weights,
        persons=answers.person,
    )


def _similarities(Z: np.ndarray, answers: Answers, similarity: str) -> Choices:
    """The similarities of the candidate pairs of each answer, which must be about rows of Z."""
    if not isinstance(answers, Answers):
        raise DataError(
            f"`answers` is a {type(answers).__name__}; pass Answers.from_array(triplets)."
        )
    if not len(answers):
        raise DataError("there is no answer to score.")
    answers.check_range(len(Z))
    return of_pairs(Z, answers.objects, answers.pairs, similarity)
