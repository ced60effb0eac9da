"""Recipes that call the other rooms in turn: a network and images become a transform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from glocal.aligner import Fit, FitData, Keep, fit
from glocal.aligner.data import Centre
from glocal.data.answers import Answers
from glocal.data.check import diagnose
from glocal.data.check.findings import Case
from glocal.data.join import join
from glocal.errors import DataError, DataWarning, warn
from glocal.extract import open_images
from glocal.files import PathLike
from glocal.report import load_thumbnails, report_page, save_page, transform_run
from glocal.transform.sharing import check_replaceable, save_pretrained


def align(
    model: str,
    images: PathLike,
    answers: Answers,
    out: PathLike,
    *,
    object_ids: Sequence[str] | None = None,
    local_images: PathLike | None = None,
    layer: str | None = None,
    keep: float | None = None,
    centre: Centre | None = None,
    normalize: bool = False,
    progress: Callable[[str, int, int], None] = lambda step, count, total: None,
) -> Fit:
    """Extract features, check them, fit by `Keep`, and write transform, card and page.

    After an interruption the same call continues with the features in `out`.

    Parameters
    ----------
    model, layer : str
        As in `glocal.extract.Extractor`; None is the default layer of the model.
    images : path or pattern
        One image per object; see `glocal.extract.open_images`.
    answers : Answers
    out : path
        The folder for ``features/``, ``transform.npz``, ``README.md`` (the model card) and
        ``report.html``.
    object_ids : sequence of str or None
        The object names that the answers index, to be joined with the names of the images. None if
        the answers index the images in their order, or name their objects themselves.
    local_images : path, pattern or None
        Further images, whose neighbours the transform keeps.
    keep, centre, normalize
        See `Keep` and `FitData`.
    progress : function
        Called with the name of a step, the number of its finished parts, and their total number, 0
        if it is not known.

    Returns
    -------
    Fit
        Its record has the held-out scores.

    Raises
    ------
    DataError
        The answers do not belong to the images, or the check found an error. Its other findings
        become DataWarnings.
    FileError, MissingDependencyError
        `out` holds a card or transform that glocal did not write; or the images, the model or a
        library do not exist.
    """
    check_replaceable(out)
    sources = {"objects": open_images(images)}
    if local_images is not None:
        sources["local"] = open_images(local_images)
    from glocal.extract import Extractor  # imports torch, which the checks above do not need

    extractor = Extractor(model, () if layer is None else (layer,))
    features = {
        name: extractor.extract(
            source, Path(out) / "features" / name, progress=partial(progress, "extract")
        ).features()
        for name, source in sources.items()
    }
    objects = features["objects"]
    local = features.get("local")
    _check(Case(objects, local, answers, object_ids=object_ids))
    joined = join(objects, answers, object_ids)
    data = FitData(
        objects,
        joined.answers,
        local,
        n_dropped=joined.n_dropped,
        centre=centre,
        normalize=normalize,
    )
    fitted = fit(data, Keep(keep=keep), on_step=lambda count, _: progress("fit", count, 0))
    save_pretrained(fitted.transform, out)
    progress("page", 0, 1)
    run = transform_run("aligned", fitted.transform, objects, data.answers)
    page = report_page(
        [run],
        title=f"{model}, aligned with people's answers",
        pictures=load_thumbnails(images, [run]),
    )
    save_page(page, Path(out) / "report.html")
    return fitted


def _check(case: Case) -> None:
    """Raise a DataError if the check finds an error; its warnings become DataWarnings."""
    for finding in diagnose(case):
        if finding.severity == "error":
            raise DataError(f"the check stops here: {finding}")
        if finding.severity == "warning":
            warn(str(finding), DataWarning)
