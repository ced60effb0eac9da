"""Align a named model with images and answers, and write the transform, its card and a page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np

from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.data.check import Case, diagnose
from glocal.data.features import Features
from glocal.data.join import join
from glocal.errors import DataError, DataWarning, import_optional
from glocal.extract import open_images
from glocal.extract.images import Source
from glocal.files import PathLike, make_folder
from glocal.report import load_runs, load_thumbnails, report_page, save_page
from glocal.sweep import Sweep, settings, sweep
from glocal.transform.sharing import check_replaceable

FOLDS = 3


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs of `align`: a model, its images, and answers about the images.

    Parameters
    ----------
    model, layer : str
        As in `glocal.extract.Extractor`; None is the default layer of the model.
    images : path or pattern
        One image per object; see `glocal.extract.open_images`.
    answers : Answers
    object_ids : sequence of str or None
        The object names that the answers index, to be joined with the names of the images. None if
        the answers index the images in their order, or name their objects themselves.
    local_images : path, pattern or None
        Further images, whose neighbours the transform keeps.
    """

    model: str
    images: PathLike
    answers: Answers
    object_ids: Sequence[str] | None = None
    local_images: PathLike | None = None
    layer: str | None = None

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The images of the objects, and the local images if there are any."""
        places = {"objects": self.images, "local": self.local_images}
        return {name: open_images(place) for name, place in places.items() if place is not None}

    def counts(self) -> dict[str, int]:
        """The numbers of images, answers and fits, counted without running the network."""
        objects = self.sources["objects"]
        n_local = len(self.sources.get("local", ()))
        named = Features(np.zeros((len(objects), 1)), tuple(objects.names), objects.described)
        joined = join(named, self.answers, self.object_ids)
        return {
            "objects": len(objects),
            "local_images": n_local,
            "answers": len(joined.answers),
            "n_dropped": joined.n_dropped,
            "fits": FOLDS * len(settings("arms", local=n_local > 0)) + 1,
        }


def align(
    inputs: Inputs,
    out: PathLike,
    *,
    keep: float | None = None,
    centre: float | Literal["auto"] = 0.0,
    progress: Callable[[str, int, int], None] = lambda step, done, total: None,
) -> Sweep:
    """Extract features, check them, sweep all arms, and write transform, card and page.

    After an interruption the same call continues: it reads features from the cache, and finished
    paths of the sweep from `out`.

    Parameters
    ----------
    inputs : Inputs
    out : path
        The folder for ``transform.npz``, ``README.md`` (the model card), ``report.html`` and the
        folder ``sweep``.
    keep : float or None
        The share of the neighbours to keep. Among the settings that keep this share, the one with
        the best agreement is chosen; if there is none, the one that keeps most. None is 0.9.
    centre : float or "auto"
        See `FitData`.
    progress : function
        Called with the name of a step, the number of its finished parts, and their total number.

    Returns
    -------
    Sweep
        The record of its `transform` has the held-out scores.

    Raises
    ------
    DataError
        An image cannot be read, the answers do not belong to the images, or the check found an
        error. Its other findings become DataWarnings.
    ParameterError, FileError, MissingDependencyError
        `out` holds another sweep, or a card or transform that glocal did not write; or the images,
        the model or a library do not exist.
    """
    for module in ("jinja2", "altair", "vl_convert"):
        import_optional(module, "the page")
    check_replaceable(out)
    inputs.counts()  # inputs that do not match raise an error before any work
    data = replace(_data(inputs, partial(progress, "extract")), centre=centre)
    folder = make_folder(out) / "sweep"
    result = sweep(
        data,
        folds=FOLDS,
        keep=keep,
        out=folder,
        resume=True,
        progress=lambda row, done, total: progress("sweep", done, total),
    )
    result = _with_heldout_scores(result, data)
    result.transform.save_pretrained(out)
    progress("page", 0, 1)
    runs = load_runs(folder)
    page = report_page(
        runs,
        title=f"{inputs.model}, aligned with people's answers",
        pictures=load_thumbnails(inputs.images, runs),
    )
    save_page(page, Path(out) / "report.html")
    return result


def _data(inputs: Inputs, progress: Callable[[int, int], None]) -> FitData:
    """Extract the features, and check them together with the answers."""
    from glocal.extract import Extractor  # imports torch, which `Inputs.counts` does not need
    from glocal.extract.run import cached_features

    extractor = Extractor(inputs.model, () if inputs.layer is None else (inputs.layer,))
    features = {
        name: cached_features(extractor, source, progress).features()
        for name, source in inputs.sources.items()
    }
    objects = features["objects"]
    local = features.get("local")
    for finding in diagnose(Case(objects, local, inputs.answers, object_ids=inputs.object_ids)):
        if finding.severity == "error":
            raise DataError(f"the check stops here: {finding}")
        if finding.severity == "warning":
            warnings.warn(str(finding), DataWarning, stacklevel=3)
    joined = join(objects, inputs.answers, inputs.object_ids)
    return FitData(objects, joined.answers, local, n_dropped=joined.n_dropped)


def _with_heldout_scores(result: Sweep, data: FitData) -> Sweep:
    """Add the held-out scores to the record of the transform of a sweep."""
    before, after, gain = result.scores
    heldout = {
        "accuracy_cosine": after.value,
        "low": after.low,
        "high": after.high,
        "n": after.n,
        "original_accuracy_cosine": before.value,
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "neighbours_kept": result.best["neighbours_kept"],
    }
    transform = result.transform
    holdout = {"of": data.fold_unit, "folds": FOLDS, "seed": data.seed, "heldout": heldout}
    fit = {**transform.meta["fit"], "holdout": holdout}
    return replace(result, transform=replace(transform, meta={**transform.meta, "fit": fit}))
