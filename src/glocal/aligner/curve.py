"""Would more answers help? Agreement on answers that a fit has not seen, against their number."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, WarmStart
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.splits import question_folds
from glocal.errors import DataError
from glocal.evaluation.agreement import heldout_rows, odd_one_out
from glocal.results import Score

LAMBDAS = (100.0, 20.0, 4.0, 0.8, 0.16)
"""Where λ is chosen; from the largest on, each fit starts from the one before."""
SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of the answers that are not held out: the sizes of the curve."""
LEAST = 60
"""Answers below which no curve is made."""
_SOLVER = Exact(tol=1e-3)  # agreement moves by less than its error


def learning_curve(
    features: Features, answers: Answers, *, folds: int = 4, seed: int = 0
) -> list[Score]:
    """Fit `global` to nested random parts of the answers and score the others, for each size and fold of questions.

    All answers to one question are in one fold, since the same question on both sides would flatter
    the fit. The objects are the same on both sides: new objects agree less. λ of a fold has the
    lowest loss on the other folds.

    Parameters
    ----------
    features : Features
        Row i is of object i of the answers.
    answers : Answers
    folds, seed : int

    Returns
    -------
    list of Score
        The agreement of each size with all answers, each held out once, a fraction; `transform`
        says how many were fitted, a mean over folds. The last row is what the last doubling gained,
        paired: the next one gains less, as learning curves flatten.

    Raises
    ------
    DataError
        Fewer than `LEAST` answers.
    """
    if len(answers) < LEAST:
        raise DataError(
            f"there are {len(answers)} answers; a curve of held-out agreement needs at least {LEAST}."
        )
    rng = np.random.default_rng(seed)
    heldout_rows_of = question_folds(answers, folds, seed)
    sizes = np.zeros((folds, len(SHARES)))
    losses = np.zeros((folds, len(SHARES), len(LAMBDAS)))
    credits = []
    for fold, rows in enumerate(heldout_rows_of):
        heldout = answers.select(rows)
        order = rng.permutation(np.setdiff1d(np.arange(len(answers)), rows))
        credit = np.empty((len(heldout), len(SHARES), len(LAMBDAS)))
        for size, share in enumerate(SHARES):
            part = answers.select(order[: max(3, round(share * len(order)))])
            sizes[fold, size] = len(part)
            for step, Z in enumerate(_path(features, part)):
                score = odd_one_out(Z, heldout, interval=False)
                losses[fold, size, step] = score.loss * len(heldout)
                credit[:, size, step] = score.units.values
        credits.append(credit)
    others_losses = (
        losses.sum(axis=0) - losses
    )  # (folds, sizes, λ): a fold does not choose its own λ
    chosen_steps = others_losses.argmin(axis=2)
    chosen = [
        np.take_along_axis(credit, steps[None, :, None], axis=2)[:, :, 0]
        for credit, steps in zip(credits, chosen_steps, strict=True)
    ]
    names = [f"{size:.0f} answers" for size in sizes.mean(axis=0)]
    credit_of = dict(zip(names, np.concatenate(chosen).T, strict=True))
    all_heldout = answers.select(np.concatenate(heldout_rows_of))
    agreement = heldout_rows(credit_of, all_heldout)[: len(names)]
    last_doubling = heldout_rows({name: credit_of[name] for name in names[-2:]}, all_heldout)[-1]
    return [*agreement, last_doubling]


def _path(features: Features, answers: Answers) -> list[Float[np.ndarray, "n p"]]:
    """The objects under `global` with each of `LAMBDAS`."""
    data = FitData(features, answers)
    problem = _SOLVER.problem(data, local=False)
    rows = np.asarray(features.matrix, np.float64)
    embeddings: list[np.ndarray] = []
    start: WarmStart | None = None
    for lmbda in LAMBDAS:
        solution = _SOLVER.minimise(problem, Arm(method="global", lmbda=lmbda), start)
        embeddings.append(solution.transform.apply(rows))
        start = solution.warm
    return embeddings
