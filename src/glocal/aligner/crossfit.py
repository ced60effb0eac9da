"""Fit the same arms without each fold in turn, and score them on the held-out answers and images.

A *line* leads from the original features to `global` at one λ, over fits that are its *anchors*. A
*place* is a position on the line: 0 is the original, 1 the first anchor, and so on. Between two
anchors their matrices are mixed.
"""

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
"""α of the anchors on a line from the original features to `global`."""
ANCHOR_TAU = 0.1
"""τ of the `glocal` anchors."""
_LEADING_AXES = 256  # principal axes of the fits on folds; outside them W is a scaled identity
_TOLERANCE = 3e-4  # relative, of the fits on folds: it moves no score by more than .002
_MAX_LOG_SCALE = 5.0  # of the best scale, from the scale that gives similarities a spread of 1

Anchor = tuple[float, float]
"""λ and α of a fit; α is 0 for `global`."""


def anchor_arm(anchor: Anchor) -> Arm:
    """The arm of an anchor: `glocal` with τ 0.1, or `global` if α is 0."""
    lmbda, alpha = anchor
    if not alpha:
        return Arm(method="global", lmbda=lmbda)
    return Arm(method="glocal", lmbda=lmbda, alpha=alpha, tau=ANCHOR_TAU)


class HeldOut(NamedTuple):
    """The held-out part of one fold: its answers, as rows of the objects X, and its images.

    `X` and `images` are standardized. `neighbours` are the nearest neighbours among the
    standardized images. `raw_neighbours` are those among the images before centring, or None if
    nothing was centred.
    """

    X: Float[np.ndarray, "n p"]
    answers: Answers
    images: Float[np.ndarray, "m p"]
    neighbours: csr_array
    raw_neighbours: csr_array | None

    @classmethod
    def of(cls, fold: Fold, k: int) -> HeldOut:
        """Build the held-out part of a fold, with the k nearest neighbours."""
        data = replace(fold.data, answers=fold.answers)
        X, answers = data.objects_and_answers("float64")
        rows = data.evaluation_rows(fold.rows)
        images = data.scalars(rows, "float64")
        raw = neighbourhoods(rows - data.scalars.mean, k) if data.centre else None
        return cls(X, answers, images, neighbourhoods(images, k), raw)


@dataclass(frozen=True, eq=False)
class Position:
    """A place on a line, with the held-out scores of its transforms, one per fold.

    Parameters
    ----------
    lmbda, place : float
        λ of the line; 0 for the original features, 1 for the first anchor and so on.
    credit : (t,) array
        The credit of each held-out answer when the model chooses by cosine, 0 to 1.
    losses : (t,) array
        The loss of each held-out answer, in nats, with all similarities multiplied by `scale`.
    agreement, loss : float
        The weighted means of `credit` and `losses`.
    scale : float
        The factor of the similarities with the lowest loss. It corrects the length of W, which
        cosines ignore: with few answers W becomes too long.
    kept, kept_raw : (m,) arrays
        The share of its nearest neighbours that each held-out image keeps: of those among the
        standardized images, and of those before centring. Both are empty if neighbours were not
        compared, and `kept_raw` also if nothing was centred.
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
        """The promise: the mean share of neighbours kept, minus one standard error."""
        return float(self.kept.mean()) - self.kept_error

    def interpolate(self, other: Position, share: float) -> Position:
        """The place at this share of the way to `other`, with linearly interpolated scores."""
        steps = {name: vars(other)[name] - value for name, value in vars(self).items()}
        return Position(**{name: vars(self)[name] + share * step for name, step in steps.items()})


class CrossFit:
    """The fits of anchors on every fold, one anchor after the other, and the held-out parts.

    All folds are fitted in the same leading principal axes. The first fold starts at its own fit of
    the neighbouring anchor. A later fold starts at its own fit of that anchor too, moved by the
    step that the previous fold made between the two anchors, with the curvature of the previous
    fold. No fit is certified, since these fits only serve to choose.

    Attributes
    ----------
    answers : Answers
        All held-out answers, in the order of the scores.
    k : int
        The number of nearest neighbours that are compared in every fold.
    folds : sequence of Fold
    heldout : list of HeldOut
        The held-out part of each fold.
    local : bool
        Whether there are fits with a local term.
    alphas : tuple of float
        α of the anchors after the original features. It falls to 0, which is `global`.
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
        scalars = data.scalars
        self._shift = 0.0 if scalars.shift is None else scalars.shift / scalars.std
        self.local = local
        self.alphas = ANCHOR_ALPHAS if local else ANCHOR_ALPHAS[-1:]
        self.k = neighbour_count(folds)
        self.folds = folds
        self.heldout = [HeldOut.of(fold, self.k) for fold in folds]
        self.answers = pooled_answers([fold.answers for fold in folds])
        self._questions = question_numbers(self.answers)
        self.solutions: dict[Anchor, list[Solution]] = {}

    def fit(self, anchor: Anchor, neighbour: Anchor | None = None) -> None:
        """Fit an anchor on every fold, starting from the fits of a neighbouring anchor.

        Without a `neighbour` they start from `global` at the nearest λ. Without any fit of `global`
        the first fold starts at the given W of the anchor, and later folds at the previous fold.
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
        """The W of each fold."""
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
        """Score the transformed objects of every fold, and its images if there are any."""
        S = []
        credits = []
        for Z, side in zip(objects, self.heldout, strict=True):
            S.append(of_pairs(Z, side.answers.objects, side.answers.pairs, "dot"))
            credits.append(answer_credit(Z, side.answers))
        kept = [np.empty(0)]
        kept_raw = [np.empty(0)]
        for Z, side in zip(images, self.heldout, strict=bool(images)):
            after = neighbourhoods(Z, self.k)
            for shares, before in ((kept, side.neighbours), (kept_raw, side.raw_neighbours)):
                if before is not None:
                    shares.append(kept_by_image(side.images, Z, self.k, before=before, after=after))
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
        """Score a fitted anchor, or the standardized features if `anchor` is None.

        Neighbours are compared only if `images` is true.
        """
        objects = [side.X for side in self.heldout]
        rows = [side.images for side in self.heldout] if images else []
        if anchor is not None:
            matrices = self.matrices(anchor)
            objects = [X @ W for X, W in zip(objects, matrices, strict=True)]
            rows = [X @ W for X, W in zip(rows, matrices, strict=images)]
        return self.scores(objects, rows)

    def raw_credit(self) -> Float[np.ndarray, " t"]:
        """How right the features before centring are on each held-out answer."""
        credits = [answer_credit(side.X + self._shift, side.answers) for side in self.heldout]
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

    The loss is convex in m. Newton's method finds the root of its derivative inside a bracket. The
    bracket lies around the m that gives the similarities of an answer a standard deviation of 1,
    because the similarities of raw features grow with the number of columns.
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
    """The mixture at a place, interpolated linearly from each anchor to the next."""
    before = max(0, min(int(place), len(anchors) - 2))
    share = place - before
    return (1 - share) * anchors[before] + share * anchors[before + 1]


def scaled_identity_of(W: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "p p"]:
    """The identity, scaled to the trace of W."""
    identity: np.ndarray = np.trace(W) / len(W) * np.eye(len(W))
    return identity
