"""What commands read: a file of answers and how to read it, and features, or images and the network to run on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer
from pydantic import Field

from glocal.cli.output import progress_bar, say
from glocal.data.answers import Answers
from glocal.data.check import Case, warn_of_order
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.data.readers import READERS
from glocal.data.tables import read_list
from glocal.errors import ParameterError
from glocal.files import read_lines
from glocal.options import Options

DATA = "Data"
FeaturesPath = Annotated[Path, typer.Option(help="Feature file, or folder with features.npy and file_names.txt.")]
LocalPath = Annotated[Path | None, typer.Option(help="Features of local images, whose neighbours are kept.")]
ModelName = Annotated[
    str | None,
    typer.Option(help="Network to run where images are given for features; see extract.", rich_help_panel=DATA),
]
LayerName = Annotated[str | None, typer.Option(help="Its layer. [default: penultimate]", rich_help_panel=DATA)]


class AnswersForm(Options):
    """How to read a file of answers."""

    panel: ClassVar[str] = DATA

    object_ids: Path | None = Field(None, description="Names of the objects that the answers index, one per line.")
    kind: Literal["odd-one-out", "anchor", "nearest-of-n"] | None = Field(
        None, description="What people were asked, where the file does not state it. [default: odd-one-out]"
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
        say(f"{len(source.ignored)} files under {path} do not have an image extension and are left out.")
    return result.features()
