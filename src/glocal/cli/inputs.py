"""What several commands read: answers, features, and the options that say how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typer import Option

from glocal.data.answers import Answers
from glocal.data.check.answers import warn_of_order
from glocal.data.check.findings import Case
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.data.tables import read_list
from glocal.files import read_lines
from glocal.options import Options

FeaturesPath = Annotated[
    Path, Option(help="Feature file, or folder with features.npy and file_names.txt.")
]
LocalPath = Annotated[
    Path | None, Option(help="Features of local images, whose neighbours are kept.")
]

FORCE = "Go on, with a warning, if the rows do not belong to the transform."
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
