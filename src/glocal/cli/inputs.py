"""Options of commands, as fields of models, and the answers and features that commands read.

The name, help, default and range of an option are defined in its model alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer import Option

from glocal.data.answers import Answers
from glocal.data.check.answers import warn_of_order
from glocal.data.check.findings import Case
from glocal.data.features import NAMES_FILE, Features
from glocal.data.join import Joined, join
from glocal.data.readers import READERS
from glocal.data.tables import read_list
from glocal.errors import ParameterError
from glocal.files import PathLike, read_lines
from glocal.options import Options
from glocal.transform.formats import TRANSFORM_NAME

_OUTPUTS = ("out", "figures", "tables", "save_transform")
_NAMES_OR_PATHS = (
    *("transform", "baseline", "runs", "grid", "scheduler"),
    *("images", "local_images", "thumbnails"),
)
"""Options whose texts may be paths; no other text is one, such as a layer or a title."""
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
FeaturesPath = Annotated[
    Path, Option(help="Feature file, or folder with features.npy and file_names.txt.")
]
LocalPath = Annotated[
    Path | None, Option(help="Features of local images, whose neighbours are kept.")
]

FORCE = "Only warn of rows that do not belong to a transform."
Force = Annotated[bool, Option("--force", help=FORCE)]
UNIT_ROWS = "all arms begin from rows scaled to length 1"
"""What is said below a table of such arms."""
Normalize = Annotated[
    bool,
    Option(
        "--normalize",
        help="Scale each row to length 1 first, as the transform then does too; implied if all "
        "objects have that length.",
    ),
]


class AnswersForm(Options):
    """The options of reading a file of answers."""

    panel: ClassVar[str] = "Data"

    object_ids: Path | None = Field(
        None, description="Names of the objects that the answers index, one per line."
    )
    kind: Literal["odd-one-out", "anchor", "nearest-of-n"] | None = Field(
        None, description="Question type, if the file does not state it. [default: odd-one-out]"
    )
    odd_column: int = Field(2, ge=0, le=2, description="Column of the odd one out.")
    base: int = Field(0, ge=0, le=1, description="Index of the first object in the answers.")
    order: Path | None = Field(
        None, description="Sort index; raw index i stands for object argsort(ORDER)[i]."
    )

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the objects; None without a file of names."""
        return None if self.object_ids is None else read_lines(self.object_ids, what="object ids")

    def load(self, path: Path) -> Answers:
        """Read the answers, in the index space of their file."""
        options = self.model_dump(exclude={"object_ids", "answers"})
        return Answers.load(path, names=self.names, **options)


class AnswersFile(AnswersForm):
    """A file of answers, and the options of reading it."""

    answers: Path = Field(
        description="Answers: a self-describing .npz, the CSV of a study or another table that "
        "data import reads, or integers (.npy or text) with the odd one out last.",
        json_schema_extra={"flags": "--answers --triplets"},
    )

    def joined(self, features: Features) -> tuple[Answers, Joined]:
        """The answers in the index space of their file, and as rows of the features."""
        answers = self.load(self.answers)
        return answers, join(features, answers, self.names)

    def to_fit(self, features: Features) -> Joined:
        """The answers as rows of the features; warns if the objects fit better in another order."""
        answers, joined = self.joined(features)
        order = None if self.order is None else read_list(self.order, what="order")
        warn_of_order(Case(features, answers=answers, object_ids=self.names, order=order))
        return joined


def refuse_overwriting_inputs(
    outputs: Mapping[str, PathLike | None], *inputs: PathLike | None
) -> None:
    """Raise a ParameterError, before any work, if an output is a file or folder that is read.

    `outputs` are paths by their options. Links and other spellings of a path are resolved. The
    output may lie in a folder of features, unless it is the file that is read from there.
    """
    paths = [Path(path) for path in inputs if path is not None]
    sources = [source for path in paths for source in _read_from(path)]
    for option, output in outputs.items():
        for source in sources:
            if output is not None and _is_same(Path(output), source):
                raise ParameterError(
                    f"{option} {output} would replace {source}, which this command reads. "
                    "Choose another path."
                )


def _read_from(path: Path) -> list[Path]:
    """Return an input, the features, names or transform in it, and the names next to it."""
    names = [f"features{kind}" for kind in READERS]
    files = [path / name for name in (*names, NAMES_FILE, TRANSFORM_NAME)]
    return [path, *files, path.parent / NAMES_FILE]


def _inputs(values: Mapping[str, Any]) -> Iterator[Path]:
    """The paths that a command reads, among the values of its options."""
    for name in values.keys() - {*_OUTPUTS}:
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


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter of a command whose type is a model into the options of its fields.

    The ``model_fields_set`` of a model then holds exactly the options that were passed. A field
    that two models share is one option, that of the first model. A parameter of the command with
    the same name takes precedence, with its own help and default. An output that would replace an
    input is refused.
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    models = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if inspect.isclass(parameter.annotation) and issubclass(parameter.annotation, Options)
    }
    options = {
        name: parameter.replace(kind=parameter.KEYWORD_ONLY)
        for name, parameter in parameters.items()
        if name not in models
    }
    of_command = list(options)
    for model in models.values():
        for name, field in _options(model).items():
            options.setdefault(name, _option(name, field, model))

    @wraps(command)
    def run(**values: Any) -> None:
        outputs = {f"--{name.replace('_', '-')}": values.get(name) for name in _OUTPUTS}
        refuse_overwriting_inputs(outputs, *_inputs(values))
        passed = {name: value for name, value in values.items() if value is not None}
        arguments = {name: values[name] for name in of_command}
        for name, model in models.items():
            fields = _options(model).keys() & passed.keys()
            arguments[name] = model(**{field: passed[field] for field in fields})
        command(**arguments)

    ordered = sorted(options.values(), key=lambda option: option.default is not option.empty)
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {name: option.annotation for name, option in options.items()}
    return run


def _options(model: type[Options]) -> dict[str, FieldInfo]:
    """The fields of a model that are options of the command line."""
    return {
        name: field for name, field in model.model_fields.items() if field.description is not None
    }


def _option(name: str, field: FieldInfo, model: type[Options]) -> inspect.Parameter:
    """A field as a parameter; None means not passed, so that the model knows which were passed."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    option = Option(
        *str(extra.get("flags", f"--{name.replace('_', '-')}")).split(),
        help=_help(field),
        show_default=False,
        rich_help_panel=str(extra.get("panel", model.panel)) or None,
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
