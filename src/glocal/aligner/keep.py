"""The share of each image's neighbours to keep, from which method, α, λ and τ follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from glocal.aligner.arm import Arm
from glocal.aligner.crossfit import (
    FOLDS,
    Anchor,
    CrossFit,
    HeldOutScores,
    anchor_arm,
    largest_within_error,
    mean_loss,
    neighbour_count,
    walk,
)
from glocal.aligner.data import AUTO, FitData, transform_of
from glocal.aligner.exact import Exact, Problem, Solution
from glocal.aligner.line import Line, Position, mix_anchors
from glocal.aligner.paper import PaperLoop
from glocal.errors import DataError, ParameterError
from glocal.evaluation.agreement import answer_credit
from glocal.evaluation.intervals import Estimate
from glocal.options import Options
from glocal.solver import Counter

DEFAULT_KEEP = 0.9
MIN_ANSWERS = 30
"""With fewer answers nothing can be chosen on a part of them."""
PENALTIES_PER_ANSWER = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
"""λ for few answers, in columns per answer, p / t: the best is 1 to 16 of them on all data tried."""
CENTRES = (0.0, 0.5, 1.0)
"""The shares of the column means that `centre` "auto" tries."""
_ALPHAS = (0.75, 0.5, 0.0)  # of the anchors between the original and `global`
_LAMBDAS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_FIRST_LAMBDA = 1.0
_PLACES = 5  # between two anchors


class Keep(Options):
    """Choose the transform that agrees most with people among those that keep a share of the neighbours.

    Parameters
    ----------
    keep : float or None
        The share of each image's ten nearest neighbours to keep, above 0 to 1. None is 0.9 with
        local images; without any, λ of `global` is chosen by the loss on held-out questions alone,
        and no share is promised.
    """

    keep: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of each image's ten nearest neighbours to keep; method, α, λ and τ are chosen for you. "
        "[default: 0.9 with local features]",
    )

    def solve(self, data: FitData, solver: Exact | PaperLoop, counter: Counter | None = None) -> Solution:
        """Choose on three folds, and fit all data.

        Raises
        ------
        ParameterError
            Another solver than the exact one.
        DataError
            Fewer than 30 answers; or what `glocal.aligner.fit` raises.
        """
        if not isinstance(solver, Exact):
            raise ParameterError(
                "`keep` chooses method, alpha, lmbda and tau, and fits with the exact solver. Give `method` with "
                "another solver."
            )
        counter = Counter() if counter is None else counter
        keep = self.keep
        if keep is None and data.local_features is not None:
            keep = DEFAULT_KEEP
        choose_curve = best_centre if data.centre == AUTO else keep_curve
        return choose_curve(data, solver, keep=keep, counter=counter).solve(keep, counter)


@dataclass(frozen=True, eq=False)
class KeepCurve:
    """What every `keep` gives on held-out answers and images; `solve` fits one of them to all data.

    Attributes
    ----------
    data : FitData
    solver : Exact
        Of the final fits.
    crossfit : CrossFit
        The fits that chose, and the held-out answers.
    original : Position
        The features without a transform, centred as the data are.
    lines : tuple of Line
        One for each λ, the largest first.
    losses : dict
        The held-out loss at each λ that was tried, nats, at its own best scale; λ infinite is no
        transform.
    penalty : float
        The largest λ whose loss is within a standard error of the lowest.
    raw_credit : (t,) array
        The credit of each held-out answer under the features before centring.
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

    @property
    def alphas(self) -> tuple[float, ...]:
        """α of the anchors after the original, falling to 0, `global`."""
        fitted = {alpha for lmbda, alpha in self.crossfit.solutions if lmbda == self.lines[0].lmbda}
        return tuple(sorted(fitted, reverse=True))

    @cached_property
    def starts(self) -> dict[Anchor, Float[np.ndarray, "p p"]]:
        """The mean W over folds of each anchor."""
        return {anchor: self.crossfit.mean(anchor) for anchor in self.crossfit.solutions}

    def choose(self, keep: float | None) -> Position:
        """The largest agreement among places that keep so many neighbours, less a standard error.

        Among the best places of all λ, and the features as they are, it is that of the largest λ
        whose agreement is within one paired standard error of the largest. None chooses λ by the
        loss alone.

        Raises
        ------
        ParameterError
            `keep` is outside (0, 1].
        """
        Keep(keep=keep)
        if keep is None:
            return self._by_loss()
        candidates = [self.original, *(line.best(keep) for line in self.lines)]
        best = max(candidates, key=lambda position: self.agreement(position).mean)
        for position in candidates:
            deficit = self.crossfit.estimate(best.credit - position.credit)
            if deficit.mean <= (deficit.error or 0.0):
                return position
        return best

    def _by_loss(self) -> Position:
        for line in self.lines:
            if line.lmbda == self.penalty:
                return line.positions[-1]
        return self.original

    def agreement(self, position: Position) -> Estimate:
        """The agreement with held-out answers."""
        return self.crossfit.estimate(position.credit)

    def gain(self, position: Position) -> Estimate:
        """How much that is above the features before any transform."""
        return self.crossfit.estimate(position.credit - self.raw_credit)

    def summary(self, position: Position) -> dict[str, float | None]:
        """What is expected at a place: agreement, its gain, loss and neighbours kept, with standard errors."""
        agreement = self.agreement(position)
        gain = self.gain(position)
        raw = position.kept_raw if len(position.kept_raw) else position.kept
        return {
            "lmbda": position.lmbda,
            "place": position.place,
            "agreement": agreement.mean,
            "agreement_error": agreement.error or 0.0,
            "gain": gain.mean,
            "gain_error": gain.error or 0.0,
            "loss": position.loss,
            "scale": position.scale,
            "kept": float(position.kept.mean()),
            "kept_error": position.kept_error,
            "kept_raw": float(raw.mean()),
        }

    def notes(self, keep: float | None) -> list[str]:
        """What to know about this choice: there is nothing to gain, or another `keep` would give more, or the same."""
        chosen = self.choose(keep)
        gain = self.gain(chosen)
        if gain.mean <= 2 * (gain.error or 0.0):
            nothing = (
                f"there is nothing to gain: agreement rises by {gain.mean:.3f}, within two standard errors of "
                f"{gain.error or 0.0:.3f}."
            )
            if keep is None or self.choose(0.01).place == 0:
                return [f"{nothing} More answers may tell more."]
            return [f"keep={keep:g}: {nothing} Allow more with a lower keep."]
        if keep is None:
            return []
        freest = self.choose(0.01)
        kept = float(freest.kept.mean())
        if freest is chosen or freest.kept_lower_bound >= keep:
            return [
                f"the largest agreement keeps {kept:.3f} of the neighbours: a keep below {keep:g} changes nothing."
            ]
        more = self.crossfit.estimate(freest.credit - chosen.credit)
        if more.mean > max(gain.mean, 2 * (more.error or 0.0)):
            return [
                f"keep={keep:g} reaches agreement {self.agreement(chosen).mean:.3f} of the "
                f"{self.agreement(freest).mean:.3f} that these features allow, which keep {kept:.2f} of the "
                "neighbours. Lower keep if agreement matters more."
            ]
        return []

    def solve(self, keep: float | None = DEFAULT_KEEP, counter: Counter | None = None) -> Solution:
        """Fit the anchors on both sides of the chosen place on all data, and mix their matrices there.

        The solution is that of the anchor on the side of `global`, but for the weights and the
        evaluations, which are those of all fits. Its details have what the record says of ``keep``:
        both anchors with their certificates, the share of that one, and what is expected. The fits
        start at the means over folds.
        """
        if counter is None:
            counter = Counter()
            counter.evaluations = self.evaluations
        chosen = self.choose(keep)
        before = min(
            int(chosen.place), len(self.alphas) - 1
        )  # the anchor on the side of the original, which is 0
        solutions = self._anchors(
            chosen.lmbda, self.alphas[max(0, before - 1) : before + 1], counter
        )
        share = chosen.place - before
        matrices = [solution.transform.weights.astype(np.float64) for solution in solutions]
        anchors = matrices if before else [_scaled_identity(matrices[0]), *matrices]
        weights = chosen.scale**0.5 * mix_anchors(anchors, share)
        unfinished = [solution for solution in reversed(solutions) if not solution.converged]
        state = unfinished[0] if unfinished else solutions[-1]
        return replace(
            solutions[-1],
            transform=transform_of(weights, self.data.scalars),
            status=state.status,
            reason=state.reason,
            certificate="none: a mixture; keep.anchors has those of its fits",
            evaluations=counter.evaluations,
            details={**solutions[-1].details, "keep": self._record(keep, chosen, share, solutions)},
        )

    def _anchors(self, lmbda: float, alphas: tuple[float, ...], counter: Counter) -> list[Solution]:
        """The fits of some anchors to all data, in the order of `alphas`."""
        problem: Problem = self.solver.problem(self.data, local=any(alphas))
        solutions: dict[float, Solution] = {}
        for alpha in sorted(alphas):
            anchor = (lmbda, alpha)
            start = problem.start(self.starts[anchor], anchor_arm(anchor))
            for (
                other,
                solution,
            ) in solutions.items():  # at most one, whose step from its mean is known
                if solution.warm is not None:
                    mean = problem.start(self.starts[lmbda, other], anchor_arm((lmbda, other)))
                    start = solution.warm.moved(mean, start)
            solutions[alpha] = self.solver.minimise(problem, anchor_arm(anchor), start, counter)
        return [solutions[alpha] for alpha in alphas]

    def _record(
        self, keep: float | None, chosen: Position, share: float, solutions: list[Solution]
    ) -> dict[str, Any]:
        """What the record of a fit says of its choice."""
        names = ("objective", "parts", "status", "gap", "certificate", "evaluations")
        anchors = [
            solution.arm.settings | {name: getattr(solution, name) for name in names}
            for solution in reversed(solutions)
        ]
        others: list[float] = []
        if keep is not None:
            others = sorted(
                {round(min(1.0, max(0.01, keep + step)), 4) for step in (-0.1, -0.05, 0.0, 0.05)}
            )
        return {
            "keep": keep,
            "centre": self.data.centre,
            "heldout": self.data.fold_unit if keep is not None else "questions",
            "expected": self.summary(chosen),
            "original": self.crossfit.estimate(self.raw_credit).mean,
            "share": share,
            "anchors": anchors,
            "of": self.data.evaluation_kind,
            "k": neighbour_count(len(self.crossfit.heldout[0].images)),
            "candidates": round(
                float(np.mean([len(side.images) for side in self.crossfit.heldout]))
            ),
            "folds": FOLDS,
            "curve": [{"keep": other, **self.summary(self.choose(other))} for other in others],
            "losses": {f"{lmbda:g}": loss for lmbda, loss in sorted(self.losses.items())},
            "evaluations": self.evaluations,
            "notes": self.notes(keep),
        }


