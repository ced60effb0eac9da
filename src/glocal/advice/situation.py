"""What a verdict says of a situation, as a row of the file that `glocal try` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import ValidationError
from pydantic.dataclasses import dataclass as checked

from glocal._version import __version__
from glocal.errors import FileError, one_line
from glocal.files import PathLike
from glocal.jsonlines import append_rows, read_rows

NO_TRANSFORM = (
    "No transform of glocal fits these features. To make one, from published features of the "
    "network or from images of your own:"
)
MAKE = (
    "glocal fit --features FEATURES --answers ANSWERS --out transform.npz",
    "glocal align MODEL --images OBJECTS --answers ANSWERS --out DIR",
)
"""The commands that make a transform."""


class SituationChoice(StrEnum):
    """What a verdict says of a situation."""

    RECOMMEND = "recommend"
    NOTHING = "nothing"
    UNDECIDED = "undecided"


@checked(frozen=True)
class SituationRow:
    """What the screen of `glocal try` says of one situation.

    Parameters
    ----------
    task : str
        The situation, which is the task of its rows of scores.
    head : str
        The situation in the words of a sentence.
    choice : SituationChoice
    sentences : tuple of str
        The lines beside the head: the arm, its gain, and what else to know.
    arm : str or None
        The arm to use; None if the situation cannot be decided.
    command : str
        The command that applies this arm; empty if there is nothing to apply.
    neighbours_kept : float or None
        The share of their ten nearest neighbours that images keep with a recommended arm.
    split : str
        The column of labels, or ``"all"``.
    features, network, date, version, sha256 : str or None
        As in `Score`.
    """

    task: str
    head: str
    choice: SituationChoice
    sentences: tuple[str, ...]
    arm: str | None = None
    command: str = ""
    neighbours_kept: float | None = None
    split: str = "all"
    features: str | None = None
    network: str | None = None
    date: str | None = None
    version: str | None = None
    sha256: str | None = None

    def row(self) -> dict[str, object]:
        """The row of a file, without empty fields."""
        fields = asdict(self)
        return {name: value for name, value in fields.items() if value not in (None, "")}


def neighbours_sentence(shares: Mapping[str, float]) -> str:
    """Say which share of their neighbours images keep with each recommended arm.

    The sentence is empty if no share is known.
    """
    if not shares:
        return ""
    words = [f"{share:.3f} with {arm}" for arm, share in shares.items()]
    return f"Images keep of their ten nearest neighbours: {'; '.join(words)}."


def save_situations(
    path: PathLike, rows: Sequence[SituationRow], hashes: Mapping[str, str]
) -> None:
    """Append rows to a file of JSON lines, with the date, the version and the hash of features."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    dated = [
        replace(row, date=date, version=__version__, sha256=hashes.get(row.features or ""))
        for row in rows
    ]
    append_rows(path, [row.row() for row in dated])


def read_situations(path: PathLike) -> list[SituationRow]:
    """Read what `glocal try` wrote of each situation, beside its scores; empty if it wrote nothing.

    Of several runs on a feature file and a column of labels the last one counts: a run begins where
    the date changes or a situation comes again. Raises FileError if a row is damaged.
    """
    runs: dict[tuple[str | None, str], list[SituationRow]] = {}
    try:
        for row in read_rows(path, ("task",), what="score"):
            if "choice" in row:
                situation = SituationRow(**row)
                run = runs.setdefault((situation.features, situation.split), [])
                repeated = any(earlier.task == situation.task for earlier in run)
                if repeated or (run and run[0].date != situation.date):
                    run.clear()
                run.append(situation)
    except ValidationError as error:
        raise FileError(
            f"score file {path} is damaged ({one_line(error)[:160]}). Run `glocal try` again."
        ) from error
    return [situation for run in runs.values() for situation in run]
