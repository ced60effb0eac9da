"""`Keep`: choose method, α, λ and τ by the share of each image's neighbours to keep, and fit them.

Paths, mixtures and their promises are defined in `glocal.aligner.mixtures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import ClassVar

import numpy as np
from pydantic import Field

from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution, Unfitted, WarmStart
from glocal.aligner.folds import fit_folds
from glocal.aligner.heldout import scaled_identity
from glocal.aligner.mixtures import Mixture, best_on_path
from glocal.aligner.paper import PaperLoop
from glocal.aligner.search import FOLDS, NO_TRANSFORM, PathSearch, path_settings
from glocal.errors import DataError, ParameterError
from glocal.objective import single_threaded_blas
from glocal.options import Options
from glocal.results import UNCHANGED, HeldOutScores, KeepRecord, KeepScores, MixedFit, SolverReport
from glocal.solver import Counter
from glocal.transform import LinearTransform

DEFAULT_KEEP = 0.9
MIN_ANSWERS = 30
"""With fewer answers the folds are too small to choose on."""
_LOWEST_KEEP = 0.01  # so low that it practically restricts nothing
_NEARBY_KEEPS = (-0.1, -0.05, 0.0, 0.05)  # added to `keep`: the record has their scores too
_TOLERANCE = 3e-5  # relative, of the final fits: a third of it moves no score by .001


class Keep(Options):
    """Choose the transform that agrees most among those that keep a share of the neighbours.

    Parameters
    ----------
    keep : float or None
        The share of each image's ten nearest neighbours to keep, above 0 and at most 1. None is 0.9
        with local images. Without any, None chooses λ of `global` by the loss on held-out questions
        alone, and promises no share.
    """

    panel: ClassVar[str] = "Keep"

    keep: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of each image's ten nearest neighbours to keep; method, α, λ and τ are "
        "chosen for you. [default: 0.9 with local features]",
    )

    def solve(self, data: FitData, solver: Exact | PaperLoop, counter: Counter) -> Solution:
        """Choose on three folds, and fit the choice to all data.

        Raises
        ------
        ParameterError
            The solver is not the exact solver.
        DataError
            There are fewer than 30 answers, or `glocal.aligner.fit` raises it.
        """
        if not isinstance(solver, Exact):
            raise ParameterError(
                "`keep` chooses method, alpha, lmbda and tau, and needs the exact solver. Give "
                "`method` to use another solver."
            )
        curve = curve_at(data, solver, self.share(data), counter)
        return curve.solve(curve.keep, counter)

    def share(self, data: FitData) -> float | None:
        """The share to keep: 0.9 for None with local features, and None, no share, without any."""
        if self.keep is None and data.local_features is not None:
            return DEFAULT_KEEP
        return self.keep


def keep_curve(
    data: FitData,
    solver: Exact | None = None,
    *,
    keep: float | None = None,
    counter: Counter | None = None,
) -> KeepCurve:
    """Score paths of transforms on three folds of objects, or of questions, and of local images.

    1. `global` is fitted at λ that falls from 1 while the pooled held-out loss falls; if the loss
       is lowest at 1, λ rises instead. On folds of questions λ falls from ∞, no transform, over
       100 p / t to 0.3 p / t at the lowest. Each loss is at its own best scale of the similarities.
       λ* is the largest λ whose loss is within one standard error of the lowest.
    2. At λ* and one step above, `glocal` is fitted with τ 0.1 at α 0.5 and 0.75. A path leads from
       the original features over these fits to `global`, and the *matrices* of neighbouring fits
       are mixed. Without local images the path leads from the original features to `global`, at
       every λ that was tried.
    3. Each mixture is scored by held-out answers, and by neighbours among held-out images alone.
       With fitted images among the candidates the share of neighbours would be too high by up to
       .02.

    Folds are of objects, so that scores hold for new objects. With fewer than 5,000 answers,
    and if λ is chosen by the loss, folds are of questions. Scores then hold for new answers
    about the same objects.

    Parameters
    ----------
    data : FitData
    solver : Exact or None
        The solver of the final fits, whose tolerance is 3e-5 if it has none. The fits on the folds
        have a tolerance of at least 3e-4, no certificate, and 256 principal axes.
    keep : float or None
        As in `Keep`. None without local features tries only `global`, on folds of questions. λ is
        then chosen by the loss, and no share is promised.
    counter : Counter or None
        Counts and reports the evaluations.

    Raises
    ------
    DataError
        There are fewer than 30 answers, or three folds leave none to fit or to score.
    """
    data.check(reads_local=data.local_features is not None)
    return curve_at(data, solver or Exact(), Keep(keep=keep).share(data), counter or Counter())


def curve_at(data: FitData, solver: Exact, keep: float | None, counter: Counter) -> KeepCurve:
    """The curve of checked data; None chooses by the loss, whatever local features there are."""
    before = counter.evaluations
    if data.answers.effective_size < MIN_ANSWERS:
        raise DataError(
            f"there are {data.answers.effective_size:.0f} answers; at least "
            f"{MIN_ANSWERS} are needed to choose lmbda on a part of them. Collect "
            "more, or give `method` and `lmbda`."
        )
    folds = fit_folds(data, FOLDS, "questions" if keep is None else None)
    local = keep is not None and data.local_features is not None
    problem = solver.problem(data, local=local, counter=counter)
    with single_threaded_blas():
        search = PathSearch(problem, folds)
        losses = search.search_penalty()
        if keep is not None:  # no transform is then the first mixture of each path
            losses.pop(NO_TRANSFORM, None)
        penalty = search.largest_tie(losses)
        lambdas = sorted(losses, reverse=True)
        if local:
            index = search.penalties.index(penalty)
            lambdas = [*filter(np.isfinite, search.penalties[max(0, index - 1) : index + 1])]
        return KeepCurve(
            data=data,
            keep=keep,
            solver=solver,
            search=search,
            original=search.scores(search.heldout.rows, search.heldout.image_rows),
            paths=() if keep is None else tuple(map(search.path, lambdas)),
            losses={lmbda: search.heldout.mean(losses[lmbda]) for lmbda in losses},
            penalty=penalty,
            evaluations=counter.evaluations - before,
        )


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
        candidates = [self.original, *(best_on_path(path, keep) for path in self.paths)]
        return candidates[self.search.first_tie(candidates)]

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
        reason = "no transform agrees better by more than a standard error"
        return Solution(
            transform=self.data.transform(np.eye(self.data.features.dimensions)),
            settings=None,
            report=Unfitted(UNCHANGED, reason, evaluations=counter.evaluations),
            threads=None,
            keep=self.record(keep, [], None, 1.0),
            heldout=self.heldout_scores(chosen),
        )

    def _mixed(self, chosen: Mixture, keep: float | None, counter: Counter) -> Solution:
        """The mixture of the fits of its position to all data."""
        fits = self._fits_beside(chosen, counter)
        scale = self.search.weights(chosen)[0]
        W = chosen.weights([fit.transform.weights.astype(np.float64) for fit in fits])
        reported = min(fits, key=attrgetter("converged"))  # one that did not comes first
        assert isinstance(reported.report, SolverReport)
        outcome = {
            "certificate": "none: a mixture; keep.fits has the certificates of its fits",
            "evaluations": counter.evaluations,
        }
        return replace(
            reported,
            transform=self.data.transform(scale**0.5 * W),
            report=reported.report.model_copy(update=outcome),
            keep=self.record(keep, fits, chosen.position.share, scale),
            heldout=self.heldout_scores(chosen),
        )

    def _fits_beside(self, mixture: Mixture, counter: Counter) -> list[Solution]:
        """Fit both sides of a mixture to all data, the side nearer to `global` first.

        The fits start at the means over folds. The second also starts at the first, moved by the
        step between these means.
        """
        solver = self.solver.replace(tol=self.solver.tol or _TOLERANCE)
        starts = self._starts(mixture)
        first = solver.minimise(self.search.problem, starts[0].settings, starts[0], counter)
        if len(starts) == 1:
            return [first]
        start = starts[1]
        if first.warm is not None:
            start = first.warm.moved(starts[0], start)
        return [first, solver.minimise(self.search.problem, start.settings, start, counter)]

    def _starts(self, mixture: Mixture) -> list[WarmStart]:
        """The mean over folds of each fit of a mixture, the side nearer to `global` first."""
        starts = []
        for number in mixture.position.fits:
            alpha = self.search.alphas[number - 1]
            mean = np.mean(self.search.fit(mixture.lmbda, alpha), axis=0)
            starts.append(self.search.problem.start(mean, path_settings(mixture.lmbda, alpha)))
        return starts

    def fold_transforms(self, mixture: Mixture) -> list[LinearTransform]:
        """The transform of each fold of a mixture; for the original, the best scaled identity."""
        if mixture.is_original:
            centre = self.data.fixed_centre
            return [scaled_identity(fold.data, centre) for fold in self.search.folds]
        return [self.data.transform(W) for W in self.search.weights(mixture)[1]]

    def heldout_scores(self, mixture: Mixture) -> HeldOutScores:
        """Score the transforms of a mixture on the folds by which it was chosen."""
        is_converged = all(
            solution.converged
            for settings, solutions in self.search.fits.solutions.items()
            for solution in solutions
            if settings.lmbda == mixture.lmbda
        )
        return self.search.heldout.scores(self.fold_transforms(mixture), converged=is_converged)

    def record(
        self, keep: float | None, fits: Sequence[Solution], share: float | None, scale: float
    ) -> KeepRecord:
        """How `keep` chose."""
        outcome = ("objective", "parts", "status", "gap", "certificate", "evaluations")
        heldout = self.search.heldout
        chosen = self.choose(keep)
        freest = chosen if keep is None else self.choose(_LOWEST_KEEP)
        has_freest = keep is not None and not freest.is_original
        gain = heldout.estimate(chosen.credit - heldout.original_credit)
        forgone = heldout.estimate(freest.credit - chosen.credit)
        nearby: set[float] = set()
        if keep is not None:
            nearby = {round(min(1.0, max(_LOWEST_KEEP, keep + step)), 4) for step in _NEARBY_KEEPS}
        return KeepRecord(
            keep=keep,
            share=share,
            scale=scale,
            fits=tuple(
                MixedFit(**fit.parameters, **{name: getattr(fit.report, name) for name in outcome})
                for fit in fits
            ),
            curve=tuple(self._scores(other, self.choose(other)) for other in sorted(nearby)),
            losses={f"{lmbda:g}": self.losses[lmbda] for lmbda in sorted(self.losses)},
            evaluations=self.evaluations,
            gain=gain.mean,
            gain_error=gain.error,
            freest=self._scores(_LOWEST_KEEP, freest) if has_freest else None,
            forgone=forgone.mean,
            forgone_error=forgone.error,
        )

    def _scores(self, keep: float, choice: Mixture) -> KeepScores:
        """The scores of the choice for a share of neighbours."""
        is_centred = self.search.heldout.is_centred
        return KeepScores(
            keep=keep,
            agreement=choice.agreement,
            neighbours_kept=self.search.kept(choice),
            neighbours_kept_centred=float(choice.kept.mean()) if is_centred else None,
            neighbours_kept_error=choice.neighbours_kept_error,
        )
