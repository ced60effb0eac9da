"""One dial, `keep`: the share of each image's nearest neighbours that must stay. Method, α, λ and τ follow from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.record import Fit, recorded
from glocal.data.answers import Answers
from glocal.errors import ParameterError
from glocal.evaluation.agreement import answer_credit, odd_one_out
from glocal.evaluation.intervals import Units
from glocal.evaluation.neighbours import kept_by_image

DEFAULT_KEEP = 0.9
FOLDS = 3
_K = 10
_ALPHAS, _TAU = (0.75, 0.5), 0.1
_DOWN, _UP = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001), (10.0, 30.0, 100.0)
_TIE = 5e-4  # nats, or a share of the answers: below what these answers can tell apart
_STEPS = 10  # positions between two anchors
_FEW = 5000  # with fewer answers, folds of objects leave too few of them to choose λ
_LOOSE = 1e-4  # tolerance of the fits that only choose: it moves no score by more than .002
_MOST = 10_000  # held-out images of a fold at most, the first drawn

Count = Callable[[int, Any], None]


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


class _Fold:
    """The fits of one fold, and what it holds out: answers about other objects, and other local images."""

    def __init__(self, data: FitData, solver: Exact, fold: int) -> None:
        self.solver, self.local = solver, data.local_features is not None
        fitted, held, rows = data.fold(fold, FOLDS)
        self.problem = solver.problem(fitted)
        self.answers = held
        self.X, self.held = replace(data, answers=held).named("float64")
        judged, rows = (data.local_features or data.features), np.sort(rows[:_MOST])
        self.images = data.scalars(np.asarray(judged.matrix[rows]), "float64")
        self.fits: dict[float, Solution] = {}

    def fit(self, lmbda: float, count: Count) -> None:
        """Fit `global`, from the fit of the λ before."""
        last = next(reversed(self.fits.values()), None)
        self.fits[lmbda] = self.solver.minimise(self.problem, _arm(0.0, lmbda), last, count)

    def loss(self, lmbda: float) -> float:
        """The summed loss of the held-out answers, nats."""
        Z = self.X @ self.fits[lmbda].transform.weights.astype(np.float64)
        return odd_one_out(Z, self.held, similarity="dot", interval=False).loss * self.held.total_weight

    def line(self, lmbda: float, alphas: Sequence[float], count: Count) -> list[Float[np.ndarray, "p p"]]:
        """The matrices of the anchors: the original, `glocal` at each α, `global`."""
        fits = [self.fits[lmbda]]
        for alpha in sorted(alphas):
            fits.append(self.solver.minimise(self.problem, _arm(alpha, lmbda), fits[-1], count))
        return _anchored([one.transform.weights for one in reversed(fits)])

    def worth(self, anchors: Sequence[Float[np.ndarray, "p p"]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The credit of each held-out answer and the share that each image keeps, at every place of a line."""
        objects, images = ([rows @ W for W in anchors] for rows in (self.X, self.images))
        for at in _places(len(anchors)):
            Z = _between(images, at)
            yield answer_credit(_between(objects, at), self.held), kept_by_image(self.images, Z, min(_K, len(Z) - 1))


class _AnswerFold(_Fold):
    """A fold of the answers, about objects that are fitted too: enough to choose λ where answers are few."""

    def __init__(self, data: FitData, solver: Exact, fold: int) -> None:
        drawn = np.random.RandomState(data.seed).permutation(len(data.answers))
        out = np.zeros(len(drawn), dtype=bool)
        out[np.array_split(drawn, FOLDS)[fold]] = True
        self.solver, self.fits = solver, {}
        self.problem = solver.problem(replace(data, answers=data.answers.select(~out)), local=False)
        self.X, self.held = replace(data, answers=data.answers.select(out)).named("float64")


def _walked(folds: Sequence[_Fold], count: Count) -> dict[float, float]:
    """The held-out loss of `global` at each λ: down from 10 while it falls, or up where 10 is the best."""
    losses: dict[float, float] = {}
    for path in (_DOWN, _UP):
        for lmbda in path:
            if lmbda not in losses:
                for fold in folds:
                    fold.fit(lmbda, count)
                weight = sum(fold.held.total_weight for fold in folds)
                losses[lmbda] = sum(fold.loss(lmbda) for fold in folds) / weight
            if losses[lmbda] > min(losses.values()):
                break
        if min(losses, key=losses.__getitem__) != _DOWN[0]:
            break
    return losses


