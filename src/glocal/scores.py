"""Rows of scores, what they say about an arm, and the JSON-lines files that hold rows."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field, fields
from functools import cached_property
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError
from pydantic.dataclasses import dataclass as checked

from glocal.errors import FileError
from glocal.files import (
    PathLike,
    decoded,
    ending,
    read_lines,
    reading,
    writable_target,
    write_text,
    writing,
)
from glocal.results import STRICT, Count, to_json, wrong_place
from glocal.screen import Cell

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
    """

    task: str
    metric: str
    value: Annotated[float, _NAN_IF_NULL]
    low: float | None = None
    high: float | None = None
    n: Count = 0
    split: str = "all"
    transform: str = ORIGINAL
    settings: Mapping[str, Any] = field(default_factory=dict)
    network: str | None = None
    p: float | None = None
    p_corrected: float | None = None
    features: str | None = None
    baseline_network: str | None = None
    seen_answers: float | None = None
    seen_objects: float | None = None

    @property
    def is_seen(self) -> bool:
        """Whether the fit had seen so many of the questions that this is no score on new ones."""
        return (self.seen_answers or 0) > MAX_SHARE_SEEN

    @property
    def baseline(self) -> str | None:
        """The arm from which a difference is taken; None for a score."""
        if not self.metric.endswith(DIFFERENCE):
            return None
        return str(self.settings.get("baseline", ORIGINAL))

    def cell(self, star: str = "") -> Cell:
        """The value and its interval as a cell of a table; a difference has its sign."""
        sign = "" if self.baseline is None else "+"
        value = f"{self.value:{sign}.3f}"
        if self.low is None or self.high is None:
            return Cell(value + star)
        return Cell(value, f"[{self.low:{sign}.3f}, {self.high:{sign}.3f}]{star}")

    @property
    def note(self) -> str:
        """What is to be said of the interval; empty if there is nothing."""
        return " (rough)" if self.low is not None and self.settings.get("rough") else ""

    def text(self) -> str:
        """Format ``0.469 [0.451, 0.487]``, or the value alone if there is no interval."""
        return f"{self.cell()}{self.note}"

    def row(self) -> dict[str, Any]:
        """The row of a file, without empty fields other than `low` and `high`."""
        return {
            key: value
            for key, value in asdict(self).items()
            if value not in (None, {}) or key in ("low", "high")
        }


_TITLES = [entry.name for entry in fields(Score)]
_TEXTS = ("task", "metric", "split", "transform", "network", "features", "baseline_network")
_NEEDED = ("task", "metric", "value")


_Place = tuple[str, str, str, str, tuple[str, str | None] | None]


class Scores(tuple[Score, ...]):
    """Scores of arms on tasks, in the order in which they were measured, and their differences.

    A task shows its first metric, and the same metric with other settings is another metric. Of
    rows that were appended several times the last one counts.
    """

    @property
    def network_gains(self) -> list[Score]:
        """The differences from another network."""
        return [score for score in self._by_place.values() if score.baseline_network is not None]

    @property
    def networks(self) -> list[str]:
        """The networks; an empty text stands for none."""
        return [*dict.fromkeys(network for network, *_ in self._by_place)]

    @property
    def arms(self) -> list[tuple[str, str]]:
        """Each network with each of its arms."""
        pairs = dict.fromkeys((network, arm) for network, _, _, arm, _ in self._by_place)
        return [(network, arm) for network, arm in pairs if arm != PEOPLE]

    @property
    def tasks(self) -> list[str]:
        """The tasks that arms were scored on."""
        return [*self._first_metrics]

    def of(self, network: str, task: str, arm: str, metric: str = "") -> Score | None:
        """The score of an arm, by default in the first metric of the task; None if it has none."""
        metric = metric or self._first_metrics.get(task, "")
        score = self._by_place.get((network, task, metric, arm, None))
        return None if score is None or math.isnan(score.value) else score

    def gain(
        self,
        network: str,
        task: str,
        arm: str,
        baseline: str,
        baseline_network: str | None = None,
    ) -> Score | None:
        """The paired difference of an arm from a baseline; None if they were not compared.

        The baseline is that of `baseline_network`, or of the same network if this is None.
        """
        metric = self._first_metrics.get(task, "")
        return self._by_place.get((network, task, metric, arm, (baseline, baseline_network)))

    def task_of(self, *metrics: str) -> str:
        """The first task that shows one of these metrics; empty if there is none."""
        tasks = (task for task, metric in self._first_metrics.items() if metric in metrics)
        return next(tasks, "")

    @cached_property
    def _first_metrics(self) -> dict[str, str]:
        first: dict[str, str] = {}
        for score in self:
            if score.transform != PEOPLE:
                first.setdefault(score.task, score.metric.removesuffix(DIFFERENCE))
        return first

    @cached_property
    def _by_place(self) -> dict[_Place, Score]:
        """The last score by network, task, metric, arm, and baseline with its network."""
        scores: dict[_Place, Score] = {}
        settings: dict[tuple[str, str], dict[str, Any]] = {}
        for score in self:
            metric = score.metric.removesuffix(DIFFERENCE)
            rest = {
                name: value
                for name, value in score.settings.items()
                if name not in ("baseline", "level")  # those of a difference
            }
            if settings.setdefault((score.task, metric), rest) == rest:
                baseline = (score.baseline, score.baseline_network) if score.baseline else None
                place = (score.network or "", score.task, metric, score.transform, baseline)
                scores[place] = score
        return scores