def keep_curve(
    data: FitData,
    solver: Exact | None = None,
    *,
    keep: float | None = DEFAULT_KEEP,
    counter: Counter | None = None,
    nearby: KeepCurve | None = None,
) -> KeepCurve:
    """Score lines of transforms on three folds of objects, or of questions, and of local images.

    1. λ of `global` falls from 1, or rises, while the pooled held-out loss falls. With fewer than
       5,000 answers it falls from 100 p / t to 0.3 p / t. Each loss is at its own best scale of the
       similarities. λ* is the largest λ whose loss is within a standard error of the lowest.
    2. At λ* and one step above, `glocal` with τ 0.1 at α 0.5 and 0.75. They are anchors, as are the
       original and `global`, of a line on which the *matrices* of neighbouring anchors are mixed.
       Without local images the line leads from the original to `global`, at every λ that was tried.
    3. Each place is scored by held-out answers and by neighbours among held-out images alone:
       fitted images among the candidates flatter by up to .02.

    Folds are of objects, so that scores are those of new objects. With fewer than 5,000 answers,
    and for a `keep` of None, they are of questions: scores are then those of new answers about the
    same objects.

    Parameters
    ----------
    data : FitData
    solver : Exact or None
        Solver of the final fits; the fits that choose have a tolerance of 3e-4, no certificate, and
        256 principal axes.
    keep : float or None
        None tries `global` alone, on folds of questions: λ is chosen by the loss, and no share is
        promised.
    counter : Counter or None
        Counts and reports the evaluations.
    nearby : KeepCurve or None
        The curve of the same data centred otherwise, at whose matrices fits start.

    Raises
    ------
    DataError
        Fewer than 30 answers, or three folds leave none to fit or to score.
    """
    solver = Exact() if solver is None else solver
    counter = Counter() if counter is None else counter
    before = counter.evaluations
    data.check(Arm(method="global" if data.local_features is None else "glocal"))
    if len(data.answers) < MIN_ANSWERS:
        raise DataError(
            f"there are {len(data.answers)} answers; at least {MIN_ANSWERS} are needed to choose lmbda on a part of "
            "them. Give `method` and `lmbda`."
        )
    by_loss = keep is None
    local = not by_loss and data.local_features is not None
    folds = [data.question_fold(k, FOLDS) for k in range(FOLDS)] if by_loss else data.folds(FOLDS)
    starts = {} if nearby is None else nearby.starts
    crossfit = CrossFit(data, folds, solver, counter, local=local, starts=starts)
    if by_loss or data.fold_unit == "questions":
        scores = _scores_of_few(data, crossfit)
    else:
        scores = _scores_of_many(crossfit, _FIRST_LAMBDA if nearby is None else nearby.penalty)
    if not by_loss:
        scores.pop(np.inf, None)  # no transform is the first place of each line
    penalty = largest_within_error(crossfit, scores)
    tried = sorted((lmbda for lmbda in scores if np.isfinite(lmbda)), reverse=True)
    lambdas = [min(penalty, tried[0])] if by_loss else _line_lambdas(data, tried, penalty)
    alphas = _alphas(data) if local else _ALPHAS[-1:]
    places = np.linspace(0, len(alphas), (1 if by_loss else _PLACES) * len(alphas) + 1)
    lines = tuple(_line(crossfit, lmbda, alphas, places) for lmbda in lambdas)
    return KeepCurve(
        data=data,
        solver=solver,
        crossfit=crossfit,
        original=lines[0].positions[0],
        lines=lines,
        losses={lmbda: mean_loss(crossfit, score) for lmbda, score in scores.items()},
        penalty=penalty,
        raw_credit=_raw_credit(data, crossfit),
        evaluations=counter.evaluations - before,
    )


