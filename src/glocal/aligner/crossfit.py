"""Fits without each fold on paths from the original features to `global`, and held-out scores.

A *path* leads at one λ from the original features over fits of `glocal` to `global`. A *mixture* is
a point of it: 0 is the original features, 1 the first fit, and 1.5 the mean of the W of the first
and of the second fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.folds import Fold
from glocal.aligner.heldout import HeldOut, best_similarity_scale
from glocal.solver import Counter

FOLDS = 3
PATH_ALPHAS = (0.75, 0.5, 0.0)
"""α of the fits on a path from the original features to `global`."""
PATH_TAU = 0.1
"""τ of the `glocal` fits on a path."""
_MIXTURES = 5  # from one fit of a path to the next
_LEADING_AXES = 256  # principal axes of the fits on folds; outside them W is a scaled identity
_TOLERANCE = 3e-4  # relative, of the fits on folds: it moves no score by more than .002
_ROUNDING = 1e-9  # of a promise where it crosses the share to keep


def path_arm(lmbda: float, alpha: float) -> Arm:
    """The arm of a fit on a path: `glocal` with τ 0.1, or `global` if α is 0."""
    if not alpha:
        return Arm(method="global", lmbda=lmbda)
    return Arm(method="glocal", lmbda=lmbda, alpha=alpha, tau=PATH_TAU)


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
        The share of its nearest neighbours that each held-out image keeps.
    """

    lmbda: float
    step: float
    credit: Float[np.ndarray, " t"]
    agreement: float
    kept: Float[np.ndarray, " m"]

    @property
    def kept_error(self) -> float:
        """The standard error of the mean share of neighbours kept."""
        return float(self.kept.std() / np.sqrt(len(self.kept)))

    @property
    def promise(self) -> float:
        """The promised share of neighbours: the mean share kept, minus one standard error."""
        return float(self.kept.mean()) - self.kept_error

    @property
    def last_fit(self) -> int:
        """The number of the fit on the side of `global`; 0 for the original features."""
        return ceil(self.step)

    @property
    def share(self) -> float:
        """The share of this fit in the mixture; the rest is the one before it on the path."""
        return 1 - (self.last_fit - self.step)

    def towards(self, other: Mixture, share: float) -> Mixture:
        """The mixture at this share of the way to `other`, with linearly interpolated scores."""

        def between(score: Any, of_other: Any) -> Any:
            return score + share * (of_other - score)

        return Mixture(
            self.lmbda,
            between(self.step, other.step),
            between(self.credit, other.credit),
            between(self.agreement, other.agreement),
            between(self.kept, other.kept),
        )


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


