"""``glocal demo``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from typer import Option

from glocal.cli.output import (
    AsJson,
    print_json,
    print_lines,
    print_message,
    print_table,
    progress_bar,
)
from glocal.errors import MissingDependencyError
from glocal.evaluation.view import View
from glocal.suite.demo import write_demo
from glocal.suite.run import run_suite
from glocal.suite.table import cell

REAL_RESULT = (
    "The real result that this world stands for: from one example of each of 15 categories, CLIP "
    "ViT-B/32 recognises .465 instead of .381 of unseen objects after a fit to people's answers "
    "with keep 0.9 (docs/results.md)."
)
"""The result behind the simulated world; a test compares the numbers with docs/evidence.json."""


def demo(
    out: Path = Option(Path("demo-out"), help="Folder for scores, transforms and report.html."),
    all_arms: bool = Option(False, "--all", help="Also fit and score naive, global and glocal."),
    as_json: AsJson = False,
) -> None:
    """Show the method on a small simulated world with a known answer, and write a report.

    The original features and keep 0.8 are scored on people's answers, on classes with one
    example or by their names alone, on anomalies and on neighbours. The folder is that of a suite.
    Its suite.toml and world/ are examples of the files that the other commands read.

    Example: glocal demo --out demo-out
    """
    from glocal.report import load_runs, report_page, save_page

    start = time.perf_counter()
    page: Path | None = out / "report.html"
    with progress_bar("simulated world", unit="scores") as progress:
        plan, drawings = write_demo(out, all_arms=all_arms)
        result = run_suite(plan, out, progress)
        progress(None, None, "report")
        try:
            (run,) = load_runs(out)
            views = run.views["simulated"]
            page_text = report_page(
                [replace(run, lead=f"{_neighbours_in_words(views)} {REAL_RESULT}")],
                title="glocal demo: simulated data, not people",
                pictures=drawings.pictures,
            )
            save_page(page_text, out / "report.html")
        except MissingDependencyError as error:
            print_message(f"report.html is left out: {error}")
            page = None
    seconds = time.perf_counter() - start
    if as_json:
        record = {
            "simulated": True,
            "seconds": seconds,
            "rows": [score.row() for score in result.scores],
            "out": out,
        }
        print_json({**record, "report": page})
        return
    scores = result.scores
    rows = []
    for task in scores.tasks:
        cells = [cell(scores, network, task, arm, plan.baseline) for network, arm in scores.arms]
        rows.append([task, *cells])
    print_table(["SIMULATED DATA, not people", *plan.arms], rows)
    print_lines(f"{seconds:.1f} s. Open {page or out / 'scores.csv'}.")


def _neighbours_in_words(views: Mapping[str, View]) -> str:
    """How many of the ten nearest objects share the colour, and the kind, before and after."""

    def share(arm: str, word: int) -> str:
        view = views[arm]
        values = np.array([name.split()[word] for name in view.names])
        return f"{10 * (values[view.neighbours[:, :10]] == values[:, None]).mean():.1f}"

    before, after, *_ = views
    return (
        f"Of the ten nearest drawings, {share(before, 0)} have the same colour and "
        f"{share(before, 1)} are of the same kind before the fit; under {after} it is "
        f"{share(after, 0)} and {share(after, 1)}. The network sees colour and background first; "
        "people compare kinds."
    )
