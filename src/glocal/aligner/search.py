"""The search on folds: λ by the held-out loss, and the mixtures on a path by their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Literal

import numpy as np

from glocal.aligner.driver import FoldFits, Order, crossfit
from glocal.aligner.exact import Problem
from glocal.aligner.folds import Fold
from glocal.aligner.heldout import FoldScorer, RowsOfFolds, best_similarity_scale
from glocal.aligner.mixtures import ORIGIN, Mixture, PathPosition, mix, scaled_identity_of
from glocal.aligner.settings import ObjectiveSettings
from glocal.similarity import Rows, Square, Values, choice_loss
from glocal.solver import lambda_max

FOLDS = 3
Matrices = list[Square]
"""W of each fold, or of each fit on a path."""
Convex = Literal["global", "naive"]
"""The methods that need no local images."""
PATH_ALPHAS = (0.75, 0.5, 0.0)
"""α of the fits on a path from the original features to `global`."""
PATH_TAU = 0.1
"""τ of the `glocal` fits on a path."""
LAMBDAS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""λ for folds of objects; the search begins at 1."""
PENALTIES_PER_ANSWER = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
"""λ for few answers, in columns per answer, p / t: the best was 1 to 16 on all data tried."""
SHARES_OF_LAMBDA_MAX = (0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.02, 0.01, 0.005)
"""λ of `naive`, as shares of the λ at which W is 0."""
NO_TRANSFORM = float("inf")
"""The λ that stands for the original features."""
_MIN_LOSS_DIFFERENCE = 5e-4  # nats: held-out losses that differ by less count as equal
_MIXTURES = 5  # from one fit of a path to the next
_LEADING_AXES = 256  # principal axes of the fits on folds; outside them W is a scaled identity
_TOLERANCE = 3e-4  # relative, of the fits on folds: it moves no score by more than .002


def path_settings(lmbda: float, alpha: float, method: Convex = "global") -> ObjectiveSettings:
    """The settings of a fit on a path: `glocal` with τ 0.1, or a convex method if α is 0."""
    if not alpha:
        return ObjectiveSettings(method=method, lmbda=lmbda)
    return ObjectiveSettings(method="glocal", lmbda=lmbda, alpha=alpha, tau=PATH_TAU)


def fold_problems(problem: Problem, folds: Sequence[Fold]) -> list[Problem]:
    """The problems without each fold, in the leading principal axes of the problem of all data."""
    exact = problem.solver
    tolerance = max(exact.tolerance, _TOLERANCE)
    solver = exact.replace(tol=tolerance)
    axes = problem.axes.leading(_LEADING_AXES)
    is_local = bool(problem.blocks)
    problems = []
    for fold in folds:
        fold_problem = solver.problem(
            fold.data,
            local=is_local,
            axes=axes,
            counter=problem.counter,
        )
        problems.append(fold_problem)
    return problems


