"""``glocal report``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from glocal.cli.inputs import AnswersForm, flat, refuse_overwriting_inputs
from glocal.cli.output import AsJson, print_json, print_lines, print_message, progress_bar
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.planning import STUDY_FILE
from glocal.errors import MissingDependencyError, ParameterError
from glocal.files import writable_target

if TYPE_CHECKING:
    from glocal.report import Run, StudyData

_OBJECTS = "Objects of a transform or a study"


@flat
def report(
    runs: Annotated[
        list[str],
        Argument(
            metavar="RUN...",
            help="Folders that sweep, suite, align, demo or collect run wrote, files that evaluate "
            "--out wrote, and transforms: files, or names that glocal transforms pull lists.",
        ),
    ],
    out: Annotated[Path, Option(help="HTML file of the report.")],
    form: AnswersForm,
    title: str | None = Option(None, help="Title of the report. [default: the names of the runs]"),
    figures: Path | None = Option(None, help="Folder for figures (PNG, PDF, SVG) and tables."),
    tables: Path | None = Option(None, help="Folder for tables (CSV, LaTeX). [default: --figures]"),
    features: Path | None = Option(
        None, help="Features of the objects to show.", rich_help_panel=_OBJECTS
    ),
    answers: Path | None = Option(
        None, help="People's answers about these objects.", rich_help_panel=_OBJECTS
    ),
    thumbnails: str | None = Option(None, help="Images of the objects, matched to them by name."),
    as_json: AsJson = False,
) -> None:
    """Write an HTML report: findings, the axes that answers amplify, neighbours, front and scores.

    The page is self-contained: it opens from the disk and makes no network requests.

    Example: glocal report suite-out --out report.html
    Example: glocal report transform.npz --features features.npy --answers answers.npz
    --out report.html
    Example: glocal report study --features features.npy --out study.html
    """
    from glocal import report as pages

    writable_target(out, what="--out", endings=(".html", ".htm"))
    inputs = (thumbnails, features, answers, *form.paths, *runs)
    refuse_overwriting_inputs({"--out": out, "--figures": figures, "--tables": tables}, *inputs)
    studies = [run for run in runs if (Path(run) / STUDY_FILE).is_file()]
    others = [run for run in runs if run not in studies]
    if studies and not any(map(pages.is_transform, others)):
        if answers is not None:
            raise ParameterError("A study has `answers` of its own. Leave them out.")
        loaded = pages.load_runs(others)
    else:
        loaded = pages.load_runs(others, *_objects(form, features, answers))
    pictures: dict[str, str] = {}
    files = [out]
    with progress_bar("report", unit="pictures") as progress:
        for study in studies:
            run, shown = _study(Path(study), features, progress)
            loaded.append(run)
            pictures |= shown
        if thumbnails is not None:
            pictures |= pages.load_thumbnails(thumbnails, loaded, progress=progress)
        progress(doing="page")
        pages.save_page(pages.report_page(loaded, title=title, pictures=pictures), out)
        if figures is not None:
            progress(doing="figures")
            files += pages.save_figures(loaded, figures)
        if (folder := tables or figures) is not None:
            files += pages.save_tables(loaded, folder)
    _show(loaded, files, as_json)


def _show(runs: Sequence[Run], files: Sequence[Path], as_json: bool) -> None:
    """Print findings, warnings and files as lines, or with the axes as one JSON object."""
    from glocal import report as pages

    warnings = [sentence for run in runs for sentence in pages.warnings_of(run)]
    findings = [finding for run in runs for finding in pages.findings(run)]
    studies = [run.study for run in runs if run.study is not None]
    size = files[0].stat().st_size
    if as_json:
        record = {
            "out": files[0],
            "bytes": size,
            "findings": findings,
            "axes": [axes for run in runs for axes in pages.axes_records(run)],
            "studies": [study.record() for study in studies],
            "warnings": warnings,
            "files": files,
        }
        return print_json(record)
    for sentence in warnings:
        print_message(f"warning: {sentence}")
    print_lines(*(finding.sentence for finding in findings))
    for study in studies:
        print_lines(study.participants, study.advice, study.reason)
    others = f" and {len(files) - 1} figures and tables" if len(files) > 1 else ""
    return print_lines(f"written: {files[0]} ({size / 1e6:.1f} MB){others}")


def _study(
    folder: Path, features: Path | None, progress: Callable[..., None]
) -> tuple[Run, dict[str, str]]:
    """A study with the present gain of a transform, and the pictures of its images."""
    from glocal import report as pages
    from glocal.extract.images import Source

    read_study = _study_reader(folder)
    path = features or folder / "features"
    if features is None and not path.exists():
        raise ParameterError(
            f"{folder} is a study. To show the gain of a transform, pass `features` of its images, "
            "which glocal extract computes."
        )
    loaded = Features.load(path)
    loaded.check_finite()
    progress(doing="comparing people")
    study = read_study(folder, path)
    run = pages.study_run(study, loaded, progress=lambda doing: progress(doing=doing))
    images = Source(study.answers.names or (), study.image, f"the study {folder}")
    return run, pages.load_thumbnails(images, [run], progress=progress)


def _study_reader(folder: Path) -> Callable[[Path, Path], StudyData]:
    """The function `read_study` of glocal-collect, in the module that its entry point names.

    It reads the folder of a study, together with features of its images.
    """
    plugins = entry_points(group="glocal.commands", name="collect")
    try:
        module = import_module(next(iter(plugins)).module)
        return module.read_study
    except (StopIteration, ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"{folder} is a study of glocal-collect, which is not installed, or not in a version "
            "that fits this version of glocal. Install it from a checkout: "
            "pip install ./packages/glocal-collect."
        ) from error


def _objects(
    form: AnswersForm, features: Path | None, answers: Path | None
) -> tuple[Features | None, Answers | None]:
    """The features of the objects, with names, and the answers as rows of these features."""
    if features is None:
        if answers is not None:
            raise ParameterError(
                "`answers` need the `features` of the objects that they are about; pass both."
            )
        return None, None
    rows = Features.load(features)
    rows.check_finite()
    joined = None if answers is None else join(rows, form.load(answers), form.names).answers
    return rows.named(form.names), joined
