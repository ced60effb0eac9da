"""Would more answers help? Held-out agreement as a function of the number of fitted answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import TypedDict

from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Problem
from glocal.aligner.folds import Fold, fit_folds, pooled_answers
from glocal.aligner.search import FOLDS, PathSearch
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.errors import DataError
from glocal.evaluation.agreement import agreement_scores
from glocal.objective import single_threaded_blas
from glocal.scores import HELD_OUT_QUESTIONS, Score
from glocal.similarity import Values

SHARES = (0.125, 0.25, 0.5, 1.0)
"""The sizes of the curve, as shares of the answers that are not held out."""
MIN_ANSWERS = 60
"""With fewer answers no curve is computed."""
_SOLVER = Exact(tol=1e-3)  # a lower tolerance moves agreement by less than its error


class ScoreInterval(TypedDict):
    """A value and the ends of its 95 % interval, None if no interval is defined."""

    value: float
    low: float | None
    high: float | None


class CurvePoint(ScoreInterval):
    """The agreement of fits to this number of answers."""

    answers: int


class CurveRecord(TypedDict):
    """A learning curve as JSON values."""

    curve: list[CurvePoint]
    gain_of_last_doubling: ScoreInterval


def learning_curve(
    features: Features, answers: Answers, *, folds: int = FOLDS, seed: int = FitData.seed
) -> list[Score]:
    """Fit `global` to nested random parts of the answers, and score answers to other questions.

    All answers to one question are in one fold, since the same question on both sides would flatter
    the fit. The objects are the same on both sides; agreement on new objects is lower. Each size
    has the λ that a fit without local images would choose (see `keep_curve`).

    Parameters
    ----------
    features : Features
        Row i belongs to object i of the answers.
    answers : Answers
    folds, seed : int
        The number of folds of the questions, and the random seed.

    Returns
    -------
    list of Score
        For each size, the agreement with all answers, each held out once, as a fraction.
        `transform` has the number of fitted answers, a mean over folds. The last row is the paired
        gain of the last doubling. The next doubling gains less, because learning curves flatten.

    Raises
    ------
    DataError
        There are fewer than `MIN_ANSWERS` answers.
    """
    n_answers = answers.effective_size
    if n_answers < MIN_ANSWERS:
        raise DataError(
            f"there are {n_answers:.0f} answers; a curve of held-out "
            f"agreement needs at least {MIN_ANSWERS}."
        )
    data = FitData(features, answers, seed=seed)
    problem = _SOLVER.problem(data, local=False)
    parts = fit_folds(data, folds, "questions")
    sizes = [_fitted_size(problem, nested) for nested in _nested_parts(parts, seed)]
    heldout_parts = [part.answers for part in parts]
    heldout = pooled_answers(heldout_parts)
    agreement = _agreement(sizes, heldout)
    last_sizes = sizes[-2:]
    last_scores = _scores_and_gains(last_sizes, heldout)
    last_doubling = last_scores[-1]
    return [*agreement, last_doubling]


@dataclass(frozen=True, eq=False)
class _FittedSize:
    """A size of the curve: the number of fitted answers, and the credit of each held-out answer."""

    n_answers: int
    credit: Values

    @property
    def arm(self) -> str:
        """The name of the size among the scores."""
        return f"{self.n_answers} answers"


def _fitted_size(problem: Problem, nested: Sequence[Fold]) -> _FittedSize:
    """Fit `global` to the answers of nested folds, whose mean number is the size."""
    numbers = [len(part.data.answers) for part in nested]
    mean_number = float(np.mean(numbers))
    credit = choose_global(problem, nested)
    return _FittedSize(n_answers=round(mean_number), credit=credit)


def _agreement(sizes: Sequence[_FittedSize], heldout: Answers) -> list[Score]:
    """The agreement with the held-out answers at each size."""
    scores = _scores_and_gains(sizes, heldout)
    n_sizes = len(sizes)
    return scores[:n_sizes]


def _scores_and_gains(sizes: Sequence[_FittedSize], heldout: Answers) -> list[Score]:
    """The agreement at each size, and then the paired gain of each other size over the first."""
    credit_of = {size.arm: size.credit for size in sizes}
    return agreement_scores(credit_of, heldout, HELD_OUT_QUESTIONS)


def _nested_parts(parts: Sequence[Fold], seed: int) -> Iterator[list[Fold]]:
    """The folds with a share of their fitted answers, for each size of the curve."""
    rng = np.random.default_rng(seed)
    sizes = [len(part.data.answers) for part in parts]
    orders = [rng.permutation(size) for size in sizes]
    for share in SHARES:
        nested = []
        ordered_parts = zip(parts, orders, strict=True)
        for part, order in ordered_parts:
            size_of_share = share * len(order)
            size = max(3, round(size_of_share))
            rows = order[:size]
            data = part.data
            answers = data.answers.select(rows)
            data = replace(data, answers=answers)
            smaller = part._replace(data=data)
            nested.append(smaller)
        yield nested


def choose_global(problem: Problem, folds: Sequence[Fold]) -> Values:
    """The credit of `global` on each answer that the folds hold out, at the chosen λ."""
    with single_threaded_blas():
        search = PathSearch(problem, folds)
        losses = search.search_penalty()
        penalty = search.largest_tie(losses)
        scores = search.global_scores(penalty)
    return scores.credit


def curve_record(scores: Sequence[Score]) -> CurveRecord:
    """The result of `learning_curve` as JSON values."""
    *curve, last_doubling = scores
    points = [_point(score) for score in curve]
    gain = _interval(last_doubling)
    return CurveRecord(curve=points, gain_of_last_doubling=gain)


def _point(score: Score) -> CurvePoint:
    """A score of the curve, whose transform begins with the number of fitted answers."""
    arm = score.transform
    words = arm.split()
    n_answers = int(words[0])
    interval = _interval(score)
    return {"answers": n_answers, **interval}


def _interval(score: Score) -> ScoreInterval:
    """The value of a score and the ends of its interval."""
    return {"value": score.value, "low": score.low, "high": score.high}
