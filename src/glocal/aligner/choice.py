"""Choose a mixture by the share of neighbours to keep, and fit it to all data.

Paths, mixtures and their promises are defined in `glocal.aligner.crossfit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from glocal.aligner.crossfit import CrossFit, Mixture, best_on_path, path_arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution, WarmStart
from glocal.aligner.folds import scaled_identity
from glocal.errors import ParameterError
from glocal.objective import single_threaded_blas
from glocal.results import UNCHANGED, HeldOutScores, KeepRecord, SolverReport
from glocal.solver import Counter
from glocal.transform import LinearTransform

_LOWEST_KEEP = 0.01  # so low that it practically restricts nothing
_NEARBY_KEEPS = (-0.1, -0.05, 0.0, 0.05)  # added to `keep`: the record has their scores too
_TOLERANCE = 3e-5  # relative, of the final fits: a third of it moves no score by .001


@dataclass(frozen=True, eq=False)
class KeepCurve:
    """The held-out scores from which `keep` chooses; `solve` fits the choice to all data.

    Attributes
    ----------
    data : FitData
    keep : float or None
        The share of neighbours to keep. None chooses λ of `global` by the loss, and promises none.
    solver : Exact
        The solver of the final fits.
    crossfit : CrossFit
        The fits on the folds, and the held-out answers.
    original : Mixture
        The features without a transform, with the origin of the data.
    paths : tuple of lists of Mixture
        One path for each λ, the largest first; none without a `keep`.
    losses : dict
        The held-out loss of `global` at each λ that was tried, in nats. An infinite λ stands for no
        transform.
    penalty : float
        The largest λ whose loss is within one standard error of the lowest.
    evaluations : int
        The evaluations of all fits on the folds.
    """

    data: FitData
    keep: float | None
    solver: Exact
    crossfit: CrossFit
    original: Mixture
    paths: tuple[list[Mixture], ...]
    losses: dict[float, float]
    penalty: float
    evaluations: int

    def choose(self, keep: float | None) -> Mixture:
        """Choose the mixture with the largest agreement of those that promise to keep this share.

        The candidates are the original features, and the best mixture of each path from the largest
        λ down. The choice is the first candidate whose agreement is within one paired standard
        error of the largest. If `keep` is None, λ of `global` is chosen by the loss alone.

        Raises
        ------
        ParameterError
            `keep` is outside (0, 1], or the curve has no paths.
        """
        if keep is None:
            return self.crossfit.global_scores(self.penalty)
        if not self.paths:
            raise ParameterError(
                f"`keep` is {keep}, but this curve was computed to choose by the loss. Compute one "
                f"with `keep_curve(data, keep={keep})`."
            )
        if not 0 < keep <= 1:
            raise ParameterError(f"`keep` is {keep}; it must be a share above 0 and at most 1.")
        candidates = [self.original, *(best_on_path(path, keep) for path in self.paths)]
        return candidates[self.crossfit.first_tie(candidates)]

    def notes(self, keep: float | None) -> list[str]:
        """Advice to the user: there is nothing to gain, or what another `keep` would give."""
        chosen = self.choose(keep)
        freest = chosen if keep is None else self.choose(_LOWEST_KEEP)
        heldout = self.crossfit.heldout
        gain = heldout.estimate(chosen.credit - heldout.original_credit)
        if gain.error is None or gain.mean <= 2 * gain.error:
            advice = "A lower keep allows a larger change."
            if keep is None or not freest.step:
                advice = "More answers may show a gain."
            return [f"there is nothing to gain: agreement rises by {gain.mean:.3f}. {advice}"]
        forgone = heldout.estimate(freest.credit - chosen.credit)
        if forgone.mean > max(gain.mean, 2 * (forgone.error or np.inf)):
            return [
                f"keep={keep:g} reaches an agreement of {chosen.agreement:.3f}. These features "
                f"allow {freest.agreement:.3f}, with {freest.kept.mean():.2f} of the neighbours "
                "kept. Lower keep if agreement matters more."
            ]
        return []

    def solve(self, keep: float | None, counter: Counter | None = None) -> Solution:
        """Fit the arms on both sides of the chosen mixture to all data, and mix their matrices.

        The solution is that of the arm nearer to `global`, but its weights are mixed, its
        evaluations are those of all fits, and it has no certificate. If one of the fits did not
        converge, the solution is that of its arm. The ``keep`` entry of its record has both fits
        with their certificates. If the choice is the original features, nothing is fitted, W is the
        identity, and the solution has no arm.
        """
        counter = counter or Counter(evaluations=self.evaluations)
        chosen = self.choose(keep)
        with single_threaded_blas():
            fits = self._fits_beside(chosen, counter) if chosen.step else []
            scale = self.crossfit.weights(chosen)[0] if fits else 1.0
            solution = self._mixed(chosen, fits, scale) if fits else self._unchanged()
            report = replace(
                solution.report,
                evaluations=counter.evaluations,
                keep=self._record(keep, fits, chosen.share if fits else None, scale),
                heldout=self.heldout_scores(chosen),
            )
        return replace(solution, report=report)

    def _unchanged(self) -> Solution:
        """The original features, but for their origin."""
        report = SolverReport(
            centre=self.data.fixed_centre,
            status=UNCHANGED,
            reason="no transform agrees better by more than a standard error",
            certificate="none: nothing was fitted",
            solver=self.solver.name,
            dtype=self.solver.dtype,
        )
        identity = self.data.transform(np.eye(self.data.features.dimensions))
        return Solution(identity, arm=None, report=report, threads=None)

    def _mixed(self, mixture: Mixture, fits: Sequence[Solution], scale: float) -> Solution:
        """The first of the fits beside a mixture, with the W of the mixture at its best scale.

        A fit that did not converge comes before one that did.
        """
        W = mixture.weights([fit.transform.weights.astype(np.float64) for fit in fits])
        reported = min(fits, key=attrgetter("converged"))
        certificate = "none: a mixture; keep.fits has the certificates of its fits"
        return replace(
            reported,
            transform=self.data.transform(scale**0.5 * W),
            report=replace(reported.report, certificate=certificate),
        )

    def _fits_beside(self, mixture: Mixture, counter: Counter) -> list[Solution]:
        """Fit the arms on both sides of a mixture to all data, that nearer to `global` first.

        The fits start at the means over folds. The second also starts at the first, moved by the
        step between these means.
        """
        first = mixture.last_fit if mixture.share == 1 else max(1, mixture.last_fit - 1)
        alphas = self.crossfit.alphas[first - 1 : mixture.last_fit]
        solver = self.solver.replace(tol=self.solver.tol or _TOLERANCE)
        problem = solver.problem(self.data, local=any(alphas))
        fits: list[Solution] = []
        means: list[WarmStart] = []
        for alpha in reversed(alphas):
            arm = path_arm(mixture.lmbda, alpha)
            mean = np.mean(self.crossfit.fit(mixture.lmbda, alpha), axis=0)
            means.append(problem.start(mean, arm))
            start = means[-1]
            if fits and fits[0].warm is not None:
                start = fits[0].warm.moved(means[0], start)
            fits.append(solver.minimise(problem, arm, start, counter))
        return fits

    def fold_transforms(self, mixture: Mixture) -> list[LinearTransform]:
        """The transform of each fold of a mixture; for the original, the best scaled identity."""
        if not mixture.step:
            centre = self.data.fixed_centre
            return [scaled_identity(fold.data, centre) for fold in self.crossfit.folds]
        return [self.data.transform(W) for W in self.crossfit.weights(mixture)[1]]

    def heldout_scores(self, mixture: Mixture) -> HeldOutScores:
        """Score the transforms of a mixture on the folds by which it was chosen."""
        solutions = self.crossfit.solutions
        fits = [fit for key, fits in solutions.items() if key[0] == mixture.lmbda for fit in fits]
        is_converged = all(fit.converged for fit in fits)
        return self.crossfit.heldout.scores(self.fold_transforms(mixture), converged=is_converged)

    def _record(
        self, keep: float | None, fits: Sequence[Solution], share: float | None, scale: float
    ) -> KeepRecord:
        """How `keep` chose."""
        outcome = ("objective", "parts", "status", "gap", "certificate", "evaluations")
        nearby: set[float] = set()
        if keep is not None:
            nearby = {round(min(1.0, max(_LOWEST_KEEP, keep + step)), 4) for step in _NEARBY_KEEPS}
        return KeepRecord(
            keep=keep,
            share=share,
            scale=scale,
            fits=[
                fit.settings | {name: getattr(fit.report, name) for name in outcome} for fit in fits
            ],
            curve=[self._curve_row(other) for other in sorted(nearby)],
            losses={f"{lmbda:g}": self.losses[lmbda] for lmbda in sorted(self.losses)},
            evaluations=self.evaluations,
            notes=self.notes(keep),
        )

    def _curve_row(self, keep: float) -> dict[str, float | None]:
        """The scores of the choice for another share of neighbours."""
        choice = self.choose(keep)
        is_centred = self.crossfit.heldout.is_centred
        return {
            "keep": keep,
            "agreement": choice.agreement,
            "neighbours_kept": self.crossfit.kept(choice),
            "neighbours_kept_centred": float(choice.kept.mean()) if is_centred else None,
            "neighbours_kept_error": choice.neighbours_kept_error,
        }
