"""Align networks whose features of the objects are at hand, and compare them in an atlas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from glocal.align.atlas import ORIGINS, AlignedNetwork, Atlas, measured_network
from glocal.align.images import checked_join
from glocal.aligner import FitData, keep_curve
from glocal.aligner.keep import DEFAULT_KEEP
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.errors import GLocalError, ParameterError
from glocal.files import PathLike, make_folder
from glocal.report import report_page, save_page, transform_run
from glocal.suite.sources import shared_objects
from glocal.transform import LinearTransform
from glocal.transform.formats import TRANSFORM_NAME
from glocal.transform.sharing import check_replaceable

Progress = Callable[[str], None]
"""A function of the name of the network that is fitted next."""


def align_networks(
    networks: Mapping[str, Features],
    answers: Answers,
    out: PathLike,
    *,
    object_ids: Sequence[str] | None = None,
    keep: float = DEFAULT_KEEP,
    normalize: bool = False,
    fitted: Mapping[str, LinearTransform] | None = None,
    progress: Progress = lambda network: None,
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
            joined = checked_join(features, answers, object_ids)
            data = FitData(
                features, joined.answers, normalize=normalize, n_dropped=joined.n_dropped
            )
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


def _write(network: AlignedNetwork, data: FitData, folder: Path) -> None:
    """Write the transforms of a network with their cards, and the page of both."""
    runs = []
    for arm, fit in network.fits.items():
        place = make_folder(network.place(arm, folder))
        fit.transform.save_pretrained(place)
        file = str(place / TRANSFORM_NAME)
        runs.append(transform_run(arm, fit.transform, data.features, data.answers, file=file))
    page = report_page(runs, title=f"{network.name}, aligned with people's answers")
    save_page(page, folder / network.name / "report.html")