@dataclass(frozen=True, eq=False)
class Dial:
    """What every `keep` gives on held-out objects and images; `fit` makes one of them of all data.

    Parameters
    ----------
    data : FitData
    solver : Exact
        Of the final fits.
    alphas : tuple of float
        α of the `glocal` anchors between the original and `global`, falling.
    positions : tuple of Position
        The original first, then a line for each λ.
    losses : dict
        Held-out loss of `global` at each λ, nats.
    judged : str
        Whose neighbours were counted: ``"local images"`` or ``"objects"``.
    candidates : int
        How many of them there are in a fold, on average.
    evaluations : int
        Of the objective, by all fits that chose.
    """

    data: FitData
    solver: Exact
    alphas: tuple[float, ...]
    positions: tuple[Position, ...]
    losses: dict[float, float]
    judged: str
    candidates: int
    evaluations: int

    @property
    def original(self) -> Position:
        """The features without a transform."""
        return self.positions[0]

    @cached_property
    def best(self) -> Position:
        """The largest agreement, whatever it keeps."""
        return _best(self.positions)

    def choose(self, keep: float) -> Position:
        """The largest agreement among places where neighbours kept, less a standard error, are at least `keep`.

        Where a line falls below `keep` between two places, the place of the crossing is one of them.

        Raises
        ------
        ParameterError
            `keep` is not a share.
        """
        checked_keep(keep)
        found = [self.original, *(one for one in self.positions if one.safe >= keep)]
        for _, line in groupby(self.positions[1:], key=lambda one: one.lmbda):
            steps = pairwise([self.original, *line])
            found += [one.toward(other, keep) for one, other in steps if one.safe >= keep > other.safe]
        return _best(found)

    def curve(self, keeps: Sequence[float]) -> list[dict[str, float]]:
        """What each of these `keep` gives, with standard errors."""
        return [{"keep": keep, **asdict(self.choose(keep))} for keep in keeps]

    def notes(self, keep: float) -> list[str]:
        """What to know about this choice, a sentence each."""
        chosen, found = self.choose(keep), []
        if chosen.gain <= 2 * chosen.gain_error:
            found.append(
                f"keep={keep:g} leaves nothing to gain: agreement rises by {chosen.gain:.3f}, within two standard "
                f"errors of {chosen.gain_error:.3f}. Allow more with a lower keep."
            )
        elif chosen == self.best:
            found.append(
                f"the largest agreement keeps {chosen.kept:.3f} of the neighbours, so a keep below {keep:g} changes "
                "nothing."
            )
        if self.judged == "objects":
            found.append("there are no local images, so keep is about the neighbours of the objects among themselves.")
        return found

    def fit(self, keep: float = DEFAULT_KEEP, count: Count | None = None) -> Fit:
        """Fit the anchors on both sides of the chosen place on all data, and mix their matrices there.

        The record is that of the fit on the side of `global`, with ``keep``: both fits with their certificates, the
        share of the second, and what is expected of new objects and images.
        """
        chosen, began = self.choose(keep), time.perf_counter()
        second = max(1, int(np.ceil(chosen.at)))  # the anchor on the side of `global`
        alphas = [*self.alphas, 0.0]
        wanted = [alphas[i - 1] for i in (second, second - 1) if i]
        problem = self.solver.problem(self.data, local=any(wanted))
        fits: dict[float, Solution] = {}
        for alpha in (0.0, *(alpha for alpha in wanted if alpha)):
            last = next(reversed(fits.values()), None)
            fits[alpha] = self.solver.minimise(problem, _arm(alpha, chosen.lmbda), last, count)
        sides = [fits[alpha] for alpha in wanted]
        share = chosen.at - (second - 1)
        matrices = [one.transform.weights.astype(np.float64) for one in reversed(sides)]
        weights = _between(matrices if second > 1 else _anchored(matrices), share).astype(np.float32)
        said = {
            "keep": keep, "at": chosen.at, "share": share, "anchors": [_told(one) for one in sides],
            "expected": asdict(chosen), "original_agreement": self.original.agreement,
            "of": self.judged, "k": _K, "candidates": self.candidates, "folds": FOLDS,
            "curve": self.curve(sorted({round(min(1.0, max(0.01, keep + d)), 4) for d in (-0.1, -0.05, 0.0, 0.05)})),
            "losses": {f"{lmbda:g}": loss for lmbda, loss in sorted(self.losses.items())},
            "evaluations": self.evaluations, "notes": self.notes(keep),
        }  # fmt: skip
        unfinished = next((one for one in sides if not one.converged), sides[0])
        solution = replace(
            sides[0], transform=replace(sides[0].transform, weights=weights), status=unfinished.status,
            reason=unfinished.reason, certificate="none: a mixture; keep.anchors has those of its two fits",
            evaluations=sum(one.evaluations for one in fits.values()),
        )  # fmt: skip
        return recorded(self.data, sides[0].arm, solution, time.perf_counter() - began, keep=said)