def best_centre(
    data: FitData,
    solver: Exact | None = None,
    *,
    keep: float | None = DEFAULT_KEEP,
    counter: Counter | None = None,
) -> KeepCurve:
    """The curve of the data centred by 0, ½ or 1: the smallest whose agreement is within an error of the largest.

    The later curves start from the fits of the one before.
    """
    counter = Counter() if counter is None else counter
    curves: list[KeepCurve] = []
    for centre in CENTRES:
        nearby = curves[-1] if curves else None
        centred = replace(data, centre=centre)
        curves.append(keep_curve(centred, solver, keep=keep, counter=counter, nearby=nearby))
    credits = [curve.choose(keep).credit for curve in curves]
    estimate = curves[0].crossfit.estimate
    best = max(credits, key=lambda credit: estimate(credit).mean)
    for curve, credit in zip(curves, credits, strict=True):
        deficit = estimate(best - credit)
        if deficit.mean <= (deficit.error or 0.0):
            return replace(curve, evaluations=sum(each.evaluations for each in curves))
    return curves[0]


def _scores_of_few(data: FitData, crossfit: CrossFit) -> dict[float, HeldOutScores]:
    """The scores of `global` from 100 p / t down, until two in a row lose, and of no transform, an infinite λ."""
    scores = {np.inf: crossfit.original_scores()}
    unit = data.features.dimensions / data.answers.total_weight
    lambdas = [float(f"{penalty * unit:.2g}") for penalty in PENALTIES_PER_ANSWER]
    walk(crossfit, lambdas, scores, patience=2)
    return scores


