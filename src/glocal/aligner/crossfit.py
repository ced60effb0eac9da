"""Fits without each fold: λ by their held-out loss, and mixtures of them by neighbours kept.

A *path* leads at one λ from the original features over fits of `glocal` to `global`. A *mixture* is
a point of it: 0 is the original features, 1 the first fit, and 1.5 the mean of the W of the first
and of the second fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import ceil
from operator import attrgetter
from typing import Literal

import numpy as np
from jaxtyping import Float

from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution, WarmStart
from glocal.aligner.folds import Fold, FoldScorer, best_similarity_scale
from glocal.aligner.settings import ObjectiveSettings
from glocal.similarity import Embedding, Rows, Square, Values, choice_loss
from glocal.solver import Counter, lambda_max

FOLDS = 3
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
_ROUNDING = 1e-9  # of a promise where it crosses the share to keep
_TOLERANCE = 3e-4  # relative, of the fits on folds: it moves no score by more than .002


def path_settings(lmbda: float, alpha: float, method: Convex = "global") -> ObjectiveSettings:
    """The settings of a fit on a path: `glocal` with τ 0.1, or a convex method if α is 0."""
    if not alpha:
        return ObjectiveSettings(method=method, lmbda=lmbda)
    return ObjectiveSettings(method="glocal", lmbda=lmbda, alpha=alpha, tau=PATH_TAU)


class CrossFit:
    """Fits of several objectives without each fold, scored on what the folds hold out.

    All folds are fitted in the same leading principal axes. No fit is certified, since these fits
    only serve to choose and to judge. If `is_cold`, each starts at the scaled identity of its own
    fold; otherwise it starts near the fits of other λ and of the fold before.

    Attributes
    ----------
    data : FitData
    folds : sequence of Fold
    heldout : FoldScorer
        What the folds hold out.
    alphas : tuple of float
        α of the fits on a path. It falls to 0, which is `global`.
    method : "global" or "naive"
        The settings with α 0.
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
        method: Convex = "global",
        is_cold: bool = False,
    ) -> None:
        axes = solver.axes(data).leading(_LEADING_AXES)
        self._solver = solver.replace(tol=max(solver.tolerance, _TOLERANCE))
        self._counter = counter or Counter()
        self._problems = [self._solver.problem(fold.data, local=local, axes=axes) for fold in folds]
        self._is_cold = is_cold
        self.method: Convex = method
        self.data = data
        self.folds = folds
        self.alphas = PATH_ALPHAS if local else PATH_ALPHAS[-1:]
        self.heldout = FoldScorer(folds)
        self.solutions: dict[tuple[float, float], list[Solution]] = {}

    def fit(self, lmbda: float, alpha: float = 0.0) -> list[Square]:
        """Fit one objective without each fold, unless that is done, and return the W of each fold.

        A fit starts at the nearest fit in λ and then in α, moved by the step that the previous fold
        made from there. Without any other fit it starts at the fit of the previous fold.
        """
        if (lmbda, alpha) not in self.solutions:
            settings = path_settings(lmbda, alpha, self.method)
            fits: list[Solution] = []
            for problem in self._problems:
                start = self._start(lmbda, alpha, fits)
                fits.append(
                    self._solver.minimise(problem, settings, start, self._counter, certified=False)
                )
            self.solutions[lmbda, alpha] = fits
        return [fit.transform.weights.astype(np.float64) for fit in self.solutions[lmbda, alpha]]

    def _start(self, lmbda: float, alpha: float, fits: Sequence[Solution]) -> WarmStart | None:
        """Where the fit of the next fold starts, after the fits of the folds before."""

        def distance(other: tuple[float, float]) -> tuple[float, float]:
            return abs(np.log(other[0] / lmbda)), abs(other[1] - alpha)

        if self._is_cold:
            return None
        last = fits[-1].warm if fits else None
        if not self.solutions:
            return last
        near = self.solutions[min(self.solutions, key=distance)]
        start = near[len(fits)].warm
        return None if start is None else start.moved(near[len(fits) - 1].warm, last)

    def embeddings(self, lmbda: float) -> list[Rows]:
        """The held-out objects under `global`; an infinite λ leaves them as they are."""
        objects = self.heldout.rows
        if np.isinf(lmbda):
            return objects
        return [X @ W for X, W in zip(objects, self.fit(lmbda), strict=True)]

    @cached_property
    def penalties(self) -> list[float]:
        """The λ to search, the largest first; with folds of questions no transform comes first."""
        if self.method == "naive":
            limit = min(lambda_max(problem.choices) for problem in self._problems)
            return [NO_TRANSFORM, *(share * limit for share in SHARES_OF_LAMBDA_MAX if limit)]
        if self.folds[0].unit == "objects":
            return [*LAMBDAS]
        n_fitted = sum(fold.data.answers.effective_size for fold in self.folds)
        per_answer = self.data.features.dimensions * max(1, len(self.folds) - 1) / n_fitted
        multiples = [penalty * per_answer for penalty in PENALTIES_PER_ANSWER]
        return [NO_TRANSFORM, *(float(f"{lmbda:.2g}") for lmbda in multiples)]

    def search_penalty(self) -> dict[float, Values]:
        """The loss of each held-out answer under `global`, in nats, at each λ of the search.

        On folds of objects λ falls from 1 while the mean loss falls, and rises from 1 if it is
        lowest there. On folds of questions λ falls from ∞ until two losses in a row are above the
        lowest.
        """
        lambdas = self.penalties
        first, patience = (NO_TRANSFORM, 2) if NO_TRANSFORM in lambdas else (1.0, 1)
        losses: dict[float, Values] = {}
        means: dict[float, float] = {}
        start = lambdas.index(first)
        for direction in (lambdas[start:], lambdas[:start][::-1]):
            rises = 0
            for lmbda in direction:
                losses[lmbda] = self.heldout_losses(lmbda)
                means[lmbda] = self.heldout.mean(losses[lmbda])
                is_higher = means[lmbda] > min(means.values()) + _MIN_LOSS_DIFFERENCE
                rises = rises + 1 if is_higher else 0
                if rises == patience:
                    break
            if min(means, key=means.__getitem__) != first:
                break
        return losses

    def heldout_losses(self, lmbda: float) -> Values:
        """The loss of each held-out answer under `global`, at the best scale of similarities."""
        S = self.heldout.similarities(self.embeddings(lmbda))
        return choice_loss(best_similarity_scale(S, self.heldout.answers.weights) * S)

    def largest_tie(self, losses: Mapping[float, Values]) -> float:
        """The largest λ whose loss is within one paired standard error of the lowest."""
        best = min(losses, key=lambda lmbda: self.heldout.mean(losses[lmbda]))
        is_tie = self.heldout.is_tie
        return max(
            lmbda for lmbda in losses if is_tie(losses[lmbda] - losses[best], _MIN_LOSS_DIFFERENCE)
        )

    def first_tie(self, candidates: Sequence[Mixture]) -> int:
        """The number of the first candidate within one paired standard error of the best."""
        best = max(candidates, key=attrgetter("agreement"))
        ties = [self.heldout.is_tie(best.credit - each.credit) for each in candidates]
        return ties.index(True)

    def path_weights(self, lmbda: float) -> list[list[Square]]:
        """The W of each fold at the original features and at each fit of the path of λ."""
        fits = [self.fit(lmbda, alpha) for alpha in reversed(self.alphas)]
        return [[scaled_identity_of(path[-1]), *path[::-1]] for path in zip(*fits, strict=True)]

    def path(self, lmbda: float) -> list[Mixture]:
        """Score five mixtures from each fit of the path of λ to the next.

        The original features come first.
        """
        weights = self.path_weights(lmbda)
        objects = _products(self.heldout.rows, weights)
        images = _products(self.heldout.image_rows, weights)
        n_fits = len(self.alphas)
        mixtures = []
        for step in np.linspace(0, n_fits, n_fits * _MIXTURES + 1):
            Z = [mix(path, step) for path in objects]
            Z_images = [mix(path, step) for path in images]
            mixtures.append(self.scores(Z, Z_images, lmbda, float(step)))
        return mixtures

    def scores(
        self,
        objects: Sequence[Rows],
        images: Sequence[Rows] = (),
        lmbda: float = np.inf,
        step: float = 0.0,
    ) -> Mixture:
        """Score the embedded objects of every fold, and its images if there are any."""
        credit = self.heldout.credit(objects)
        kept = self.heldout.kept(images, centred=True) if images else np.empty(0)
        return Mixture(lmbda, step, credit, self.heldout.mean(credit), kept)

    def global_scores(self, lmbda: float) -> Mixture:
        """Score `global`, or the original features if λ is infinite, without neighbours."""
        step = 0 if np.isinf(lmbda) else len(self.alphas)
        return self.scores(self.embeddings(lmbda), lmbda=lmbda, step=float(step))

    def weights(self, mixture: Mixture) -> tuple[float, list[Square]]:
        """The best scale of the similarities of a mixture, and the W of each fold at this scale.

        The scale corrects the length of W, which cosines ignore: with few answers W becomes too
        long.
        """
        matrices = [mix(path, mixture.step) for path in self.path_weights(mixture.lmbda)]
        Z = [X @ W for X, W in zip(self.heldout.rows, matrices, strict=True)]
        S = self.heldout.similarities(Z)
        scale = best_similarity_scale(S, self.heldout.answers.weights)
        return scale, [scale**0.5 * W for W in matrices]

    def kept(self, mixture: Mixture) -> float:
        """The mean share of its neighbours in the raw rows that an image keeps under a mixture."""
        if not self.heldout.is_centred:
            return float(mixture.kept.mean())
        images = self.heldout.image_rows
        if mixture.step:
            matrices = self.weights(mixture)[1]
            images = [X @ W for X, W in zip(images, matrices, strict=True)]
        return float(self.heldout.kept(images).mean())


