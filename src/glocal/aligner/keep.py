"""One dial, `keep`: the share of each image's nearest neighbours that must stay. Method, α, λ and τ follow from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from pydantic import Field

from glocal.aligner.arm import Arm
from glocal.aligner.data import NEIGHBOURS, FitData, joined
from glocal.aligner.exact import Exact, Problem, Solution
from glocal.data.answers import Answers
from glocal.data.splits import object_folds
from glocal.errors import DataError
from glocal.evaluation.agreement import answer_credit, odd_one_out
from glocal.evaluation.intervals import Units
from glocal.evaluation.structure import kept_by_image, neighbourhoods
from glocal.options import Options
from glocal.solver import OnStep
from glocal.solver.naive import counted_on

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DEFAULT_KEEP = 0.9
FOLDS = 3
_ALPHAS, _TAU = (0.75, 0.5, 0.0), 0.1  # of the anchors between the original and `global`, which is α 0
_DOWN, _UP = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001), (30.0, 100.0)
_TIE = 5e-4  # nats, or a share of the answers: below what these answers can tell apart
_STEPS = 10  # places between two anchors
_FEW = 5000  # with fewer answers, folds of objects leave too few of them to choose λ
_LOOSE = 1e-4  # tolerance of the fits that only choose: it moves no score by more than .002


class Keep(Options):
    """What is asked of the dial; a ParameterError for what is no share."""

    keep: float | None = Field(
        None, gt=0, le=1,
        description="Share of each image's ten nearest neighbours that must stay; the rest follows. [default: 0.9 with "
        "local features and no method]",
    )  # fmt: skip


@dataclass(frozen=True)
class Position:
    """A place on a line from the original features (0) over fits of falling α to `global` (the last anchor).

    `agreement` is the cosine accuracy on held-out answers, `kept` the mean share of the ten nearest neighbours among
    held-out images; the errors are standard errors, and that of the `gain` over the original is paired.
    """

    lmbda: float
    at: float
    agreement: float
    agreement_error: float
    gain: float
    gain_error: float
    kept: float
    kept_error: float

    @property
    def safe(self) -> float:
        """The share of neighbours kept, less a standard error: what is promised."""
        return self.kept - self.kept_error

    def toward(self, other: Position, keep: float) -> Position:
        """Where the way to another place of the line crosses a promise, everything taken to change in proportion."""
        share = (self.safe - keep) / (self.safe - other.safe)
        mixed = (a + share * (b - a) for a, b in zip(astuple(self), astuple(other), strict=True))
        return replace(Position(*mixed), lmbda=other.lmbda)


class _Meter:
    """Fits one arm after the other, and counts the evaluations of all."""

    def __init__(self, solver: Exact, on_step: OnStep | None, done: int = 0) -> None:
        self.solver, self.on_step, self.done = solver, on_step, done

    def fit(self, problem: Problem, alpha: float, lmbda: float, start: Solution | None) -> Solution:
        """An anchor: `glocal`, or `global` where α is 0."""
        local = {"alpha": alpha, "tau": _TAU} if alpha else {}
        arm = Arm(method="glocal" if alpha else "global", lmbda=lmbda, **local)
        found = self.solver.minimise(problem, arm, start, counted_on(self.on_step, self.done))
        self.done += found.evaluations
        return found


@dataclass(frozen=True, eq=False)
class _Fold:
    """What one fold fits, and what it holds out: answers, as given and about rows of X, and the other local images."""

    meter: _Meter
    problem: Problem
    given: Answers
    X: Float[np.ndarray, "n p"]
    held: Answers
    images: Float[np.ndarray, "m p"]
    fits: dict[float, Solution] = field(default_factory=dict)

    @classmethod
    def of_objects(cls, data: FitData, meter: _Meter, fold: int) -> _Fold:
        """A fold of the objects and of the local images."""
        fitted, given, rows = data.fold(fold, FOLDS)
        images = data.scalars(data.judged_rows(rows), "float64")
        return cls(meter, meter.solver.problem(fitted), given, *replace(data, answers=given).named("float64"), images)

    @classmethod
    def of_answers(cls, data: FitData, meter: _Meter, fold: int) -> _Fold:
        """A fold of the answers, about objects that are fitted too: enough to choose λ where answers are few."""
        out = np.zeros(len(data.answers), dtype=bool)
        out[object_folds(len(out), FOLDS, data.seed)[fold]] = True
        fitted, given = (replace(data, answers=data.answers.select(rows)) for rows in (~out, out))
        X, held = given.named("float64")
        return cls(meter, meter.solver.problem(fitted, local=False), given.answers, X, held, X[:0])

    @property
    def k(self) -> int:
        """How many neighbours are looked for."""
        return min(NEIGHBOURS, len(self.images) - 1)

    @cached_property
    def near(self) -> csr_array:
        """The neighbours of the images before any transform, the same on every line."""
        return neighbourhoods(self.images, self.k)

    def at(self, lmbda: float) -> Solution:
        """The fit of `global`, from that of the λ before."""
        if lmbda not in self.fits:
            last = next(reversed(self.fits.values()), None)
            self.fits[lmbda] = self.meter.fit(self.problem, 0.0, lmbda, last)
        return self.fits[lmbda]

    def loss(self, lmbda: float) -> float:
        """The summed loss of the held-out answers under `global`, nats."""
        Z = self.X @ self.at(lmbda).transform.weights.astype(np.float64)
        return odd_one_out(Z, self.held, similarity="dot", interval=False).loss * self.held.total_weight

    def worth(self, lmbda: float, alphas: Sequence[float]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The credit of each held-out answer and the share that each image keeps, at every place of a line."""
        fits = [self.at(lmbda)]
        for alpha in sorted(alphas)[1:]:
            fits.append(self.meter.fit(self.problem, alpha, lmbda, fits[-1]))
        anchors = _with_original([one.transform.weights for one in reversed(fits)])
        objects, images = ([rows @ W for W in anchors] for rows in (self.X, self.images))
        for at in _places(alphas):
            kept = kept_by_image(self.images, _between(images, at), self.k, before=self.near)
            yield answer_credit(_between(objects, at), self.held), kept


