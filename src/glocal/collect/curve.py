"""Agreement on answers that a fit has not seen, against the number of answers, and how it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.aligner.problem import Axes
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.repeated import questions
from glocal.errors import DataError
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.statistics import answer_estimate
from glocal.evaluation.statistics.means import Estimate
from glocal.objective import ChoiceLoss, Objective, blas_alone
from glocal.solver import DualityGap, best_scale, minimise

LAMBDAS = (100.0, 20.0, 4.0, 0.8, 0.16)
"""Where λ is chosen; from the largest on, each fit starts from the one before."""
SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of the answers that are not held out: the sizes of the curve."""
LEAST = 60
"""Answers asked at random below which no curve is made."""
_FOLDS = 4
_TOL = 1e-3  # relative, on the objective: agreement moves by less than its error


@dataclass(frozen=True, eq=False)
class Curve:
    """Fits of nested random parts of the answers, all scored on the same held-out ones.

    `sizes` (s,) are the answers fitted, a mean over folds; `credit` (t, s) is how right each fit is on each of the
    `heldout` answers; `lmbda` is what is chosen with all answers.
    """

    sizes: Float[np.ndarray, " s"]
    credit: Float[np.ndarray, "t s"]
    heldout: Answers
    lmbda: float

    @property
    def estimates(self) -> list[Estimate]:
        """The agreement of each size, with its error over objects or persons, whichever is larger."""
        given = self.heldout
        return [answer_estimate(one, given.objects, given.weights, given.person)[0] for one in self.credit.T]


def learning_curve(
    features: Features, answers: Answers, random: Bool[np.ndarray, " t"], *, folds: int = _FOLDS, seed: int = 0
) -> Curve:
    """Fit a part of the answers and score the others, for each size and fold of questions.

    All answers to one question are in one fold, since the same question in both would flatter the fit; only those that
    were asked at `random` are scored, since the others are not like what people would be asked elsewhere. The objects
    are the same on both sides: new objects agree less. λ of a fold has the lowest loss on the other folds.

    Parameters
    ----------
    features : Features
        Row i is of object i of the answers.
    answers : Answers
        Of one kind.
    random : (t,) bool
        Which answers may be held out.

    Raises
    ------
    DataError
        Fewer than `LEAST` answers were asked at random.
    """
    if int(random.sum()) < LEAST:
        raise DataError(
            f"{int(random.sum())} answers were asked at random; a curve of held-out agreement needs {LEAST}."
        )
    rng = np.random.default_rng(seed)
    fold_of = _folds_of_questions(answers, folds, rng)
    X = rotated(features.standardization(features.matrix, "float64"))
    sizes = np.zeros((folds, len(SHARES)))
    losses = np.zeros((folds, len(SHARES), len(LAMBDAS)))
    credits, heldout = [], []
    for fold in range(folds):
        held = answers.select(random & (fold_of == fold))
        order = rng.permutation(np.flatnonzero(fold_of != fold))
        found = np.empty((len(held), len(SHARES), len(LAMBDAS)))
        for at, share in enumerate(SHARES):
            part = answers.select(order[: max(3, round(share * len(order)))])
            sizes[fold, at] = len(part)
            for which, Z in enumerate(path(X, part)):
                score = odd_one_out(Z, held, interval=False)
                losses[fold, at, which], found[:, at, which] = score.loss * len(held), score.units.values
        credits.append(found)
        heldout.append(np.flatnonzero(random & (fold_of == fold)))
    best = (losses.sum(axis=0) - losses).argmin(axis=2)
    chosen = [np.take_along_axis(one, best[fold][None, :, None], axis=2)[:, :, 0] for fold, one in enumerate(credits)]
    return Curve(
        sizes.mean(axis=0), np.concatenate(chosen), answers.select(np.concatenate(heldout)),
        LAMBDAS[int(losses[:, -1].sum(axis=0).argmin())],
    )  # fmt: skip


def path(
    X: Float[np.ndarray, "n r"], answers: Answers, lambdas: Sequence[float] | None = None
) -> list[Float[np.ndarray, "n r"]]:
    """The objects under `global` with each λ, or each of `LAMBDAS`; `X` are standardized features, `rotated`."""
    loss = ChoiceLoss(X.astype(np.float32), answers.objects, answers.pairs, answers.weights)
    W, found = (best_scale(loss, loss.X)[0] * np.eye(X.shape[1])).astype(np.float32), []
    with blas_alone():
        for lmbda in LAMBDAS if lambdas is None else lambdas:
            objective = Objective(loss, None, 0.0, lmbda, 1.0)
            W = minimise(
                objective, DualityGap(objective), W, np.square(X).mean(axis=0), tol=_TOL, max_evaluations=1000
            ).W
            found.append(X @ W)
    return found


def rotated(X: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n r"]:
    """The rows in their principal axes, of which there are few where there are few rows.

    Neither the loss nor the penalty toward scaled identities changes, so that a fit is the same and costs less.
    """
    return X @ Axes.of(X, ()).U


def _folds_of_questions(answers: Answers, folds: int, rng: np.random.Generator) -> Int[np.ndarray, " t"]:
    question = np.unique(questions(answers)[0], axis=0, return_inverse=True)[1].reshape(-1)
    n = int(question.max()) + 1
    return (rng.permutation(n) % folds)[question]
