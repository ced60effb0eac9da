"""``glocal suite``: suite files to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.output import put
from glocal.errors import FileError
from glocal.files import atomic_write, writable_target

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
