"""``glocal demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.output import AsJson, interval, progress_bar, put, put_json, put_table, say
from glocal.errors import MissingDependencyError
from glocal.files import make_folder
from glocal.results import PEOPLE

_COLUMNS = {
    "odd-one-out": "agreement", "few-shot-class": "few-shot, 6 classes", "few-shot-category": "60 categories",
    "anomaly": "anomalies, AUROC", "structure": "neighbours kept",
}  # fmt: skip


def demo(
    out: Annotated[Path, typer.Option(help="Folder for scores, transforms and report.html.")] = Path("glocal-demo"),
    as_json: AsJson = False,
) -> None:
    """Fit and score every method on a small simulated world whose answer is known, and write a page about it.

    The folder is that of a suite: its suite.toml and world/ show what glocal suite, fit and the others take. sweep/ in
    it holds the front of all methods.

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
    put("SIMULATED DATA: a world with a known answer, not people", "")
    table = result.table.drop(columns="network").rename(columns=_COLUMNS)
    people = result.scores[-1]
    ceiling = interval(people.value, people.low, people.high)
    put_table(list(table.columns), [*table.to_numpy().tolist(), [PEOPLE, ceiling, *[""] * (len(_COLUMNS) - 1)]])
    world = out / "world"
    put(
        "",
        "[95 % intervals] on objects and images that no fit has seen; * differs from original (p < 0.05, corrected).",
        "At equal agreement glocal keeps more neighbours than global, and the categories that no answer is about.",
        "Chance is 0.333 in agreement, 0.167 and 0.017 in few-shot, 0.5 in anomalies; people is the best possible.",
        "",
        f"{seconds:.1f} s. Open {page or out / 'table.md'}. To continue with the files of this world:",
        f"glocal fit --features {world / 'objects'} --answers {world / 'answers.npz'} "
        f"--local-features {world / 'local.npy'} --keep 0.9 --out transform.npz",
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
