"""``glocal collect``."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from glocal.cli.command import takes
from glocal.cli.output import AsJson, progress_bar, put, put_json, say, status
from glocal.collect.settings import Settings
from glocal.errors import ParameterError
from glocal.extras import needed
from glocal.files import writable_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Engine

    from glocal.collect.study import Study

_NAMED = 20


class _Collect(TyperGroup):
    """``glocal collect IMAGES`` is ``glocal collect run IMAGES``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the word ``run`` before what is no other command."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Collect,
    help="Ask people about your own images, and export what they answered. The word run may be left out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder that glocal collect --out wrote.")]


@app.command("run")
@takes(Settings)
def run(
    asked: set[str],
    out: Annotated[Path, typer.Option("--out", help="Folder of the study.")],
    images: Annotated[
        str | None,
        typer.Argument(help="Folder, pattern, list of paths or .tar shards; not needed where the study is there."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Where people reach the server, if that differs: https://study.example.org."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", help="postgresql://USER:PASSWORD@HOST/NAME. [default: SQLite in the study]"),
    ] = None,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Show people three images at a time and keep what they answer: a web server with one link for each of them.

    It prints a link for each person and one for the owner, and serves until Ctrl-C. The same command goes on with a
    study that is there; settings that are given again may differ, except kind and seed. consent.md and instructions.md
    in the study are what people read: change them at any time.

    Example: glocal collect images --out study --people 20
    """
    _check_extra()
    from glocal.collect.database import checked_address
    from glocal.collect.process import address, listen, serve

    database = None if database is None else checked_address(database)

    if url is not None and not url.startswith(("https://", "http://")):
        raise ParameterError(f"--url is {url!r}; allowed are addresses that begin with https:// or http://.")

    with contextlib.ExitStack() as stack:
        study = _study(out, images, settings, database)
        stack.enter_context(_alone(study))
        study = study.changed(replace(study.settings, **{name: settings[name] for name in asked}), database)
        engine = stack.enter_context(_database(study))
        at = stack.enter_context(listen(host, port))
        from glocal.collect.server import create_app

        served = create_app(study, engine)
        _put_links(study, engine, (url or address(host, at)).rstrip("/"), as_json)
        with contextlib.suppress(KeyboardInterrupt):
            serve(served, at)
        kept = study.folder if study.database.startswith("sqlite") else "the database"
        say(f"stopped; all answers are in {kept}. Go on: glocal collect --out {study.folder}")


@app.command("export")
def export(
    study: StudyFolder,
    out: Annotated[Path, typer.Option("--out", help="File of answers: .npz.")],
    csv: Annotated[
        bool, typer.Option("--csv", help="Write a table too, beside it: .csv, with catch trials and can't tell.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the answers of a study, while people answer or afterwards: with person, seconds, time and order.

    The file is one that --answers of fit, sweep, evaluate and data takes.

    Example: glocal collect export study --out answers.npz --csv
    """
    _check_extra()
    from glocal.collect.export import collected, write_csv, write_npz
    from glocal.collect.study import open_study

    writable_target(out, what="--out", endings=(".npz",))
    opened = open_study(study)
    with _database(opened) as engine:
        found = collected(opened, engine)
    files = [out]
    number = write_npz(found, out)
    if csv:
        files.append(out.with_suffix(".csv"))
        write_csv(found, files[-1])
    told: dict[str, Any] = {
        "answers": number, "people": len(set(found.person.tolist())), "catch": len(found.right),
        "cannot_tell": int((found.choice < 0).sum()), "files": [str(file) for file in files],
    }  # fmt: skip
    if as_json:
        put_json(told)
        return
    put(
        f"{number} answers of {told['people']} people, {told['catch']} catch trials and {told['cannot_tell']} times "
        f'"can\'t tell" written to {" and ".join(told["files"])}'
    )


@app.command("fit")
def fit(
    study: StudyFolder,
    again: Annotated[
        bool, typer.Option("--follow", help="Fit again whenever a tenth more answers have come, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit the answers so far: the transform, its report and what the owner's page shows, in STUDY/fit.

    People may answer meanwhile: it gives way to other processes. It needs the features of the images, which glocal
    collect takes with --features or --model. lmbda is the one that predicts held-out answers best. With --order
    informative it also chooses what to ask next.

    Example: glocal collect fit study
    """
    _check_extra()
    from glocal.collect.refit import follow, give_way, refit
    from glocal.collect.study import open_study

    opened = open_study(study)
    give_way()
    with status("fit") as doing, _database(opened) as engine:
        for found in follow(opened, engine, doing) if again else [refit(opened, engine, doing)]:
            _put_fit(opened, found, as_json)


def _put_fit(study: Study, found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        put_json(found)
        return
    last, projection = found["curve"][-1] if found["curve"] else None, found["projection"]
    put(f"{found['fit']['answers']} answers fitted with lmbda {found['fit']['lmbda']:g}; written to {study.fit}")
    if last is None:
        put("held-out agreement: not known yet, there are too few answers")
    else:
        put(f"held-out agreement {last['value']:.3f} with {last['answers']} answers; {projection['sentence']}")
    put(f"neighbours kept {found['neighbours']['value']:.3f}")


def _check_extra() -> None:
    for module in ("fastapi", "uvicorn", "sqlalchemy", "itsdangerous", "jinja2", "markdown_it", "PIL"):
        needed(module, "glocal collect", extra="collect")


def _study(out: Path, images: str | None, given: dict[str, Any], database: str | None) -> Study:
    from glocal.collect.study import create, is_study, open_study

    if is_study(out):
        study = open_study(out)
        if images is not None:
            _check_images(study, images)
        return study
    if images is None:
        raise ParameterError(f"{out} is not a study yet; name the images that it is to show: glocal collect IMAGES.")
    settings = Settings(**given)
    with progress_bar("preparing images", unit="images", lines=True) as progress:
        study = create(out, images, settings, database, progress)
    for name, reason in study.left_out[:_NAMED]:
        say(f"left out: {name} {reason}")
    if len(study.left_out) > _NAMED:
        say(f"left out: {len(study.left_out) - _NAMED} more; study.json lists all.")
    return study


def _check_images(study: Study, images: str) -> None:
    from glocal.extract import open_images

    known = {*study.names, *(name for name, _ in study.left_out)}
    if known != set(open_images(images).names):
        raise ParameterError(
            f"{images} does not have the images of the study {study.folder}, whose numbers its answers name. Leave "
            "IMAGES out to go on with these, or name another --out."
        )


@contextlib.contextmanager
def _alone(study: Study) -> Iterator[None]:
    from glocal.collect.alone import alone

    with alone(study.folder / ".server.lock") as free:
        if not free:
            raise ParameterError(f"the study {study.folder} is being served by another process. Stop it first.")
        yield


@contextlib.contextmanager
def _database(study: Study) -> Iterator[Engine]:
    from glocal.collect.database import open_database

    engine = open_database(study)
    try:
        yield engine
    finally:
        engine.dispose()


def _put_links(study: Study, engine: Engine, base: str, as_json: bool) -> None:
    from glocal.collect.links import links

    found = links(study, engine, base)
    if as_json:
        put_json({"study": str(study.folder), "images": len(study), "left_out": len(study.left_out), **found})
        return
    put(f"{len(study)} images; the study is in {study.folder}", "")
    for person, link in found["people"].items():
        put(f"{person}  {link}")
    if found["open"]:
        put(f"for all  {found['open']}")
    put(f"owner  {found['owner']}", "", "Ctrl-C stops it; the links stay the same.")
