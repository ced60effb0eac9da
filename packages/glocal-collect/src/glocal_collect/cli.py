"""``glocal collect``, which the entry point ``glocal.commands`` adds to the command line of glocal."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glocal.cli.inputs import flat, refuse_overwriting_inputs
from glocal.cli.output import AsJson, progress_bar, put, put_json, say
from glocal.errors import ParameterError
from glocal.files import writable_target
from glocal_collect.settings import Settings

if TYPE_CHECKING:
    from glocal_collect.db import Database
    from glocal_collect.study import Study

app = typer.Typer(no_args_is_help=True, help="Ask people about your own images, and export what they answered.")


@app.command("run")
@flat
def run(
    images: Annotated[str, typer.Argument(help="Folder, pattern or list; not needed once the study exists.")] = "",
    *,
    out: Annotated[Path, typer.Option(help="Folder of the study.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    url: Annotated[str, typer.Option(help="Address at which people reach the server, if not --host.")] = "",
    settings: Settings,
    as_json: AsJson = False,
) -> None:
    """Show people three images at a time and keep their answers: a web server with one link for each person.

    It prints a link for each person and one for you, and serves until Ctrl-C. Run the same command again to continue a
    study. Every setting except --kind and --seed can be changed when you restart. Edit consent.md and instructions.md
    in the study at any time: people read them before they begin.

    Example: glocal collect run images --out study --people 20
    """
    import uvicorn

    from glocal_collect.app import create_app
    from glocal_collect.db import Database

    if url and not url.startswith(("https://", "http://")):
        raise ParameterError(f"--url is {url!r}; allowed are addresses that begin with https:// or http://.")
    refuse_overwriting_inputs({"--out": out}, images or None)
    port = _free_port(host, port)
    study = _study(out, images, settings)
    with contextlib.closing(Database(study.database)) as database:
        served = create_app(study, database)
        _put_links(study, database, url.rstrip("/") or f"http://{f'[{host}]' if ':' in host else host}:{port}", as_json)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.run(
                served, host=host, port=port, access_log=False, log_level="warning", server_header=False,
                proxy_headers=False, timeout_keep_alive=75, timeout_graceful_shutdown=5,
            )  # fmt: skip
    say(f"stopped; all answers are in {study.folder}. Continue: glocal collect run --out {study.folder}")


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder that glocal collect run --out wrote.")],
    out: Annotated[Path, typer.Option(help="File of answers: .npz.")],
    csv: Annotated[bool, typer.Option("--csv", help="Also write a .csv with catch trials and can't tell.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the answers of a study, while people answer or afterwards: with person, seconds, time and order.

    The file is one that --answers of fit, sweep, evaluate and data takes.

    Example: glocal collect export study --out answers.npz --csv
    """
    from glocal_collect.db import Database
    from glocal_collect.export import collected, save_csv, save_npz
    from glocal_collect.study import open_study

    writable_target(out, what="--out", endings=(".npz",))
    study = open_study(folder)
    with contextlib.closing(Database(study.database)) as database:
        found = collected(study, database)
    number, files = save_npz(found, out), [str(out)]
    if csv:
        save_csv(found, out.with_suffix(".csv"))
        files.append(str(out.with_suffix(".csv")))
    told: dict[str, Any] = {
        "answers": number, "people": int(found.table["person"].nunique()), "catch": len(found.passed),
        "cannot_tell": int((found.table["choice"] < 0).sum()), "files": files,
    }  # fmt: skip
    counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in told.items() if name != "files")
    put_json(told) if as_json else put(f"{counts}; written to {' and '.join(files)}")


def _study(out: Path, images: str, given: Settings) -> Study:
    """The study of a folder with the settings that were given, or a new one."""
    from glocal_collect.study import create, is_study, open_study

    if is_study(out):
        study = open_study(out)
        return study.changed(study.settings.replace(**given.model_dump(exclude_unset=True)))
    if not images:
        raise ParameterError(f"{out} is not a study yet. Name the images to show.")
    with progress_bar("preparing images", unit="images") as progress:
        study = create(out, images, given, progress)
    if study.left_out:
        name, reason = study.left_out[0]
        say(f"left out: {len(study.left_out)} files, which study.json lists; the first: {name} {reason}")
    return study


def _free_port(host: str, port: int) -> int:
    """The port, or for 0 a free one; a ParameterError where nobody can listen there."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as found:
            return int(found.getsockname()[1])
    except OSError as error:
        raise ParameterError(
            f"cannot listen on {host} port {port}: {error.strerror or error}. Choose another --port or --host."
        ) from error


def _put_links(study: Study, database: Database, base: str, as_json: bool) -> None:
    from glocal_collect.people import links

    found = links(study, database, base)
    if as_json:
        put_json({"study": str(study.folder), "images": len(study), "left_out": len(study.left_out), **found})
        return
    put(f"{len(study)} images; the study is in {study.folder}", "")
    for person, link in found["people"].items():
        put(f"{person}  {link}")
    if found["open"]:
        put(f"for all  {found['open']}")
    put(f"owner  {found['owner']}", "", "Ctrl-C stops it; the links stay the same.")
