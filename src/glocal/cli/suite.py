"""``glocal suite``: suite files to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.output import AsJson, progress_bar, put, put_json, put_table, say
from glocal.errors import FileError
from glocal.files import atomic_write, writable_target
from glocal.suite import Plan

app = typer.Typer(help="Suite files to start from.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _suite() -> None:
    """Suite files to start from."""


@app.command("template")
def template_command(
    name: Annotated[str, typer.Argument(help="paper: the tables of Muttenthaler et al. (2023), arms × tasks.")],
    model: Annotated[str, typer.Option("--model", help="The network, as glocal extract --model takes it.")],
    out: Annotated[Path | None, typer.Option("--out", help="The suite file, .toml. [default: standard output]")] = None,
) -> None:
    """Write a suite file for a network, with the commands that bring its data and features as comments.

    glocal evaluate suite FILE --skip-missing then runs what there are data for.

    Example: glocal suite template paper --model clip_ViT-L/14 --out paper.toml
    """
    from glocal.suite.template import template

    if out is None:
        put(*template(name, model).splitlines())
        return
    out = writable_target(out, endings=(".toml",))
    text = template(name, model, out.name).encode()
    if not out.exists():
        with atomic_write(out) as stream:
            stream.write(text)
    elif not out.is_file() or out.read_bytes() != text:
        raise FileError(f"{out} exists, and you may have changed it. Remove it, or give another --out.")
    put(f"written to {out}; its first lines are the commands to run")


def suite_command(
    suite: Annotated[Path, typer.Argument(help="TOML file that names networks, arms and tasks.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the suite; what is done in it is not done again.")],
    root: Annotated[
        Path | None, typer.Option("--root", help="What the paths in the file are relative to; else as the file says.")
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out the tasks whose files are not there; they are named.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit the arms and score every task: one table of arms × tasks with intervals and paired differences.

    Example: glocal evaluate suite suite.toml --out suite-out
    """
    from glocal.suite import run_suite  # torch loads with it
    from glocal.suite.sources import present

    plan = Plan.load(suite, root)
    if skip_missing:
        plan, missing = present(plan)
        for name, path in missing.items():
            say(f"task {name} is left out: {path} does not exist")
    with progress_bar("suite", unit="cells", lines=True) as progress:
        result = run_suite(plan, out, lambda what, done, total: progress(done, total, what))
    if as_json:
        rows = [score.row() for score in result.scores]
        put_json({"cells_kept": result.n_kept, "out": str(out), "rows": rows})
        return
    table = result.table
    put_table(list(table.columns), table.to_numpy().tolist(), keys=2)
    put(
        "",
        f"* differs from {plan.baseline} (paired, p < 0.05 after Holm's correction for all comparisons)",
        f"written to {out}: rows.jsonl, table.csv, table.md",
    )
