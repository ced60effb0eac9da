"""``glocal collect``, which the entry point ``glocal.commands`` adds to the command line."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from glocal.cli.options import flat
from glocal.cli.output import print_message, print_result, progress_bar, table_lines
from glocal.cli.report import ReportFiles, show_report
from glocal.data.planning import StudyDesign
from glocal.errors import ParameterError, import_optional
from glocal.files import writable_target, write_text
from glocal_collect.settings import Settings

if TYPE_CHECKING:
    from glocal.extract.images import Source
    from glocal_collect.export import Collected
    from glocal_collect.study import Study

app = typer.Typer(
    help="Ask people about your own images, and export their answers.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


StudyFolder = Annotated[
    Path, Argument(metavar="STUDY", help="Folder that glocal collect run --out wrote.")
]


@app.command("run")
@flat
def run(
    images: Annotated[
        str, Argument(help="Folder, pattern or list; may be left out once the study exists.")
    ] = "",
    *,
    out: Annotated[Path, Option(help="Folder of the study.")],
    host: str = Option(
        "127.0.0.1", help="Address to listen on; 0.0.0.0 for all, with --public-url."
    ),
    port: int = Option(8000, min=0, max=65535, help="Port to listen on; 0 for a free one."),
    public_url: str = Option(
        "", help="Address at which people reach the server, if not at --host."
    ),
    settings: Settings,
) -> None:
    """Show people three images at a time and store their answers.

    The command runs a web server until you press Ctrl-C, and prints a link for each participant and
    one for you. Run the same command again to continue a study; every setting except --kind and
    --seed can be changed. You can edit consent.md and instructions.md in the study at any time;
    people read them before they begin.

    Example: glocal collect run images --out study --people 20
    """
    import uvicorn

    from glocal_collect.app import create_app
    from glocal_collect.db import Database
    from glocal_collect.listening import address, listen

    if public_url and not public_url.startswith(("https://", "http://")):
        raise ParameterError(
            f"--public-url is {public_url!r}; it must begin with https:// or http://."
        )
    with listen(host, port) as listener:
        base = public_url.rstrip("/") or address(listener, host)
        study = _study(out, images, settings)
        with contextlib.closing(Database(study.database)) as database:
            config = uvicorn.Config(
                create_app(study, database),
                access_log=False,
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=5,
            )
            _print_links(study, base)
            with contextlib.suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])
    print_message(
        f"stopped; all answers are in {out}. To continue, run glocal collect run --out {out}"
    )


@app.command("export")
@flat
def export(
    folder: StudyFolder,
    out: Annotated[Path, Option(help="File to write: .npz of answers, or .csv of every trial.")],
    csv: bool = Option(False, "--csv", help="Also write the .csv, beside the .npz."),
    without: list[str] | None = Option(
        None, help="Id of a participant to leave out of these files; repeatable."
    ),
    everybody: bool = Option(
        False, "--everybody", help="Also write the answers of excluded people."
    ),
) -> None:
    """Write the answers of a study to a file, at any time.

    The option --answers of fit, sweep, evaluate and data takes either file. The .npz has the
    answers with participant, seconds, time and order; the .csv also has catch trials and "can't
    tell".
    People whom you excluded with glocal collect people --exclude are left out.

    Example: glocal collect export study --out answers.npz --csv
    """
    from glocal_collect.export import save_csv, save_npz

    writable_target(out, what="--out", endings=(".npz", ".csv"))
    _, collected = _read(folder)
    left_out = sorted({*(without or []), *(() if everybody else collected.excluded)})
    collected = collected.without(left_out)
    files = []
    table = out
    if out.suffix.lower() == ".npz":
        save_npz(collected, out, left_out)
        files.append(str(out))
        table = out.with_suffix(".csv")
    if csv or not files:
        save_csv(collected, table)
        files.append(str(table))
    counts = {
        "answers": int(collected.is_answer.sum()),
        "people": int(collected.table["person"].nunique()),
        "catch": len(collected.catch_passed),
        "cannot_tell": int((collected.table["choice"] < 0).sum()),
    }
    summary = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
    summary += f"; left out: {', '.join(left_out) or 'nobody'}; written to {' and '.join(files)}"
    print_result({**counts, "without": left_out, "files": files}, summary)


@app.command("plan")
@flat
def plan(
    images: str = Option(
        "", help="Folder, pattern or list of images to count and check for copies."
    ),
    objects: int | None = Option(None, min=3, help="Number of images."),
    pay: float | None = Option(
        None,
        parser=lambda text: float(text.removesuffix("/h")),
        help="Pay per hour in any currency: 12, or 12/h.",
    ),
    *,
    design: StudyDesign,
) -> None:
    """Estimate how many answers, people and minutes and how much money a study takes.

    The plan is for a share of the gain in agreement with people that answers about these images can
    give. It also states what the same share takes for other images, where more images help more
    than more answers. A strong network, such as CLIP, agrees well with people before any fit. The
    numbers come from simulated studies of photographs of objects.

    Example: glocal collect plan --objects 100 --pay 12/h
    """
    from glocal.data.planning import plan_study
    from glocal.extract.images import open_images

    if images and objects is None:
        source = open_images(images)
        _warn_of_copies(source)
        objects = len(source)
    elif images or objects is None:
        raise ParameterError("Give the number of images by --objects, or the images by --images.")
    studied = plan_study(objects, pay=pay, **design.model_dump())
    print_result(studied.model_dump(), *studied.lines())


def _warn_of_copies(source: Source) -> None:
    copies = source.copies()
    if copies:
        print_message(
            f"copies: {len(copies)} images have two names or more; the first: "
            f"{' and '.join(copies[0])}. Remove the copies, since nobody can tell them apart."
        )


@app.command("people")
@flat
def people(
    folder: StudyFolder,
    exclude: list[str] | None = Option(
        None, help="Id of a participant to leave out of exports; repeatable."
    ),
    include: list[str] | None = Option(
        None, help="Id of an excluded participant to take back; repeatable."
    ),
    features: Path | None = Option(
        None,
        help="Features of the images, for the model of the answers. "
        "[default: the folder features of the study, if it has one]",
    ),
    out: Path | None = Option(None, help="CSV file of the table, in numbers."),
) -> None:
    """Show what each participant of a study did and how well, and exclude some from exports.

    The judgement compares each participant with a model of the other people's answers. It says "as
    if at random" if random answers are more than ten times as likely as careful ones to agree this
    little, and states the odds. Above 256 images the model needs features of them. An exclusion is
    recorded with its time and deletes nothing; --include takes it back.

    Example: glocal collect people study --exclude p3
    """
    from glocal_collect.overview import cells, describe_people, people_table

    if out is not None:
        writable_target(out, what="--out", endings=(".csv",))
    study, collected = _read(folder, exclude or (), include or ())
    with progress_bar("comparing people"):
        description = describe_people(study, collected, features)
    table = people_table(study, collected, description)
    if out is not None:
        write_text(out, table.to_csv(index_label="person"))
    rows = table.astype(object).where(table.notna(), None)
    texts = cells(table)
    texts.insert(min(1, len(table)), "Code", table["code"].fillna(""))
    print_result(
        {"people": rows.reset_index().to_dict("records")},
        table=table_lines(["Person", *texts], texts.reset_index().to_numpy().tolist()),
    )


@app.command("report")
@flat
def report(
    folder: StudyFolder,
    *,
    files: ReportFiles,
    features: Path | None = Option(
        None, help="Features of the images. [default: the folder features of the study]"
    ),
) -> None:
    """Write an HTML page of a study: its people, its ceiling, and what a transform gains now.

    The page says whether to go on collecting. It is self-contained: it opens from the disk and
    makes no network requests.

    Example: glocal collect report study --features features.npy --out study.html
    """
    for library in ("altair", "vl_convert"):  # before the fits, which take long
        import_optional(library, "a report")
    from glocal.extract.images import Source
    from glocal.report import load_thumbnails
    from glocal_collect.report import study_page

    path = features or folder / "features"
    files.check()
    study, collected = _read(folder)
    if not path.exists():
        raise ParameterError(
            f"{path} does not exist. Pass `features` of the images, which glocal extract computes."
        )
    with progress_bar("report", unit="pictures") as progress:
        page = study_page(study, collected, path, progress=lambda doing: progress(doing=doing))
        images = Source(study.names, study.image_files, f"the study {folder}")
        pictures = load_thumbnails(images, [page.run], progress=progress)
        written = files.write([page.run], pictures, progress)
    show_report([page.run], written, page.sentences, study=page.record)


def _read(
    folder: Path, exclude: Sequence[str] = (), include: Sequence[str] = ()
) -> tuple[Study, Collected]:
    """Return a study and its answers, after people have been excluded or taken back."""
    from glocal_collect.db import Database
    from glocal_collect.export import read_collected, record_excluded
    from glocal_collect.study import open_study

    study = open_study(folder)
    with contextlib.closing(Database(study.database)) as database:
        if exclude or include:
            record_excluded(study, database, exclude, include)
        return study, read_collected(study, database)


def _study(out: Path, images: str, requested: Settings) -> Study:
    """Open the study of a folder with the requested settings, or create it.

    Raises
    ------
    ParameterError
        No images are named, the images differ from the study's, or an option has no effect.
    """
    from glocal_collect.study import is_study, open_study

    study = open_study(out) if is_study(out) else None
    before = Settings() if study is None else study.settings
    options = requested.model_dump(exclude_unset=True)
    settings = before.replace(**options)
    if "max_starts_per_minute" in options and not settings.open:
        raise ParameterError("--max-starts has no effect without --open. Leave it out.")
    if settings.open is False and (study is None or "people" in options):
        raise ParameterError(
            "--no-open has no effect on a new study, nor --people on a closed one. Leave it out."
        )
    if study is None:
        return _new_study(out, images, settings)
    study.check_images(images)
    return study.with_settings(settings)


def _new_study(out: Path, images: str, settings: Settings) -> Study:
    """Create a study, whose title a terminal asks for, and name images left out and copies."""
    from glocal.extract.images import open_images
    from glocal_collect.study import create

    if not images:
        raise ParameterError(f"{out} is not a study yet. Name the images to show.")
    if settings.title is None and sys.stdin.isatty():
        name = out.resolve().name
        title = typer.prompt("Title of the page for participants", default=name, err=True)
        settings = settings.replace(title=title)
    with progress_bar("preparing images", unit="images") as progress:
        study = create(out, images, settings, progress)
    if study.left_out:
        print_message(
            f"images left out, which study.json lists: {len(study.left_out)}; the first: "
            f"{' '.join(study.left_out[0])}"
        )
    _warn_of_copies(open_images(images))
    return study


def _print_links(study: Study, base: str) -> None:
    from glocal_collect.people import links

    addresses = links(study, base)
    lines = [f"{len(study)} images; the study is in {study.folder}", ""]
    lines += [f"{person}  {link}" for person, link in addresses["people"].items()]
    if addresses["open"]:
        lines.append(f"open link  {addresses['open']}")
    if study.settings.open is False:
        lines.append("closed: nobody else can begin; people who have begun can finish")
    lines += [
        f"owner  {addresses['owner']}",
        "",
        "Ctrl-C stops the server; the links stay the same.",
    ]
    record = {"study": str(study.folder), "images": len(study), "left_out": len(study.left_out)}
    print_result({**record, **addresses}, *lines)
