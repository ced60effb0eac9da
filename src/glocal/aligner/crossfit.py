"""Fits without each fold on paths from the original features to `global`, and held-out scores.

A *path* leads at one λ from the original features over fits of `glocal` to `global`. A *mixture* is
a point of it: 0 is the original features, 1 the first fit, and 1.5 the mean of the W of the first
and of the second fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData, Fold, neighbour_count, pooled_answers
from glocal.aligner.exact import Exact, Solution
from glocal.data.answers import Answers
from glocal.data.people import question_numbers
from glocal.evaluation.agreement import answer_credit, credit_units
from glocal.evaluation.intervals import Estimate, mean_estimate
from glocal.evaluation.structure import kept_by_image, neighbourhoods
from glocal.similarity import choice_loss, of_pairs
from glocal.solver import Counter, increasing_root

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FOLDS = 3
PATH_ALPHAS = (0.75, 0.5, 0.0)
"""α of the fits on a path from the original features to `global`."""
PATH_TAU = 0.1
"""τ of the `glocal` fits on a path."""
_MIXTURES = 5  # from one fit of a path to the next
_LEADING_AXES = 256  # principal axes of the fits on folds; outside them W is a scaled identity
_TOLERANCE = 3e-4  # relative, of the fits on folds: it moves no score by more than .002
_MAX_LOG_SCALE = 5.0  # of the best scale, from the scale that gives similarities a spread of 1
_MIN_LOSS_DIFFERENCE = 5e-4  # nats: held-out losses that differ by less count as equal


def path_arm(lmbda: float, alpha: float) -> Arm:
    """The arm of a fit on a path: `glocal` with τ 0.1, or `global` if α is 0."""
    if not alpha:
        return Arm(method="global", lmbda=lmbda)
    return Arm(method="glocal", lmbda=lmbda, alpha=alpha, tau=PATH_TAU)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The answers and images that one fold holds out, standardized; `answers` are rows of X."""

    X: Float[np.ndarray, "n p"]
    answers: Answers
    images: Float[np.ndarray, "m p"]
    k: int

    @classmethod
    def of(cls, fold: Fold, k: int) -> HeldOut:
        """Read what a fold holds out; k neighbours are compared."""
        data = replace(fold.data, answers=fold.answers)
        X, answers = data.objects_and_answers("float64")
        return cls(X, answers, data.scalars(data.evaluation_rows(fold.rows), "float64"), k)

    @cached_property
    def neighbours(self) -> csr_array:
        """The nearest neighbours of the images among the images."""
        return neighbourhoods(self.images, self.k)

    def kept(self, Z: Float[np.ndarray, "m p"]) -> Float[np.ndarray, " m"]:
        """The share of its neighbours that each image keeps in Z."""
        return kept_by_image(self.images, Z, self.k, before=self.neighbours)


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture on a path, with the held-out scores of its W in all folds.

    Parameters
    ----------
    lmbda, step : float
        λ of the path; 0 for the original features, 1 for the first fit of the path and so on.
    credit : (t,) array
        The credit of each held-out answer when the model chooses by cosine, 0 to 1.
    losses : (t,) array
        The loss of each held-out answer, in nats, with all similarities multiplied by `scale`.
    agreement, loss : float
        The weighted means of `credit` and `losses`.
    scale : float
        The factor of the similarities with the lowest loss. It corrects the length of W, which
        cosines ignore: with few answers W becomes too long.
    kept : (m,) array
        The share of its nearest neighbours that each held-out image keeps; empty if neighbours were
        not compared.
    """

    lmbda: float
    step: float
    credit: Float[np.ndarray, " t"]
    losses: Float[np.ndarray, " t"]
    agreement: float
    loss: float
    scale: float
    kept: Float[np.ndarray, " m"]

    @property
    def kept_error(self) -> float:
        """The standard error of the mean share of neighbours kept."""
        return float(self.kept.std() / np.sqrt(len(self.kept)))

    @property
    def kept_lower_bound(self) -> float:
        """The promise: the mean share of neighbours kept, minus one standard error."""
        return float(self.kept.mean()) - self.kept_error

    def towards(self, other: Mixture, share: float) -> Mixture:
        """The mixture at this share of the way to `other`, with linearly interpolated scores."""
        steps = {name: vars(other)[name] - value for name, value in vars(self).items()}
        return Mixture(**{name: vars(self)[name] + share * step for name, step in steps.items()})


class Path(NamedTuple):
    """The scored mixtures of one λ in order, the original features first."""

    mixtures: tuple[Mixture, ...]

    @property
    def lmbda(self) -> float:
        """The λ of all fits of the path."""
        return self.mixtures[-1].lmbda

    def best(self, keep: float) -> Mixture:
        """The mixture with the largest agreement of those that promise to keep this share.

        Where the promise crosses `keep` between two mixtures, that point is a candidate too.
        """
        allowed = [mixture for mixture in self.mixtures if mixture.kept_lower_bound >= keep]
        candidates = allowed or [self.mixtures[0]]
        for mixture, following in pairwise(self.mixtures):
            excess = mixture.kept_lower_bound - keep
            if excess >= 0 > following.kept_lower_bound - keep:
                share = excess / (mixture.kept_lower_bound - following.kept_lower_bound)
                candidates = [*candidates, mixture.towards(following, share)]
        return max(candidates, key=attrgetter("agreement"))


class CrossFit:
    """Fits of several arms without each fold, and the parts that the folds hold out.

    All folds are fitted in the same leading principal axes. No fit is certified, since these fits
    only serve to choose.

    Attributes
    ----------
    data : FitData
    folds : sequence of Fold
    heldout : list of HeldOut
        What each fold holds out.
    answers : Answers
        All held-out answers, in the order of the scores.
    alphas : tuple of float
        α of the fits on a path. It falls to 0, which is `global`.
    solutions : dict
        The fits of each λ and α, one per fold.
    """

    def __init__(
        self,
        data: FitData,
        folds: Sequence[Fold],
        solver: Exact,
        counter: Counter | None = None,
        *,
        local: bool = False,
        starts: Mapping[tuple[float, float], Float[np.ndarray, "p p"]] | None = None,
    ) -> None:
        axes = solver.axes(data).leading(_LEADING_AXES)
        self._solver = solver.replace(tol=max(solver.tolerance, _TOLERANCE))
        self._counter = counter or Counter()
        self._problems = [self._solver.problem(fold.data, local=local, axes=axes) for fold in folds]
        self._starts = starts or {}
        self.data = data
        self.folds = folds
        self.alphas = PATH_ALPHAS if local else PATH_ALPHAS[-1:]
        k = neighbour_count(folds)
        self.heldout = [HeldOut.of(fold, k) for fold in folds]
        self.answers = pooled_answers([fold.answers for fold in folds])
        self._questions = question_numbers(self.answers)
        self.solutions: dict[tuple[float, float], list[Solution]] = {}

    def fit(self, lmbda: float, alpha: float = 0.0) -> list[Float[np.ndarray, "p p"]]:
        """Fit an arm without each fold, unless that is done, and return the W of each fold.

        The first fold starts at its own fit of the arm that is nearest in λ and then in α, else at
        the given start. A later fold also starts at its own fit of that arm, moved by the step that
        the previous fold made, with the curvature of the previous fold.
        """
        if (lmbda, alpha) not in self.solutions:
            self.solutions[lmbda, alpha] = self._fitted(lmbda, alpha)
        return [fit.transform.weights.astype(np.float64) for fit in self.solutions[lmbda, alpha]]

    def _fitted(self, lmbda: float, alpha: float) -> list[Solution]:
        """Fit an arm without each fold."""

        def distance(key: tuple[float, float]) -> tuple[float, float]:
            return abs(np.log(key[0] / lmbda)), abs(key[1] - alpha)

        arm = path_arm(lmbda, alpha)
        nearest = min(self.solutions, key=distance, default=None)
        solutions: list[Solution] = []
        for fold, problem in enumerate(self._problems):
            start = None
            if nearest is not None:
                start = self.solutions[nearest][fold].warm
                if solutions and start is not None:
                    start = start.moved(self.solutions[nearest][fold - 1].warm, solutions[-1].warm)
            elif solutions:
                start = solutions[-1].warm
            elif (lmbda, alpha) in self._starts:
                start = problem.start(self._starts[lmbda, alpha], arm)
            solution = self._solver.minimise(problem, arm, start, self._counter, certified=False)
            solutions.append(solution)
        return solutions

    def path_weights(self, lmbda: float) -> list[list[Float[np.ndarray, "p p"]]]:
        """The W of each fold at the original features and at each fit of the path of λ."""
        for alpha in sorted(self.alphas):
            self.fit(lmbda, alpha)
        fits = [self.fit(lmbda, alpha) for alpha in self.alphas]
        return [[scaled_identity_of(path[0]), *path] for path in zip(*fits, strict=True)]

    def path(self, lmbda: float) -> Path:
        """Score five mixtures from each fit of the path of λ to the next."""
        n_fits = len(self.alphas)
        objects = []  # for each fold, one array per fit
        images = []
        for heldout, weights in zip(self.heldout, self.path_weights(lmbda), strict=True):
            objects.append([heldout.X @ W for W in weights])
            images.append([heldout.images @ W for W in weights])
        mixtures = []
        for step in np.linspace(0, n_fits, n_fits * _MIXTURES + 1):
            mixture = self.scores(
                [mix(path, step) for path in objects],
                [mix(path, step) for path in images],
                lmbda=lmbda,
                step=float(step),
            )
            mixtures.append(mixture)
        return Path(tuple(mixtures))

    def penalty_scores(
        self, lambdas: Sequence[float], first: float, *, patience: int = 1
    ) -> dict[float, Mixture]:
        """Score `global` at λ that falls from `first` while the held-out loss falls, or else rises.

        The search ends after `patience` losses in a row above the lowest. `lambdas` fall; an
        infinite λ stands for the original features.
        """
        scores: dict[float, Mixture] = {}
        index = lambdas.index(first)
        for steps in (lambdas[index:], lambdas[:index][::-1]):
            rises = 0
            for lmbda in steps:
                scores[lmbda] = self._global_scores(lmbda)
                lowest = min(mixture.loss for mixture in scores.values())
                rises = rises + 1 if scores[lmbda].loss > lowest + _MIN_LOSS_DIFFERENCE else 0
                if rises == patience:
                    break
            if min(scores, key=lambda lmbda: scores[lmbda].loss) != first:
                break
        return scores

    def _global_scores(self, lmbda: float) -> Mixture:
        """Score `global`, or the original features if λ is infinite, without neighbours."""
        objects = [heldout.X for heldout in self.heldout]
        if np.isinf(lmbda):
            return self.scores(objects)
        transformed = [X @ W for X, W in zip(objects, self.fit(lmbda), strict=True)]
        return self.scores(transformed, lmbda=lmbda, step=float(len(self.alphas)))

    def largest_within_error(self, scores: Mapping[float, Mixture]) -> float:
        """The largest λ whose held-out loss is within one paired standard error of the lowest."""
        best = min(scores.values(), key=attrgetter("loss"))
        for lmbda in sorted(scores, reverse=True):
            if self.is_tie(scores[lmbda].losses - best.losses, _MIN_LOSS_DIFFERENCE):
                return lmbda
        return best.lmbda

    def scores(
        self,
        objects: Sequence[Float[np.ndarray, "_ p"]],
        images: Sequence[Float[np.ndarray, "_ p"]] = (),
        *,
        lmbda: float = np.inf,
        step: float = 0.0,
    ) -> Mixture:
        """Score the transformed objects of every fold, and its images if there are any."""
        S = []
        credits = []
        for Z, heldout in zip(objects, self.heldout, strict=True):
            answers = heldout.answers
            S.append(of_pairs(Z, answers.objects, answers.pairs, "dot"))
            credits.append(answer_credit(Z, answers))
        kept = [heldout.kept(Z) for heldout, Z in zip(self.heldout, images, strict=bool(images))]
        credit = np.concatenate(credits)
        similarities = np.concatenate(S)
        weights = self.answers.weights
        scale = best_similarity_scale(similarities, weights)
        losses = choice_loss(scale * similarities)
        return Mixture(
            lmbda=lmbda,
            step=step,
            credit=credit,
            losses=losses,
            agreement=float(np.average(credit, weights=weights)),
            loss=float(np.average(losses, weights=weights)),
            scale=scale,
            kept=np.concatenate([np.empty(0), *kept]),
        )

    def original(self) -> Mixture:
        """Score the features without a transform, centred like the data."""
        heldout = self.heldout
        return self.scores([fold.X for fold in heldout], [fold.images for fold in heldout])

    def raw_credit(self) -> Float[np.ndarray, " t"]:
        """How right the features before centring are on each held-out answer."""
        scalars = self.data.scalars
        shift = 0.0 if scalars.shift is None else scalars.shift / scalars.std
        credits = [answer_credit(heldout.X + shift, heldout.answers) for heldout in self.heldout]
        return np.concatenate(credits)

    def is_tie(self, deficit: Float[np.ndarray, " t"], minimum: float = 0.0) -> bool:
        """Whether a mean deficit is within one standard error of 0, or at most `minimum`.

        The standard error is over questions. The standard error over objects, which is right for
        intervals, is larger. It would make more differences a tie, and λ one step too large.
        """
        weights = self.answers.weights
        if weights is not None:
            deficit = deficit * weights / weights.mean()
        estimate = mean_estimate(deficit, self._questions)
        return estimate.mean <= max(estimate.error or 0.0, minimum)

    def estimate(self, values: Float[np.ndarray, " t"]) -> Estimate:
        """The weighted mean of one value per held-out answer, with its standard error."""
        return credit_units(values, self.answers).estimate()


def best_similarity_scale(
    S: Float[np.ndarray, "t k"], weights: Float[np.ndarray, " t"] | None
) -> float:
    """The m > 0 for which the softmax of m S has the lowest mean loss of column 0.

    The bracket lies around the m that gives the similarities of an answer a standard deviation of
    1, because the similarities of raw features grow with the number of columns.
    """

    def slopes(m: float) -> tuple[float, float]:
        q = np.exp(m * S - (m * S).max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        expected = (q * S).sum(axis=1)
        variance = (q * S**2).sum(axis=1) - expected**2
        slope = np.average(expected - S[:, 0], weights=weights)
        return float(slope), m * float(np.average(variance, weights=weights))

    spread = float((S - S.mean(axis=1, keepdims=True)).std())
    start = -float(np.log(spread)) if spread else 0.0
    return increasing_root(slopes, start, start - _MAX_LOG_SCALE, start + _MAX_LOG_SCALE)


def mix(path: Sequence[Float[np.ndarray, "n p"]], step: float) -> Float[np.ndarray, "n p"]:
    """The mixture at a step of a path, interpolated linearly from each fit to the next."""
    before = max(0, min(int(step), len(path) - 2))
    share = step - before
    return (1 - share) * path[before] + share * path[before + 1]


def scaled_identity_of(W: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "p p"]:
    """The identity, scaled to the trace of W."""
    identity: np.ndarray = np.trace(W) / len(W) * np.eye(len(W))
    return identity
