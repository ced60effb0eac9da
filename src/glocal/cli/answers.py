"""Answers for a command: the options of a file of answers, and what it is read into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from glocal.data.answers import Answers
from glocal.data.check import Case, warn_of_order
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.data.tables import read_list
from glocal.files import read_lines

Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="Of answers in a file that does not say: odd-one-out, anchor or nearest-of-n. [default: odd-one-out]",
    ),
]
ObjectIds = Annotated[
    Path | None,
    typer.Option(
        "--object-ids", help="Names of the objects the triplets index, one a line; joined with file_names.txt."
    ),
]
OddColumn = Annotated[int, typer.Option("--odd-column", help="Column of the odd one out: 0, 1 or 2.")]
Base = Annotated[int, typer.Option("--base", help="Index of the first object in the triplets: 0 or 1.")]
Order = Annotated[
    Path | None, typer.Option("--order", help="Sort index; the object of raw index i is argsort(ORDER)[i].")
]


@dataclass(frozen=True, kw_only=True)
class AnswersForm:
    """How to read a file of answers."""

    object_ids: ObjectIds = None
    kind: Kind = None
    weights: Annotated[Path | None, typer.Option("--weights", help="One weight for each answer, .npy or text.")] = None
    odd_column: OddColumn = 2
    base: Base = 0
    order: Order = None

    def load(self, path: Path) -> Answers:
        """The answers as given."""
        return Answers.load(
            path, kind=self.kind, odd_column=self.odd_column, base=self.base, order=self.order, weights=self.weights
        )


@dataclass(frozen=True, kw_only=True)
class AnswersFile(AnswersForm):
    """A file of answers, and how to read it."""

    triplets: Annotated[
        Path,
        typer.Option(
            "--triplets",
            "--answers",
            help="Answers: .npz that describes itself, or integers in .npy or text, odd one last.",
        ),
    ]

    def joined(self, features: Features) -> tuple[Answers, Joined]:
        """The answers as given, and in rows of the features."""
        answers = self.load(self.triplets)
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
