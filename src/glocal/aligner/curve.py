"""Would more answers help? Held-out agreement as a function of the number of fitted answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

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
    if answers.effective_size < MIN_ANSWERS:
        raise DataError(
            f"there are {answers.effective_size:.0f} answers; a curve of held-out "
            f"agreement needs at least {MIN_ANSWERS}."
        )
    data = FitData(features, answers, seed=seed)
    problem = _SOLVER.problem(data, local=False)
    parts = fit_folds(data, folds, "questions")
    credit_of = {}
    for nested in _nested_parts(parts, seed):
        size = np.mean([len(part.data.answers) for part in nested])
        credit_of[f"{size:.0f} answers"] = choose_global(problem, nested)
    heldout = pooled_answers([part.answers for part in parts])
    agreement = agreement_scores(credit_of, heldout, HELD_OUT_QUESTIONS)[: len(SHARES)]
    last_two = {name: credit_of[name] for name in [*credit_of][-2:]}
    return [*agreement, agreement_scores(last_two, heldout, HELD_OUT_QUESTIONS)[-1]]


def _nested_parts(parts: Sequence[Fold], seed: int) -> Iterator[list[Fold]]:
    """The folds with a share of their fitted answers, for each size of the curve."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(part.data.answers)) for part in parts]
    for share in SHARES:
        nested = []
        for part, order in zip(parts, orders, strict=True):
            fitted = part.data.answers.select(order[: max(3, round(share * len(order)))])
            nested.append(part._replace(data=replace(part.data, answers=fitted)))
        yield nested


def choose_global(problem: Problem, folds: Sequence[Fold]) -> Values:
    """The credit of `global` on each answer that the folds hold out, at the chosen λ."""
    with single_threaded_blas():
        search = PathSearch(problem, folds)
        penalty = search.largest_tie(search.search_penalty())
        return search.global_scores(penalty).credit


def curve_record(scores: Sequence[Score]) -> dict[str, Any]:
    """The result of `learning_curve` as JSON values."""
    *curve, last_doubling = scores
    return {
        "curve": [{"answers": int(score.transform.split()[0]), **_ends(score)} for score in curve],
        "gain_of_last_doubling": _ends(last_doubling),
    }


def _ends(score: Score) -> dict[str, float | None]:
    """The value of a score and the ends of its interval."""
    return {"value": score.value, "low": score.low, "high": score.high}
