"""Would more answers help? Agreement on answers that a fit has not seen, against their number."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.people import questions
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


def learning_curve(features: Features, answers: Answers, *, folds: int = 4, seed: int = 0) -> list[Score]:
    """Fit `global` to nested random parts of the answers and score the others, for each size and fold of questions.

    All answers to one question are in one fold, since the same question on both sides would flatter the fit. The
    objects are the same on both sides: new objects agree less. λ of a fold has the lowest loss on the other folds.

    Parameters
    ----------
    features : Features
        Row i is of object i of the answers.
    answers : Answers
    folds, seed : int

    Returns
    -------
    list of Score
        The agreement of each size with all answers, each held out once, a fraction; `transform` says how many were
        fitted, a mean over folds. The last row is what the last doubling gained, paired: the next one gains less, as
        learning curves flatten.

    Raises
    ------
    DataError
        Fewer than `LEAST` answers.
    """
    if len(answers) < LEAST:
        raise DataError(f"there are {len(answers)} answers; a curve of held-out agreement needs at least {LEAST}.")
    rng = np.random.default_rng(seed)
    fold_of = _folds_of_questions(answers, folds, rng)
    sizes, losses = np.zeros((folds, len(SHARES))), np.zeros((folds, len(SHARES), len(LAMBDAS)))
    credits, heldout = [], [np.flatnonzero(fold_of == fold) for fold in range(folds)]
    for fold in range(folds):
        held, order = answers.select(heldout[fold]), rng.permutation(np.flatnonzero(fold_of != fold))
        found = np.empty((len(held), len(SHARES), len(LAMBDAS)))
        for at, share in enumerate(SHARES):
            part = answers.select(order[: max(3, round(share * len(order)))])
            sizes[fold, at] = len(part)
            for which, Z in enumerate(_path(features, part)):
                score = odd_one_out(Z, held, interval=False)
                losses[fold, at, which], found[:, at, which] = score.loss * len(held), score.units.values
        credits.append(found)
    best = (losses.sum(axis=0) - losses).argmin(axis=2)
    chosen = [np.take_along_axis(one, best[fold][None, :, None], axis=2)[:, :, 0] for fold, one in enumerate(credits)]
    names = [f"{size:.0f} answers" for size in sizes.mean(axis=0)]
    credit = dict(zip(names, np.concatenate(chosen).T, strict=True))
    held = answers.select(np.concatenate(heldout))
    agreement = heldout_rows(credit, held)[: len(names)]
    *_, last_doubling = heldout_rows({name: credit[name] for name in names[-2:]}, held)
    return [*agreement, last_doubling]


def _path(features: Features, answers: Answers) -> list[Float[np.ndarray, "n p"]]:
    """The objects under `global` with each of `LAMBDAS`."""
    data = FitData(features, answers)
    problem, solution, found = _SOLVER.problem(data, local=False), None, list[Solution]()
    for lmbda in LAMBDAS:
        solution = _SOLVER.minimise(problem, Arm(method="global", lmbda=lmbda), solution)
        found.append(solution)
    rows = np.asarray(features.matrix, np.float64)
    return [one.transform.apply(rows) for one in found]


def _folds_of_questions(answers: Answers, folds: int, rng: np.random.Generator) -> Int[np.ndarray, " t"]:
    question = np.unique(questions(answers)[0], axis=0, return_inverse=True)[1].reshape(-1)
    return (rng.permutation(int(question.max()) + 1) % folds)[question]
