"""An option: its default, range and help stand at the field or the parameter that holds it, and nowhere else.

The command line, the grid of a sweep, and the arms and tasks of a suite take them from there.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from inspect import Parameter, signature
from typing import Annotated, Any, get_origin, get_type_hints

from glocal.errors import ParameterError


@dataclass(frozen=True)
class Option:
    """What may stand in one field.

    `kind` is float, int, bool or str; `help` one line for ``--help``; `allowed` the range in words, and `holds` whether
    a value of that kind lies in it; `only` the method or the solver that alone reads it;
    `none` how the command line spells None, where leaving the option out does not mean it.
    """

    kind: type
    help: str
    allowed: str = ""
    holds: Callable[[Any], bool] = lambda value: True
    only: str | None = None
    optional: bool = False
    none: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise a ParameterError unless the value is allowed."""
        if self.optional and value is None:
            return
        check_kind(name, value, self.kind)
        if not self.holds(value):
            verb = "are" if self.kind is str else "is"
            raise ParameterError(f"{name} is {value!r}; allowed {verb} {self.allowed}.")

    def fits(self, value: Any) -> bool:
        """Whether the value is allowed."""
        try:
            self.check("", value)
        except ParameterError:
            return False
        return True


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    kind: type | None = None,
    allowed: str = "",
    holds: Callable[[Any], bool] = lambda value: True,
    only: str | None = None,
    none: str = "",
) -> Any:
    """A dataclass field that is an option; the kind is that of the default."""
    found = Option(type(default) if kind is None else kind, help, allowed, holds, only, default is None, none)
    return field(default=default, metadata={"option": found})


def options_of(owner: Any) -> dict[str, Option]:
    """The options of a dataclass, or of a function (its parameters that a help text annotates), by their names."""
    if not is_dataclass(owner):
        hints = get_type_hints(owner, include_extras=True)
        told = {name: hint for name, hint in hints.items() if get_origin(hint) is Annotated}
        return {name: Option(hint.__origin__, *hint.__metadata__) for name, hint in told.items()}
    return {f.name: f.metadata["option"] for f in fields(owner) if "option" in f.metadata}


def defaults_of(owner: Any) -> dict[str, Any]:
    """The defaults of these options; None for one without."""
    parameters = signature(owner).parameters
    given = {name: parameters[name].default for name in options_of(owner)}
    return {name: None if default is Parameter.empty else default for name, default in given.items()}


def taken(owner: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one owner among others."""
    return {name: options[name] for name in options_of(owner) if name in options}


def check_options(owner: Any) -> None:
    """Raise a ParameterError for the first field of a dataclass whose value is not allowed."""
    for name, found in options_of(type(owner)).items():
        found.check(name, getattr(owner, name))


def check_kind(name: str, value: Any, kind: type) -> None:
    """Raise a ParameterError for a value that is not a number, a whole number, or True or False, as `kind` asks."""
    if kind is bool and value not in (True, False):
        raise ParameterError(f"{name} is {value!r}; allowed are True and False.")
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real
        if not isinstance(value, number) or isinstance(value, bool):
            raise ParameterError(f"{name} is {value!r}; it must be {'a whole number' if kind is int else 'a number'}.")
        try:
            float(value)
        except OverflowError as error:
            raise ParameterError(f"{name} has more than 308 digits; it must be a number below 1e308.") from error


def above_0(value: float) -> bool:
    """Whether a number is above 0 and finite."""
    return value > 0 and math.isfinite(value)


def at_least_1(value: int) -> bool:
    """Whether a number is at least 1."""
    return value >= 1
