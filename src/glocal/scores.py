"""Rows of scores, what they say about an arm, and the files that hold rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import BeforeValidator, ValidationError
from pydantic.dataclasses import dataclass as checked

from glocal._version import __version__
from glocal.errors import FileError, one_line
from glocal.files import (
    PathLike,
    ending,
    writable_target,
    write_text,
)
from glocal.jsonlines import append_rows, read_rows
from glocal.results import STRICT, Count, to_json
from glocal.screen import Cell
from glocal.titles import titles

if TYPE_CHECKING:
    import pandas as pd

PEOPLE = "people"
"""The arm in rows that score people themselves. No arm of a suite may have this name."""
ORIGINAL = "original"
"""The arm of the features without a transform."""
DIFFERENCE = "_difference"
AGREEMENT = ("agreement", "agreement_dot")
"""The metrics of agreement with people, by cosine and by dot product."""
KEPT = "neighbours_kept"
HELD_OUT_OBJECTS = "held-out objects"
HELD_OUT_QUESTIONS = "held-out questions"
MAX_SHARE_SEEN = 0.1
"""Above this share of the questions, or of the objects, answers do not count as new to a fit."""
MIN_MEASURED_ANSWERS = 30
"""With fewer answers agreement is not reported, and by default a fit holds nothing out."""
MIN_ANSWERS_FOR_OBJECT_FOLDS = 5_000
"""With fewer answers folds are of questions, since folds of objects would hold out too few."""
SCORE_ENDINGS = (".jsonl", ".ndjson", ".json", ".txt", ".csv")

# a file states an undefined value as null
_NAN_IF_NULL = BeforeValidator(lambda value: math.nan if value is None else value)


@checked(frozen=True, config=STRICT)
class Score:
    """One row of results.

    Parameters
    ----------
    task, metric : str
        The task and the metric, e.g. ``"odd-one-out"`` and ``"agreement"``;
        docs/file-formats.md lists all metrics. ``…_difference`` is the value of the arm minus that
        of the baseline that `settings` names.
    value : float
        Fractions are in [0, 1], and losses in nats. NaN means that the value is undefined.
    low, high : float or None
        The 95 % interval, or None if no interval is defined.
    n : int
        The number of answers, images or objects behind the value.
    split : str
        ``"all"``; the name of a file; the fold of a suite, such as
        ``"fold 0 of 3 of the objects"``; or what the fit had not seen: ``"held-out objects"``,
        ``"held-out questions"``.
    transform : str
        The arm, or the path of the transform file; ``"original"`` without a transform, and
        ``"people"`` for people themselves.
    settings : mapping
        Further settings that the value depends on: shots, k, mode, baseline, …
    network : str or None
        The name of the network in a suite; in `glocal evaluate` its model and layer, or the name of
        the feature file.
    features : str or None
        The feature file that `glocal evaluate` scored.
    p, p_corrected : float or None
        The p-value of a difference, and the p-value corrected by Holm's method for all differences
        of a suite.
    baseline_network : str or None
        The network of the baseline of a difference, if it is another one.
    seen_answers, seen_objects : float or None
        Of agreement, the shares of the questions and of the objects that the transform was fitted
        to, 0 without a fit; None if they are not known. See `glocal.data.seen`.
    date, version, sha256 : str or None
        In a file of `glocal evaluate` or `glocal try`, the time in UTC, the version of glocal, and
        the SHA-256 of the matrix of features.
    """

    task: str
    metric: str
    value: Annotated[float, _NAN_IF_NULL]
    low: float | None = None
    high: float | None = None
    n: Count = 0
    split: str = "all"
    transform: str = ORIGINAL
    settings: Mapping[str, object] = field(default_factory=dict)
    network: str | None = None
    p: float | None = None
    p_corrected: float | None = None
    features: str | None = None
    baseline_network: str | None = None
    seen_answers: float | None = None
    seen_objects: float | None = None
    date: str | None = None
    version: str | None = None
    sha256: str | None = None

    @property
    def is_seen(self) -> bool:
        """Whether the fit had seen so many of the questions that this is no score on new ones."""
        return (self.seen_answers or 0) > MAX_SHARE_SEEN

    @property
    def quantity(self) -> str:
        """The metric of a score, and for a difference the metric that differs."""
        return self.metric.removesuffix(DIFFERENCE)

    @property
    def baseline(self) -> str | None:
        """The arm from which a difference is taken; None for a score."""
        if not self.metric.endswith(DIFFERENCE):
            return None
        baseline = self.settings.get("baseline", ORIGINAL)
        return str(baseline)

    def cell(self, star: str = "") -> Cell:
        """The value and its interval as a cell of a table; a difference has its sign."""
        sign = "" if self.baseline is None else "+"
        value = f"{self.value:{sign}.3f}"
        if self.low is None or self.high is None:
            return Cell(value + star)
        interval = f"[{self.low:{sign}.3f}, {self.high:{sign}.3f}]{star}"
        return Cell(value, interval)

    @property
    def note(self) -> str:
        """What is to be said of the interval; empty if there is nothing."""
        has_interval = self.low is not None
        if has_interval and self.settings.get("rough"):
            return " (rough)"
        return ""

    def text(self) -> str:
        """Format ``0.469 [0.451, 0.487]``, or the value alone if there is no interval."""
        return f"{self.cell()}{self.note}"

    def row(self) -> dict[str, object]:
        """The row of a file, without empty fields other than `low` and `high`."""
        row = {}
        for key, value in asdict(self).items():
            is_empty = value in (None, {})
            if not is_empty or key in ("low", "high"):
                row[key] = value
        return row


class _Place(NamedTuple):
    """A score of an arm on a task or, with a baseline, its difference from another arm."""

    network: str
    task: str
    metric: str
    arm: str
    baseline: str | None = None
    baseline_network: str | None = None

    @classmethod
    def from_score(cls, score: Score) -> _Place:
        """The place of a score."""
        return cls(
            score.network or "",
            score.task,
            score.quantity,
            score.transform,
            score.baseline,
            score.baseline_network,
        )


class Scores(tuple[Score, ...]):
    """Scores of arms on tasks, in the order in which they were measured, and their differences.

    Where a network was scored on several splits of a task, from several feature files, or with
    several settings, each is a task of its own, such as ``few-shot (colour, shots 5)``. A task
    shows its first metric. Of rows that were appended several times the last one counts.
    """

    @property
    def shown(self) -> list[Score]:
        """The last score at each place; its task has the split, file and settings that differ."""
        return [*self._by_place.values()]

    @property
    def network_gains(self) -> list[Score]:
        """The differences from another network."""
        return [score for score in self.shown if score.baseline_network is not None]

    @property
    def networks(self) -> list[str]:
        """The networks; an empty text stands for none."""
        networks = [place.network for place in self._by_place]
        return [*dict.fromkeys(networks)]

    @property
    def arms(self) -> list[tuple[str, str]]:
        """Each network with each of its arms."""
        pairs = []
        for place in self._by_place:
            if place.arm != PEOPLE:
                pair = (place.network, place.arm)
                pairs.append(pair)
        return [*dict.fromkeys(pairs)]

    @property
    def tasks(self) -> list[str]:
        """The tasks that arms were scored on."""
        return [*self._first_metrics]

    def score(self, network: str, task: str, arm: str, metric: str = "") -> Score | None:
        """The score of an arm, by default in the first metric of the task; None if it has none."""
        metric = metric or self._first_metrics.get(task, "")
        place = _Place(network, task, metric, arm)
        score = self._by_place.get(place)
        if score is None:
            return None
        is_undefined = math.isnan(score.value)
        return None if is_undefined else score

    def gain(
        self,
        network: str,
        task: str,
        arm: str,
        baseline: str,
        baseline_network: str | None = None,
    ) -> Score | None:
        """The paired difference of an arm from a baseline; None if they were not compared.

        The baseline is an arm of `baseline_network`, or of the same network if this is None.
        """
        metric = self._first_metrics.get(task, "")
        place = _Place(
            network,
            task,
            metric,
            arm,
            baseline,
            baseline_network,
        )
        return self._by_place.get(place)

    def of_people(self, network: str, task: str = "") -> list[Score]:
        """The scores of people beside a network, on one task or on all."""
        return [
            score
            for score in self.shown
            if score.transform == PEOPLE
            and (score.network or "") == network
            and task in ("", score.task)
        ]

    def tasks_of(self, *metrics: str) -> list[str]:
        """The tasks that show one of these metrics."""
        return [task for task, metric in self._first_metrics.items() if metric in metrics]

    def task_of(self, *metrics: str) -> str:
        """The first task that shows one of these metrics; empty if there is none."""
        tasks = self.tasks_of(*metrics)
        return tasks[0] if tasks else ""

    @cached_property
    def _titled(self) -> list[Score]:
        """The scores; the split, file and settings are in the task where these differ."""
        titled = []
        for score, title in zip(self, titles(self, self._of_arms), strict=True):
            titled_score = replace(score, task=title)
            titled.append(titled_score)
        return titled

    @cached_property
    def _of_arms(self) -> list[Score]:
        """The scores of arms, without the scores of people."""
        return [score for score in self if score.transform != PEOPLE]

    @cached_property
    def _first_metrics(self) -> dict[str, str]:
        first: dict[str, str] = {}
        for score in self._titled:
            if score.transform != PEOPLE:
                first.setdefault(score.task, score.quantity)
        return first

    @cached_property
    def _by_place(self) -> dict[_Place, Score]:
        """The last score at each place."""
        places = map(_Place.from_score, self._titled)
        return dict(zip(places, self._titled, strict=True))


def check_scores_target(path: PathLike) -> None:
    """Check, before any work, that scores can be appended to a file, or that a table is new."""
    path = writable_target(path, what="--out", endings=SCORE_ENDINGS)
    if path.exists() and not path.is_file():
        raise FileError(
            f"--out {path} is a device or a pipe, and scores are appended to a file. Name a file, "
            "or print the scores with --json."
        )
    if path.is_file() and ending(path) == ".csv":
        raise FileError(
            f"--out {path} exists, and a table is written once. Name another file, or one that "
            "ends in .jsonl, to which scores are appended."
        )
    if path.is_file() and path.stat().st_size:
        read_scores(path)


def save_scores(path: PathLike, scores: Sequence[Score], hashes: Mapping[str, str]) -> None:
    """Append scores to a file of JSON lines, or write a new table of them if it ends in .csv.

    Each row gets the date, the version, and the hash of its feature file.
    """
    now = datetime.now(UTC)
    date = now.isoformat(timespec="seconds")
    dated = []
    for score in scores:
        file = score.features or ""
        dated_score = replace(
            score,
            date=date,
            version=__version__,
            sha256=hashes.get(file),
        )
        dated.append(dated_score)
    if ending(path) == ".csv":
        table = score_frame(dated)
        text = table.to_csv(index=False, lineterminator="\n")
        write_text(path, text)
    else:
        rows = [score.row() for score in dated]
        append_rows(path, rows)


def score_frame(scores: Sequence[Score]) -> pd.DataFrame:
    """One row for each score, with all fields; `baseline` names the other arm of a difference."""
    import pandas as pd

    rows = [{**vars(score), "baseline": score.baseline} for score in scores]
    names = [entry.name for entry in fields(Score)]
    position = names.index("baseline_network")
    names.insert(position, "baseline")
    frame = pd.DataFrame(rows, columns=names)
    settings = frame["settings"]
    frame["settings"] = settings.map(to_json)
    return frame


def read_scores(path: PathLike) -> Scores:
    """Read the scores that `glocal evaluate`, `glocal try`, a suite or the demo wrote.

    Rows with a `choice` are what `glocal try` says of a situation, and no scores. Raises FileError
    if another row is not a score, and for a table.
    """
    if ending(path) == ".csv":
        raise FileError(
            f"score file {path} is a table for other programs. Name the .jsonl file that "
            "--out writes, with one score a line."
        )
    try:
        rows = read_rows(path, ("task",), what="score")
        score_rows = [row for row in rows if "choice" not in row]
        return Scores(Score(**row) for row in score_rows)
    except ValidationError as error:
        raise FileError(
            f"score file {path} is damaged ({one_line(error)[:160]}). Evaluate again."
        ) from error
