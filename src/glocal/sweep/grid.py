"""The grid: lists of method, alpha, lmbda, tau, mix and eta, their check, and the paths that walk through them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, cast

from glocal.aligner import Arm, Exact, Loop
from glocal.aligner.arm import METHODS, Method
from glocal.aligner.settings import ProfileOptions
from glocal.errors import ParameterError
from glocal.files import PathLike, read_object
from glocal.options import options_of

PAPER_ETA = (1e-4, 1e-3, 1e-2, 1e-1)
# naive shrinks toward 0 and not toward an identity, so that the same λ is a far stronger penalty
ARMS_LMBDA = {"naive": (0.1, 0.3, 1.0), "global": (0.1, 0.3, 1.0, 3.0, 10.0), "glocal": (0.1, 0.3, 1.0, 3.0)}


@dataclass(frozen=True)
class Point:
    """One setting of one fold.

    `alpha` and `tau` are None for `naive` and `global`, `mix` is 1 for `naive`, `eta` None for the exact solver.
    """

    fold: int
    method: Method
    bias: bool
    lmbda: float
    alpha: float | None
    tau: float | None
    mix: float = 1.0
    eta: float | None = None

    @property
    def key(self) -> str:
        """A name that is unique in a sweep, usable as a file name."""
        local = "" if self.alpha is None or self.tau is None else f"-alpha{_short(self.alpha)}-tau{_short(self.tau)}"
        return f"{self.unit}{local}"

    @property
    def unit(self) -> str:
        """The name of the path it lies on: one (fold, method, lmbda, mix, eta)."""
        mix = "" if self.mix == 1 else f"-mix{_short(self.mix)}"
        rate = "" if self.eta is None else f"-eta{_short(self.eta)}"
        return f"fold{self.fold}-{self.method}{'-bias' if self.bias else ''}-lmbda{_short(self.lmbda)}{mix}{rate}"

    def arm(self, squared: bool = True) -> Arm:
        """What is minimised at this point, if a fit is run."""
        local = {} if self.alpha is None or self.tau is None else {"alpha": self.alpha, "tau": self.tau}
        return Arm(self.method, lmbda=self.lmbda, mix=self.mix, bias=self.bias, squared=squared, **local)

    @property
    def fitted(self) -> bool:
        """Whether a fit is run: at alpha = 1 every scaled identity is optimal."""
        return self.alpha != 1


def _short(value: float) -> str:
    """A number in six digits if those are all it has, else in all: no two numbers are one in a file name."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(float(value))


