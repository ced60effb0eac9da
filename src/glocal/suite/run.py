"""Run a suite: every task for every arm of every network, arms compared, one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.evaluation.statistics import holm, paired_difference
from glocal.extras import needed
from glocal.files import PathLike, atomic_write, make_folder
from glocal.files.tables import csv, markdown
from glocal.records import to_json
from glocal.suite.cells import Cells
from glocal.suite.plan import PEOPLE, Plan
from glocal.suite.provenance import write_provenance
from glocal.suite.sources import Sources
from glocal.suite.tasks import Found, Row
from glocal.suite.views import Views
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """All rows of a suite, and its table.

    `rows` has the columns network, task, metric, value, low, high, n, split, transform (the arm); rows of the metric
    ``…_difference`` are arm minus baseline with `p` and, corrected by Holm's steps for all comparisons of the suite,
    `p_holm`. `table` shows the first metric of each task, one line a network and arm. `n_kept` cells were there before.
    """

    rows: pd.DataFrame
    table: pd.DataFrame
    n_kept: int


def run_suite(plan: Plan, out: PathLike, progress: Progress | None = None) -> SuiteResult:
    """Score what has not been scored yet, compare the arms and write the folder of the suite.

    That is ``rows.jsonl``, ``table.csv``, ``table.md``, ``suite.json`` (provenance) and ``views/`` (for a report).

    Parameters
    ----------
    plan : Plan
    out : path
        Folder of the suite; finished fits and cells in it are used again where their content is the same.
    progress : function or None
        Called with what was done, the number of cells done, and their total.

    Returns
    -------
    SuiteResult
    """
    import pandas as pd

    if plan.map == "umap":
        needed("umap", "the map umap")
    folder = make_folder(out)
    cells = Cells(folder, plan)
    total, done, kept = len(plan.networks) * len(plan.arms) * len(plan.tasks), 0, 0
    rows: list[dict[str, Any]] = []
    read: list[Sources] = []
    for network in plan.networks:
        sources = Sources(plan, network)
        read.append(sources)
        found: dict[tuple[str, str], Found] = {}
        transforms: dict[str, LinearTransform | None] = {}
        for arm in plan.arms:
            transform = transforms[arm.name] = cells.transform(arm, sources)
            for task in plan.tasks:
                found[task.name, arm.name], before = cells.found(task, arm, sources, transform)
                done, kept = done + 1, kept + before
                if progress is not None:
                    progress(f"{network.name}, {arm.name}, {task.name}", done, total)
        Views(folder, plan, sources).write(transforms)
        for task in plan.tasks:
            several = {arm.name: found[task.name, arm.name] for arm in plan.arms}
            for arm_name, one in several.items():
                rows += [_row(network.name, task.name, row, arm_name) for row in one.rows]
            rows += [_row(network.name, task.name, row, PEOPLE) for row in several[plan.baseline].bounds]
            rows += _differences(network.name, task.name, several, plan.baseline)
    _correct(rows)
    frame = pd.DataFrame(rows)
    result = SuiteResult(frame, _table(frame, plan), kept)
    _write(folder, result)
    write_provenance(folder, plan, read, cells)
    return result


def _row(network: str, task: str, row: Row, arm: str) -> dict[str, Any]:
    return {"network": network, "task": task, **row._asdict(), "transform": arm, "p": None, "p_holm": None}


def _differences(network: str, task: str, found: dict[str, Found], baseline: str) -> list[dict[str, Any]]:
    """Each arm less the baseline on the same answers, draws and classes, images, or objects.

    Value, interval and p-value are of one estimate, the mean of the paired units, which is the difference of the two
    scores that the table shows.
    """
    base = found[baseline]
    rows: list[dict[str, Any]] = []
    for arm, one in found.items():
        if arm == baseline or one.units is None or base.units is None:
            continue
        paired = paired_difference(
            one.units, base.units, answers=one.answers, weights=one.weights, clusters=one.clusters
        )
        first = one.rows[0]
        row = first._replace(
            metric=f"{first.metric}_difference", value=paired.difference, low=paired.low, high=paired.high
        )
        rows.append({**_row(network, task, row, arm), "p": paired.p})
    return rows


def _correct(rows: list[dict[str, Any]]) -> None:
    compared = [row for row in rows if row["p"] is not None]
    for row, p in zip(compared, holm([row["p"] for row in compared]), strict=True):
        row["p_holm"] = p


def _table(rows: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """One line a network and arm, one column a task: value [low, high], * where it differs from the baseline."""
    import pandas as pd

    lines = []
    for network in plan.networks:
        for arm in plan.arms:
            line: dict[str, str] = {"network": network.name, "arm": arm.name}
            for task in plan.tasks:
                here = rows[(rows["network"] == network.name) & (rows["task"] == task.name)]
                mine = here[here["transform"] == arm.name]
                differs = mine["p_holm"].notna() & (mine["p_holm"].astype(float) < 0.05)
                line[task.name] = _cell(mine.iloc[0]) + ("*" if differs.any() else "")
            lines.append(line)
    return pd.DataFrame(lines)


def _cell(row: pd.Series[Any]) -> str:
    if np.isnan(float(row["value"])):
        return "-"
    low, high = row["low"], row["high"]
    interval = " (no interval)" if low is None or np.isnan(low) else f" [{low:.3f}, {high:.3f}]"
    return f"{row['value']:.3f}{interval}"


def _write(folder: Path, result: SuiteResult) -> None:
    lines = "".join(to_json(row) + "\n" for row in result.rows.to_dict("records"))
    table = result.table
    for name, text in (("rows.jsonl", lines), ("table.csv", csv(table)), ("table.md", markdown(table))):
        with atomic_write(folder / name) as stream:
            stream.write(text.encode())
