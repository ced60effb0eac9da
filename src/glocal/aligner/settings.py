"""The options of a fit beside those of its arm, for `FitData` and `Exact`; nothing here loads numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from glocal.options import above_0, at_least_1, check_options, option, options_of

Dtype = Literal["float32", "float64"]
if not TYPE_CHECKING:  # for type checkers; at run time a sentence says which are allowed
    Dtype = str
TOL = {"float32": 1e-5, "float64": 1e-7}
OF_LOCAL = ("local_features", "block_size", "local_blocks")
"""What only `glocal` reads beside its arm."""


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The options of `FitData`."""

    block_size: int = option(1024, "Local images compared with each other.", only="glocal")
    local_blocks: int = option(
        16, "Blocks of local images to use, at most.", allowed="at least 1", holds=at_least_1, only="glocal"
    )
    seed: int = option(42, "Of the blocks and of the folds.", allowed=f"0 to {2**32 - 1}",
                       holds=lambda seed: 0 <= seed < 2**32)  # fmt: skip

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class SolverOptions:
    """The options of `Exact`."""

    tol: float | None = option(
        None, "Relative tolerance on the objective. [default: 1e-5; 1e-7 in float64]", kind=float,
        allowed="above 0 and finite", holds=above_0,
    )  # fmt: skip
    max_evaluations: int = option(1000, "Evaluations of the objective at most.", allowed="at least 1", holds=at_least_1)
    dtype: Dtype = option("float32", "float32 or float64.", allowed="float32 and float64", holds=TOL.__contains__)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class PaperOptions:
    """The options of `PaperLoop` that commands have."""

    eta: float = option(0.01, "Learning rate.", allowed="above 0 and finite", holds=above_0, only="paper")
    optimiser: str = option(
        "sgd", "sgd or adam.", allowed="sgd and adam", holds=("sgd", "adam").__contains__, only="paper"
    )
    bias: bool = option(False, "Learn a bias too.", allowed="True and False", only="paper")
    dtype: Dtype = option("float32", "float32 or float64.", allowed="float32 and float64", holds=TOL.__contains__)

    def __post_init__(self) -> None:
        check_options(self)


def taken(owner: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one dataclass among others."""
    return {name: options[name] for name in options_of(owner) if name in options}
