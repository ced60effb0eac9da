"""Tables of scores: rows as a data frame, the main metric of each task, and arms × tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from glocal.evaluation.comparison import holm
from glocal.scores import DIFFERENCE, PEOPLE, Score, interval_text

if TYPE_CHECKING:
    import pandas as pd

_CELL = ["network", "task", "transform"]
_NUMBERS = ("value", "low", "high", "p", "p_corrected")
Lines = dict[tuple[str, str], dict[str, Any]]
"""What stands for each network and arm, by task."""
SIGNIFICANCE = 0.05
"""The level of corrected p-values below which two arms are called different."""


def score_frame(scores: Iterable[Score]) -> pd.DataFrame:
    """Scores as a data frame, one column per field; a missing network becomes an empty text."""
    import pandas as pd

    columns = [field.name for field in fields(Score)]
    frame = pd.DataFrame([vars(score) for score in scores], columns=columns)
    return frame.fillna({"network": ""}).astype(dict.fromkeys(_NUMBERS, float))


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that are differences, arm minus baseline."""
    return rows[rows["metric"].str.endswith(DIFFERENCE)]


def main_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The first metric of each task: one row for each network, task and arm.

    If the arm was compared, its row has the `difference` from the baseline and its `p_corrected`.
    The same metric with other settings counts as another metric. Of rows that were appended several
    times, the last one counts.
    """
    compared = differences(rows)
    scores = rows[(rows["transform"] != PEOPLE) & ~rows.index.isin(compared.index)]
    metric = scores["metric"] + scores["settings"].astype(str)
    first_metric = metric.groupby(scores["task"], sort=False).transform("first")
    main = scores[metric == first_metric].drop_duplicates(_CELL, keep="last")
    compared = compared.assign(
        metric=compared["metric"].str.removesuffix(DIFFERENCE), difference=compared["value"]
    ).drop_duplicates([*_CELL, "metric"], keep="last")
    return main.drop(columns=["p", "p_corrected"]).merge(
        compared[[*_CELL, "metric", "difference", "p_corrected"]], on=[*_CELL, "metric"], how="left"
    )


def long_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each score and difference: network, arm, task, metric, numbers and p-value.

    `p` is the corrected p-value if there is one.
    """
    table = rows.rename(columns={"transform": "arm"})
    table = table.assign(p=rows["p_corrected"].fillna(rows["p"]))
    columns = ["network", "features", "arm", "task", "metric", "value", "low", "high", "p", "n"]
    return table[columns]


def score_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A table with a line per network and arm and a column per task, filled by `cell`.

    A task whose accuracy of all images differs from that balanced over classes has a column of the
    first too, called ``TASK, plain``.
    """
    import pandas as pd

    main = main_rows(_with_plain_accuracy(rows))
    lines = arms_by_tasks(main, cell, "-")
    table = pd.DataFrame(
        [{"network": network, "arm": arm, **cells} for (network, arm), cells in lines.items()],
    )
    return table.drop(columns="network") if (table["network"] == "").all() else table


def _with_plain_accuracy(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in which each `accuracy_plain` is a task, if it differs from the row before in print."""
    is_plain = rows["metric"].str.startswith("accuracy_plain")
    texts = rows["value"].map("{:.3f}".format)
    tasks = rows.loc[is_plain & (texts != texts.shift()), "task"]
    is_shown = is_plain & rows["task"].isin(tasks)
    titles = rows["task"].mask(is_shown, rows["task"] + ", plain")
    return rows.assign(task=titles)


def arms_by_tasks(main: pd.DataFrame, fill: Callable[[dict[Any, Any]], Any], missing: Any) -> Lines:
    """Apply `fill` to each main row, by (network, arm) and task; `missing` stands for no row."""
    tasks = main["task"].unique()
    lines: Lines = {}
    for row in main.to_dict("records"):
        line = lines.setdefault((row["network"], row["transform"]), dict.fromkeys(tasks, missing))
        line[row["task"]] = fill(row)
    return lines


def cell(row: dict[Any, Any]) -> str:
    """The text of a main row: ``0.480 [0.460, 0.499]*``.

    A star marks an arm that differs from the baseline: paired test, p < 0.05 after the correction
    for all comparisons.
    """
    if math.isnan(row["value"]):
        return "-"
    text = interval_text(row["value"], row["low"], row["high"])
    note = " (rough)" if row["settings"].get("rough") else ""
    star = "*" if row["p_corrected"] < SIGNIFICANCE else ""
    return f"{text}{note}{star}"


def corrected(scores: Sequence[Score]) -> list[Score]:
    """The scores with Holm's correction of their p-values for all comparisons."""
    p_values = iter(holm([score.p for score in scores if score.p is not None]))
    return [
        score if score.p is None else replace(score, p_corrected=next(p_values)) for score in scores
    ]
