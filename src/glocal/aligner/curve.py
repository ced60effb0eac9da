"""Would more answers help? Held-out agreement as a function of the number of fitted answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.splits import question_folds
from glocal.errors import DataError
from glocal.evaluation.agreement import heldout_rows, odd_one_out
from glocal.results import Score

LAMBDAS = (100.0, 20.0, 4.0, 0.8, 0.16)
"""The λ to choose from. Starting from the largest, each fit begins at the previous solution."""
SHARES = (0.125, 0.25, 0.5, 1.0)
"""The sizes of the curve, as shares of the answers that are not held out."""
MIN_ANSWERS = 60
"""With fewer answers no curve is computed."""
_SOLVER = Exact(tol=1e-3)  # a lower tolerance moves agreement by less than its error


def learning_curve(
    features: Features, answers: Answers, *, folds: int = 4, seed: int = 0
) -> list[Score]:
    """Fit `global` to nested random parts of the answers, and score answers to other questions.

    All answers to one question are in one fold, since the same question on both sides would flatter
    the fit. The objects are the same on both sides; agreement on new objects is lower. Each fold
    uses the λ with the lowest loss on the other folds.

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
    rng = np.random.default_rng(seed)
    fold_rows = question_folds(answers, folds, seed)
    scores = [_fold_scores(features, answers, rows, rng) for rows in fold_rows]
    sizes = np.mean([score.sizes for score in scores], axis=0)
    names = [f"{size:.0f} answers" for size in sizes]
    credit_of = dict(zip(names, _chosen_credit(scores).T, strict=True))
    heldout = answers.select(np.concatenate(fold_rows))
    agreement = heldout_rows(credit_of, heldout)[: len(names)]
    last_doubling = heldout_rows({name: credit_of[name] for name in names[-2:]}, heldout)[-1]
    return [*agreement, last_doubling]


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


class _FoldScores(NamedTuple):
    """The scores of fits of every size and λ on the held-out answers of one fold.

    `sizes` are the numbers of fitted answers, `losses` the summed losses in nats, and `credit` is
    the credit of each held-out answer, 0 to 1.
    """

    sizes: Int[np.ndarray, " sizes"]
    losses: Float[np.ndarray, "sizes lambdas"]
    credit: Float[np.ndarray, "t sizes lambdas"]


def _fold_scores(
    features: Features, answers: Answers, rows: Int[np.ndarray, " t"], rng: np.random.Generator
) -> _FoldScores:
    """Fit parts of the answers outside the fold, and score the held-out `rows`."""
    heldout = answers.select(rows)
    order = rng.permutation(np.setdiff1d(np.arange(len(answers)), rows))
    sizes = np.array([max(3, round(share * len(order))) for share in SHARES])
    losses = np.empty((len(SHARES), len(LAMBDAS)))
    credit = np.empty((len(heldout), len(SHARES), len(LAMBDAS)))
    for column, size in enumerate(sizes):
        for step, Z in enumerate(_path(features, answers.select(order[:size]))):
            score = odd_one_out(Z, heldout, interval=False)
            losses[column, step] = score.loss * heldout.total_weight
            credit[:, column, step] = score.units.values
    return _FoldScores(np.minimum(sizes, len(order)), losses, credit)


def _chosen_credit(scores: Sequence[_FoldScores]) -> Float[np.ndarray, "t sizes"]:
    """The credit of each fold and size at the λ with the lowest loss on the other folds."""
    losses = np.stack([score.losses for score in scores])
    steps = (losses.sum(axis=0) - losses).argmin(axis=2)  # (folds, sizes)
    chosen = [
        np.take_along_axis(score.credit, step[None, :, None], axis=2)[:, :, 0]
        for score, step in zip(scores, steps, strict=True)
    ]
    return np.concatenate(chosen)


def _path(features: Features, answers: Answers) -> list[Float[np.ndarray, "n p"]]:
    """The embedding of the objects by `global` at each of `LAMBDAS`."""
    data = FitData(features, answers)
    problem = _SOLVER.problem(data, local=False)
    embeddings = []
    start = None
    for lmbda in LAMBDAS:
        solution = _SOLVER.minimise(problem, Arm(method="global", lmbda=lmbda), start)
        embeddings.append(data.embedding(solution.transform))
        start = solution.warm
    return embeddings