def check_scores_target(path: PathLike) -> None:
    """Check, before any work, that scores can be appended to a file."""
    writable_target(path, what="--out", endings=SCORE_ENDINGS)
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileError(
            f"--out {path} is a device or a pipe, and scores are appended to a file. Name a file, "
            "or print the scores with --json."
        )
    if os.path.isfile(path) and os.path.getsize(path):
        read_scores(path)


def append_scores(path: PathLike, scores: Iterable[Score]) -> None:
    """Append scores to a file of JSON lines or, by its ending, to a CSV file with titles."""
    if ending(path) == ".csv":
        import pandas as pd

        table = pd.DataFrame(map(vars, scores), columns=_TITLES)
        table["settings"] = table["settings"].map(to_json)
        lines = table.to_csv(index=False, header=False, lineterminator="\n")
        _append(path, lines, ",".join(_TITLES) + "\n")
    else:
        append_rows(path, [score.row() for score in scores])


def read_scores(path: PathLike) -> Scores:
    """Read the scores that `glocal evaluate`, `glocal try`, a suite or the demo wrote.

    Raises FileError if a row is not a score.
    """
    is_csv = ending(path) == ".csv"
    rows = _csv_rows(path) if is_csv else read_rows(path, _NEEDED, what="score")
    try:
        return Scores(Score(**row) for row in rows)
    except ValidationError as error:
        raise FileError(
            f"score file {path} is damaged: a row is {wrong_place(error)}. Evaluate again."
        ) from error


def _csv_rows(path: PathLike) -> list[dict[str, Any]]:
    """The rows of a CSV file of scores, in which an empty cell is a field without a value."""
    with reading(path, "score", "Name another file, or evaluate again.") as file:
        table = csv.DictReader(io.StringIO(decoded(file), newline=""))
        if table.fieldnames != _TITLES:
            raise ValueError(f"its titles are not those of scores, {', '.join(_TITLES)}")
        rows = []
        for cells in table:
            values = {name: _value(name, text) for name, text in cells.items() if text}
            rows.append({"value": None, **values})
        return rows


def _value(name: str, text: str) -> Any:
    """The value of a field of a score, by the text of its cell."""
    if name in _TEXTS:
        return text
    if name == "settings":
        return json.loads(text)
    return int(text) if text.isdecimal() else float(text)


def write_rows(path: PathLike, rows: Iterable[Any]) -> None:
    """Write rows to a JSON-lines file, whole or not at all."""
    write_text(path, _lines(rows))


def _lines(rows: Iterable[Any]) -> str:
    return "".join(to_json(row) + "\n" for row in rows)


def append_rows(path: PathLike, rows: Iterable[Any]) -> None:
    """Append rows to a JSON-lines file in one write, so that parallel writers never mix lines."""
    _append(path, _lines(rows))


def _append(path: PathLike, text: str, titles: str = "") -> None:
    """Append lines to a file, after the `titles` if it is empty.

    If a killed writer left the last line incomplete, the new lines start on a new line.
    """
    with writing(path), open(path, "a+b") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            text = text if stream.read(1) == b"\n" else "\n" + text
        else:
            text = titles + text
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())


def read_rows(
    path: PathLike, needed: Iterable[str] = (), *, what: str = "results"
) -> list[dict[str, Any]]:
    """Read a JSON-lines file whose rows must have the `needed` keys.

    Lines that a killed writer left incomplete are skipped.

    Raises
    ------
    FileError
        The file is missing, or a line is neither such a row nor the beginning of one.
    """
    rows = []
    for number, line in enumerate(read_lines(path, what=what), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it is not an object")
            if lacking := set(needed) - row.keys():
                raise ValueError(f"it lacks {', '.join(lacking)}")
        except (ValueError, RecursionError) as error:
            ends_early = getattr(error, "pos", 0) >= len(line) or "Unterminated" in str(error)
            if not line.startswith("{") or (line.endswith("}") and not ends_early):
                raise FileError(
                    f"{what} file {path} line {number} is damaged ({error}). Remove that line."
                ) from error
        else:
            rows.append(row)
    return rows
