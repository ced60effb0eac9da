"""``glocal suite``, and ``glocal demo``, a suite on a simulated world."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from glocal.cli.options import Force, flat, refuse_overwriting_inputs
from glocal.cli.output import print_message, print_result, progress_bar, table_lines
from glocal.errors import MissingDependencyError
from glocal.screen import screen_width
from glocal.suite.demo import write_demo
from glocal.suite.plan import Plan
from glocal.suite.run import run_suite

REAL_RESULT = (
    "The real result that this world stands for: from one example of each of 15 categories, CLIP "
    "ViT-B/32 recognises .465 instead of .381 of unseen objects after a fit to people's answers "
    "with keep 0.9 (docs/results.md)."
)
"""The result behind the simulated world; a test compares the numbers with docs/evidence.json."""


@flat
def suite(
    file: Annotated[
        Path,
        Argument(metavar="SUITE", help="TOML file that names networks, arms and tasks."),
    ],
    out: Annotated[Path, Option(help="Folder of the suite; finished results in it are reused.")],
    root: Path | None = Option(
        None, help="Folder that relative paths start from. [default: the file's folder]"
    ),
    skip_missing: bool = Option(
        False, "--skip-missing", help="Skip tasks whose files do not exist, and name them."
    ),
    force: Force = False,
) -> None:
    """Fit the arms and score every task: arms × tasks with intervals and paired differences.

    Arms are fitted without fold 0 of the objects and scored on it; glocal sweep scores all folds.
    An asterisk marks an arm that differs from the baseline: paired test, p < 0.05 after Holm's
    correction for all comparisons.

    Example: glocal suite suite.toml --out suite-out
    """
    plan = Plan.load(file, root)
    if skip_missing:
        plan, missing = plan.present()
        for name, path in missing.items():
            print_message(f"task {name} is skipped: {path} does not exist")
    refuse_overwriting_inputs("--out", out, file, *(path for _, path in plan.files()))
    with progress_bar("suite", unit="cells") as progress:
        result = run_suite(plan, out, progress, force=force)
    record = {"cells_kept": result.n_kept, "out": out, "failed": result.failed}
    record["rows"] = [score.row() for score in result.scores]
    files = f"written to {out}: rows.jsonl, scores.csv"
    table = [*result.text_lines(screen_width()), ""]
    print_result(record, *result.notes(), files, table=table)
    for task, reason in result.failed.items():
        print_message(f"task {task} failed: {reason}")
    if result.failed:
        raise Exit(1)


@flat
def demo(
    out: Path = Option(Path("demo-out"), help="Folder for scores, transforms and report.html."),
    all_arms: bool = Option(False, "--all", help="Also fit and score naive, global and glocal."),
) -> None:
    """Show the method on a small simulated world with a known answer, and write a report.

    It scores the original features and keep 0.8 on people's answers, on classes with one example
    or by their names alone, on anomalies and on neighbours. suite.toml and world/ in the folder are
    examples of the files that the other commands read.

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
            title = "glocal demo: simulated data, not people"
            shown = [replace(run, lead=REAL_RESULT, begins_with_neighbours=True)]
            save_page(
                report_page(shown, title=title, pictures=drawings.pictures), out / "report.html"
            )
        except MissingDependencyError as error:
            print_message(f"report.html is left out: {error}")
            page = None
    seconds = time.perf_counter() - start
    record = {"simulated": True, "seconds": seconds, "out": out, "report": page}
    record["rows"] = [score.row() for score in result.scores]
    table = result.table().drop(columns="network").set_index("arm").T.reset_index()
    print_result(
        record,
        f"{seconds:.1f} s. Open {page or out / 'scores.csv'}.",
        table=table_lines(["SIMULATED DATA, not people", *plan.arms], table.to_numpy().tolist()),
    )
