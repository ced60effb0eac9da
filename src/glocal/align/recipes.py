"""Align networks with people's answers, by their images or by features of the objects at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from glocal.align.atlas import ORIGINS, AlignedNetwork, Atlas, measured_network
from glocal.aligner import Fit, FitData, Keep, fit, keep_curve
from glocal.aligner.keep import DEFAULT_KEEP
from glocal.data.answers import Answers
from glocal.data.check import diagnose
from glocal.data.check.findings import Case
from glocal.data.features import Features
from glocal.data.join import join
from glocal.errors import DataError, DataWarning, GLocalError, ParameterError, warn
from glocal.extract import open_images
from glocal.files import PathLike, make_folder
from glocal.report import load_thumbnails, report_page, save_page, transform_run
from glocal.suite.sources import shared_objects
from glocal.transform import LinearTransform
from glocal.transform.formats import TRANSFORM_NAME
from glocal.transform.sharing import check_replaceable


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
    centre: float | Literal["auto", "scalar"] | None = None,
    normalize: bool = False,
    progress: Callable[[str, int, int], None] = lambda step, done, total: None,
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
    data = _checked_data(
        objects, answers, object_ids, features.get("local"), centre=centre, normalize=normalize
    )
    fitted = fit(
        data, Keep(keep=keep), on_step=lambda evaluations, _: progress("fit", evaluations, 0)
    )
    fitted.transform.save_pretrained(out)
    progress("page", 0, 1)
    run = transform_run("aligned", fitted.transform, objects, data.answers)
    page = report_page(
        [run],
        title=f"{model}, aligned with people's answers",
        pictures=load_thumbnails(images, [run]),
    )
    save_page(page, Path(out) / "report.html")
    return fitted


def align_networks(
    networks: Mapping[str, Features],
    answers: Answers,
    out: PathLike,
    *,
    object_ids: Sequence[str] | None = None,
    keep: float = DEFAULT_KEEP,
    normalize: bool = False,
    fitted: Mapping[str, LinearTransform] | None = None,
    progress: Callable[[str], None] = lambda network: None,
) -> Atlas:
    """Fit each network by `Keep`, plain and centred, and score its arms on three folds of objects.

    Without local images the objects stand in for them. Several networks are fitted and scored on
    the objects that all of them have, so that they are compared on the same answers. A network that
    cannot be fitted is in `Atlas.failed`, and the others stand.

    Parameters
    ----------
    networks : mapping of str to Features
        The features of the objects by the name of the network, which becomes a folder.
    answers : Answers
    out : path
        The folder for ``NAME/plain`` and ``NAME/centred``, each with ``transform.npz`` and its card
        ``README.md``, for ``NAME/report.html``, and with several networks for ``atlas.html`` and
        ``atlas.csv``.
    object_ids : sequence of str or None
        The names of the objects that the answers index, as in `glocal.join`.
    keep, normalize
        See `Keep` and `FitData`.
    fitted : mapping of str to LinearTransform, or None
        Transforms of networks that were fitted to these answers elsewhere, as rows of the atlas.
    progress : function
        Called with the name of the network that is fitted next.

    Raises
    ------
    ParameterError
        There is no network.
    DataError
        No object is in all networks, or of several networks one has no names and another number of
        rows; see `glocal.suite.sources.shared_objects`.
    FileError
        `out` holds a card or transform that glocal did not write.
    """
    if not networks:
        raise ParameterError("`networks` is empty; give features of at least one network.")
    folder = Path(out)
    for name in networks:
        for origin in ORIGINS:
            check_replaceable(folder / name / origin)
    aligned: list[AlignedNetwork] = []
    failed: dict[str, str] = {}
    shared = dict(networks)
    if len(networks) > 1:
        shared = dict(zip(networks, shared_objects([*networks.values()]), strict=True))
    for name, features in shared.items():
        progress(name)
        try:
            data = _checked_data(features, answers, object_ids, normalize=normalize)
            curves = {
                origin: keep_curve(replace(data, centre=centre), keep=keep)
                for origin, centre in ORIGINS.items()
            }
            network = measured_network(name, curves, keep, (fitted or {}).get(name))
            _write(network, data, folder)
            aligned.append(network)
        except GLocalError as error:
            failed[name] = str(error)
    atlas = Atlas(tuple(aligned), failed)
    if len(aligned) > 1:
        atlas.save(folder)
    return atlas


def _checked_data(
    objects: Features,
    answers: Answers,
    object_ids: Sequence[str] | None,
    local: Features | None = None,
    **options: Any,
) -> FitData:
    """The data of a fit to these answers.

    Raises a DataError if the check finds an error. Its warnings become DataWarnings.
    """
    for finding in diagnose(Case(objects, local, answers, object_ids=object_ids)):
        if finding.severity == "error":
            raise DataError(f"the check stops here: {finding}")
        if finding.severity == "warning":
            warn(str(finding), DataWarning)
    joined = join(objects, answers, object_ids)
    return FitData(objects, joined.answers, local, n_dropped=joined.n_dropped, **options)


def _write(network: AlignedNetwork, data: FitData, folder: Path) -> None:
    """Write the transforms of a network with their cards, and the page of both."""
    runs = []
    for arm, fitted in network.fits.items():
        place = make_folder(network.place(arm, folder))
        fitted.transform.save_pretrained(place)
        file = str(place / TRANSFORM_NAME)
        runs.append(transform_run(arm, fitted.transform, data.features, data.answers, file=file))
    page = report_page(runs, title=f"{network.name}, aligned with people's answers")
    save_page(page, folder / network.name / "report.html")
