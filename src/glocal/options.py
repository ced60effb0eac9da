"""The base class of option models: each option declares its default, range and help once.

The command line (`glocal.cli.options.flat`), the grid of a sweep and the tables of a suite file are
built from such models.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from glocal.errors import FileError, ParameterError, did_you_mean

Model = TypeVar("Model", bound="Options")


class Options(BaseModel):
    """Base class of every group of options.

    An option is a field ``name: float = Field(0.1, ge=0, lt=1, description="…")``. A field without
    a description is not offered on the command line. Models are frozen. They reject unknown names,
    NaN and infinities, and do not accept strings or booleans as numbers. Values may be given by
    position, in the order of the fields. `panel` sets the heading in ``--help``, and
    ``json_schema_extra={"flags": …}`` of a field replaces the flag that is derived from its name.

    Raises
    ------
    ParameterError
        A value is not allowed; the message is one sentence about the first such value. A validator
        raises a ValueError with its own sentence.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        defer_build=True,  # a command validates only the options that it uses
    )
    panel: ClassVar[str] = ""

    def __init__(self, /, *values: Any, **options: Any) -> None:
        names = list(type(self).model_fields)
        if len(values) > len(names):
            raise ParameterError(
                f"{type(self).__name__} has {len(names)} options, but {len(values)} values were "
                "given by position. Pass the options by name."
            )
        try:
            by_position = dict(zip(names, map(_without_numpy, values), strict=False))
            super().__init__(
                **by_position, **{name: _without_numpy(value) for name, value in options.items()}
            )
        except ValidationError as error:
            raise ParameterError(error_sentence(error, names)) from error

    @classmethod
    def read(cls: type[Model], values: Mapping[str, Any], where: str) -> Model:
        """Build the options from the `values` of a file.

        An option that is not allowed raises a FileError that begins with `where`, the name of the
        file. Its message has no backticks, since the keys of a file are not arguments.
        """
        try:
            return cls(**values)
        except ParameterError as error:
            raise FileError(f"{where}: {error}".replace("`", "")) from error

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that these options name."""
        return tuple(value for _, value in self if isinstance(value, Path))

    def replace(self: Model, **changes: Any) -> Model:
        """Return a copy with `changes`; all options are checked together."""
        options = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**options, **changes})


def _without_numpy(value: Any) -> Any:
    """Unwrap a NumPy scalar."""
    is_scalar = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    return value.item() if is_scalar else value


def error_sentence(error: ValidationError, names: list[str]) -> str:
    """Describe the first error: which value is wrong, what was given, and what is allowed."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        advice = did_you_mean(name, names) or f" The options are {', '.join(names)}."
        return f"there is no option {name!r}.{advice}"
    if first["type"] == "missing":
        return f"`{name}` is missing. Give a value for it."
    if first["type"] == "union_tag_not_found":
        return f"`{name}` lacks {first['ctx']['discriminator']}. Give a value for it."
    if first["type"] == "value_error":
        return f"`{name}`: {message}" if name else message
    requirement = message.partition(" should ")[2]
    reason = f"it must {requirement}" if requirement else message
    return f"`{name}={reprlib.repr(first['input'])}` is not allowed: {reason}."
