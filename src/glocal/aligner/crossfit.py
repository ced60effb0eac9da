"""The same arms fitted without each fold in turn, and scored on what each fold holds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from glocal.solver import Counter

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FOLDS = 3
ANCHOR_ALPHAS = (0.75, 0.5, 0.0)
"""α of the fits on a line from the original features to `global`."""
ANCHOR_TAU = 0.1
"""τ of the `glocal` fits that a cross-fit makes."""
_LEADING_AXES = 256  # of the fits that choose; off them W is a scaled identity
_TOLERANCE = 3e-4  # of the fits that choose: it moves no score by more than .002
_MAX_LOG_SCALE = 5.0  # of the similarities, either way from those that differ by 1 nat

Anchor = tuple[float, float]
"""λ and α of a fit; α is 0 for `global`."""


def anchor_arm(anchor: Anchor) -> Arm:
    """`glocal` with τ 0.1, or `global` where α is 0."""
    lmbda, alpha = anchor
    if not alpha:
        return Arm(method="global", lmbda=lmbda)
    return Arm(method="glocal", lmbda=lmbda, alpha=alpha, tau=ANCHOR_TAU)


class HeldOut(NamedTuple):
    """What one fold holds out: answers as rows of the objects X, and images with their neighbours.

    `X` and `images` are standardized. `neighbours` are those among the images as they are
    standardized, and `raw_neighbours` those before they were centred, None where nothing was
    centred.
    """

    X: Float[np.ndarray, "n p"]
    answers: Answers
    images: Float[np.ndarray, "m p"]
    neighbours: csr_array
    raw_neighbours: csr_array | None

    @classmethod
    def of(cls, fold: Fold) -> HeldOut:
        """From a fold."""
        data = replace(fold.data, answers=fold.answers)
        X, answers = data.objects_and_answers("float64")
        rows = data.evaluation_rows(fold.rows)
        images = data.scalars(rows, "float64")
        k = neighbour_count(len(images))
        raw = neighbourhoods(rows - data.scalars.mean, k) if data.centre else None
        return cls(X, answers, images, neighbourhoods(images, k), raw)


@dataclass(frozen=True, eq=False)
class Position:
    """One transform per fold, by its place on a line, and its scores on what the folds hold out.

    Parameters
    ----------
    lmbda, place : float
        λ of the line; 0 for the original features, 1 for the first anchor and so on.
    credit : (t,) array
        How right the choice by cosine is on each held-out answer, 0 to 1.
    losses : (t,) array
        The loss of each held-out answer, nats, with all similarities multiplied by `scale`.
    agreement, loss : float
        Their weighted means.
    scale : float
        The factor of the similarities with the lowest loss: few answers make W too long, which
        cosines do not see.
    kept, kept_raw : (m,) arrays
        The share of its nearest neighbours that each held-out image keeps: of those of the
        standardized images, and of those before centring. Both are empty where neighbours were
        not compared.
    """

    lmbda: float
    place: float
    credit: Float[np.ndarray, " t"]
    losses: Float[np.ndarray, " t"]
    agreement: float
    loss: float
    scale: float
    kept: Float[np.ndarray, " m"]
    kept_raw: Float[np.ndarray, " r"]

    @property
    def kept_error(self) -> float:
        """The standard error of the mean share of neighbours kept."""
        return float(self.kept.std() / np.sqrt(len(self.kept)))

    @property
    def kept_lower_bound(self) -> float:
        """The promise: the mean share of neighbours kept, less a standard error."""
        return float(self.kept.mean()) - self.kept_error

    def interpolate(self, other: Position, share: float) -> Position:
        """The place at this share of the way to another; all scores are interpolated linearly."""
        steps = {name: vars(other)[name] - value for name, value in vars(self).items()}
        return Position(**{name: vars(self)[name] + share * step for name, step in steps.items()})


class CrossFit:
    """Fits of one anchor after the other on every fold, and what the folds hold out.

    All folds are fitted in the same leading principal axes. The first fold starts where its
    neighbouring anchor ended; a later one adds the step between the two anchors of the fold before
    it, with the curvature of that fold. No fit is certified: these fits only choose.

    Attributes
    ----------
    answers : Answers
        All answers that are held out, in the order of the scores.
    local : bool
        Whether there are fits with a local term.
    alphas : tuple of float
        α of the anchors after the original, falling to 0, `global`.
    solutions : dict
        The fits of each anchor, one per fold.
    """

    def __init__(
        self,
        data: FitData,
        folds: Sequence[Fold],
        solver: Exact,
        counter: Counter,
        *,
        local: bool,
        starts: Mapping[Anchor, Float[np.ndarray, "p p"]],
    ) -> None:
        axes = solver.axes(data).leading(_LEADING_AXES)
        self._solver = solver.replace(tol=max(solver.tolerance, _TOLERANCE))
        self._counter = counter
        self._problems = [self._solver.problem(fold.data, local=local, axes=axes) for fold in folds]
        self._starts = starts
        self.local = local
        self.alphas = ANCHOR_ALPHAS if local else ANCHOR_ALPHAS[-1:]
        self.heldout = [HeldOut.of(fold) for fold in folds]
        self.answers = pooled_answers([fold.answers for fold in folds])
        self._questions = question_numbers(self.answers)
        self.solutions: dict[Anchor, list[Solution]] = {}

    def fit(self, anchor: Anchor, neighbour: Anchor | None = None) -> None:
        """Fit an anchor on every fold, starting from the fits of a neighbouring anchor.

        None starts at the fits of `global` at the nearest λ, if there are any.
        """
        if anchor in self.solutions:
            return
        if neighbour is None:
            others = [other for other in self.solutions if not other[1]]
            neighbour = min(
                others, key=lambda other: abs(np.log(other[0] / anchor[0])), default=None
            )
        arm = anchor_arm(anchor)
        weights = self._starts.get(anchor)
        solutions: list[Solution] = []
        for fold, problem in enumerate(self._problems):
            start = None
            if neighbour is not None:
                start = self.solutions[neighbour][fold].warm
                if solutions and start is not None:
                    before = self.solutions[neighbour][fold - 1]
                    start = start.moved(before.warm, solutions[-1].warm)
            elif solutions:
                start = solutions[-1].warm
            elif weights is not None:
                start = problem.start(weights, arm)
            solution = self._solver.minimise(problem, arm, start, self._counter, certified=False)
            solutions.append(solution)
        self.solutions[anchor] = solutions

    def matrices(self, anchor: Anchor) -> list[Float[np.ndarray, "p p"]]:
        """W of each fold."""
        return [
            solution.transform.weights.astype(np.float64) for solution in self.solutions[anchor]
        ]

    def scores(
        self,
        objects: Sequence[Float[np.ndarray, "_ p"]],
        images: Sequence[Float[np.ndarray, "_ p"]] = (),
        *,
        lmbda: float = np.inf,
        place: float = 0.0,
    ) -> Position:
        """Score the transformed objects, and images if there are any, of every fold."""
        S = []
        credits = []
        for Z, side in zip(objects, self.heldout, strict=True):
            S.append(of_pairs(Z, side.answers.objects, side.answers.pairs, "dot"))
            credits.append(answer_credit(Z, side.answers))
        kept = [np.empty(0)]
        kept_raw = [np.empty(0)]
        for Z, side in zip(images, self.heldout, strict=bool(images)):
            k = neighbour_count(len(Z))
            after = neighbourhoods(Z, k)
            for shares, before in ((kept, side.neighbours), (kept_raw, side.raw_neighbours)):
                if before is not None:
                    shares.append(kept_by_image(side.images, Z, k, before=before, after=after))
        credit = np.concatenate(credits)
        similarities = np.concatenate(S)
        weights = self.answers.weights
        scale = best_similarity_scale(similarities, weights)
        losses = choice_loss(scale * similarities)
        return Position(
            lmbda=lmbda,
            place=place,
            credit=credit,
            losses=losses,
            agreement=float(np.average(credit, weights=weights)),
            loss=float(np.average(losses, weights=weights)),
            scale=scale,
            kept=np.concatenate(kept),
            kept_raw=np.concatenate(kept_raw),
        )

    def anchor_scores(self, anchor: Anchor | None, *, images: bool = False) -> Position:
        """Scores of an anchor that was fitted, or of the standardized features (None).

        Only with `images` are neighbours compared.
        """
        objects = [side.X for side in self.heldout]
        rows = [side.images for side in self.heldout] if images else []
        if anchor is not None:
            matrices = self.matrices(anchor)
            objects = [X @ W for X, W in zip(objects, matrices, strict=True)]
            rows = [X @ W for X, W in zip(rows, matrices, strict=images)]
        return self.scores(objects, rows)

    @property
    def candidates(self) -> int:
        """The mean number of images that a fold holds out: neighbours are among these."""
        return round(float(np.mean([len(side.images) for side in self.heldout])))

    def is_tie(self, deficit: Float[np.ndarray, " t"], minimum: float = 0.0) -> bool:
        """Whether a mean deficit is within a standard error of 0, or at most `minimum`.

        The error is over questions. That over objects, which is right for intervals, is larger and
        would call more a tie: λ would be one step too large.
        """
        weights = self.answers.weights
        if weights is not None:
            deficit = deficit * weights / weights.mean()
        estimate = mean_estimate(deficit, self._questions)
        return estimate.mean <= max(estimate.error or 0.0, minimum)

    def estimate(self, values: Float[np.ndarray, " t"]) -> Estimate:
        """The weighted mean of a value for each held-out answer, with its standard error."""
        return credit_units(values, self.answers).estimate()


def best_similarity_scale(
    S: Float[np.ndarray, "t k"], weights: Float[np.ndarray, " t"] | None
) -> float:
    """The m > 0 for which the softmax of m S has the lowest mean loss of column 0.

    The loss is convex in m: this is Newton's method on its derivative, in a bracket around the m
    for which the similarities of an answer have a standard deviation of 1: those of raw features
    grow with their columns.
    """
    spread = float((S - S.mean(axis=1, keepdims=True)).std())
    scale = 1 / spread if spread else 1.0
    low = scale * np.exp(-_MAX_LOG_SCALE)
    high = scale * np.exp(_MAX_LOG_SCALE)
    for _ in range(60):
        q = np.exp(scale * S - (scale * S).max(axis=1, keepdims=True))
        q /= q.sum(axis=1, keepdims=True)
        expected = (q * S).sum(axis=1)
        slope = float(np.average(expected - S[:, 0], weights=weights))
        curvature = float(np.average((q * S**2).sum(axis=1) - expected**2, weights=weights))
        if slope < 0:
            low = scale
        else:
            high = scale
        step = scale - slope / curvature if curvature > 0 else np.inf
        next_scale = step if low < step < high else (low * high) ** 0.5
        if abs(next_scale - scale) <= 1e-4 * scale:
            return float(next_scale)
        scale = next_scale
    return float(scale)


def mix_anchors(
    anchors: Sequence[Float[np.ndarray, "n p"]], place: float
) -> Float[np.ndarray, "n p"]:
    """The mixture at a place: a straight line from each anchor to the next."""
    before = max(0, min(int(place), len(anchors) - 2))
    share = place - before
    return (1 - share) * anchors[before] + share * anchors[before + 1]


def scaled_identity_of(W: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "p p"]:
    """The identity at the scale of W."""
    identity: np.ndarray = np.trace(W) / len(W) * np.eye(len(W))
    return identity