def dial(data: FitData, solver: Exact | None = None, *, on_step: Count | None = None) -> Dial:
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
        Of the final fits; those that choose have a tolerance of 1e-4.
    on_step : function or None
        Progress: (evaluations, evaluation).

    Raises
    ------
    DataError, ParameterError
        Three folds leave no answers to fit or to score; or what `glocal.aligner.fit` raises.
    """
    solver, done = solver or Exact(), 0
    local = data.local_features is not None
    data.check(Arm("glocal" if local else "global"))
    loose = replace(solver, tol=max(solver.tolerance, _LOOSE))

    def count(evaluations: int, at: Any) -> None:
        nonlocal done
        done += 1
        if on_step is not None:
            on_step(done, at)

    folds = [_Fold(data, loose, fold) for fold in range(FOLDS)]
    if len(data.answers) < _FEW:
        losses = _walked([_AnswerFold(data, loose, fold) for fold in range(FOLDS)], count)
    else:
        losses = _walked(folds, count)
    least = min(losses.values())
    best = max(lmbda for lmbda, loss in losses.items() if loss <= least + _TIE)
    below = [lmbda for lmbda in sorted(losses, reverse=True) if lmbda < best][:1]
    lines = [best, *below] if local else sorted(losses, reverse=True)
    for lmbda in sorted(lines, reverse=True):
        for fold in folds:
            if lmbda not in fold.fits:
                fold.fit(lmbda, count)
    alphas = _ALPHAS if local else ()
    positions: list[Position] = []
    original: Units
    for lmbda in lines:
        worth = [fold.worth(fold.line(lmbda, alphas, count)) for fold in folds]
        for at, parts in zip(_places(2 + len(alphas)), zip(*worth, strict=True), strict=True):
            credit, kept = (np.concatenate(values) for values in zip(*parts, strict=True))
            units = _units(credit, [fold.answers for fold in folds])
            if not positions:
                original = units
            if at or not positions:
                positions.append(_position(lmbda, float(at), units, original, kept))
    images = round(float(np.mean([len(fold.images) for fold in folds])))
    return Dial(data, solver, alphas, tuple(positions), losses, "local images" if local else "objects", images, done)


def _units(credit: Float[np.ndarray, " t"], held: Sequence[Answers]) -> Units:
    """The credit of the held-out answers of all folds."""

    def joined(name: str) -> np.ndarray | None:
        lists = [getattr(answers, name) for answers in held]
        return None if lists[0] is None else np.concatenate(lists)

    return Units(values=credit, answers=joined("objects"), weights=joined("weights"), clusters=joined("person"))


def _position(lmbda: float, at: float, units: Units, original: Units, kept: np.ndarray) -> Position:
    agreement, gain = units.estimate(), units.less(original)
    return Position(
        lmbda, at, agreement.mean, agreement.error or 0.0, gain.mean, gain.error or 0.0, float(kept.mean()),
        float(kept.std() / np.sqrt(len(kept))),
    )  # fmt: skip


def checked_keep(keep: float) -> float:
    """A share of neighbours; a ParameterError for anything else."""
    if not 0 < keep <= 1:
        raise ParameterError(
            f"keep is {keep}; allowed is above 0 to 1: the share of each image's ten nearest neighbours that must stay."
        )
    return keep


def _arm(alpha: float, lmbda: float) -> Arm:
    """The arm of an anchor: `global` where α is 0."""
    return Arm("glocal", alpha=alpha, lmbda=lmbda, tau=_TAU) if alpha else Arm("global", lmbda=lmbda)


def _anchored(matrices: Sequence[np.ndarray]) -> list[Float[np.ndarray, "p p"]]:
    """The original in front: the identity at the scale of the first fit."""
    first = np.asarray(matrices[0], dtype=np.float64)
    return [np.trace(first) / len(first) * np.eye(len(first)), *(W.astype(np.float64) for W in matrices)]


def _places(anchors: int) -> Float[np.ndarray, " k"]:
    return np.linspace(0, anchors - 1, _STEPS * (anchors - 1) + 1)


def _between(anchors: Sequence[np.ndarray], at: float) -> np.ndarray:
    """The mixture at a place: a straight line from each anchor to the next."""
    i = min(int(at), len(anchors) - 2)
    return (1 - at + i) * anchors[i] + (at - i) * anchors[i + 1]


def _best(among: Sequence[Position]) -> Position:
    """The largest agreement; on ties the larger λ, then the larger share of neighbours."""
    most = max(one.agreement for one in among)
    return max((one for one in among if one.agreement >= most - _TIE), key=lambda one: (one.lmbda, one.kept))


def _told(one: Solution) -> dict[str, Any]:
    """A fit of an anchor, for the record."""
    arm = one.arm
    return {
        "method": arm.method, "alpha": arm.alpha if arm.local else None, "lmbda": arm.lmbda,
        "tau": arm.tau if arm.local else None, "objective": one.objective, "parts": one.parts, "status": one.status,
        "gap": one.gap, "certificate": one.certificate, "evaluations": one.evaluations,
    }  # fmt: skip