@dataclass(frozen=True)
class Grid:
    """The settings of a sweep.

    Parameters
    ----------
    alpha, tau : tuple of float
        0 ≤ alpha ≤ 1, tau > 0; of `glocal`.
    lmbda : tuple of float, or mapping
        lmbda ≥ 0: the values of all arms, or those of each.
    method : tuple of str
        Arms; `naive` and `global` are swept over lmbda, mix and bias alone.
    bias : tuple of bool
    mix : tuple of float
        0 < mix ≤ 1, the share of the scaled identity in the penalty; `naive` has none and is fitted once.
    eta : tuple of float or None
        Learning rates of the mini-batch solver, above 0; None for the exact solver, which has none.

    Raises
    ------
    ParameterError
        An empty list, a repeated or disallowed value.
    """

    alpha: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 1.0)
    lmbda: tuple[float, ...] | Mapping[str, tuple[float, ...]] = (0.01, 0.1, 1.0, 10.0)
    tau: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)
    method: tuple[Method, ...] = ("glocal",)
    bias: tuple[bool, ...] = (False,)
    mix: tuple[float, ...] = (1.0,)
    eta: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_list("method", self.method)  # before lmbda, which may be a mapping of them
        for name in _OPTIONS:
            values = getattr(self, name)
            if isinstance(values, Mapping):
                for method, listed in values.items():
                    _check("method", method)
                    _check_list(f"lmbda for {method}", listed)
                for method in self.method:
                    if method not in values:
                        raise ParameterError(f"the grid gives no lmbda for {method}. Add a list for it.")
            elif values is not None:
                _check_list(name, values)

    @classmethod
    def arms(cls) -> Grid:
        """All arms on one front, in few points: the default of the exact solver."""
        return cls(alpha=(0.1, 0.25, 0.5), lmbda=ARMS_LMBDA, tau=(0.1,), method=cast("tuple[Method, ...]", METHODS))

    @classmethod
    def paper(cls, solver: str = "lbfgs") -> Grid:
        """The grid of Muttenthaler et al. 2023; its learning rates only for solver ``"minibatch"``."""
        return cls(eta=PAPER_ETA if solver == "minibatch" else None)

    @classmethod
    def load(cls, source: PathLike, solver: str = "lbfgs") -> Grid:
        """``"arms"``, ``"paper"``, or a TOML file with lists alpha, lmbda, tau and optionally method, bias, mix, eta.

        Parameters
        ----------
        source : path
        solver : {"lbfgs", "minibatch"}
            Whose grid the paper's is; a file says all by itself.

        Raises
        ------
        FileError
            Missing or not TOML.
        ParameterError
            An unknown key or a disallowed value.
        """
        if str(source) in ("arms", "paper"):
            return cls.arms() if str(source) == "arms" else cls.paper(solver)
        values = read_object(source, what="grid", fix="Write e.g. alpha = [0.1, 0.5].")
        return cls.of(values, str(Path(source)))

    @classmethod
    def of(cls, values: Mapping[str, Any], what: str = "the grid") -> Grid:
        """A grid from a mapping; a single value stands for a list of one.

        `lmbda` may map arms to their lists; without `method` these are then the arms.
        """
        unknown = sorted(set(values) - set(_OPTIONS))
        if unknown:
            raise ParameterError(f"{what} has the unknown key {unknown[0]!r}; allowed are {', '.join(_OPTIONS)}.")
        lists: dict[str, Any] = {key: _listed(key, value) for key, value in values.items() if key != "lmbda"}
        if isinstance(lmbda := values.get("lmbda"), Mapping):
            lists["lmbda"] = {method: _listed("lmbda", listed) for method, listed in lmbda.items()}
            lists.setdefault("method", tuple(lmbda))
        elif "lmbda" in values:
            lists["lmbda"] = _listed("lmbda", lmbda)
        return cls(**lists)

    def of_methods(self, methods: Sequence[str]) -> Grid:
        """The same settings for these arms."""
        lmbda = self.lmbda
        if isinstance(lmbda, Mapping):
            lmbda = {method: lmbda[method] for method in methods if method in lmbda}
        return replace(self, method=cast("tuple[Method, ...]", tuple(methods)), lmbda=lmbda)

    def lambdas(self, method: str) -> tuple[float, ...]:
        """The values of lmbda for one arm."""
        return self.lmbda[method] if isinstance(self.lmbda, Mapping) else self.lmbda

    def walked_by(self, solver: Exact | Loop) -> Grid:
        """The grid of one solver: without learning rates for the exact one, else with those listed, or its own one.

        Raises
        ------
        ParameterError
            Learning rates for the exact solver.
        """
        if isinstance(solver, Loop):
            return self if self.eta is not None else replace(self, eta=(solver.profile.eta,))
        if self.eta is not None:
            raise ParameterError(
                "the grid lists eta but solver lbfgs has no learning rate. Pass --solver minibatch (solver=) or "
                "--profile neurips2023 (profile=), or remove eta from the grid."
            )
        return self

    def paths(self, folds: int) -> list[list[Point]]:
        """The units of work: one path for each (fold, method, bias, mix, lmbda, eta).

        A path runs through tau, back and forth along alpha. Neighbouring points have neighbouring optima, so an exact
        fit is warm-started from the previous one. Fits are not warm-started across lmbda: the optima lie too far apart
        to save anything. With eta each point is an independent fit.
        """
        paths = []
        for fold in range(folds):
            for method in self.method:
                settings = self._snake() if method == "glocal" else _NO_LOCAL
                mixes = (1.0,) if method == "naive" else self.mix
                lambdas = sorted(self.lambdas(method), reverse=True)
                for bias, mix, lmbda, eta in product(self.bias, mixes, lambdas, self.eta or (None,)):
                    paths.append([Point(fold, method, bias, lmbda, alpha, tau, mix, eta) for alpha, tau in settings])
        return paths

    def _snake(self) -> list[tuple[float | None, float | None]]:
        taus = sorted(self.tau)
        walked: list[tuple[float | None, float | None]] = []
        for row, alpha in enumerate(sorted(self.alpha, reverse=True)):
            walked += [(alpha, tau) for tau in (taus if row % 2 == 0 else reversed(taus))]
        return walked


_NO_LOCAL: list[tuple[float | None, float | None]] = [(None, None)]


_OPTIONS = {name: options_of(Arm)[name] for name in ("alpha", "lmbda", "tau", "method", "bias", "mix")}
_OPTIONS["eta"] = replace(options_of(ProfileOptions)["eta"], optional=False)


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    """The values of one key; whole numbers as floats, so that a setting has one name however it is written."""
    listed = tuple(value) if isinstance(value, list | tuple) else (value,)
    for one in listed:  # before they are converted
        _check(name, one)
    return tuple(float(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in listed)


def _check_list(name: str, values: tuple[Any, ...]) -> None:
    if not values:
        raise ParameterError(f"the grid lists no {name}; give at least one value.")
    if len(set(values)) < len(values):
        raise ParameterError(f"the grid lists a value of {name} twice: {list(values)}. Remove one.")
    for value in values:
        _check(name.partition(" ")[0], value)


def _check(name: str, value: Any) -> None:
    found = _OPTIONS[name]
    if not found.fits(value):
        raise ParameterError(f"the grid has {name} = {reprlib.repr(value)}; allowed is {found.allowed}.")
