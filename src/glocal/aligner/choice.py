"""Choose a place by the share of neighbours to keep, and fit it to all data.

Lines, places and anchors are defined in `glocal.aligner.crossfit`. A place *promises* to keep the
mean share of neighbours that it keeps on the folds, minus one standard error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import ceil
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.aligner.crossfit import (
    Anchor,
    CrossFit,
    Position,
    anchor_arm,
    mix_anchors,
    scaled_identity_of,
)
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution, WarmStart, scaled_identity
from glocal.aligner.heldout import heldout_scores
from glocal.errors import ParameterError
from glocal.objective import single_threaded_blas
from glocal.results import UNCHANGED, HeldOutScores
from glocal.solver import Counter
from glocal.transform import LinearTransform

_LOWEST_KEEP = 0.01  # so low that it practically restricts nothing
_NEARBY_KEEPS = (-0.1, -0.05, 0.0, 0.05)  # added to `keep`: the record has their scores too


@dataclass(frozen=True, eq=False)
class KeepCurve:
    """The held-out scores from which `keep` chooses; `solve` fits the choice to all data.

    Attributes
    ----------
    data : FitData
    solver : Exact
        The solver of the final fits.
    crossfit : CrossFit
        The fits on the folds, and the held-out answers.
    original : Position
        The features without a transform, centred like the data.
    lines : tuple of Line
        One line for each λ, the largest first.
    losses : dict
        The held-out loss, in nats, of each λ that was tried, at its own best scale. An infinite λ
        stands for no transform.
    penalty : float
        The largest λ whose loss is within one standard error of the lowest.
    raw_credit : (t,) array
        The credit of each held-out answer under the features before centring.
    evaluations : int
        The evaluations of all fits on the folds.
    """

    data: FitData
    solver: Exact
    crossfit: CrossFit
    original: Position
    lines: tuple[Line, ...]
    losses: dict[float, float]
    penalty: float
    raw_credit: Float[np.ndarray, " t"]
    evaluations: int

    @cached_property
    def starts(self) -> dict[Anchor, Float[np.ndarray, "p p"]]:
        """The mean of W over folds, for each anchor."""
        crossfit = self.crossfit
        return {anchor: np.mean(crossfit.matrices(anchor), axis=0) for anchor in crossfit.solutions}

    def choose(self, keep: float | None) -> Position:
        """Choose the place with the largest agreement of those that promise to keep this share.

        The candidates are the original features, and the best place of each λ from the largest λ
        down. The choice is the first candidate whose agreement is within one paired standard error
        of the largest. If `keep` is None, λ is chosen by the loss alone.

        Raises
        ------
        ParameterError
            `keep` is outside (0, 1].
        """
        if keep is None:
            line = next((line for line in self.lines if line.lmbda == self.penalty), None)
            return self.original if line is None else line.positions[-1]
        if not 0 < keep <= 1:
            raise ParameterError(f"`keep` is {keep}; allowed are shares above 0 and at most 1.")
        candidates = [self.original, *(line.best(keep) for line in self.lines)]
        best = max(candidates, key=attrgetter("agreement"))
        for position in candidates:
            if self.crossfit.is_tie(best.credit - position.credit):
                return position
        return best

    def notes(self, keep: float | None) -> list[str]:
        """Advice to the user: there is nothing to gain, or what another `keep` would give."""
        chosen = self.choose(keep)
        estimate = self.crossfit.estimate(chosen.credit - self.raw_credit)
        gain = estimate.mean
        error = estimate.error
        if error is None or gain <= 2 * error:
            spread = ""
            if error is not None:
                spread = f", which is within two standard errors ({error:.3f} each)"
            elif gain:
                spread = ", and its standard error cannot be estimated"
            no_gain = f"there is nothing to gain: agreement rises by {gain:.3f}{spread}."
            if keep is None or self.choose(_LOWEST_KEEP).place == 0:
                return [f"{no_gain} More answers may show a gain."]
            return [f"keep={keep:g}: {no_gain} A lower keep allows a larger change."]
        if keep is None:
            return []
        freest = self.choose(_LOWEST_KEEP)
        kept = float(freest.kept.mean())
        if freest is chosen or freest.kept_lower_bound >= keep:
            return [
                f"the transform with the largest agreement keeps {kept:.3f} of the neighbours: a "
                f"keep below {keep:g} changes nothing."
            ]
        forgone = self.crossfit.estimate(freest.credit - chosen.credit)
        if forgone.mean > max(gain, 2 * (forgone.error or np.inf)):
            return [
                f"keep={keep:g} reaches an agreement of {chosen.agreement:.3f}. These features "
                f"allow {freest.agreement:.3f}, with {kept:.2f} of the neighbours kept. Lower keep "
                "if agreement matters more."
            ]
        return []

    def solve(self, keep: float | None, counter: Counter | None = None) -> Solution:
        """Fit the anchors on both sides of the chosen place to all data, and mix their matrices.

        The solution is that of the anchor nearer to `global`, but its weights are mixed, its
        evaluations are those of all fits, its status is that of an unconverged fit if there is one,
        and it has no certificate. The ``keep`` entry of its record has the fits of both anchors
        with their certificates, and the share of the anchor nearer to `global`. The fits start at
        the means over folds. If the choice is the original features, nothing is fitted, W is the
        identity, and the solution has no arm.
        """
        counter = counter or Counter(evaluations=self.evaluations)
        chosen = self.choose(keep)
        with single_threaded_blas():
            mixture = self._mixture(chosen, counter)
        record = self._record(keep, chosen, mixture)
        scores = self.heldout_scores(chosen)
        transform = self.data.transform(mixture.weights)
        if not chosen.place:
            return Solution(
                transform=transform,
                arm=None,
                objective=None,
                parts=None,
                status=UNCHANGED,
                reason="no transform agrees better by more than a standard error",
                gap=None,
                certificate="none: nothing was fitted",
                evaluations=counter.evaluations,
                solver=self.solver.name,
                dtype=self.solver.dtype,
                threads=None,
                keep=record,
                heldout=scores,
            )
        nearest = mixture.solutions[-1]
        reported = next((fit for fit in reversed(mixture.solutions) if not fit.converged), nearest)
        return replace(
            nearest,
            transform=transform,
            status=reported.status,
            reason=reported.reason,
            certificate="none: a mixture; keep.fits has the certificates of its fits",
            evaluations=counter.evaluations,
            keep=record,
            heldout=scores,
        )

    def fold_transforms(self, position: Position) -> list[LinearTransform]:
        """The transform of each fold at a place; at place 0, the best scaled identity."""
        crossfit = self.crossfit
        if not position.place:
            return [scaled_identity(fold.data, float(self.data.centre)) for fold in crossfit.folds]
        anchors = [crossfit.matrices((position.lmbda, alpha)) for alpha in crossfit.alphas]
        transforms = []
        for matrices in zip(*anchors, strict=True):
            line = [scaled_identity_of(matrices[0]), *matrices]
            W = position.scale**0.5 * mix_anchors(line, position.place)
            transforms.append(self.data.transform(W))
        return transforms

    def heldout_scores(self, position: Position) -> HeldOutScores:
        """Score the transforms of a place on the folds by which it was chosen."""
        crossfit = self.crossfit
        fits = [
            fit
            for anchor, each in crossfit.solutions.items()
            for fit in each
            if position.place and anchor[0] == position.lmbda
        ]
        return heldout_scores(
            self.data,
            crossfit.folds,
            self.fold_transforms(position),
            converged=all(fit.converged for fit in fits),
        )

    def _mixture(self, position: Position, counter: Counter) -> Mixture:
        """Fit the anchors on both sides of a place to all data, and mix their matrices."""
        if not position.place:
            return Mixture(np.eye(self.data.features.dimensions), [], None)
        before = ceil(position.place) - 1  # anchor before; 0 is the original
        share = position.place - before
        first = before if share == 1 else max(0, before - 1)
        sides = self.crossfit.alphas[first : before + 1]
        problem = self.solver.problem(self.data, local=any(sides))
        fits: list[Solution] = []
        means: list[WarmStart] = []  # the means over folds of the same anchors
        for alpha in sorted(sides):
            anchor = (position.lmbda, alpha)
            start = mean = problem.start(self.starts[anchor], anchor_arm(anchor))
            if fits and fits[0].warm is not None:
                start = fits[0].warm.moved(means[0], mean)
            fits.insert(0, self.solver.minimise(problem, anchor_arm(anchor), start, counter))
            means.append(mean)
        matrices = [solution.transform.weights.astype(np.float64) for solution in fits]
        if len(matrices) == 1:
            matrices.insert(0, scaled_identity_of(matrices[0]))
        return Mixture(position.scale**0.5 * mix_anchors(matrices, share), fits, share)

    def _record(self, keep: float | None, chosen: Position, mixture: Mixture) -> dict[str, Any]:
        """The ``keep`` entry in the record of a fit."""
        outcome = ("objective", "parts", "status", "gap", "certificate", "evaluations")
        fits = []
        for solution in reversed(mixture.solutions):
            results = {name: getattr(solution, name) for name in outcome}
            fits.append(solution.settings | results)
        nearby: set[float] = set()
        if keep is not None:
            nearby = {round(min(1.0, max(_LOWEST_KEEP, keep + step)), 4) for step in _NEARBY_KEEPS}
        choices = {other: self.choose(other) for other in sorted(nearby)}
        return {
            "keep": keep,
            "centre": self.data.centre,
            "share": mixture.share,
            "scale": chosen.scale if chosen.place else 1.0,
            "fits": fits,
            "curve": [
                {
                    "keep": other,
                    "agreement": choice.agreement,
                    "kept": float(choice.kept.mean()),
                    "kept_error": choice.kept_error,
                }
                for other, choice in choices.items()
            ],
            "losses": {f"{lmbda:g}": loss for lmbda, loss in sorted(self.losses.items())},
            "evaluations": self.evaluations,
            "notes": self.notes(keep),
        }


class Line(NamedTuple):
    """The scored places of one λ in order, the original features first."""

    positions: tuple[Position, ...]

    @property
    def lmbda(self) -> float:
        """The λ of the anchors."""
        return self.positions[-1].lmbda

    def best(self, keep: float) -> Position:
        """The place with the largest agreement of those that promise to keep this share.

        Two kinds of places between the scored places are candidates too, so that the choice is
        continuous in the data: a place at which the promise crosses `keep`, and the top of the
        parabola through the best place and its neighbours.
        """
        allowed = [place for place in self.positions if place.kept_lower_bound >= keep]
        candidates = allowed or [self.positions[0]]
        for position, following in pairwise(self.positions):
            excess = position.kept_lower_bound - keep
            if excess >= 0 > following.kept_lower_bound - keep:
                share = excess / (position.kept_lower_bound - following.kept_lower_bound)
                candidates = [*candidates, position.interpolate(following, share)]
        best = max(candidates, key=attrgetter("agreement"))
        top = self._top(best)
        return top if top.kept_lower_bound >= keep else best

    def _top(self, best: Position) -> Position:
        """The top of the parabola through a scored place and its neighbours.

        The ends of the line, and places between scored ones, are returned unchanged.
        """
        places = list(self.positions)
        if best not in places[1:-1]:
            return best
        index = places.index(best)
        before = places[index - 1]
        after = places[index + 1]
        rise = best.agreement - before.agreement
        fall = best.agreement - after.agreement
        if rise + fall <= 0:
            return best
        # in steps, positive towards `after`, between -1/2 and 1/2
        offset = (rise - fall) / (2 * (rise + fall))
        return best.interpolate(after if offset > 0 else before, abs(offset))


class Mixture(NamedTuple):
    """The weights at a place, the one or two fits around it, and the share of the last fit.

    At place 0 there is no fit.
    """

    weights: Float[np.ndarray, "p p"]
    solutions: list[Solution]
    share: float | None
