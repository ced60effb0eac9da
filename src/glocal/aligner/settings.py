"""The settings of a fit: one of the objectives of the paper, with its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from glocal.errors import ParameterError
from glocal.options import Options

Method = Literal["naive", "global", "glocal"]
PARAMETERS: dict[str, tuple[str, ...]] = {
    "naive": ("lmbda",),
    "global": ("lmbda", "mix"),
    "glocal": ("lmbda", "mix", "alpha", "tau"),
}
"""The parameters that a method reads."""


class Parameters(TypedDict):
    """Method and parameters as in records; None for a parameter that the method lacks."""

    method: str | None
    lmbda: float | None
    mix: float | None
    alpha: float | None
    tau: float | None


class ObjectiveSettings(Options):
    """One of the objectives of the paper, with its parameters.

        naive            L_global + λ ‖W‖²_F
        global           L_global + λ ‖W - (tr W / p) I‖²_F
        glocal   (1-α) L_global + α L_local + λ ‖W - (tr W / p) I‖²_F

    Parameters
    ----------
    method : {"naive", "global", "glocal"}
    alpha : float
        α, the weight of the local term, from 0 to below 1 (`glocal` only).
    lmbda : float or None
        λ, the strength of the penalty, above 0. For None a fit of `global` or `glocal` chooses it
        by the loss on held-out questions, as `Keep` does without local features; `naive` needs it.
    tau : float
        τ, the temperature of the local term, above 0 (`glocal` only).
    mix : float
        The share of the scaled identity in the penalty, mix ‖W - cI‖² + (1 - mix) ‖W‖²: above 0 and
        at most 1 (`global` and `glocal`; 0 would be `naive`).

    Raises
    ------
    ParameterError
        A value lies outside its range, or the method does not read it.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 3 (naive), Eq. 6 (global, glocal).
    """

    panel: ClassVar[str] = "A method of the paper, in place of --keep"

    method: Method = Field(
        "glocal",
        description="Method to fit. [default: with another option of these, glocal; without local "
        "features, global]",
    )
    alpha: float = Field(
        0.1, ge=0, lt=1, description="Weight of the local term. [default: 0.1 with glocal]"
    )
    lmbda: float | None = Field(
        None,
        gt=0,
        description="Strength of the penalty; naive needs it. [default: chosen on held-out "
        "questions]",
    )
    tau: float = Field(
        0.25, gt=0, description="Temperature of the local term. [default: 0.25 with glocal]"
    )
    mix: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the scaled identity in the penalty. [default: 1 with --method]",
    )

    @model_validator(mode="after")
    def _check_parameters(self) -> ObjectiveSettings:
        unread = self.model_fields_set - {"method", *PARAMETERS[self.method]}
        if unread:
            readers = [name for name, names in PARAMETERS.items() if unread <= {*names}]
            raise ValueError(
                f"method {self.method} has no {' and no '.join(sorted(unread))}. Leave it out, or "
                f"use `method={readers[0]!r}`."
            )
        if self.method == "naive" and self.lmbda is None:
            raise ValueError(
                "`lmbda` of naive is not chosen for you. Give it, such as `lmbda=0.1`."
            )
        return self

    @property
    def penalty(self) -> float:
        """λ; raises ParameterError if it is still to be chosen."""
        if self.lmbda is None:
            raise ParameterError("`lmbda` must be given to a solver; `glocal.fit` can choose it.")
        return self.lmbda

    @property
    def local(self) -> bool:
        """Whether the objective has a local term."""
        return self.method == "glocal"

    @property
    def local_weight(self) -> float:
        """α, or 0 without a local term."""
        return self.alpha if self.local else 0.0

    @property
    def identity(self) -> float:
        """The share of the scaled identity in the penalty: 0 for `naive`.

        Raises
        ------
        ParameterError
            No objective is known for the method.
        """
        if self.method == "naive":
            return 0.0
        if self.method in ("global", "glocal"):
            return self.mix
        raise ParameterError(
            f"method {self.method} has no objective here; minimise your own with "
            "`glocal.solver.minimise`."
        )

    @property
    def parameters(self) -> Parameters:
        """Method and parameters as in records; None for a parameter that the method lacks."""
        names = PARAMETERS[self.method]
        return Parameters(
            method=self.method,
            lmbda=self.lmbda,
            mix=self.mix if "mix" in names else None,
            alpha=self.alpha if "alpha" in names else None,
            tau=self.tau if "tau" in names else None,
        )

    @classmethod
    def from_values(cls, values: Mapping[str, object], *, local: bool = True) -> ObjectiveSettings:
        """Read the settings from a record or a row; a value of None takes its default.

        The default method is `glocal`, or `global` if `local` is false.
        """
        default = cls(method="glocal" if local else "global")
        options = {name: values[name] for name in cls.model_fields if values.get(name) is not None}
        return default.replace(**options)
