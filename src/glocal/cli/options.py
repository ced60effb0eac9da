"""Options of commands from the fields of models, and outputs that would replace inputs.

The name, help, default and range of an option are defined in its model alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer import Option

from glocal.aligner import Arm, Exact
from glocal.cli.output import IS_JSON
from glocal.data.features import NAMES_FILE
from glocal.data.readers import FEATURE_ENDINGS
from glocal.errors import ParameterError
from glocal.options import Options
from glocal.transform.formats import TRANSFORM_NAME

_OUTPUTS = ("out", "figures", "tables", "save_transform")
_NAMES_OR_PATHS = (
    *("transform", "baseline", "runs", "grid", "scheduler"),
    *("images", "local_images", "thumbnails"),
)
"""Options whose texts may be paths; no other text is one, such as a layer or a title."""
_PANELS = ("Data", "Keep", Arm.panel, Exact.panel, "Output")
_AS_JSON = Annotated[
    bool,
    Option("--json", help="Print one JSON object on standard output.", rich_help_panel="Output"),
]
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter of a command whose type is a model into the options of its fields.

    The ``model_fields_set`` of a model then holds exactly the options that were passed. A field
    that two models share is one option, that of the first model. A parameter of the command with
    the same name takes precedence, with its own help and default. An output that would replace an
    input is refused. Each command also has ``--json``, which `print_result` obeys.
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    models = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if inspect.isclass(parameter.annotation) and issubclass(parameter.annotation, Options)
    }
    options = {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in parameters.items()
        if name not in models
    }
    own_names = [*options]
    for model in models.values():
        for name, field in _fields(model).items():
            options.setdefault(name, _option(name, field, model))
    options["as_json"] = inspect.Parameter(
        "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_AS_JSON
    )

    @wraps(command)
    def run(**values: Any) -> None:
        IS_JSON.set(values["as_json"])
        for name in _OUTPUTS:
            if values.get(name) is not None:
                refuse_overwriting_inputs(_flag(name), Path(values[name]), *_inputs(values))
        arguments = {name: values[name] for name in own_names}
        for name, model in models.items():
            passed = {field: values[field] for field in _fields(model)}
            arguments[name] = model(
                **{field: value for field, value in passed.items() if value is not None}
            )
        command(**arguments)

    ordered = sorted(options.values(), key=_place)
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {name: option.annotation for name, option in options.items()}
    return run


def _place(option: inspect.Parameter) -> tuple[int, bool]:
    """The place of an option in the help: that of its heading, if it has one, required first."""
    details = [*getattr(option.annotation, "__metadata__", ()), option.default]
    panels = [getattr(detail, "rich_help_panel", None) for detail in details]
    places = [_PANELS.index(panel) for panel in panels if panel in _PANELS]
    return (places[0] if places else -1, option.default is not option.empty)


def _flag(name: str) -> str:
    """The flag of an option, by its name in Python."""
    return f"--{name.replace('_', '-')}"


def _fields(model: type[Options]) -> dict[str, FieldInfo]:
    """The fields of a model that are options of the command line."""
    return {
        name: field for name, field in model.model_fields.items() if field.description is not None
    }


def _option(name: str, field: FieldInfo, model: type[Options]) -> inspect.Parameter:
    """A field as a parameter; None means not passed, so that the model knows which were passed."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    option = Option(
        str(extra.get("flags", _flag(name))),
        help=_help(field),
        show_default=False,
        rich_help_panel=model.panel or None,
    )
    kind: Any = field.annotation
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.is_required() else None,
        annotation=Annotated[kind if field.is_required() else kind | None, option],
    )


def _help(field: FieldInfo) -> str:
    """The description of a field with its range and default, as in ``A weight. [above 0]``.

    A description may end in a default in words if the default of the field is None.
    """
    description, _, default = str(field.description).removesuffix("]").partition(" [default: ")
    is_shown = field.default not in (None, "", PydanticUndefined) and field.default is not False
    if not default and is_shown:
        default = str(field.default)
    bounds = [
        f"{word} {getattr(constraint, name)}"
        for constraint in field.metadata
        for name, word in _BOUNDS.items()
        if getattr(constraint, name, None) is not None
    ]
    details = []
    if bounds:
        details.append(" and ".join(bounds))
    if default:
        details.append(f"default: {default}")
    return f"{description} [{'; '.join(details)}]" if details else description


def refuse_overwriting_inputs(option: str, output: Path, *inputs: Path | None) -> None:
    """Raise a ParameterError, before any work, if an output is a file or folder that is read.

    Links and other spellings of a path are resolved. The output may lie in a folder of features,
    unless it is the file that is read from there.
    """
    for path in inputs:
        for source in [] if path is None else _read_from(path):
            if _is_same(output, source):
                raise ParameterError(
                    f"{option} {output} would replace {source}, which this command reads. "
                    "Choose another path."
                )


def _read_from(path: Path) -> list[Path]:
    """Return an input, the features, names or transform in it, and the names next to it."""
    names = [f"features{kind}" for kind in FEATURE_ENDINGS]
    files = [path / name for name in (*names, NAMES_FILE, TRANSFORM_NAME)]
    return [path, *files, path.parent / NAMES_FILE]


def _inputs(values: Mapping[str, Any]) -> Iterator[Path]:
    """The paths that a command reads, among the values of its options."""
    for name in values.keys() - {*_OUTPUTS, "root"}:
        paths = values[name] if isinstance(values[name], list) else [values[name]]
        for path in paths:
            if isinstance(path, Path) or (path and name in _NAMES_OR_PATHS):
                yield Path(path)


def _is_same(output: Path, source: Path) -> bool:
    """Whether both are one file or folder; devices and pipes may be both input and output."""
    try:
        return output.samefile(source) and (source.is_file() or source.is_dir())
    except OSError:  # at least one of them does not exist
        return False
