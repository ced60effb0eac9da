"""A command whose options are the fields of models: name, help, default and range stand there alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.models import OptionInfo

from glocal.options import Options

_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter of a command whose type is a model into the options of its fields.

    The models hold what was given and nothing else in ``model_fields_set``. A name that two of them have is one option;
    what the command itself has under such a name takes its place, and its default.
    """
    found = inspect.signature(command, eval_str=True).parameters
    models = {
        name: one.annotation
        for name, one in found.items()
        if inspect.isclass(one.annotation) and issubclass(one.annotation, Options)
    }
    own = {name: one.replace(kind=one.KEYWORD_ONLY) for name, one in found.items() if name not in models}
    told = {
        name: _option(name, field, model)
        for model in models.values()
        for name, field in _options(model).items()
        if name not in own
    }

    @wraps(command)
    def run(**given: Any) -> None:
        values = {name: value for name, value in given.items() if value is not None}
        built = {
            name: model(**{key: values[key] for key in _options(model) if key in values})
            for name, model in models.items()
        }
        command(**{name: given[name] for name in own}, **built)

    parameters = sorted([*own.values(), *told.values()], key=lambda one: one.default is not inspect.Parameter.empty)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _options(model: type[Options]) -> dict[str, FieldInfo]:
    """The fields of a model that are on the command line."""

    def told(field: FieldInfo) -> bool:
        return field.description is not None or any(isinstance(one, OptionInfo) for one in field.metadata)

    return {name: field for name, field in model.model_fields.items() if told(field)}


def _option(name: str, field: FieldInfo, model: type[Options]) -> inspect.Parameter:
    """A field as a parameter: None where it is not given, so that the model knows what was."""
    option = next((one for one in field.metadata if isinstance(one, OptionInfo)), None)
    if option is None:
        described, _, default = str(field.description).removesuffix("]").partition(" [default: ")
        if not (default or field.default in (None, "", PydanticUndefined) or field.default is False):
            default = str(field.default)
        told = "; ".join([*_range(field), *([f"default: {default}"] if default else [])])
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        option = typer.Option(
            f"--{name.replace('_', '-')}", help=f"{described}{told and f' [{told}]'}", show_default=False,
            rich_help_panel=str(extra.get("panel", model.panel)) or None,
        )  # fmt: skip
    kind: Any = field.annotation
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=inspect.Parameter.empty if field.is_required() else None,
        annotation=Annotated[kind if field.is_required() else kind | None, option],
    )  # fmt: skip


def _range(field: FieldInfo) -> list[str]:
    """The range of a field in words, if it has one."""
    bounds = [(getattr(one, name, None), word) for one in field.metadata for name, word in _BOUNDS.items()]
    told = [f"{word} {bound}" for bound, word in bounds if bound is not None]
    return [" and ".join(told)] if told else []
