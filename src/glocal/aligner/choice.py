"""The choice of a mixture by its held-out scores, and its fit to all data.

Paths, mixtures and their promises are defined in `glocal.aligner.mixtures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution, WarmStart
from glocal.aligner.heldout import scaled_identity
from glocal.aligner.mixtures import Mixture, best_on_path
from glocal.aligner.search import PathSearch, path_settings
from glocal.errors import ParameterError
from glocal.objective import single_threaded_blas
from glocal.results import UNCHANGED, HeldOutScores, KeepRecord, KeepScores, MixedFit, SolverReport
from glocal.solver import Counter
from glocal.transform import LinearTransform

_LOWEST_KEEP = 0.01  # so low that it practically restricts nothing
_NEARBY_KEEPS = (-0.1, -0.05, 0.0, 0.05)  # added to `keep`: the record has their scores too
_OUTCOME_FIELDS = ("objective", "parts", "status", "gap", "certificate", "evaluations")
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
    search : PathSearch
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
    search: PathSearch
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
            return self.search.global_scores(self.penalty)
        if not self.paths:
            raise ParameterError(
                f"`keep` is {keep}, but this curve was computed to choose by the loss. Compute one "
                f"with `keep_curve(data, keep={keep})`."
            )
        if not 0 < keep <= 1:
            raise ParameterError(f"`keep` is {keep}; it must be a share above 0 and at most 1.")
        mixtures = [best_on_path(path, keep) for path in self.paths]
        candidates = [self.original, *mixtures]
        number = self.search.first_tie(candidates)
        return candidates[number]

    def solve(self, keep: float | None, counter: Counter | None = None) -> Solution:
        """Fit both sides of the chosen mixture to all data, and mix their matrices.

        The solution has the report of the fit nearer to `global`, but its weights are mixed, its
        evaluations count all fits, and it has no certificate. If one of the fits did not
        converge, the report is of that fit instead. The ``keep`` entry of its record has both
        fits with their certificates. If the choice is the original features, nothing is fitted, W
        is the identity, and the solution has no settings.
        """
        counter = counter or Counter(evaluations=self.evaluations)
        chosen = self.choose(keep)
        with single_threaded_blas():
            if chosen.is_original:
                return self._unchanged(chosen, keep, counter)
            return self._mixed(chosen, keep, counter)

    def _unchanged(self, chosen: Mixture, keep: float | None, counter: Counter) -> Solution:
        """W = I, with the scores of the original features."""
        report = SolverReport(
            centre=self.data.fixed_centre,
            status=UNCHANGED,
            reason="no transform agrees better by more than a standard error",
            certificate="none: nothing was fitted",
            evaluations=counter.evaluations,
            solver=self.solver.name,
            dtype=self.solver.dtype,
        )
        identity = np.eye(self.data.features.dimensions)
        transform = self.data.transform(identity)
        record = self.record(keep, [], None, 1.0)
        heldout = self.heldout_scores(chosen)
        return Solution(
            transform=transform,
            settings=None,
            report=report,
            threads=None,
            keep=record,
            heldout=heldout,
        )

    def _mixed(self, chosen: Mixture, keep: float | None, counter: Counter) -> Solution:
        """The mixture of the fits of its position to all data."""
        fits = self._fits_beside(chosen, counter)
        scale, _ = self.search.weights(chosen)
        length = scale**0.5
        weights = [fit.transform.weights.astype(np.float64) for fit in fits]
        W = chosen.weights(weights)
        transform = self.data.transform(length * W)
        reported = min(fits, key=attrgetter("converged"))  # one that did not comes first
        reported = reported.with_report(
            certificate="none: a mixture; keep.fits has the certificates of its fits",
            evaluations=counter.evaluations,
        )
        record = self.record(keep, fits, chosen.position.share, scale)
        heldout = self.heldout_scores(chosen)
        return replace(
            reported,
            transform=transform,
            keep=record,
            heldout=heldout,
        )

    def _fits_beside(self, mixture: Mixture, counter: Counter) -> list[Solution]:
        """Fit both sides of a mixture to all data, the side nearer to `global` first.

        The fits start at the means over folds. The second also starts at the first, moved by the
        step between these means.
        """
        tolerance = self.solver.tol or _TOLERANCE
        solver = self.solver.replace(tol=tolerance)
        problem = self.search.problem
        fits: list[Solution] = []
        starts = self._starts(mixture)
        nearest = starts[0]
        for mean in starts:
            warm = fits[0].warm if fits else None
            start = mean if warm is None else warm.moved(nearest, mean)
            fit = solver.minimise(problem, start.settings, start, counter)
            fits.append(fit)
        return fits

    def _starts(self, mixture: Mixture) -> list[WarmStart]:
        """The mean over folds of each fit of a mixture, the side nearer to `global` first."""
        search = self.search
        lmbda = mixture.lmbda
        starts = []
        for number in mixture.position.fits:
            alpha = search.alphas[number - 1]
            weights = search.fit(lmbda, alpha)
            mean = np.mean(weights, axis=0)
            settings = path_settings(lmbda, alpha)
            start = search.problem.start(mean, settings)
            starts.append(start)
        return starts

    def fold_transforms(self, mixture: Mixture) -> list[LinearTransform]:
        """The transform of each fold of a mixture; for the original, the best scaled identity."""
        if mixture.is_original:
            centre = self.data.fixed_centre
            folds = self.search.folds
            return [scaled_identity(fold.data, centre) for fold in folds]
        _, weights = self.search.weights(mixture)
        return [self.data.transform(W) for W in weights]

    def heldout_scores(self, mixture: Mixture) -> HeldOutScores:
        """Score the transforms of a mixture on the folds by which it was chosen."""
        is_converged = True
        for settings, solutions in self.search.fits.solutions.items():
            if settings.lmbda == mixture.lmbda:
                is_converged &= all(solution.converged for solution in solutions)
        transforms = self.fold_transforms(mixture)
        heldout = self.search.heldout
        return heldout.scores(transforms, converged=is_converged)

    def record(
        self, keep: float | None, fits: Sequence[Solution], share: float | None, scale: float
    ) -> KeepRecord:
        """How `keep` chose."""
        heldout = self.search.heldout
        chosen = self.choose(keep)
        freest = chosen if keep is None else self.choose(_LOWEST_KEEP)
        has_freest = keep is not None and not freest.is_original
        gain = heldout.estimate(chosen.credit - heldout.original_credit)
        forgone = heldout.estimate(freest.credit - chosen.credit)
        mixed_fits = [_mixed_fit(fit) for fit in fits]
        curve = [self._scores(other, self.choose(other)) for other in _nearby_keeps(keep)]
        lambdas = sorted(self.losses)
        losses = {f"{lmbda:g}": self.losses[lmbda] for lmbda in lambdas}
        return KeepRecord(
            keep=keep,
            share=share,
            scale=scale,
            fits=tuple(mixed_fits),
            curve=tuple(curve),
            losses=losses,
            evaluations=self.evaluations,
            gain=gain.mean,
            gain_error=gain.error,
            freest=self._scores(_LOWEST_KEEP, freest) if has_freest else None,
            forgone=forgone.mean,
            forgone_error=forgone.error,
        )

    def _scores(self, keep: float, choice: Mixture) -> KeepScores:
        """The scores of the choice for a share of neighbours."""
        kept_centred = None
        if self.search.heldout.is_centred:
            kept_centred = float(choice.kept.mean())
        return KeepScores(
            keep=keep,
            agreement=choice.agreement,
            neighbours_kept=self.search.kept(choice),
            neighbours_kept_centred=kept_centred,
            neighbours_kept_error=choice.neighbours_kept_error,
        )


def _nearby_keeps(keep: float | None) -> list[float]:
    """The shares near `keep` whose scores the record has; none without a `keep`."""
    if keep is None:
        return []
    shares = set()
    for step in _NEARBY_KEEPS:
        share = max(_LOWEST_KEEP, keep + step)
        share = min(1.0, share)
        share = round(share, 4)
        shares.add(share)
    return sorted(shares)


def _mixed_fit(fit: Solution) -> MixedFit:
    """The record of a fit on a side of a mixture: its parameters, and fields of its report."""
    fields = {name: getattr(fit.report, name) for name in _OUTCOME_FIELDS}
    fields.update(fit.parameters)
    return MixedFit(**fields)
