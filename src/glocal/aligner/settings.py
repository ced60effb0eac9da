"""The options of a fit beside those of its arm, for `FitData`, `Exact` and the profile; nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from glocal.options import above_0, at_least_1, check_options, option

Dtype = Literal["float32", "float64"]
SolverName = Literal["lbfgs", "minibatch"]
ProfileName = Literal["modern", "neurips2023"]
OptimiserName = Literal["sgd", "adam", "adamw"]
if not TYPE_CHECKING:  # for type checkers; at run time a sentence says which are allowed
    Dtype = SolverName = ProfileName = OptimiserName = str
TOL = {"float32": 1e-5, "float64": 1e-7}


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The options of `FitData`."""

    block_size: int = option(1024, "Local images compared with each other.", only="glocal")
    local_blocks: int | None = option(
        None, "Blocks of local images to use, or auto: all, at most 16.", kind=int, none="auto",
        allowed="at least 1, or auto (None)", holds=at_least_1, only="glocal",
    )  # fmt: skip
    seed: int = option(42, "Of the blocks and of the folds.", allowed=f"0 to {2**32 - 1}",
                       holds=lambda seed: 0 <= seed < 2**32)  # fmt: skip

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class SolverOptions:
    """The options of `Exact`, of which `Loop` has the last two."""

    tol: float | None = option(
        None, "Relative tolerance on the objective. [default: 1e-5; 1e-7 in float64]", kind=float,
        allowed="above 0 and finite", holds=above_0, only="lbfgs",
    )  # fmt: skip
    max_evaluations: int = option(
        1000, "Evaluations of the objective at most.", allowed="at least 1", holds=at_least_1, only="lbfgs"
    )
    dtype: Dtype = option("float32", "float32 or float64.", allowed="float32 and float64", holds=TOL.__contains__)
    device: str = option("cpu", "Any torch device.")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class ProfileOptions:
    """A profile, and what is chosen in place of what it says; `Profile` knows the ranges."""

    profile: ProfileName = option("modern", "modern, or neurips2023: the paper's procedure with all its choices.")
    solver: SolverName | None = option(
        None, "lbfgs (exact), or minibatch (the paper's loop). [default: the profile's]", kind=str
    )
    eta: float | None = option(
        None,
        "Learning rate of minibatch. [default: 0.01]",
        kind=float,
        allowed="a finite number above 0",
        holds=above_0,
    )
    optimiser: OptimiserName | None = option(None, "Of minibatch: sgd, adam or adamw. [default: sgd]", kind=str)
    squared: bool | None = option(
        None, "naive: penalise the squared norm, or the norm. [modern: squared]", kind=bool, only="naive"
    )