def _scores_of_many(crossfit: CrossFit, first: float) -> dict[float, HeldOutScores]:
    """The scores of `global` from the first λ down while the loss falls, or up where the first is the best."""
    scores: dict[float, HeldOutScores] = {}
    index = _LAMBDAS.index(first)
    walk(crossfit, _LAMBDAS[index:], scores)
    if min(scores, key=lambda lmbda: mean_loss(crossfit, scores[lmbda])) == first:
        walk(crossfit, _LAMBDAS[:index][::-1], scores)
    return scores


def _line_lambdas(data: FitData, tried: Sequence[float], penalty: float) -> list[float]:
    """λ of the lines: with local images the step above λ* and λ* itself, without any all that were tried."""
    if data.local_features is None:
        return list(tried)
    steps = _LAMBDAS if penalty in _LAMBDAS else tried
    index = steps.index(penalty)
    return list(steps[max(0, index - 1) : index + 1])


def _line(
    crossfit: CrossFit, lmbda: float, alphas: Sequence[float], places: Float[np.ndarray, " k"]
) -> Line:
    """Score the places of one λ: mixtures of the original features and the fits of these α."""
    beside: Anchor | None = None
    for alpha in sorted(alphas):
        crossfit.fit((lmbda, alpha), beside)
        beside = (lmbda, alpha)
    matrices = [crossfit.matrices((lmbda, alpha)) for alpha in alphas]
    objects, images = [], []  # for each fold, one array an anchor
    for fold, side in enumerate(crossfit.heldout):
        anchors = [fits[fold] for fits in matrices]
        anchors.insert(0, _scaled_identity(anchors[0]))
        objects.append([side.X @ W for W in anchors])
        images.append([side.images @ W for W in anchors])
    positions = []
    for place in places:
        scores = crossfit.scores(
            [mix_anchors(anchors, place) for anchors in objects],
            [mix_anchors(anchors, place) for anchors in images],
        )
        loss = mean_loss(crossfit, scores)
        positions.append(
            Position(
                lmbda, float(place), scores.credit, scores.scale, loss, scores.kept, scores.kept_raw
            )
        )
    return Line(tuple(positions), crossfit.answers.weights)


def _raw_credit(data: FitData, crossfit: CrossFit) -> Float[np.ndarray, " t"]:
    """The credit of each held-out answer under the features before centring."""
    scalars = data.scalars
    shift = 0.0 if scalars.shift is None else scalars.shift / scalars.std
    return np.concatenate(
        [answer_credit(side.X + shift, side.answers) for side in crossfit.heldout]
    )


def _scaled_identity(W: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "p p"]:
    """The identity at the scale of W."""
    identity: np.ndarray = np.trace(W) / len(W) * np.eye(len(W))
    return identity


def _alphas(data: FitData) -> tuple[float, ...]:
    """α of the anchors after the original, falling to 0, `global`."""
    return _ALPHAS if data.local_features is not None else _ALPHAS[-1:]
