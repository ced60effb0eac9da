"""``glocal demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glocal.cli.output import AsJson, interval, progress_bar, put, put_json, put_table, say
from glocal.errors import MissingDependencyError
from glocal.files import make_folder
from glocal.results import DIFFERENCE, PEOPLE

if TYPE_CHECKING:
    from glocal.suite.run import SuiteResult

_COLUMNS = {
    "odd-one-out": "agreement with people",
    "few-shot-class": "few-shot, classes",
    "few-shot-category": "few-shot, categories",
    "anomaly": "anomaly AUROC",
    "structure": "neighbours kept",
}


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for scores, transforms and report.html.")] = Path(
        "glocal-demo"
    ),
    as_json: AsJson = False,
) -> None:
    """Fit and score every arm on a small simulated world whose answer is known, and write a page about it.

    The folder is that of a suite: its suite.toml and world/ show what glocal suite needs. sweep/ in it holds
    the front of all arms.

    Example: glocal demo --out demo-out
    """
    make_folder(out)
    began = time.perf_counter()
    with progress_bar("simulated world", unit="scores") as progress:
        from glocal.suite.demo import run_demo

        result = run_demo(out, lambda what, done, total: progress(done, total, what))
        progress(None, None, "report")
        page = _page(out)
    seconds = time.perf_counter() - began
    if as_json:
        rows = [score.row() for score in result.scores]
        put_json({"simulated": True, "seconds": seconds, "rows": rows, "out": str(out), "report": page})
        return
    _show(result)
    put(
        "",
        f"{seconds:.1f} s; scores, transforms and the suite file written to {out}"
        + (f"; look at {page}" if page else ""),
    )


def _page(out: Path) -> str | None:
    """The page of the demo; None where what draws it is not installed."""
    from glocal.report import load_runs, report_page, save_page

    try:
        page = report_page(load_runs([out]), title="glocal demo: simulated data, not people")
    except MissingDependencyError as error:
        say(f"report.html is left out: {error}")
        return None
    save_page(page, out / "report.html")
    return str(out / "report.html")


def _show(result: SuiteResult) -> None:
    rows = result.rows
    shown = ~rows["metric"].str.endswith(DIFFERENCE) & (
        (rows["transform"] != PEOPLE) | (rows["metric"] == "ceiling_people")
    )
    main = rows[shown].groupby(["transform", "task"], sort=False).first()
    arms = list(dict.fromkeys(main.index.get_level_values("transform")))
    lines = []
    for arm in arms:
        cells = [main.loc[(arm, task)] if (arm, task) in main.index else None for task in _COLUMNS]
        lines.append([arm, *("" if one is None else interval(one["value"], one["low"], one["high"]) for one in cells)])
    put("SIMULATED DATA: a world with a known answer, not people", "")
    put_table(["arm", *_COLUMNS.values()], lines)
    put(
        "",
        "[95 % intervals]; everything on objects and images that no fit has seen",
        "agreement: odd-one-out accuracy, chance 0.333. The row people answers by the",
        "  similarities that the simulated people used: the best any features can reach",
        "few-shot: accuracy of a probe on 5 images a class. 6 superordinate classes",
        "  (chance 0.167); 60 categories (0.017)",
        "anomaly: one category is normal, the others are not (chance 0.5)",
        "neighbours kept: share of each image's ten nearest neighbours that stay",
    )
