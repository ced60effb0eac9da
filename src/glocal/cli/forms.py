"""A command whose options are the fields of pydantic models: name, help, default and range stand there alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from glocal.errors import ParameterError


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter of a command whose type is a model into the options of its fields.

    The model is built from what was given, so that ``model_fields_set`` holds no defaults; a value that it refuses is a
    ParameterError.
    """
    groups: dict[str, type[BaseModel]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if inspect.isclass(parameter.annotation) and issubclass(parameter.annotation, BaseModel):
            groups[parameter.name] = parameter.annotation
            parameters += [_option(name, field) for name, field in parameter.annotation.model_fields.items()]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**given: Any) -> None:
        for name, model in groups.items():
            own = {key: given.pop(key) for key in model.model_fields}
            try:
                given[name] = model(**{key: value for key, value in own.items() if value is not None})
            except ValidationError as error:
                raise ParameterError(_sentence(error)) from error
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    known = "" if field.default in (None, False, PydanticUndefined) else f" [default: {field.default}]"
    option = typer.Option(f"--{name.replace('_', '-')}", help=f"{field.description}{known}", show_default=False)
    given: Any = field.annotation
    kind: Any = given if field.is_required() else given | None
    default = inspect.Parameter.empty if field.is_required() else None
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option],
    )


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, in one sentence that names the option."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    name = ".".join(f"--{part}".replace("_", "-") for part in first["loc"])
    return f"{name} is {first['input']!r}: {message}." if name else f"{message[0].lower()}{message[1:]}."
