"""Options: each with its default, its range and one line of help at one place, from which everything else takes them.

The command line (`glocal.cli.forms.flat`), the grid of a sweep and the tables of a suite file are such models.
"""

from __future__ import annotations

import inspect
import math
import numbers
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from inspect import Parameter, signature
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model, field_validator
from pydantic.fields import FieldInfo

from glocal.errors import ParameterError

Model = TypeVar("Model", bound="Options")


class Options(BaseModel):
    """Base of every group of options.

    An option is a field ``name: float = Field(0.1, ge=0, lt=1, description="…")``; one without a description is not on
    the command line. Models are frozen. Unknown names, NaN and infinities are refused; a text is no number, and True is
    none either. The first fields may be given by position. `panel`, or the ``json_schema_extra={"panel": …}`` of a
    field, is the heading in ``--help``.

    Raises
    ------
    ParameterError
        One sentence about the first value that is not allowed. A validator raises a ValueError with such a sentence.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )
    panel: ClassVar[str] = ""

    def __init__(self, *given: Any, **named: Any) -> None:
        try:
            super().__init__(**dict(zip(type(self).model_fields, given, strict=False)), **named)
        except ValidationError as error:
            raise ParameterError(_sentence(error, list(type(self).model_fields))) from error

    @field_validator("*", mode="before")
    @classmethod
    def _of_numpy(cls, value: Any) -> Any:
        """Take a number of numpy for a number."""
        return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value

    @classmethod
    def read(cls: type[Model], values: Mapping[str, Any], where: str) -> Model:
        """The options that a file holds; an error names the file."""
        try:
            return cls(**values)
        except ParameterError as error:
            raise ParameterError(f"{where}: {error}") from error

    def replace(self: Model, **changes: Any) -> Model:
        """The same options but for some; all are checked together."""
        return type(self)(**{**{name: getattr(self, name) for name in self.model_fields_set}, **changes})


@cache
def model_of(function: Callable[..., Any]) -> type[Options]:
    """The options of a function: its parameters that are annotated ``Annotated[kind, Field(…)]``, as a model."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if get_origin(hints.get(name)) is Annotated and isinstance(get_args(hints[name])[1], FieldInfo)
    }
    return create_model(function.__name__, __base__=Options, **fields)


def _sentence(error: ValidationError, known: list[str]) -> str:
    """Say of the first error which value is wrong, what was given, and what is allowed."""
    first = error.errors()[0]
    name, message = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, known, 1)
        return f"there is no option {name!r}; " + (
            f"did you mean {near[0]}?" if near else f"allowed are {', '.join(known)}."
        )
    if first["type"] == "missing":
        return f"{name} is missing. Give it."
    if first["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return (
        f"{name}={reprlib.repr(first['input'])} is not allowed: it must {message.partition(' should ')[2] or message}."
    )


# What follows leaves with its last user: arms, solvers and evaluations become such models.


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
