"""Tables for papers: arms × tasks, differences, and the front, as CSV, Markdown and LaTeX."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.files import PathLike, atomic_write, make_folder
from glocal.report.loading import Run
from glocal.suite.table import differences, score_table
from glocal.suite.text import csv, latex, markdown

if TYPE_CHECKING:
    import pandas as pd

_FRONT = ("chosen", "method", "alpha", "lmbda", "mix", "tau", "eta", "accuracy_cosine", "neighbours_kept", "loss")


def tables(run: Run) -> dict[str, pd.DataFrame]:
    """All tables of a run by name: ``scores``, ``differences`` and one ``front`` a sweep, without empty ones."""
    found = {"scores": score_table(run.rows), "differences": _differences(run)}
    for sweep in run.sweeps:
        if sweep.front is not None:
            name = "front" if len(run.sweeps) == 1 else "front-" + re.sub(r"\W+", "-", sweep.name)
            found[name] = sweep.front[[column for column in _FRONT if column in sweep.front]]
    return {name: table for name, table in found.items() if len(table)}


def save_tables(run: Run, folder: PathLike) -> list[Path]:
    """Write each table as ``NAME.csv``, ``NAME.md`` and ``NAME.tex``; the files, in this order."""
    where = make_folder(folder)
    written = []
    for name, table in tables(run).items():
        for ending, text in (
            ("csv", csv(table)), ("md", markdown(table)), ("tex", latex(table)),
        ):  # fmt: skip
            written.append(where / f"{name}.{ending}")
            with atomic_write(written[-1]) as stream:
                stream.write(text.encode())
    return written


def _differences(run: Run) -> pd.DataFrame:
    found = differences(run.rows)
    several = bool(found.duplicated(["network", "task", "transform"]).any())
    columns = ["network", "task", *["metric"] * several, "transform", "value", "low", "high", "p", "p_holm"]
    found = found[columns]
    found = found.rename(columns={"transform": "arm", "value": f"minus {run.baseline}"})
    return found.drop(columns="network") if (found["network"] == "").all() else found
