"""Rows of results: one type for every evaluation, one name for every metric, in rows of older versions too."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from glocal.files import PathLike
from glocal.records import NULL, NUMBER, TEXT, read_rows

PEOPLE = "people"
"""Stands where an arm would in rows about people themselves: no arm of a suite may be called so."""
DIFFERENCE = "_difference"
_MAYBE = (*NUMBER, NULL)
_NEEDED = {"task": TEXT, "metric": TEXT, "value": _MAYBE, "transform": TEXT}
_KNOWN = {
    "network": (*TEXT, NULL), "split": TEXT, "settings": (dict,),
    **dict.fromkeys(("low", "high", "n", "p", "p_holm"), _MAYBE),
}  # fmt: skip


@dataclass(frozen=True)
class Score:
    """One row of results.

    Parameters
    ----------
    task, metric : str
        What was measured, e.g. ``"odd-one-out"`` and ``"accuracy_cosine"``; docs/file-formats.md lists all metrics.
        ``…_difference`` is that of the arm less that of the baseline that `settings` names.
    value : float
        Fractions are in [0, 1]; losses in nats.
    low, high : float or None
        The 95 % interval; None where no interval is defined.
    n : int
        How many answers, images or objects the value rests on.
    split : str
        ``"all"``, ``"heldout"`` or the name of a file.
    transform : str
        The arm, or the path of the transform file; ``"original"`` for none, ``"people"`` for people themselves.
    settings : mapping
        What else the value depends on: shots, k, mode, baseline, …
    network : str or None
        Of a suite.
    p, p_holm : float or None
        Of a difference, and corrected for all differences of a suite.
    """

    task: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    split: str = "all"
    transform: str = "original"
    settings: Mapping[str, Any] = field(default_factory=dict)
    network: str | None = None
    p: float | None = None
    p_holm: float | None = None

    def row(self) -> dict[str, Any]:
        """The row of a file: what it has besides the first eight fields; in a suite all but empty settings."""
        row = asdict(self)
        extra = {key: row.pop(key) for key in ("settings", "network", "p", "p_holm")}
        in_suite = self.network is not None
        return row | {
            key: value for key, value in extra.items() if value not in (None, {}) or (key != "settings" and in_suite)
        }


def read_scores(path: PathLike) -> list[Score]:
    """Read rows that `glocal evaluate`, a suite or the demo wrote; names from older versions are replaced.

    Raises
    ------
    FileError
        The file is missing, or a line is not a row of results.
    """
    names = Score.__dataclass_fields__
    rows = (current(row) for row in read_rows(path, _NEEDED, _KNOWN))
    return [Score(**defined({key: row[key] for key in names if key in row})) for row in rows]


def defined(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with NaN for the value that is not defined, which JSON writes as null."""
    return {**row, "value": float("nan") if row["value"] is None else row["value"]}


def current(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row under the names of today: of metrics, which once held settings, and of what is people's.

    >>> current({"task": "few-shot", "metric": "accuracy_logistic_5"})["metric"]
    'accuracy_logistic'
    """
    settings = dict(row.get("settings", {}))
    metric = str(row["metric"])
    for pattern, name, told in _ALIASES:
        if match := re.fullmatch(pattern, metric):
            metric = match.expand(name)
            settings |= told(match)
    found = {**row, "metric": metric, "settings": settings}
    if row["task"] == "ceiling" and metric in ("majority", "leave_one_out"):
        found |= {"metric": f"ceiling_{metric}", "transform": PEOPLE}
    return found


_ALIASES: tuple[tuple[str, str, Callable[[re.Match[str]], dict[str, Any]]], ...] = (
    (r"(accuracy_(?:logistic|ridge|ncm|1nn))_(\d{1,9})", r"\1", lambda old: {"shots": int(old[2])}),
    (r"(recall_\d+|map)_concat_(\d+(?:\.\d+)?(?:e-?\d+)?)", r"\1", lambda old: {"concat_weight": float(old[2])}),
    (r"recall_at_(\d+)", r"recall_\1", lambda old: {}),
    (r"(auroc|aupr|fpr95)_(one-vs-rest|leave-one-out|shift|against)", r"\1", lambda old: {"mode": old[2]}),
    (r"gain_(cosine|dot)_over_(.+)", rf"accuracy_\1{DIFFERENCE}", lambda old: {"baseline": old[2]}),
    (
        r"normalised_(cosine|dot)_(majority|leave_one_out|brain_score)",
        r"normalised_by_\2",
        lambda old: {"similarity": old[1]},
    ),
)
