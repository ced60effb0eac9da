"""``glocal demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

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
from glocal.files import make_folder
from glocal.results import PEOPLE

if TYPE_CHECKING:
    from glocal.suite.run import SuiteResult

REAL_RESULT = (
    "The real result that this world stands for: from one example of each of 15 categories, CLIP "
    "ViT-B/32 recognises .466 instead of .381 of unseen objects after a fit to people's answers "
    "with keep 0.9 (docs/results.md)."
)
"""The result behind the simulated world; a test compares the numbers with docs/evidence.json."""


def demo(
    out: Path = Option(Path("glocal-demo"), help="Folder for scores, transforms and report.html."),
    as_json: AsJson = False,
) -> None:
    """Fit and score every method on a small simulated world with a known answer; write a report.

    The folder is that of a suite. Its suite.toml and world/ are examples of the files that glocal
    suite, fit and the other commands read; sweep/ holds the front of all methods.

    Example: glocal demo --out demo-out
    """
    from glocal.report import load_runs, report_page, save_page
    from glocal.suite.demo import run_demo

    start = time.perf_counter()
    page: Path | None = make_folder(out) / "report.html"
    with progress_bar("simulated world", unit="scores") as progress:
        result = run_demo(out, progress)
        progress(None, None, "report")
        try:
            title = "glocal demo: simulated data, not people"
            save_page(
                report_page(load_runs([out, out / "sweep"]), title=title), out / "report.html"
            )
        except MissingDependencyError as error:
            print_message(f"report.html is left out: {error}")
            page = None
    seconds = time.perf_counter() - start
    if as_json:
        rows = [score.row() for score in result.scores]
        record = {"simulated": True, "seconds": seconds, "rows": rows, "out": out, "report": page}
        print_json(record)
        return
    _print_table(result)
    world = out / "world"
    print_lines(
        "",
        "[95 % intervals] on objects and images that no fit has seen; * differs from original "
        "(p < 0.05, corrected).",
        "At equal agreement (odd-one-out) glocal keeps more neighbours (structure) than global, "
        "and more categories.",
        "",
        f"{seconds:.1f} s. Open {page or out / 'scores.csv'}. To continue with the files of this "
        "world:",
        f"glocal fit --features {world / 'objects'} --answers {world / 'answers.npz'} "
        f"--local-features {world / 'local.npy'} --keep 0.9 --out transform.npz",
        "",
        REAL_RESULT,
    )


def _print_table(result: SuiteResult) -> None:
    """The scores of all arms, and the ceiling of people below them."""
    print_lines("SIMULATED DATA: a world with a known answer, not people", "")
    table = result.table.drop(columns="network")
    people = result.scores[-1]
    table.loc[len(table), ["arm", people.task]] = PEOPLE, people.text()
    print_table(list(table), table.fillna("").to_numpy().tolist())