def _products(rows: Sequence[Rows], weights: Sequence[Sequence[Square]]) -> list[list[Rows]]:
    """The rows of each fold under every W of its path."""
    return [[X @ W for W in path] for X, path in zip(rows, weights, strict=True)]


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture on a path, with the held-out scores of its W in all folds.

    Parameters
    ----------
    lmbda, step : float
        λ of the path; 0 for the original features, 1 for the first fit of the path and so on.
    credit : (t,) array
        The credit of each held-out answer when the model chooses by cosine, 0 to 1.
    agreement : float
        The weighted mean of `credit`.
    kept : (m,) array
        The share of its nearest neighbours in the rows with the origin of the fit that each
        held-out image keeps.
    """

    lmbda: float
    step: float
    credit: Values
    agreement: float
    kept: Float[np.ndarray, " m"]

    @property
    def neighbours_kept_error(self) -> float:
        """The standard error of the mean share of neighbours kept."""
        return float(self.kept.std() / np.sqrt(len(self.kept)))

    @property
    def promise(self) -> float:
        """The promised share of neighbours: the mean share kept, minus one standard error."""
        return float(self.kept.mean()) - self.neighbours_kept_error

    @property
    def share(self) -> float:
        """The share of the fit on the side of `global`; the rest is the one before it."""
        return 1 - (ceil(self.step) - self.step)

    def weights(self, matrices: Sequence[Square]) -> Square:
        """Mix the W of the fit nearer to `global` with that before it, or a scaled identity."""
        before = matrices[1] if len(matrices) > 1 else scaled_identity_of(matrices[0])
        return self.share * matrices[0] + (1 - self.share) * before

    def towards(self, other: Mixture, share: float) -> Mixture:
        """The mixture at this share of the way to `other`, with linearly interpolated scores."""
        scores = {}
        for name in ("step", "credit", "agreement", "kept"):
            score = getattr(self, name)
            scores[name] = score + share * (getattr(other, name) - score)
        return replace(self, **scores)


def best_on_path(path: Sequence[Mixture], keep: float) -> Mixture:
    """The mixture of a path with the largest agreement of those that promise to keep this share.

    Where the promise crosses `keep` between two mixtures, that point is a candidate too.
    """
    candidates = [*path]
    for mixture, following in pairwise(path):
        if mixture.promise >= keep > following.promise:
            share = (mixture.promise - keep) / (mixture.promise - following.promise)
            candidates.append(mixture.towards(following, share))
    agreement = [mixture.agreement for mixture in candidates]
    promises = [mixture.promise for mixture in candidates]
    return candidates[best_keeping(agreement, promises, keep)]


def best_keeping(agreement: Sequence[float], promises: Sequence[float], keep: float) -> int:
    """The number of the candidate that agrees most among those that promise to keep a share.

    A candidate promises the mean share of neighbours that it keeps on the folds, minus one standard
    error. If none promises `keep`, the result is the candidate that promises most.
    """
    is_allowed = np.asarray(promises) >= keep - _ROUNDING
    if not is_allowed.any():
        return int(np.argmax(promises))
    return int(np.where(is_allowed, agreement, -np.inf).argmax())


def mix(path: Sequence[Embedding], step: float) -> Embedding:
    """Return the mixture at a step of a path, interpolated linearly from each fit to the next."""
    before = max(0, min(int(step), len(path) - 2))
    share = step - before
    return (1 - share) * path[before] + share * path[before + 1]


def scaled_identity_of(W: Square) -> Square:
    """The identity, scaled to the trace of W."""
    return np.trace(W) / len(W) * np.eye(len(W))