@dataclass(frozen=True, eq=False)
class Dial:
    """What every `keep` gives on held-out objects and images; `solve` makes a transform of one of them on all data.

    `positions` are the features without a transform, then a line for each λ; `losses` the held-out loss of `global` at
    each λ, nats; `candidates` how many images a fold holds out, on average: neighbours are looked for among them;
    `evaluations` those of the objective by all fits that chose. `solver` is that of the final fits.
    """

    data: FitData
    solver: Exact
    positions: tuple[Position, ...]
    losses: dict[float, float]
    candidates: int
    evaluations: int

    def choose(self, keep: float) -> Position:
        """The largest agreement among places where neighbours kept, less a standard error, are at least `keep`.

        Where a line falls below `keep` between two places, the place of the crossing is one of them.

        Raises
        ------
        ParameterError
            `keep` is not a share.
        """
        Keep(keep=keep)
        original, *fitted = self.positions
        found = [original, *(one for one in self.positions if one.safe >= keep)]
        for _, line in groupby(fitted, key=lambda one: one.lmbda):
            steps = pairwise([original, *line])
            found += [one.toward(other, keep) for one, other in steps if one.safe >= keep > other.safe]
        return _best(found)

    def notes(self, keep: float) -> list[str]:
        """What to know about this choice, in sentences: there is nothing to gain, or more stays than was asked for."""
        chosen = self.choose(keep)
        if chosen.gain <= 2 * chosen.gain_error:
            return [
                f"keep {keep:g} leaves nothing to gain: agreement rises by {chosen.gain:.3f}, within two standard "
                f"errors of {chosen.gain_error:.3f}. Allow more with a lower keep."
            ]
        slack = (
            f"the largest agreement keeps {chosen.kept:.3f} of the neighbours: a keep below {keep:g} changes nothing."
        )
        return [slack] if chosen == _best(self.positions) else []

    def solve(self, keep: float = DEFAULT_KEEP, on_step: OnStep | None = None) -> Solution:
        """Fit the anchors on both sides of the chosen place on all data, and mix their matrices there.

        The solution is that of the anchor on the side of `global` but for the matrix and the evaluations, which are
        those of all fits; it has what the record says of ``keep``: both anchors with their certificates, the share of
        that one, and what is expected of new objects and images. Another `keep` costs the fits of its anchors.
        """
        chosen, meter = self.choose(keep), _Meter(self.solver, on_step, self.evaluations)
        alphas = _alphas(self.data)
        before = min(int(chosen.at), len(alphas) - 1)  # the anchor on the side of the original, which is 0
        wanted, fits = alphas[max(0, before - 1) : before + 1], dict[float, Solution]()
        problem = self.solver.problem(self.data, local=any(wanted))
        for alpha in sorted({0.0, *wanted}):
            fits[alpha] = meter.fit(problem, alpha, chosen.lmbda, next(reversed(fits.values()), None))
        sides, share = [fits[alpha] for alpha in wanted], chosen.at - before
        matrices = [one.transform.weights for one in sides]
        weights = _between(matrices if before else _with_original(matrices), share).astype(np.float32)
        last, unfinished = sides[-1], next((one for one in reversed(sides) if not one.converged), sides[-1])
        names = ("objective", "parts", "status", "gap", "certificate", "evaluations")
        anchors = [one.arm.settings | {name: getattr(one, name) for name in names} for one in reversed(sides)]
        others = sorted({round(min(1.0, max(0.01, keep + d)), 4) for d in (-0.1, -0.05, 0.0, 0.05)})
        said = {
            "keep": keep, "expected": asdict(chosen), "original": asdict(self.positions[0]), "share": share,
            "anchors": anchors, "of": self.data.judged[0], "k": NEIGHBOURS, "candidates": self.candidates,
            "folds": FOLDS, "curve": [{"keep": other, **asdict(self.choose(other))} for other in others],
            "losses": {f"{lmbda:g}": loss for lmbda, loss in sorted(self.losses.items())},
            "evaluations": self.evaluations, "notes": self.notes(keep),
        }  # fmt: skip
        return replace(
            last, transform=replace(last.transform, weights=weights), status=unfinished.status,
            reason=unfinished.reason, certificate="none: a mixture; keep.anchors has those of its two fits",
            evaluations=meter.done, told={**last.told, "keep": said},
        )  # fmt: skip


