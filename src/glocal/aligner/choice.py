"""Choose a mixture by the share of neighbours to keep, and fit it to all data.

Paths and mixtures are defined in `glocal.aligner.crossfit`. A mixture *promises* to keep the mean
share of neighbours that it keeps on the folds, minus one standard error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.aligner.crossfit import (
    CrossFit,
    Mixture,
    Path,
    mix,
    path_arm,
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
    original : Mixture
        The features without a transform, centred like the data.
    paths : tuple of Path
        One path for each λ, the largest first; none without a `keep`.
    scores : dict
        The scores of `global` at each λ that was tried. An infinite λ stands for no transform.
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
    original: Mixture
    paths: tuple[Path, ...]
    scores: dict[float, Mixture]
    penalty: float
    raw_credit: Float[np.ndarray, " t"]
    evaluations: int

    @cached_property
    def starts(self) -> dict[tuple[float, float], Float[np.ndarray, "p p"]]:
        """The mean of W over folds, for each λ and α."""
        crossfit = self.crossfit
        return {key: np.mean(crossfit.fit(*key), axis=0) for key in crossfit.solutions}

    def choose(self, keep: float | None) -> Mixture:
        """Choose the mixture with the largest agreement of those that promise to keep this share.

        The candidates are the original features, and the best mixture of each path from the largest
        λ down. The choice is the first candidate whose agreement is within one paired standard
        error of the largest. If `keep` is None, λ of `global` is chosen by the loss alone.

        Raises
        ------
        ParameterError
            `keep` is outside (0, 1].
        """
        if keep is None:
            return self.scores[self.penalty]
        if not 0 < keep <= 1:
            raise ParameterError(f"`keep` is {keep}; allowed are shares above 0 and at most 1.")
        candidates = [self.original, *(path.best(keep) for path in self.paths)]
        best = max(candidates, key=attrgetter("agreement"))
        for mixture in candidates:
            if self.crossfit.is_tie(best.credit - mixture.credit):
                return mixture
        return best

    def notes(self, keep: float | None) -> list[str]:
        """Advice to the user: there is nothing to gain, or what another `keep` would give."""
        chosen = self.choose(keep)
        gain = self.crossfit.estimate(chosen.credit - self.raw_credit)
        if gain.error is None or gain.mean <= 2 * gain.error:
            spread = ""
            if gain.error is not None:
                spread = f", which is within two standard errors ({gain.error:.3f} each)"
            elif gain.mean:
                spread = ", and its standard error cannot be estimated"
            no_gain = f"there is nothing to gain: agreement rises by {gain.mean:.3f}{spread}."
            if keep is None or self.choose(_LOWEST_KEEP).step == 0:
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
        if forgone.mean > max(gain.mean, 2 * (forgone.error or np.inf)):
            return [
                f"keep={keep:g} reaches an agreement of {chosen.agreement:.3f}. These features "
                f"allow {freest.agreement:.3f}, with {kept:.2f} of the neighbours kept. Lower keep "
                "if agreement matters more."
            ]
        return []

    def solve(self, keep: float | None, counter: Counter | None = None) -> Solution:
        """Fit the arms on both sides of the chosen mixture to all data, and mix their matrices.

        The solution is that of the arm nearer to `global`, but its weights are mixed, its
        evaluations are those of all fits, its status is that of an unconverged fit if there is one,
        and it has no certificate. The ``keep`` entry of its record has both fits with their
        certificates. The fits start at the means over folds. If the choice is the original
        features, nothing is fitted, W is the identity, and the solution has no arm.
        """
        counter = counter or Counter(evaluations=self.evaluations)
        chosen = self.choose(keep)
        with single_threaded_blas():
            mixed = self._fitted(chosen, counter)
        outcome: dict[str, Any] = {
            "transform": self.data.transform(mixed.weights),
            "evaluations": counter.evaluations,
            "keep": self._record(keep, chosen, mixed),
            "heldout": self.heldout_scores(chosen),
        }
        if not chosen.step:
            return Solution(
                arm=None,
                objective=None,
                parts=None,
                status=UNCHANGED,
                reason="no transform agrees better by more than a standard error",
                gap=None,
                certificate="none: nothing was fitted",
                solver=self.solver.name,
                dtype=self.solver.dtype,
                threads=None,
                **outcome,
            )
        nearest = mixed.fits[-1]
        reported = next((fit for fit in reversed(mixed.fits) if not fit.converged), nearest)
        return replace(
            nearest,
            status=reported.status,
            reason=reported.reason,
            certificate="none: a mixture; keep.fits has the certificates of its fits",
            **outcome,
        )

    def fold_transforms(self, mixture: Mixture) -> list[LinearTransform]:
        """The transform of each fold of a mixture; for the original, the best scaled identity."""
        if not mixture.step:
            centre = float(self.data.centre)
            return [scaled_identity(fold.data, centre) for fold in self.crossfit.folds]
        scale = mixture.scale**0.5
        paths = self.crossfit.path_weights(mixture.lmbda)
        return [self.data.transform(scale * mix(path, mixture.step)) for path in paths]

    def heldout_scores(self, mixture: Mixture) -> HeldOutScores:
        """Score the transforms of a mixture on the folds by which it was chosen."""
        solutions = self.crossfit.solutions
        fits = [fit for key, fits in solutions.items() if key[0] == mixture.lmbda for fit in fits]
        return heldout_scores(
            self.data,
            self.crossfit.folds,
            self.fold_transforms(mixture),
            converged=all(fit.converged for fit in fits),
        )

    def _fitted(self, mixture: Mixture, counter: Counter) -> _Mixed:
        """Fit the arms on both sides of a mixture to all data, and mix their matrices."""
        if not mixture.step:
            return _Mixed(np.eye(self.data.features.dimensions), [], None)
        last = ceil(mixture.step) - 1  # index of the fit after the mixture
        share = mixture.step - last
        first = last if share == 1 else max(0, last - 1)
        alphas = self.crossfit.alphas[first : last + 1]
        problem = self.solver.problem(self.data, local=any(alphas))
        fits: list[Solution] = []
        means: list[WarmStart] = []  # the means over folds of the same arms
        for alpha in sorted(alphas):
            arm = path_arm(mixture.lmbda, alpha)
            start = mean = problem.start(self.starts[mixture.lmbda, alpha], arm)
            if fits and fits[0].warm is not None:
                start = fits[0].warm.moved(means[0], mean)
            fits.insert(0, self.solver.minimise(problem, arm, start, counter))
            means.append(mean)
        matrices = [fit.transform.weights.astype(np.float64) for fit in fits]
        if len(matrices) == 1:
            matrices.insert(0, scaled_identity_of(matrices[0]))
        return _Mixed(mixture.scale**0.5 * mix(matrices, share), fits, share)

    def _record(self, keep: float | None, chosen: Mixture, mixed: _Mixed) -> dict[str, Any]:
        """The ``keep`` entry in the record of a fit."""
        outcome = ("objective", "parts", "status", "gap", "certificate", "evaluations")
        nearby: set[float] = set()
        if keep is not None:
            nearby = {round(min(1.0, max(_LOWEST_KEEP, keep + step)), 4) for step in _NEARBY_KEEPS}
        choices = {other: self.choose(other) for other in sorted(nearby)}
        return {
            "keep": keep,
            "centre": self.data.centre,
            "share": mixed.share,
            "scale": chosen.scale if chosen.step else 1.0,
            "fits": [
                fit.settings | {name: getattr(fit, name) for name in outcome}
                for fit in reversed(mixed.fits)
            ],
            "curve": [
                {
                    "keep": other,
                    "agreement": choice.agreement,
                    "kept": float(choice.kept.mean()),
                    "kept_error": choice.kept_error,
                }
                for other, choice in choices.items()
            ],
            "losses": {f"{lmbda:g}": self.scores[lmbda].loss for lmbda in sorted(self.scores)},
            "evaluations": self.evaluations,
            "notes": self.notes(keep),
        }


class _Mixed(NamedTuple):
    """Mixed weights, the one or two fits that are mixed, and the share of the last fit.

    For the original features there is no fit.
    """

    weights: Float[np.ndarray, "p p"]
    fits: list[Solution]
    share: float | None
