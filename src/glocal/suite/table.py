"""Arms × tasks from rows of scores: which metric stands for a task, and what is compared with the baseline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from glocal.results import DIFFERENCE, PEOPLE, Score

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = ("value", "low", "high", "n", "p", "p_holm")
_PLACE = ["network", "task", "transform"]


def score_frame(scores: Iterable[Score]) -> pd.DataFrame:
    """Rows as a data frame, one column a field; no network is an empty name."""
    import pandas as pd

    frame = pd.DataFrame([vars(score) for score in scores], columns=[field.name for field in fields(Score)])
    frame["network"] = frame["network"].fillna("")
    for column in _NUMBERS:
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame


def main_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The first metric of each task, one row a network, task and arm, with `difference` and `p_holm` if compared.

    A metric with other settings is another one. Of rows that were appended several times the last counts.
    """
    plain = rows[~_is_difference(rows) & (rows["transform"] != PEOPLE)]
    metric = plain["metric"].astype(str) + plain["settings"].astype(str)
    first = metric.groupby(plain["task"], sort=False).transform("first")
    main = plain[metric == first].drop_duplicates(subset=_PLACE, keep="last")
    compared = differences(rows).assign(metric=lambda rows: rows["metric"].astype(str).str.removesuffix(DIFFERENCE))
    compared = compared.rename(columns={"value": "difference"})[[*_PLACE, "metric", "difference", "p_holm"]]
    return main.drop(columns=["p", "p_holm"]).merge(compared, on=[*_PLACE, "metric"], how="left")


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of arm minus baseline, the last of each metric."""
    return rows[_is_difference(rows)].drop_duplicates(subset=[*_PLACE, "metric"], keep="last")


def bounds(rows: pd.DataFrame) -> pd.DataFrame:
    """The ceilings that people's own answers set."""
    return rows[rows["transform"] == PEOPLE]


def arms(rows: pd.DataFrame) -> list[str]:
    """All arms in the order of the rows."""
    found = rows["transform"]
    return [str(arm) for arm in dict.fromkeys(found[found != PEOPLE])]


def score_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a network and arm, one column a task: ``value [low, high]``, ``*`` where it differs from the baseline.

    Differences are paired, p < 0.05 after Holm's correction over all comparisons of the suite.
    """
    import pandas as pd

    main = main_rows(rows)
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in main.to_dict("records"):
        key = (str(row["network"]), str(row["transform"]))
        line = lines.setdefault(key, {"network": key[0], "arm": key[1]})
        line[str(row["task"])] = cell(row)
    table = pd.DataFrame(list(lines.values()), columns=["network", "arm", *dict.fromkeys(map(str, main["task"]))])
    table = table.fillna("-")
    return table.drop(columns="network") if (table["network"] == "").all() else table


def cell(row: dict[Any, Any]) -> str:
    """``0.480 [0.460, 0.499]*``."""
    if row["value"] != row["value"]:
        return "-"
    interval = " (no interval)" if row["low"] != row["low"] else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{interval}" + ("*" if row["p_holm"] < 0.05 else "")


def _is_difference(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["metric"].astype(str).str.endswith(DIFFERENCE)
