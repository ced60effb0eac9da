"""The settings of one fit, checked together."""

from __future__ import annotations

import math
import numbers
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from glocal.aligner.profile import MODERN, Profile, check_number
from glocal.errors import ParameterError, UnusedWarning
from glocal.solver.minibatch import Engine

Method = Literal["naive", "global", "glocal"]
Dtype = Literal["float32", "float64"]
METHODS: tuple[str, ...] = get_args(Method)
if not TYPE_CHECKING:  # for type checkers; at run time `Settings` says in a sentence which are allowed
    Method = Dtype = str
# what only one method or solver reads; what contradicts one is refused where it is checked
_READ_BY = {
    "local_features": "glocal", "alpha": "glocal", "tau": "glocal", "block_size": "glocal", "local_blocks": "glocal",
    "squared": "naive", "tol": "lbfgs", "max_evaluations": "lbfgs",
}  # fmt: skip
DEFAULT_TOL = {"float32": 1e-5, "float64": 1e-7}


def warn_unused(given: Mapping[str, str], *in_use: str) -> None:
    """Name the settings that no method or solver in use reads.

    Parameters
    ----------
    given : mapping
        Each setting that was given, and how it is spelled where it was.
    *in_use : str
        The method and the solver.
    """
    idle: dict[str, list[str]] = {}
    for name, spelled in given.items():
        reader = _READ_BY.get(name)
        if reader is not None and reader not in in_use:
            idle.setdefault(reader, []).append(spelled)
    for reader, names in idle.items():
        kind = "method" if reader in METHODS else "solver"
        one = len(names) == 1
        warnings.warn(
            f"{' and '.join(names)} {'has' if one else 'have'} no effect: only {kind} {reader} reads "
            f"{'it' if one else 'them'}, and this is {' with '.join(in_use)}.",
            UnusedWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class Settings:
    """The settings of one fit, checked together; see `fit_arm` for their meaning.

    Raises
    ------
    ParameterError
        A value outside its range.
    """

    method: str
    alpha: float
    lmbda: float
    tau: float
    bias: bool
    squared: bool
    dtype: str
    device: str
    tol: float
    max_evaluations: int
    block_size: int
    seed: int
    rank: int | str | None = None
    local_blocks: int | None = None
    profile: Profile = MODERN
    engine: Engine = field(default=Engine())
    mix: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ParameterError(f"method is {self.method!r}; allowed are {', '.join(METHODS)}.")
        self._check_types()
        if not 0 <= self.alpha <= 1:
            raise ParameterError(
                f"alpha is {self.alpha}; it weighs the local term against the global one: 0 to below 1."
            )
        if not (self.lmbda >= 0 and math.isfinite(self.lmbda)):
            raise ParameterError(f"lmbda is {self.lmbda}; the strength of the penalty must be at least 0 and finite.")
        self._check_mix()
        if not (self.tau > 0 and math.isfinite(self.tau)):
            raise ParameterError(f"tau is {self.tau}; the temperature must be above 0 and finite.")
        if self.dtype not in DEFAULT_TOL:
            raise ParameterError(f"dtype is {self.dtype!r}; allowed are float32 and float64.")
        if not (self.tol > 0 and math.isfinite(self.tol)):
            raise ParameterError(f"tol is {self.tol}; it must be above 0 and finite.")
        if self.max_evaluations < 1:
            raise ParameterError(f"max_evaluations is {self.max_evaluations}; at least 1 is needed.")
        if not 0 <= self.seed < 2**32:
            raise ParameterError(f"seed is {self.seed}; allowed is 0 to {2**32 - 1}.")
        if self.local_blocks is not None and self.local_blocks < 1:
            raise ParameterError(f"local_blocks is {self.local_blocks}; at least 1 is needed, or auto (None).")
        self._check_rank()
        if self.method == "glocal" and self.alpha == 1:
            raise ParameterError(
                "alpha is 1: without the global term every scaled identity is optimal and there is nothing to fit. "
                "Choose alpha below 1."
            )

    def with_all_blocks(self) -> Settings:
        """The mini-batch solver takes all blocks of local images in turn where their number is not given."""
        if self.profile.solver == "lbfgs" or self.local_blocks is not None:
            return self
        return replace(self, local_blocks=sys.maxsize)

    def beside(self, name: str) -> Settings:
        """The same for a further fit, whose checkpoints go into a folder of their own."""
        if self.engine.checkpoints is None:
            return self
        return replace(self, engine=replace(self.engine, checkpoints=Path(self.engine.checkpoints) / name))

    def check_rank_below(self, p: int) -> None:
        """Raise the sentence for more directions than the features have."""
        if isinstance(self.rank, numbers.Integral) and self.rank > p:
            raise ParameterError(f"rank is {self.rank} but the features have {p} dimensions: at most that many.")

    @property
    def shrinkage(self) -> float:
        """λ · mix, the strength of the pull toward a scaled identity: the part of the penalty that bends in W Wᵀ."""
        return self.lmbda * self.mix

    def _check_types(self) -> None:
        for name in ("alpha", "lmbda", "mix", "tau", "tol"):
            check_number(name, getattr(self, name))
        for name in ("max_evaluations", "block_size", "seed"):
            check_number(name, getattr(self, name), whole=True)
        if self.local_blocks is not None:
            check_number("local_blocks", self.local_blocks, whole=True)
        for name in ("bias", "squared"):
            if getattr(self, name) not in (True, False):
                raise ParameterError(f"{name} is {getattr(self, name)!r}; allowed are True and False.")

    def _check_mix(self) -> None:
        if self.mix == 0:
            raise ParameterError("mix is 0: that is the penalty of naive. Use method naive, or mix above 0.")
        if not 0 < self.mix <= 1:
            raise ParameterError(f"mix is {self.mix}; the share of the scaled identity is above 0 and at most 1.")
        if self.method == "naive" and self.mix != 1:
            raise ParameterError(
                f"mix is {self.mix} with method naive, whose penalty has no scaled identity. "
                "Leave mix out, or use method global."
            )

    def _check_rank(self) -> None:
        if self.rank is None:
            return
        if self.profile.solver != "lbfgs":
            raise ParameterError(
                f"rank is given with solver {self.profile.solver}, which has no subspace; leave it out."
            )
        whole = isinstance(self.rank, numbers.Integral) and not isinstance(self.rank, bool)
        if not whole and self.rank != "auto":
            raise ParameterError(f"rank is {self.rank!r}; give a whole number of directions, auto, or leave it out.")
        if whole and int(self.rank) < 1:
            raise ParameterError(f"rank is {self.rank}; a subspace has at least 1 direction.")
        if self.method == "naive":
            raise ParameterError(
                "rank is given with method naive, whose optimum is of low rank as it is and solved so; leave rank out."
            )
        if self.bias:
            raise ParameterError(
                "rank is given with a bias, which couples the subspace with the rest; leave out one of them."
            )
        if self.rank == "auto" and self.lmbda == 0:
            raise ParameterError(
                "rank is auto with lmbda 0: the error of a subspace is bounded through the penalty. Give a number, "
                "or lmbda above 0."
            )
