"""What several commands read: answers, features, and the options that say how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from typer import Option

from glocal.data.answers import Answers
from glocal.data.check.findings import Case
from glocal.data.check.readings import warn_of_order
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.files import read_lines
from glocal.options import Options
from glocal.transform.record import network_name

FEATURES = "Feature file, or folder with features.npy and file_names.txt."
DATA = "Data"
KEEP = "Keep"
OUTPUT = "Output"
FeaturesPath = Annotated[Path, Option(help=FEATURES, rich_help_panel=DATA)]
LocalPath = Annotated[
    Path | None,
    Option(help="Features of local images, whose neighbours are kept.", rich_help_panel=DATA),
]

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


def read_ids(path: Path | None) -> tuple[str, ...] | None:
    """Read the names of objects, one per line; None without a file."""
    return None if path is None else read_lines(path, what="object ids")


class AnswersFile(Options):
    """A file of answers, and the list of objects that they index."""

    panel: ClassVar[str] = DATA

    answers: Path = Field(
        description="Answers that data import or a study wrote, or another table that data "
        "import reads. Integers (.npy or text) count from 0, the odd one last.",
    )
    object_ids: Path | None = Field(None, description=OBJECT_IDS)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the objects; None without a file of names."""
        return read_ids(self.object_ids)

    def joined(self, features: Features) -> tuple[Answers, Joined]:
        """The answers in the index space of their file, and as rows of the features."""
        answers = Answers.load(self.answers, names=self.names)
        return answers, join(features, answers, self.names)

    def to_fit(self, features: Features) -> Joined:
        """The answers as rows of the features; warns if the objects fit better in another order."""
        answers, joined = self.joined(features)
        warn_of_order(Case(features, answers=answers, object_ids=self.names), joined.answers)
        return joined


def network_of(features: Features, file: Path) -> str:
    """The model and layer that features record, or else the name of their file, for rows."""
    is_unnamed = file.stem == "features" and file.parent.name
    name = file.parent.name if is_unnamed else file.stem
    return network_name(features.network) or name