class CrossFit:
    """Fits of several arms without each fold, scored on what the folds hold out.

    All folds are fitted in the same leading principal axes. No fit is certified, since these fits
    only serve to choose.

    Attributes
    ----------
    data : FitData
    folds : sequence of Fold
    heldout : HeldOut
        What the folds hold out.
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
    ) -> None:
        axes = solver.axes(data).leading(_LEADING_AXES)
        self._solver = solver.replace(tol=max(solver.tolerance, _TOLERANCE))
        self._counter = counter or Counter()
        self._problems = [self._solver.problem(fold.data, local=local, axes=axes) for fold in folds]
        self.data = data
        self.folds = folds
        self.alphas = PATH_ALPHAS if local else PATH_ALPHAS[-1:]
        self.heldout = HeldOut(folds)
        self.solutions: dict[tuple[float, float], list[Solution]] = {}

    def fit(self, lmbda: float, alpha: float = 0.0) -> list[Float[np.ndarray, "p p"]]:
        """Fit an arm without each fold, unless that is done, and return the W of each fold.

        A fit starts at that of the nearest arm in λ and then in α, moved by the step that the fit
        of the previous fold made from there. Without any other arm it starts at the fit of the
        previous fold.
        """
        if (lmbda, alpha) not in self.solutions:

            def distance(other: tuple[float, float]) -> tuple[float, float]:
                return abs(np.log(other[0] / lmbda)), abs(other[1] - alpha)

            near = self.solutions.get(min(self.solutions, key=distance, default=(0.0, 0.0)))
            arm = path_arm(lmbda, alpha)
            fits: list[Solution] = []
            for fold, problem in enumerate(self._problems):
                start = fits[-1].warm if fits else None
                if near is not None:
                    start = near[fold].warm
                    if fits and start is not None:
                        start = start.moved(near[fold - 1].warm, fits[-1].warm)
                fits.append(
                    self._solver.minimise(problem, arm, start, self._counter, certified=False)
                )
            self.solutions[lmbda, alpha] = fits
        return [fit.transform.weights.astype(np.float64) for fit in self.solutions[lmbda, alpha]]

    def embeddings(self, lmbda: float) -> list[Float[np.ndarray, "_ p"]]:
        """The held-out objects under `global`; an infinite λ leaves them as they are."""
        objects = self.heldout.rows
        if np.isinf(lmbda):
            return objects
        return [X @ W for X, W in zip(objects, self.fit(lmbda), strict=True)]

    def path_weights(self, lmbda: float) -> list[list[Float[np.ndarray, "p p"]]]:
        """The W of each fold at the original features and at each fit of the path of λ."""
        for alpha in sorted(self.alphas):
            self.fit(lmbda, alpha)
        fits = [self.fit(lmbda, alpha) for alpha in self.alphas]
        return [[scaled_identity_of(path[0]), *path] for path in zip(*fits, strict=True)]

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
        objects: Sequence[Float[np.ndarray, "_ p"]],
        images: Sequence[Float[np.ndarray, "_ p"]] = (),
        lmbda: float = np.inf,
        step: float = 0.0,
    ) -> Mixture:
        """Score the embedded objects of every fold, and its images if there are any."""
        credit = self.heldout.credit(objects)
        kept = self.heldout.kept(images) if images else np.empty(0)
        return Mixture(lmbda, step, credit, self.heldout.mean(credit), kept)

    def global_scores(self, lmbda: float) -> Mixture:
        """Score `global`, or the original features if λ is infinite, without neighbours."""
        step = 0 if np.isinf(lmbda) else len(self.alphas)
        return self.scores(self.embeddings(lmbda), lmbda=lmbda, step=float(step))

    def original(self) -> Mixture:
        """The features without a transform, centred like the data."""
        return self.scores(self.heldout.rows, self.heldout.image_rows)

    def weights(self, mixture: Mixture) -> tuple[float, list[Float[np.ndarray, "p p"]]]:
        """The best scale of the similarities of a mixture, and the W of each fold at this scale.

        The scale corrects the length of W, which cosines ignore: with few answers W becomes too
        long.
        """
        matrices = [mix(path, mixture.step) for path in self.path_weights(mixture.lmbda)]
        Z = [X @ W for X, W in zip(self.heldout.rows, matrices, strict=True)]
        S = self.heldout.similarities(Z)
        scale = best_similarity_scale(S, self.heldout.answers.weights)
        return scale, [scale**0.5 * W for W in matrices]


def _products(
    rows: Sequence[Float[np.ndarray, "_ p"]], weights: Sequence[Sequence[Float[np.ndarray, "p p"]]]
) -> list[list[Float[np.ndarray, "_ p"]]]:
    """The rows of each fold under every W of its path."""
    return [[X @ W for W in path] for X, path in zip(rows, weights, strict=True)]


def mix(path: Sequence[Float[np.ndarray, "n p"]], step: float) -> Float[np.ndarray, "n p"]:
    """Return the mixture at a step of a path, interpolated linearly from each fit to the next."""
    before = max(0, min(int(step), len(path) - 2))
    share = step - before
    return (1 - share) * path[before] + share * path[before + 1]


def scaled_identity_of(W: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "p p"]:
    """The identity, scaled to the trace of W."""
    identity: np.ndarray = np.trace(W) / len(W) * np.eye(len(W))
    return identity
