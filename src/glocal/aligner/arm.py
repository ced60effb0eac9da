"""An arm: what is minimised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from glocal.errors import ParameterError
from glocal.options import above_0, check_options, option

Method = Literal["naive", "global", "glocal"]
METHODS: tuple[str, ...] = get_args(Method)
if not TYPE_CHECKING:  # for type checkers; at run time `Arm` says in a sentence which are allowed
    Method = str


@dataclass(frozen=True)
class Arm:
    """What is minimised: one of the objectives of the paper with its parameters.

        naive            L_global + λ ‖W‖²_F
        global           L_global + λ ‖W - (tr W / p) I‖²_F
        glocal   (1-α) L_global + α L_local + λ ‖W - (tr W / p) I‖²_F

    Parameters
    ----------
    method : {"naive", "global", "glocal"}
    alpha : float
        α, the weight of the local term, 0 to below 1 (`glocal`).
    lmbda : float
        λ, the strength of the penalty, above 0.
    tau : float
        τ, the temperature of the local term, above 0 (`glocal`).
    mix : float
        Share of the scaled identity in the penalty, mix ‖W - cI‖² + (1 - mix) ‖W‖²: above 0, at most 1 (`global` and
        `glocal`; 0 would be `naive`).

    Raises
    ------
    ParameterError
        A value outside its range.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 3 (naive), Eq. 6 (global, glocal).
    """

    method: Method = option(
        kind=str,
        help="glocal, global or naive. [default: glocal with local features]",
        allowed=", ".join(METHODS),
        holds=METHODS.__contains__,
    )
    alpha: float = option(
        0.1, "Weight of the local term, 0 to below 1.", allowed="0 to below 1", holds=lambda a: 0 <= a < 1
    )
    lmbda: float = option(0.1, "Strength of the penalty, above 0.", allowed="a finite number above 0", holds=above_0)
    tau: float = option(
        0.25, "Temperature of the local term, above 0.", allowed="a finite number above 0", holds=above_0
    )
    mix: float = option(
        1.0, "Share of the scaled identity in the penalty: above 0, at most 1.",
        allowed="above 0, at most 1 (0 is method naive)", holds=lambda m: 0 < m <= 1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_options(self)
        if self.method == "naive" and self.mix != 1:
            raise ParameterError(
                f"mix is {self.mix} with method naive, whose penalty has no scaled identity. "
                "Leave mix out, or use method global."
            )
        idle = [name for name in ("alpha", "tau") if getattr(self, name) != getattr(type(self), name)]
        if idle and not self.local:
            raise ParameterError(
                f"{' and '.join(idle)} cannot be set with method {self.method}: only glocal has a local term."
            )

    @property
    def local(self) -> bool:
        """Whether the arm has a local term."""
        return self.method == "glocal"

    @property
    def identity(self) -> float:
        """The share of the scaled identity in the penalty: 0 of `naive`."""
        return 0.0 if self.method == "naive" else self.mix


def arm_of(given: Mapping[str, Any], *, local: bool) -> Arm | None:
    """The arm of the settings that were given (not None), `glocal` or `global` without a method; None without any."""
    settings = {name: value for name, value in given.items() if value is not None}
    return Arm(**{"method": "glocal" if local else "global", **settings}) if settings else None