def dial(data: FitData, solver: Exact | None = None, *, on_step: OnStep | None = None) -> Dial:
    """Try every share of neighbours kept, on three folds of objects and of local images.

    1. λ of `global` falls from 10, each fit from the one before, while the pooled held-out loss falls: λ*. With fewer
       than 5,000 answers these folds are of answers.
    2. At λ* and one step below, `glocal` with τ 0.1 at α 0.5 and 0.75, each from the fit before. They are anchors, as
       are the original and `global`, of a line on which the *matrices* of neighbouring anchors are mixed. Without local
       images the line leads from the original to `global`, at every λ that was visited.
    3. Each place is scored by held-out answers and by neighbours among held-out images alone: fitted images among the
       candidates flatter by up to .02.

    Parameters
    ----------
    data : FitData
    solver : Exact or None
        Solver of the final fits; the fits that choose have a tolerance of 1e-4.
    on_step : function or None
        Progress: (evaluations, evaluation).

    Raises
    ------
    DataError
        Three folds leave no answers to fit or to score; or what `glocal.aligner.fit` raises.
    """
    solver = solver or Exact()
    data.check(Arm(method="global" if data.local_features is None else "glocal"))
    if data.objects is None:  # a fold of objects that no answer names, as `glocal data split` leaves, scores nothing
        data = replace(data, objects=np.unique(data.answers.objects))
    meter = _Meter(solver.replace(tol=max(solver.tolerance, _LOOSE)), on_step)
    try:
        folds = [_Fold.of_objects(data, meter, fold) for fold in range(FOLDS)]
    except DataError as error:
        raise DataError(
            f"`keep` is chosen on held-out objects, but {error} Or choose `method`, `alpha` and `lmbda`."
        ) from error
    few = len(data.answers) < _FEW
    losses = _walked([_Fold.of_answers(data, meter, fold) for fold in range(FOLDS)] if few else folds)
    least, visited = min(losses.values()), sorted(losses, reverse=True)
    best = next(at for at, lmbda in enumerate(visited) if losses[lmbda] <= least + _TIE)
    lines = visited if data.local_features is None else visited[best : best + 2]
    for lmbda in lines:  # from the largest on, before fits of other arms
        for fold in folds:
            fold.at(lmbda)
    positions, alphas = list[Position](), _alphas(data)
    original, held = None, joined([fold.given for fold in folds])
    for lmbda in lines:
        worth = [fold.worth(lmbda, alphas) for fold in folds]
        for at, parts in zip(_places(alphas), zip(*worth, strict=True), strict=True):
            credit, kept = (np.concatenate(values) for values in zip(*parts, strict=True))
            units = Units(values=credit, answers=held.objects, weights=held.weights, clusters=held.person)
            original = original or units
            if at or not positions:
                positions.append(_position(lmbda, float(at), units, original, kept))
    images = round(float(np.mean([len(fold.images) for fold in folds])))
    return Dial(data, solver, tuple(positions), losses, images, meter.done)


