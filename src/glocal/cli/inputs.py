"""Options of commands and what they read: models whose fields are options, answers and features.

Name, help, default and range of an option stand in its model alone. Features come from a file, or from images and the
network to run on them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import typer
from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.models import OptionInfo

from glocal.cli.output import progress_bar, say
from glocal.data.answers import Answers
from glocal.data.check import Case, warn_of_order
from glocal.data.features import NAMES_FILE, Features
from glocal.data.join import Joined, join
from glocal.data.readers import READERS
from glocal.data.tables import read_list
from glocal.errors import ParameterError
from glocal.files import PathLike, read_lines
from glocal.options import Options

_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
DATA = "Data"
FeaturesPath = Annotated[Path, typer.Option(help="Feature file, or folder with features.npy and file_names.txt.")]
LocalPath = Annotated[Path | None, typer.Option(help="Features of local images, whose neighbours are kept.")]
ModelName = Annotated[
    str | None,
    typer.Option(help="Network to run if images are given instead of features; see extract.", rich_help_panel=DATA),
]
LayerName = Annotated[str | None, typer.Option(help="Layer to read. [default: penultimate]", rich_help_panel=DATA)]


class AnswersForm(Options):
    """How to read a file of answers."""

    panel: ClassVar[str] = DATA

    object_ids: Path | None = Field(None, description="Names of the objects that the answers index, one per line.")
    kind: Literal["odd-one-out", "anchor", "nearest-of-n"] | None = Field(
        None, description="What people were asked, if the file does not state it. [default: odd-one-out]"
    )
    odd_column: int = Field(2, ge=0, le=2, description="Column of the odd one out.")
    base: int = Field(0, ge=0, le=1, description="Index of the first object in the answers.")
    order: Path | None = Field(None, description="Sort index; the object of raw index i is argsort(ORDER)[i].")

    def load(self, path: Path) -> Answers:
        """The answers as given."""
        return Answers.load(path, **self.model_dump(exclude={"object_ids", "answers"}))


class AnswersFile(AnswersForm):
    """A file of answers, and how to read it."""

    answers: Annotated[
        Path,
        typer.Option(
            "--answers", "--triplets",
            help="Answers: .npz that describes itself, or integers in .npy or text, odd one last.",
        ),
    ]  # fmt: skip

    def joined(self, features: Features) -> tuple[Answers, Joined]:
        """The answers as given, and in rows of the features."""
        answers = self.load(self.answers)
        return answers, join(features, answers, names_of(self.object_ids))

    def to_fit(self, features: Features) -> Joined:
        """The answers in rows of the features; a warning if another list of objects fits them better."""
        answers, joined = self.joined(features)
        order = None if self.order is None else read_list(self.order, what="order")
        features.check_finite()
        warn_of_order(Case(features, answers=answers, object_ids=names_of(self.object_ids), order=order))
        return joined


def names_of(object_ids: Path | None) -> tuple[str, ...] | None:
    """The names in a file of objects; None without a file."""
    return None if object_ids is None else read_lines(object_ids, what="object ids")


def load_features(path: Path, model: str | None = None, layer: str | None = None) -> Features:
    """Load a feature file or folder; with a model, extract the features of images, or find them in the cache.

    What was extracted is kept in the folder that ``GLOCAL_CACHE`` names (else the cache folder of this system) by the
    names, sizes and times of the images, the hash of the weights and the versions of what computes it.
    """
    if model is None:
        if layer is not None:
            raise ParameterError(f"--layer {layer} is about a network; pass --model too.")
        return Features.load(path)
    if path.suffix.lower() in READERS or any((path / f"features{ending}").exists() for ending in READERS):
        say(f"{path} holds features; --model is not used for it.")
        return Features.load(path)
    from glocal.extract import Extractor, open_images
    from glocal.extract.run import cached_features

    source = open_images(path)
    with progress_bar("extracting", len(source), unit="images") as progress:
        extractor = Extractor(model, () if layer is None else (layer,))
        result = cached_features(extractor, source, lambda done, total: progress(done))
    if source.ignored:
        say(f"left out for want of an image extension: {len(source.ignored)} of the files under {path}.")
    return result.features()


def refuse_overwriting_inputs(outputs: Mapping[str, PathLike | None], *inputs: PathLike | None) -> None:
    """Raise a ParameterError, before any work, where an output is a file or folder that is read.

    `outputs` are the paths by their options. Links and other spellings of a path are seen through. A
    folder of features may contain the output, unless that is the very file that is read from it.
    """
    sources = [path for source in inputs if source is not None for path in _read_from(Path(source))]
    for option, output in outputs.items():
        for source in sources:
            if output is not None and _is_same(Path(output), source):
                raise ParameterError(
                    f"{option} {output} would replace {source}, which this command reads. Name another place."
                )


def _read_from(path: Path) -> Iterator[Path]:
    """A path that is given, the feature files in it, and the names in it or beside it."""
    yield path
    yield from (path / f"features{ending}" for ending in READERS)
    yield from (folder / NAMES_FILE for folder in (path, path.parent))


def _is_same(output: Path, source: Path) -> bool:
    """Whether both are one file or folder; devices and pipes may be both input and output."""
    try:
        return output.samefile(source) and (source.is_file() or source.is_dir())
    except OSError:  # at least one of them does not exist
        return False


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
