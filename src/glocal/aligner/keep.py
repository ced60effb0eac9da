"""`Keep`: choose method, α, λ and τ by the share of each image's neighbours to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

import numpy as np
from jaxtyping import Float
from pydantic import Field

from glocal.aligner.arm import Arm
from glocal.aligner.choice import KeepCurve, Line
from glocal.aligner.crossfit import (
    FOLDS,
    CrossFit,
    Position,
    mix_anchors,
    scaled_identity_of,
)
from glocal.aligner.data import AUTO, FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.paper import PaperLoop
from glocal.errors import DataError, ParameterError
from glocal.objective import single_threaded_blas
from glocal.options import Options
from glocal.solver import Counter

DEFAULT_KEEP = 0.9
MIN_ANSWERS = 30
"""With fewer answers the folds are too small to choose on."""
PENALTIES_PER_ANSWER = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
"""λ for few answers, in columns per answer, p / t: the best was 1 to 16 on all data tried."""
CENTRES = (0.0, 0.5, 1.0)
"""The values of `centre` that "auto" tries."""
_LAMBDAS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_FIRST_LAMBDA = 1.0
_PLACES = 5  # steps from an anchor to the next
_MIN_LOSS_DIFFERENCE = 5e-4  # nats: held-out losses that differ by less count as equal


class Keep(Options):
    """Choose the transform that agrees most among those that keep a share of the neighbours.

    Parameters
    ----------
    keep : float or None
        The share of each image's ten nearest neighbours to keep, above 0 and at most 1. None is 0.9
        with local images. Without any, None chooses λ of `global` by the loss on held-out questions
        alone, and promises no share.
    """

    keep: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of each image's ten nearest neighbours to keep; method, α, λ and τ are "
        "chosen for you. [default: 0.9 with local features]",
    )

    def solve(
        self, data: FitData, solver: Exact | PaperLoop, counter: Counter | None = None
    ) -> Solution:
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
        counter = counter or Counter()
        keep = self.keep
        if keep is None and data.local_features is not None:
            keep = DEFAULT_KEEP
        return keep_curve(data, solver, keep=keep, counter=counter).solve(keep, counter)


def keep_curve(
    data: FitData,
    solver: Exact | None = None,
    *,
    keep: float | None = DEFAULT_KEEP,
    counter: Counter | None = None,
) -> KeepCurve:
    """Score lines of transforms on three folds of objects, or of questions, and of local images.

    1. `global` is fitted at λ that falls from 1 while the pooled held-out loss falls; if the loss
       is lowest at 1, λ rises instead. On folds of questions λ falls from 100 p / t, to 0.3 p / t
       at the lowest. Each loss is at its own best scale of the similarities. λ* is the largest λ
       whose loss is within one standard error of the lowest.
    2. At λ* and one step above, `glocal` is fitted with τ 0.1 at α 0.5 and 0.75. These fits, the
       original features and `global` are the anchors of a line, on which the *matrices* of
       neighbouring anchors are mixed. Without local images the line leads from the original
       features to `global`, at every λ that was tried.
    3. Each place is scored by held-out answers, and by neighbours among held-out images alone. With
       fitted images among the candidates the share of neighbours would be too high by up to .02.

    Folds are of objects, so that scores are those of new objects. With fewer than 5,000 answers,
    and for a `keep` of None, folds are of questions. Scores are then those of new answers about the
    same objects.

    With `centre` "auto" a curve is computed for data centred by 0, ½ and 1. The result is the curve
    with the smallest centre whose agreement is within one standard error of the largest. Each later
    curve starts from the fits of the previous curve.

    Parameters
    ----------
    data : FitData
    solver : Exact or None
        The solver of the final fits. The fits on the folds have a tolerance of at least 3e-4, no
        certificate, and 256 principal axes.
    keep : float or None
        None tries only `global`, on folds of questions. λ is then chosen by the loss, and no share
        is promised.
    counter : Counter or None
        Counts and reports the evaluations.

    Raises
    ------
    DataError
        There are fewer than 30 answers, or three folds leave none to fit or to score.
    """
    solver = solver or Exact()
    counter = counter or Counter()
    if data.centre != AUTO:
        return _curve(data, solver, keep, counter, None)
    curves: list[KeepCurve] = []
    for centre in CENTRES:
        nearby = curves[-1] if curves else None
        curves.append(_curve(replace(data, centre=centre), solver, keep, counter, nearby))
    choices = [curve.choose(keep) for curve in curves]
    best = max(choices, key=attrgetter("agreement"))
    for curve, choice in zip(curves, choices, strict=True):
        if curves[0].crossfit.is_tie(best.credit - choice.credit):
            return replace(curve, evaluations=sum(each.evaluations for each in curves))
    return curves[0]


def _curve(
    data: FitData, solver: Exact, keep: float | None, counter: Counter, nearby: KeepCurve | None
) -> KeepCurve:
    """The curve of one centre; its fits start at the matrices of the curve `nearby`, if given."""
    before = counter.evaluations
    data.check(Arm(method="global" if data.local_features is None else "glocal"))
    if data.answers.effective_size < MIN_ANSWERS:
        raise DataError(
            f"there are {data.answers.effective_size:.0f} answers; at least "
            f"{MIN_ANSWERS} are needed to choose lmbda on a part of them. Give `method` "
            "and `lmbda`."
        )
    unit = "questions" if keep is None else data.fold_unit
    with single_threaded_blas():
        crossfit = CrossFit(
            data,
            data.folds(FOLDS, unit),
            solver,
            counter,
            local=keep is not None and data.local_features is not None,
            starts={} if nearby is None else nearby.starts,
        )
        first = _FIRST_LAMBDA if nearby is None else nearby.penalty
        scores = _penalty_scores(data, crossfit, unit, first)
        if keep is not None:
            scores.pop(np.inf, None)  # λ = ∞, no transform, is the first place of each line
        penalty = _largest_within_error(crossfit, scores)
        lines = _lines(crossfit, keep, scores, penalty)
    return KeepCurve(
        data=data,
        solver=solver,
        crossfit=crossfit,
        original=lines[0].positions[0],
        lines=lines,
        losses={lmbda: score.loss for lmbda, score in scores.items()},
        penalty=penalty,
        raw_credit=crossfit.raw_credit(),
        evaluations=counter.evaluations - before,
    )


def _penalty_scores(
    data: FitData, crossfit: CrossFit, unit: str, first: float
) -> dict[float, Position]:
    """The scores of `global` for λ that falls from `first` while the loss falls, or else rises.

    On folds of questions λ falls from 100 p / t until two losses in a row are above the lowest, and
    λ = ∞ stands for no transform.
    """
    if unit == "questions":
        scores = {np.inf: crossfit.anchor_scores(None)}
        columns_per_answer = data.features.dimensions / data.answers.effective_size
        lambdas = [float(f"{penalty * columns_per_answer:.2g}") for penalty in PENALTIES_PER_ANSWER]
        _add_penalty_scores(crossfit, lambdas, scores, patience=2)
        return scores
    scores = {}
    index = _LAMBDAS.index(first)
    _add_penalty_scores(crossfit, _LAMBDAS[index:], scores)
    if _lowest(scores) == first:
        _add_penalty_scores(crossfit, _LAMBDAS[:index][::-1], scores)
    return scores


def _add_penalty_scores(
    crossfit: CrossFit,
    lambdas: Sequence[float],
    scores: dict[float, Position],
    patience: int = 1,
) -> None:
    """Fit `global` at each λ, and add its scores, until the loss no longer falls.

    The search ends after `patience` losses in a row above the lowest loss of all scores so far.
    """
    rises = 0
    for lmbda in lambdas:
        crossfit.fit((lmbda, 0.0))
        scores[lmbda] = crossfit.anchor_scores((lmbda, 0.0))
        is_higher = scores[lmbda].loss > scores[_lowest(scores)].loss + _MIN_LOSS_DIFFERENCE
        rises = rises + 1 if is_higher else 0
        if rises == patience:
            return


def _largest_within_error(crossfit: CrossFit, scores: Mapping[float, Position]) -> float:
    """The largest λ whose held-out loss is within one paired standard error of the lowest."""
    lowest = _lowest(scores)
    for lmbda in sorted(scores, reverse=True):
        excess = scores[lmbda].losses - scores[lowest].losses
        if crossfit.is_tie(excess, _MIN_LOSS_DIFFERENCE):
            return lmbda
    return lowest


def _lowest(scores: Mapping[float, Position]) -> float:
    """The λ with the lowest loss."""
    return min(scores, key=lambda lmbda: scores[lmbda].loss)


def _lines(
    crossfit: CrossFit, keep: float | None, scores: Mapping[float, Position], penalty: float
) -> tuple[Line, ...]:
    """Score the lines: of λ* without `keep`, of every λ without local images, else of two λ."""
    lambdas = sorted((lmbda for lmbda in scores if np.isfinite(lmbda)), reverse=True)
    if keep is None:
        lambdas = [min(penalty, lambdas[0])]
    elif crossfit.local:
        steps = _LAMBDAS if penalty in _LAMBDAS else lambdas
        index = steps.index(penalty)
        lambdas = list(steps[max(0, index - 1) : index + 1])
    ends = len(crossfit.alphas)
    places = np.linspace(0, ends, ends * (1 if keep is None else _PLACES) + 1)
    return tuple(_line(crossfit, lmbda, places) for lmbda in lambdas)


def _line(crossfit: CrossFit, lmbda: float, places: Float[np.ndarray, " k"]) -> Line:
    """Score the places of one λ: mixtures of the original features and the fits of the anchors."""
    neighbour = None
    for alpha in sorted(crossfit.alphas):
        crossfit.fit((lmbda, alpha), neighbour)
        neighbour = (lmbda, alpha)
    matrices = [crossfit.matrices((lmbda, alpha)) for alpha in crossfit.alphas]
    objects = []  # for each fold, one array per anchor
    images = []
    for side, *anchors in zip(crossfit.heldout, *matrices, strict=True):
        anchors.insert(0, scaled_identity_of(anchors[0]))
        objects.append([side.X @ W for W in anchors])
        images.append([side.images @ W for W in anchors])
    positions = []
    for place in places:
        position = crossfit.scores(
            [mix_anchors(anchors, place) for anchors in objects],
            [mix_anchors(anchors, place) for anchors in images],
            lmbda=lmbda,
            place=float(place),
        )
        positions.append(position)
    return Line(tuple(positions))
