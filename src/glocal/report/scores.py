"""Arms × tasks from rows of scores: which metric stands for a task, and what is compared with the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glocal.report.run import Run

if TYPE_CHECKING:
    import pandas as pd

PEOPLE = "people"
_DIFFERENCE = "_difference"


def main_rows(run: Run) -> pd.DataFrame:
    """The first metric of each task, one row a network, task and arm, with `difference` and `p_holm` if compared.

    Of rows that were appended several times the last counts.
    """
    rows = run.rows
    plain = rows[~rows["metric"].astype(str).str.endswith(_DIFFERENCE) & (rows["transform"] != PEOPLE)]
    first = plain.groupby("task", sort=False)["metric"].transform("first")
    main = plain[plain["metric"] == first].drop_duplicates(subset=["network", "task", "transform"], keep="last")
    compared = differences(run).set_index(["network", "task", "transform"])[["value", "p_holm"]]
    compared.columns = ["difference", "p_holm"]
    return main.drop(columns=["p", "p_holm"]).join(compared, on=["network", "task", "transform"])


def differences(run: Run) -> pd.DataFrame:
    """The rows of arm minus baseline."""
    rows = run.rows
    found = rows[rows["metric"].astype(str).str.endswith(_DIFFERENCE)]
    return found.drop_duplicates(subset=["network", "task", "transform"], keep="last")


def bounds(run: Run) -> pd.DataFrame:
    """The ceilings that people's own answers set."""
    return run.rows[run.rows["transform"] == PEOPLE]


def arms(run: Run) -> list[str]:
    """All arms in the order of the rows."""
    found = run.rows["transform"]
    return [str(arm) for arm in dict.fromkeys(found[found != PEOPLE])]


def score_table(run: Run) -> pd.DataFrame:
    """One line a network and arm, one column a task: ``value [low, high]``, ``*`` where it differs from the baseline.

    Differences are paired, p < 0.05 after Holm's correction over all comparisons of the suite.
    """
    import pandas as pd

    main = main_rows(run)
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
    interval = "" if row["low"] != row["low"] else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{interval}" + ("*" if row["p_holm"] < 0.05 else "")