@dataclass(eq=False)
class PathSearch:
    """Fits of `global`, and on paths to it, without each fold, scored on what the folds hold out.

    Attributes
    ----------
    problem : Problem
        The problem of all data.
    folds : sequence of Fold
    method : "global" or "naive"
        The method with α 0.
    order : "arms" or "cold"
        Where the fits start; see `crossfit`.
    alphas : tuple of float
        α of the fits on a path. It falls to 0, which is `global`.
    problems : list of Problem
        The problems without each fold.
    heldout : FoldScorer
        What the folds hold out.
    fits : FoldFits
        The fits so far.
    """

    problem: Problem
    folds: Sequence[Fold]
    method: Convex = "global"
    order: Order = "arms"

    def __post_init__(self) -> None:
        has_blocks = bool(self.problem.blocks)
        alphas = PATH_ALPHAS if has_blocks else PATH_ALPHAS[-1:]
        self.alphas: Sequence[float] = alphas
        self.problems = fold_problems(self.problem, self.folds)
        self.heldout = FoldScorer(self.folds)
        self.fits = FoldFits()

    def fit(self, lmbda: float, alpha: float = 0.0) -> Matrices:
        """Fit without each fold, unless that is done, and return the W of each fold."""
        settings = path_settings(lmbda, alpha, self.method)
        path = [settings]
        fits = crossfit(
            self.problems,
            [path],
            start=self.fits,
            order=self.order,
        )
        self.fits = fits
        return fits.weights(settings)

    def embeddings(self, lmbda: float) -> list[Rows]:
        """The held-out objects under `global`; an infinite λ leaves them as they are."""
        objects = self.heldout.rows
        if np.isinf(lmbda):
            return objects
        matrices = self.fit(lmbda)
        return _embedded(objects, matrices)

    @cached_property
    def penalties(self) -> list[float]:
        """The λ to search, the largest first; with folds of questions no transform comes first."""
        if self.method == "naive":
            return self._shares_of_lambda_max()
        first = self.folds[0]
        if first.unit == "objects":
            return list(LAMBDAS)
        return self._penalties_per_answer()

    def _shares_of_lambda_max(self) -> list[float]:
        """No transform, and shares of the smallest λ at which W is 0 in a fold."""
        limits = [lambda_max(problem.choices) for problem in self.problems]
        limit = min(limits)
        if not limit:
            return [NO_TRANSFORM]
        penalties = [share * limit for share in SHARES_OF_LAMBDA_MAX]
        return [NO_TRANSFORM, *penalties]

    def _penalties_per_answer(self) -> list[float]:
        """No transform, and λ in columns per fitted answer."""
        features = self.problem.data.features
        dimensions = features.dimensions
        n_other_folds = len(self.folds) - 1
        fits_of_an_answer = max(1, n_other_folds)
        answers = [fold.data.answers for fold in self.folds]
        sizes = [fitted.effective_size for fitted in answers]
        n_fitted = sum(sizes)
        fitted_dimensions = dimensions * fits_of_an_answer
        dimensions_per_answer = fitted_dimensions / n_fitted
        penalties = [NO_TRANSFORM]
        for penalty in PENALTIES_PER_ANSWER:
            lmbda = penalty * dimensions_per_answer
            rounded = float(f"{lmbda:.2g}")
            penalties.append(rounded)
        return penalties

    def search_penalty(self) -> dict[float, Values]:
        """The loss of each held-out answer under `global`, in nats, at each λ of the search.

        On folds of objects λ falls from 1 while the mean loss falls, and rises from 1 if it is
        lowest there. On folds of questions λ falls from ∞ until two losses in a row are above the
        lowest.
        """
        lambdas = self.penalties
        has_no_transform = NO_TRANSFORM in lambdas
        first = NO_TRANSFORM if has_no_transform else 1.0
        patience = 2 if has_no_transform else 1
        start = lambdas.index(first)
        falling = lambdas[start:]
        losses = self._losses_until_rise(falling, patience)
        means = {lmbda: self.heldout.mean(loss) for lmbda, loss in losses.items()}
        lowest = min(means.values())
        if means[first] > lowest:
            return losses
        above = lambdas[:start]
        rising = above[::-1]
        more_losses = self._losses_until_rise(rising, patience, lowest)
        return losses | more_losses

    def _losses_until_rise(
        self, lambdas: Sequence[float], patience: int, lowest: float = np.inf
    ) -> dict[float, Values]:
        """The held-out losses at each λ, until `patience` in a row have a mean above the lowest."""
        losses = {}
        n_higher = 0
        for lmbda in lambdas:
            loss = self.heldout_losses(lmbda)
            losses[lmbda] = loss
            mean = self.heldout.mean(loss)
            lowest = min(lowest, mean)
            threshold = lowest + _MIN_LOSS_DIFFERENCE
            is_higher = mean > threshold
            n_higher = n_higher + 1 if is_higher else 0
            if n_higher == patience:
                break
        return losses

    def heldout_losses(self, lmbda: float) -> Values:
        """The loss of each held-out answer under `global`, at the best scale of similarities."""
        Z = self.embeddings(lmbda)
        S = self.heldout.similarities(Z)
        weights = self.heldout.answers.weights
        scale = best_similarity_scale(S, weights)
        scaled = scale * S
        return choice_loss(scaled)

    def largest_tie(self, losses: Mapping[float, Values]) -> float:
        """The largest λ whose loss is within one paired standard error of the lowest."""
        candidates = losses.values()
        best = min(candidates, key=self.heldout.mean)
        ties = []
        for lmbda, loss in losses.items():
            deficit = loss - best
            is_tie = self.heldout.is_tie(deficit, _MIN_LOSS_DIFFERENCE)
            if is_tie:
                ties.append(lmbda)
        return max(ties)

    def first_tie(self, candidates: Sequence[Mixture]) -> int:
        """The number of the first candidate within one paired standard error of the best."""
        best = max(candidates, key=attrgetter("agreement"))
        ties = []
        for candidate in candidates:
            deficit = best.credit - candidate.credit
            is_tie = self.heldout.is_tie(deficit)
            ties.append(is_tie)
        return ties.index(True)

    def path_weights(self, lmbda: float) -> list[Matrices]:
        """The W of each fold at the original features and at each fit of the path of λ."""
        # the fits begin at `global`, and the paths end there
        from_global = []
        rising_alphas = reversed(self.alphas)
        for alpha in rising_alphas:
            fits = self.fit(lmbda, alpha)
            from_global.append(fits)
        to_global = from_global[::-1]
        paths = []
        fits_of_folds = zip(*to_global, strict=True)
        for fold_fits in fits_of_folds:
            first_fit = fold_fits[0]
            original = scaled_identity_of(first_fit)
            path = [original, *fold_fits]
            paths.append(path)
        return paths

    def path(self, lmbda: float) -> list[Mixture]:
        """Score five mixtures from each fit of the path of λ to the next.

        The original features come first.
        """
        weights = self.path_weights(lmbda)
        heldout = self.heldout
        objects = _products(heldout.rows, weights)
        images = _products(heldout.image_rows, weights)
        mixtures = []
        for position in self.positions:
            Z = [mix(path, position) for path in objects]
            Z_images = [mix(path, position) for path in images]
            mixture = self.scores(Z, Z_images, lmbda, position)
            mixtures.append(mixture)
        return mixtures

    @property
    def positions(self) -> list[PathPosition]:
        """The original features, and five positions from each fit of a path to the next."""
        numbers = range(1, _MIXTURES + 1)
        shares = [number / _MIXTURES for number in numbers]
        n_fits = len(self.alphas)
        positions = [ORIGIN]
        for fit in range(1, n_fits + 1):
            positions += [PathPosition(fit, share) for share in shares]
        return positions

    def scores(
        self,
        objects: RowsOfFolds,
        images: RowsOfFolds = (),
        lmbda: float = np.inf,
        position: PathPosition = ORIGIN,
    ) -> Mixture:
        """Score the embedded objects of every fold, and its images if there are any."""
        credit = self.heldout.credit(objects)
        agreement = self.heldout.mean(credit)
        kept = np.empty(0)
        if images:
            kept = self.heldout.kept(images, centred=True)
        return Mixture(
            lmbda=lmbda,
            position=position,
            credit=credit,
            agreement=agreement,
            kept=kept,
        )

    def global_scores(self, lmbda: float) -> Mixture:
        """Score `global`, or the original features if λ is infinite, without neighbours."""
        is_fitted = np.isfinite(lmbda)
        position = self.positions[-1] if is_fitted else ORIGIN
        Z = self.embeddings(lmbda)
        return self.scores(Z, lmbda=lmbda, position=position)

    def weights(self, mixture: Mixture) -> tuple[float, Matrices]:
        """The best scale of the similarities of a mixture, and the W of each fold at this scale.

        The scale corrects the length of W, which cosines ignore: with few answers W becomes too
        long.
        """
        paths = self.path_weights(mixture.lmbda)
        position = mixture.position
        matrices = [mix(path, position) for path in paths]
        Z = _embedded(self.heldout.rows, matrices)
        S = self.heldout.similarities(Z)
        weights = self.heldout.answers.weights
        scale = best_similarity_scale(S, weights)
        length = scale**0.5
        scaled = [length * W for W in matrices]
        return scale, scaled

    def kept(self, mixture: Mixture) -> float:
        """The mean share of its neighbours in the raw rows that an image keeps under a mixture."""
        if not self.heldout.is_centred:
            share = mixture.kept.mean()
            return float(share)
        images = self.heldout.image_rows
        if not mixture.is_original:
            _, matrices = self.weights(mixture)
            images = _embedded(images, matrices)
        shares = self.heldout.kept(images)
        return float(shares.mean())


def _embedded(rows: RowsOfFolds, weights: Matrices) -> list[Rows]:
    """The rows of each fold under its W."""
    embedded = []
    folds = zip(rows, weights, strict=True)
    for X, W in folds:
        Z = X @ W
        embedded.append(Z)
    return embedded


def _products(rows: RowsOfFolds, paths: Sequence[Matrices]) -> list[list[Rows]]:
    """The rows of each fold under every W of its path."""
    products = []
    folds = zip(rows, paths, strict=True)
    for X, path in folds:
        embedded = [X @ W for W in path]
        products.append(embedded)
    return products
