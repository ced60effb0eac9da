"""Options: those that commands share, those made from fields of models, and refused outputs.

The name, help, default and range of an option are defined in one place: here, or in its model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer import Option

from glocal.cli.output import IS_JSON
from glocal.data.answers import Answers
from glocal.data.check.findings import Case
from glocal.data.check.readings import warn_of_order
from glocal.data.features import NAMES_FILE, Features
from glocal.data.join import Joined, join
from glocal.data.readers import FEATURE_ENDINGS
from glocal.errors import ParameterError
from glocal.files import read_lines
from glocal.options import Options
from glocal.transform.formats import TRANSFORM_NAME

FEATURES = "Feature file, or folder with features.npy and file_names.txt."
KEEP = "Keep"
OUTPUT = "Output"
FeaturesPath = Annotated[Path, Option(help=FEATURES)]
LocalPath = Annotated[
    Path | None, Option(help="Features of local images, whose neighbours are kept.")
]

SCORES_OUT = "File that the scores are appended to (.jsonl), or a new table (.csv)."
OBJECT_IDS = "Names of the objects that the answers index, one per line."
ObjectIds = Annotated[Path | None, Option(help=OBJECT_IDS)]
FORCE = "Go on, with a warning, if the rows do not belong to the transform."
Force = Annotated[bool, Option("--force", help=FORCE)]
Normalize = Annotated[
    bool,
    Option(
        "--normalize",
        rich_help_panel=KEEP,
        help="Scale each row to length 1 first, as the transform then does too; implied if all "
        "objects have that length.",
    ),
]

_OUTPUTS = ("out", "figures", "tables", "save_transform")
_NAMES_OR_PATHS = (
    *("transform", "baseline", "runs", "grid", "scheduler"),
    *("images", "local_images", "thumbnails"),
)
"""Options whose texts may be paths; no other text is one, such as a layer or a title."""
_AS_JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        Option("--json", help="Print one JSON object on standard output.", rich_help_panel=OUTPUT),
    ],
)
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter of a command whose type is a model into the options of its fields.

    The ``model_fields_set`` of a model then holds exactly the options that were passed. A field
    that two models share is one option, as the first model describes it. A parameter of the command
    with the same name takes precedence, with its own help and default. An output that would replace
    an input is refused. Each command also has ``--json``, which `print_result` obeys.
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    models = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if inspect.isclass(parameter.annotation) and issubclass(parameter.annotation, Options)
    }
    own_options = {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in parameters.items()
        if name not in models
    }
    options: dict[str, inspect.Parameter] = {}
    for name, parameter in parameters.items():
        listed = _model_options(models[name]) if name in models else [parameter]
        for option in listed:
            options.setdefault(option.name, option)
    options |= own_options  # in the places of their namesakes
    options["as_json"] = _AS_JSON

    @wraps(command)
    def run(**values: Any) -> None:
        IS_JSON.set(values["as_json"])
        _check_outputs(values)
        arguments = {name: values[name] for name in own_options}
        built = {name: _built(model, values) for name, model in models.items()}
        command(**arguments, **built)

    required_first = sorted(options.values(), key=lambda option: option.default is not option.empty)
    run.__signature__ = inspect.Signature(required_first)  # type: ignore[attr-defined]
    run.__annotations__ = {name: option.annotation for name, option in options.items()}
    return run


def _model_options(model: type[Options]) -> list[inspect.Parameter]:
    """The options of a model."""
    return [_option(name, field, model) for name, field in _fields(model).items()]


def _built(model: type[Options], values: Mapping[str, Any]) -> Options:
    """The model of the options that were passed."""
    passed = {name: values[name] for name in _fields(model) if values[name] is not None}
    return model(**passed)


def _check_outputs(values: Mapping[str, Any]) -> None:
    """Raise a ParameterError if an output of a command would replace an input."""
    for name in _OUTPUTS:
        if values.get(name) is not None:
            refuse_overwriting_inputs(_flag(name), Path(values[name]), *_inputs(values))


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
    default: Any = inspect.Parameter.empty
    if not field.is_required():
        kind = kind | None
        default = None
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option],
    )


def _help(field: FieldInfo) -> str:
    """The description of a field with its range and default, as in ``A weight. [above 0]``.

    A description may end in a default in words if the default of the field is None.
    """
    description, _, default = str(field.description).removesuffix("]").partition(" [default: ")
    is_shown = field.default not in (None, "", PydanticUndefined) and field.default is not False
    if not default and is_shown:
        default = str(field.default)
    bounds = {
        name: getattr(constraint, name)
        for constraint in field.metadata
        for name in _BOUNDS
        if hasattr(constraint, name)
    }
    details = [bounds_in_words(bounds), default and f"default: {default}"]
    stated = "; ".join(filter(None, details))
    return f"{description} [{stated}]" if stated else description


def bounds_in_words(bounds: Mapping[str, float | None]) -> str:
    """Bounds by their names in pydantic, as in ``above 0 and at most 1``."""
    words = [f"{_BOUNDS[name]} {bound}" for name, bound in bounds.items() if bound is not None]
    return " and ".join(words)


def refuse_overwriting_inputs(option: str, output: Path, *inputs: Path | None) -> None:
    """Raise a ParameterError, before any work, if an output is a file or folder that is read.

    Links and other spellings of a path are resolved. The output may lie in a folder of features,
    unless it is the file that is read from there.
    """
    sources = [file for path in inputs if path is not None for file in _read_from(path)]
    for source in sources:
        if _is_same(output, source):
            raise ParameterError(
                f"{option} {output} would replace {source}, which this command reads. Choose "
                "another path."
            )


def _read_from(path: Path) -> list[Path]:
    """Return an input, the features, names or transform in it, and the names next to it."""
    names = [f"features{kind}" for kind in FEATURE_ENDINGS]
    files = [path / name for name in (*names, NAMES_FILE, TRANSFORM_NAME)]
    return [path, *files, path.parent / NAMES_FILE]


def _inputs(values: Mapping[str, Any]) -> Iterator[Path]:
    """The paths that a command reads, among the values of its options."""
    for name in values.keys() - {*_OUTPUTS, "root"}:  # files lie in a root
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


def read_ids(path: Path | None) -> tuple[str, ...] | None:
    """Read the names of objects, one per line; None without a file."""
    return None if path is None else read_lines(path, what="object ids")


class ObjectFiles(Options):
    """The files about objects: their features, people's answers, and the list that these index."""

    features: Path = Field(description=FEATURES)
    answers: Path = Field(
        description="Answers that data import or a study wrote, or another table that data "
        "import reads. Integers (.npy or text) count from 0, the odd one last.",
    )
    object_ids: Path | None = Field(None, description=OBJECT_IDS)

    def joined(self) -> tuple[Features, Answers, Joined]:
        """The features, the answers as their file indexes them, and as rows of the features."""
        features = Features.load(self.features)
        names = read_ids(self.object_ids)
        answers = Answers.load(self.answers, names=names)
        return features, answers, join(features, answers, names)

    def to_fit(self) -> tuple[Features, Joined]:
        """The features, and the answers as rows; warns if objects fit better in another order."""
        features, answers, joined = self.joined()
        case = Case(features, answers=answers, object_ids=read_ids(self.object_ids))
        warn_of_order(case, joined.answers)
        return features, joined
