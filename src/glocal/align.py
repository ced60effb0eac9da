"""From a named model, images and answers to an aligned model, its card and its page."""

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
    """What is to be aligned, with which answers.

    Parameters
    ----------
    model, layer : str
        As in `glocal.extract.load_model`; the layer is None for the model's own choice.
    images : path or pattern
        One image for each object; see `glocal.extract.open_images`.
    answers : Answers
    object_ids : sequence of str or None
        The names that the answers index, joined with the names of the images; None where they index
        the images in their order, or name their objects themselves.
    local_images : path, pattern or None
        Other images, whose neighbours are kept.
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
        """How many images, answers and fits there are, without running the network."""
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

    The same call continues after an interruption: features are found in the cache, finished paths
    of the sweep in `out`.

    Parameters
    ----------
    inputs : Inputs
    out : path
        Gets ``transform.npz``, ``README.md`` (the model card), ``report.html`` and the folder
        ``sweep``.
    keep : float or None
        The setting with the best agreement is chosen among those that keep this share of the
        neighbours; if none does, the one that keeps most. None is 0.9.
    centre : float or "auto"
        See `FitData`.
    progress : function
        Called with the step, and how many of its parts are done of how many.

    Returns
    -------
    Sweep
        The record of its `transform` has the scores on held-out objects.

    Raises
    ------
    DataError
        Images that cannot be read, answers that do not belong to them, or an error that the check
        found; what else it finds is a DataWarning.
    ParameterError, FileError, MissingDependencyError
        `out` holds a sweep of other content, or a card or transform that glocal did not write; no
        such images or model, or a library is missing.
    """
    for module in ("jinja2", "altair", "vl_convert"):
        import_optional(module, "the page")
    check_replaceable(out)
    inputs.counts()  # what does not belong together is said before any work
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
    """The extracted features and the answers, checked."""
    from glocal.extract import Extractor  # needs torch; counting the inputs does not
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
    """The sweep with the scores on held-out objects in the record of its transform."""
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
