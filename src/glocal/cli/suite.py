"""``glocal suite``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option

from glocal.cli.inputs import Force
from glocal.cli.options import flat, refuse_overwriting_inputs
from glocal.cli.output import print_message, print_result, progress_bar
from glocal.screen import screen_width
from glocal.suite.plan import Plan
from glocal.suite.run import run_suite


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

    Arms are fitted without fold 0 of the objects and scored on it; glocal sweep scores all folds. A
    star marks an arm that differs from the baseline: paired test, p < 0.05 after Holm's correction
    for all comparisons.

    Example: glocal suite suite.toml --out suite-out
    """
    plan = Plan.load(file, root)
    if skip_missing:
        plan, missing = plan.present()
        for name, path in missing.items():
            print_message(f"task {name} is skipped: {path} does not exist")
    refuse_overwriting_inputs({"--out": out}, file, *(path for _, path in plan.files()))
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