def _walked(folds: Sequence[_Fold]) -> dict[float, float]:
    """The held-out loss of `global` at each λ: down from 10 while it falls, or up where 10 is the best."""
    losses, weight = dict[float, float](), sum(fold.held.total_weight for fold in folds)
    for path in (_DOWN, _UP):
        for lmbda in path:
            losses[lmbda] = sum(fold.loss(lmbda) for fold in folds) / weight
            if losses[lmbda] > min(losses.values()):
                break
        if losses[_DOWN[0]] > min(losses.values()):
            break
    return losses


def _position(lmbda: float, at: float, units: Units, original: Units, kept: np.ndarray) -> Position:
    scores = [(one.mean, one.error or 0.0) for one in (units.estimate(), units.less(original))]
    return Position(lmbda, at, *scores[0], *scores[1], float(kept.mean()), float(kept.std() / np.sqrt(len(kept))))


def _alphas(data: FitData) -> tuple[float, ...]:
    """α of the anchors after the original, falling to 0, `global`."""
    return _ALPHAS if data.local_features is not None else _ALPHAS[-1:]


def _with_original(matrices: Sequence[np.ndarray]) -> list[Float[np.ndarray, "p p"]]:
    """The original in front: the identity at the scale of the first fit."""
    first = np.asarray(matrices[0], dtype=np.float64)
    return [np.trace(first) / len(first) * np.eye(len(first)), *(W.astype(np.float64) for W in matrices)]


def _places(alphas: Sequence[float]) -> Float[np.ndarray, " k"]:
    """Where a line is scored: its anchors are at 0 (the original), 1 and so on."""
    return np.linspace(0, len(alphas), _STEPS * len(alphas) + 1)


def _between(anchors: Sequence[np.ndarray], at: float) -> np.ndarray:
    """The mixture at a place: a straight line from each anchor to the next."""
    i = max(0, min(int(at), len(anchors) - 2))
    return (1 - at + i) * anchors[i] + (at - i) * anchors[i + 1]


def _best(among: Sequence[Position]) -> Position:
    """The largest agreement; on ties the larger λ, then the larger share of neighbours."""
    most = max(one.agreement for one in among)
    return max((one for one in among if one.agreement >= most - _TIE), key=lambda one: (one.lmbda, one.kept))
