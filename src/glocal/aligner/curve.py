"""Would more answers help? Agreement on answers that a fit has not seen, against their number, and how it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.repeated import questions
from glocal.errors import DataError
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.intervals import answer_estimate
from glocal.results import Score

LAMBDAS = (100.0, 20.0, 4.0, 0.8, 0.16)
"""Where λ is chosen; from the largest on, each fit starts from the one before."""
SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of the answers that are not held out: the sizes of the curve."""
LEAST = 60
"""Answers below which no curve is made."""
_SOLVER = Exact(tol=1e-3)  # agreement moves by less than its error
_EXPONENTS = np.linspace(0.25, 1.0, 16)  # of learning curves in the literature; four points alone do not tell
_DRAWS = 400
_FEW = 8  # persons: with fewer, answers are drawn


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """a(n) = c - b n^-γ with b ≥ 0: the agreement of a fit of n answers."""

    c: float
    b: float
    gamma: float

    def __call__(self, n: float) -> float:
        """a(n)."""
        return self.c - self.b * n**-self.gamma

    def more(self, n: float, gain: float) -> float:
        """How many more than n answers raise a(n) by the gain; infinite where c is nearer.

        >>> round(PowerLaw(0.6, 1.0, 0.5).more(100, 0.05))
        300
        """
        left = self.b * n**-self.gamma - gain
        return (self.b / left) ** (1 / self.gamma) - n if left > 0 else math.inf

    @classmethod
    def through(cls, sizes: Float[np.ndarray, " s"], values: Float[np.ndarray, " s"]) -> PowerLaw:
        """The least-squares law of some points, γ from 0.25 to 1.

        >>> sizes = np.array([100.0, 200, 400, 800])
        >>> law = PowerLaw.through(sizes, 0.6 - sizes**-0.5)
        >>> round(law.c, 6), round(law.gamma, 6)
        (0.6, 0.5)
        """
        laws = []
        for gamma in _EXPONENTS:
            x = sizes**-gamma
            b = max(0.0, float(-((x - x.mean()) @ values) / np.square(x - x.mean()).sum()))
            law = cls(float(values.mean() + b * x.mean()), b, float(gamma))
            laws.append((float(np.square(law.c - b * x - values).sum()), law))
        return min(laws, key=lambda one: one[0])[1]


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Fits of nested random parts of the answers, all scored on the same held-out ones.

    Parameters
    ----------
    sizes : (s,) float
        How many answers were fitted, a mean over folds.
    credit : (t, s) float
        How right each fit is on each of the t answers: 0, 1, or 1/(number tied).
    heldout : Answers
        Those t answers, each held out once.
    lmbda : float
        The λ with the lowest held-out loss when all answers but those of a fold are fitted.
    """

    sizes: Float[np.ndarray, " s"]
    credit: Float[np.ndarray, "t s"]
    heldout: Answers
    lmbda: float

    @property
    def scores(self) -> tuple[Score, ...]:
        """The agreement of each size, a fraction, with its 95 % interval over objects or persons."""
        given, rows = self.heldout, []
        for size, credit in zip(self.sizes, self.credit.T, strict=True):
            found = answer_estimate(credit, given.objects, given.weights, given.person)
            low, high = found.interval(fraction=True)
            about = ("heldout", "global", {"answers": round(float(size))})
            rows.append(Score("learning-curve", "accuracy_cosine", found.mean, low, high, len(given), *about))
        return tuple(rows)

    def more(self, gain: float = 0.01, *, seed: int = 0) -> tuple[float, float, float]:
        """How many further answers would raise the agreement by `gain`: (median, low, high), infinite for "never".

        A power law through the points of the curve is carried on from all answers of today, and fitted again to curves
        of 400 resamples of the held-out answers: persons are drawn where there are at least 8, otherwise answers. Low
        to high holds 80 % of them. That other answers might have been fitted, and that the law may be another one, is
        not in the range.
        """
        rng, n, group = np.random.default_rng(seed), len(self.heldout), np.arange(len(self.heldout))
        if self.heldout.person is not None:
            names, codes = np.unique(self.heldout.person, return_inverse=True)
            n, group = (len(names), codes) if len(names) >= _FEW else (n, group)
        w = np.ones(len(self.heldout)) if self.heldout.weights is None else self.heldout.weights
        sums, counts = np.stack([np.bincount(group, w * one, n) for one in self.credit.T]), np.bincount(group, w, n)
        drawn = rng.multinomial(n, np.full(n, 1 / n), _DRAWS)
        laws = (PowerLaw.through(self.sizes, sums @ draw / (counts @ draw)) for draw in drawn)
        found = np.sort([law.more(len(self.heldout), gain) for law in laws])
        low, middle, high = (float(found[int(share * (_DRAWS - 1))]) for share in (0.1, 0.5, 0.9))
        return middle, low, high


def learning_curve(features: Features, answers: Answers, *, folds: int = 4, seed: int = 0) -> LearningCurve:
    """Fit `global` to parts of the answers and score the others, for each size and fold of questions.

    All answers to one question are in one fold, since the same question on both sides would flatter the fit. The
    objects are the same on both sides: new objects agree less. λ of a fold has the lowest loss on the other folds.

    Parameters
    ----------
    features : Features
        Row i is of object i of the answers.
    answers : Answers
    folds, seed : int

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
    lmbda = LAMBDAS[int(losses[:, -1].sum(axis=0).argmin())]
    return LearningCurve(sizes.mean(axis=0), np.concatenate(chosen), answers.select(np.concatenate(heldout)), lmbda)


def _path(features: Features, answers: Answers) -> list[Float[np.ndarray, "n p"]]:
    """The objects under `global` with each of `LAMBDAS`."""
    data = FitData(features, answers)
    problem, solution, found = _SOLVER.problem(data, local=False), None, list[Solution]()
    for lmbda in LAMBDAS:
        solution = _SOLVER.minimise(problem, Arm("global", lmbda=lmbda), solution)
        found.append(solution)
    rows = np.asarray(features.matrix, np.float64)
    return [one.transform.apply(rows) for one in found]


def _folds_of_questions(answers: Answers, folds: int, rng: np.random.Generator) -> Int[np.ndarray, " t"]:
    question = np.unique(questions(answers)[0], axis=0, return_inverse=True)[1].reshape(-1)
    return (rng.permutation(int(question.max()) + 1) % folds)[question]
