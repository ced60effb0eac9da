"""Runs, read back from their folders without data and torch, and thumbnails of their objects."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from glocal.data.answers import Answers
from glocal.data.features import Features, object_name
from glocal.data.planning import STUDY_FILE
from glocal.data.seen import MAX_SHARE_SEEN, seen
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.evaluation.agreement import MIN_REPEATED_SHARE, answer_credit, ceiling, heldout_rows
from glocal.evaluation.change import Part, change_record, embeddings
from glocal.evaluation.structure import structure
from glocal.evaluation.view import View, load_view, paired_views
from glocal.files import PathLike, ending, read_object, reading
from glocal.results import (
    SCORE_ENDINGS,
    RecordPart,
    Score,
    check_fields,
    read_rows,
    read_scores,
    value_at,
)
from glocal.suite.table import score_frame
from glocal.transform import LinearTransform
from glocal.transform.formats import TRANSFORM_NAME
from glocal.transform.record import network_name

if TYPE_CHECKING:
    import pandas as pd

    from glocal.extract.images import Source

_ROWS = "rows.jsonl"
_POINTS = "points.jsonl"
_MEANS_COLUMNS = {
    "method": str,
    "front": bool,
    "chosen": bool,
    "accuracy_cosine": float,
    "accuracy_cosine_se": float,
    "neighbours_kept": float,
    "neighbours_kept_se": float,
}
_SETTING_COLUMNS = dict.fromkeys(("alpha", "lmbda", "tau", "mix", "eta", "loss"), float)
_BASES = {True: "fitted", False: "heldout", None: ""}
_FIX = "Run again what wrote it."
_SIDE = 64  # pixels of the longer side of a thumbnail
_MAX_LISTED = 3  # names that a warning lists of the objects without an image


class _Point(RecordPart):
    method: str
    status: str


class _Plan(RecordPart):
    arms: dict[str, Any]
    networks: dict[str, Any]
    tasks: dict[str, Any]
    baseline: str = "original"


class _Record(RecordPart):
    """The fields of ``sweep.json`` and ``suite.json`` that a page reads."""

    chance: float = Field(1 / 3, ge=0, le=1)
    n_people: int | None = None
    plan: _Plan | None = None
    provenance: dict[str, Any] | None = None


class _SuiteRecord(_Record):
    plan: _Plan


@dataclass(frozen=True, eq=False)
class Block:
    """A part of a section under a title: sentences, a note, a table of texts, and its Altair chart.

    A table without a chart is folded if it is long.
    """

    title: str
    sentences: tuple[str, ...] = ()
    note: str = ""
    table: pd.DataFrame | None = None
    chart: Any = None


@dataclass(frozen=True, eq=False)
class Run:
    """One section of a report: the folder of a suite or a sweep, a file of scores, or a transform.

    `name` is the heading of the section. `rows` are the scores, if any, with one column for each
    field of `glocal.results.Score`. `record` is the content of ``suite.json`` or ``sweep.json``.
    `fits` maps names to the records of fits. `views` maps each network to its views by arm, the
    baseline first.

    For a sweep, `points` has one row for each fold and setting, and `means` one for each setting,
    the original features included; `means` is None while the sweep is unfinished. `choice` holds
    the rule, its reason and the chosen setting.

    `is_simulated` is whether the data are simulated, by the plan of the run or of the suite in
    whose folder it lies. `is_single` is whether the run is one transform. `network` is the name of
    the network whose features are transformed, if a record has it.

    `lead` is a sentence that follows the finding, and `blocks` follow the methods. `command` is
    what the finding advises if the transform is worth using.
    """

    name: str
    rows: pd.DataFrame
    record: dict[str, Any] = field(default_factory=dict)
    points: pd.DataFrame | None = None
    means: pd.DataFrame | None = None
    choice: dict[str, Any] = field(default_factory=dict)
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    views: dict[str, dict[str, View]] = field(default_factory=dict)
    is_simulated: bool = False
    is_single: bool = False
    network: str = ""
    lead: str = ""
    blocks: tuple[Block, ...] = ()
    command: str = "glocal apply TRANSFORM FEATURES --out ALIGNED"

    @property
    def chance(self) -> float:
        """The agreement that guessing gives, as the record, the scores or the fits state it."""
        places = [self.record, *self.rows["settings"], *self.fits.values()]
        numbers = (value_at(place, "chance") for place in places)
        return next((number for number in numbers if isinstance(number, float)), 1 / 3)

    @property
    def baseline(self) -> str:
        """The arm with which the others are compared."""
        return str(self.record.get("plan", {}).get("baseline", "original"))


def load_runs(
    paths: PathLike | Sequence[PathLike],
    features: Features | None = None,
    answers: Answers | None = None,
) -> list[Run]:
    """Read run folders, files of scores (``.jsonl``) and transforms, each a section of the page.

    Parameters
    ----------
    paths : path, or sequence of path
        Run folders; files of ``glocal evaluate --out``; files or names of transforms.
    features, answers : Features, Answers or None
        Features of the objects by which a transform is shown, and answers that index their rows.

    Raises
    ------
    FileError
        A folder is no run, or a file is damaged.
    ParameterError
        A path does not exist, a transform comes without features, or features come without a
        transform.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    transforms = [path for path in paths if is_transform(path)]
    if features is not None and not transforms:
        raise ParameterError(
            "Features only serve to show what a transform does, but no transform is among "
            f"{', '.join(map(str, paths))}. Leave `features` out, or name a transform file."
        )
    runs = []
    for path in paths:
        if path in transforms:
            runs.append(_transform_run(path, features, answers))
        elif os.path.isdir(path):
            runs.append(_folder_run(Path(path)))
        else:
            runs.append(Run(Path(path).stem, score_frame(read_scores(path))))
    return runs


def is_transform(path: PathLike) -> bool:
    """Whether a path names a transform, as opposed to a run folder or a file of scores.

    A folder is a transform if it holds the file of one and is no run.
    """
    if not os.path.isdir(path):
        return ending(path) not in SCORE_ENDINGS
    return (Path(path) / TRANSFORM_NAME).is_file() and not _is_run(Path(path))


def _is_run(folder: Path) -> bool:
    return (folder / _ROWS).is_file() or (folder / _POINTS).is_file()


def _transform_run(path: PathLike, features: Features | None, answers: Answers | None) -> Run:
    name = Path(path).name.removesuffix(ending(path))
    transform = LinearTransform.from_pretrained(path)
    if features is None:
        raise ParameterError(
            f"{path} is a transform; to show what it does, pass `features` of objects, and "
            "`answers` about them if you have any."
        )
    return transform_run(name or str(path), transform, features, answers)


def transform_run(
    name: str,
    transform: LinearTransform,
    features: Features,
    answers: Answers | None = None,
    *,
    folds: Sequence[tuple[LinearTransform, Answers]] = (),
) -> Run:
    """Make the run of one transform from features of objects and, if given, answers about them.

    Parameters
    ----------
    name : str
        The heading.
    transform : LinearTransform
    features : Features
        Raw features of at least 4 objects.
    answers : Answers or None
        Answers that index the rows of the features. The record of the transform tells whether it
        was fitted to them.
    folds : sequence of (LinearTransform, Answers)
        The same fit without a part of the questions, and the answers to that part. Each answer is
        then scored by the fit that has not seen it.
    """
    fold_transforms = [fold for fold, _ in folds]
    X, Z, fold_embeddings = embeddings(transform, features, fold_transforms)
    kept = structure(X, Z, k=min(10, len(X) - 1)).scores[0]
    scores = [replace(kept, value=1.0, low=None, high=None), replace(kept, transform=name)]
    record: dict[str, Any] = {
        "fit": transform.meta.get("fit") or {},
        "source": transform.meta.get("source"),
    }
    parts: list[Part] = []
    is_seen: bool | None = None
    if answers is not None:
        fold_answers = [part for _, part in folds]
        parts = list(zip(fold_embeddings, fold_answers, strict=True)) or [(Z, answers)]
        scores += _agreement_scores(name, X, parts, answers)
        is_seen = False if folds else _is_seen(transform, features, answers)
        basis = "questions" if folds else _BASES[is_seen]
        record |= {"basis": basis, "chance": answers.chance, "n_people": answers.n_people}
    change = change_record(
        transform,
        features,
        X,
        parts,
        folds=fold_transforms,
        heldout=None if is_seen is None else not is_seen,
    )
    views = paired_views(X, Z, features.labels, name=name, change=change, answers=answers)
    return Run(
        name,
        score_frame(scores),
        record=record,
        fits={name: record["fit"]},
        views={name: views},
        is_single=True,
        network=network_name(transform.meta.get("source")),
    )


def _agreement_scores(
    name: str, X: Float[np.ndarray, "n p"], parts: Sequence[Part], answers: Answers
) -> list[Score]:
    """Agreement before and after with the answers of all parts, the gain, and the ceiling."""
    from glocal.aligner.data import pooled_answers

    credit = {
        "original": np.concatenate([answer_credit(X, part) for _, part in parts]),
        name: np.concatenate([answer_credit(Z, part) for Z, part in parts]),
    }
    scores = heldout_rows(credit, pooled_answers([part for _, part in parts]))
    bounds = ceiling(answers, least=MIN_REPEATED_SHARE)
    return scores if bounds is None else [*scores, *bounds.scores]


def _is_seen(transform: LinearTransform, features: Features, answers: Answers) -> bool | None:
    """Whether the fit saw more than a tenth of these questions; None if that is not recorded."""
    shares = seen(transform.meta, features, answers)
    share = None if shares is None else shares.questions
    return None if share is None else share > MAX_SHARE_SEEN


def _folder_run(path: Path) -> Run:
    """The run of a folder that a suite or a sweep wrote."""
    if (path / STUDY_FILE).is_file():
        raise FileError(
            f"{path} is a study of glocal-collect; glocal collect report {path} --out page.html "
            "writes its page."
        )
    if not _is_run(path):
        raise FileError(
            f"{path} is not a run folder: it holds neither {_ROWS} nor {_POINTS}. Name the folder "
            "that glocal suite --out or glocal sweep --out wrote."
        )
    files = set(os.listdir(path))
    scores = read_scores(path / _ROWS) if _ROWS in files else []
    parts: dict[str, Any] = {}
    if _POINTS in files:
        parts = _sweep_parts(path, files)
    elif "suite.json" in files:
        parts = _suite_parts(path)
    is_simulated = _is_simulated(path) or _is_simulated(path.parent)
    run = Run(path.resolve().name, score_frame(scores), is_simulated=is_simulated, **parts)
    return replace(run, views=_views(path, run))


def _is_simulated(folder: Path) -> bool:
    """Whether a folder is that of a suite of simulated data."""
    with contextlib.suppress(FileError):  # the file of another program may have this name
        return bool(value_at(read_object(folder / "suite.json", what="run"), "plan.simulated"))
    return False


def _sweep_parts(path: Path, files: set[str]) -> dict[str, Any]:
    """The parts of the `Run` of a sweep other than its scores and views."""
    import pandas as pd

    points = read_rows(path / _POINTS, ("fold", "method", "status"), what="run")
    with reading(path / _POINTS, "run", _FIX):
        for point in points:
            check_fields(_Point, point)
    parts: dict[str, Any] = {"points": pd.DataFrame(points)}
    if "sweep.json" in files:
        parts["record"] = _read_record(path / "sweep.json", _Record)
    if TRANSFORM_NAME in files:
        meta = LinearTransform.load(path / TRANSFORM_NAME).meta
        parts["choice"] = meta.get("sweep") or {}
        parts["network"] = network_name(meta.get("source"))
        parts["fits"] = {"the refitted choice": meta.get("fit") or {}}
    if "means.csv" in files:
        with reading(path / "means.csv", "run", _FIX):
            means = pd.read_csv(path / "means.csv", dtype={**_MEANS_COLUMNS, **_SETTING_COLUMNS})
            if lacking := set(_MEANS_COLUMNS) - set(means):
                raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
            if means["method"].isna().any() or means["chosen"].sum() != 1:
                raise ValueError("it must name each method and choose one setting")
        parts["means"] = means
    return parts


def _suite_parts(path: Path) -> dict[str, Any]:
    """The parts of the `Run` of a suite other than its scores and views."""
    record = _read_record(path / "suite.json", _SuiteRecord)
    fits = {}
    for file in sorted((path / "transforms").rglob("*.npz")):
        if file.stem in record["plan"]["arms"]:
            fit = LinearTransform.load(file).meta.get("fit") or {}
            fits[f"{file.parent.name}, {file.stem}"] = fit
    return {"record": record, "fits": fits}


def _read_record(path: Path, kind: type[_Record]) -> dict[str, Any]:
    """Read the record of a run; raises a FileError if its fields do not have these types."""
    record = read_object(path, what="run", fix=_FIX)
    with reading(path, "run", _FIX):
        check_fields(kind, record)
    return record


def _views(path: Path, run: Run) -> dict[str, dict[str, View]]:
    """The views in a run folder, the baseline first, only of networks and arms in the plan."""
    plan = run.record.get("plan") or {"arms": ("original", "chosen")}
    views: dict[str, dict[str, View]] = {}
    for file in sorted((path / "views").rglob("*.npz")):
        view = load_view(file)
        network = str(view.meta.get("network") or run.name)
        views.setdefault(network, {})[str(view.meta.get("arm"))] = view
    order = dict.fromkeys([run.baseline, *plan["arms"]])
    ordered = {}
    for network, arms in views.items():
        if network in plan.get("networks", views):
            ordered[network] = {arm: arms[arm] for arm in order if arm in arms}
    return ordered


def load_thumbnails(
    images: PathLike | Source,
    runs: Sequence[Run],
    *,
    progress: Callable[[int], None] = lambda number: None,
) -> dict[str, str]:
    """Shrink the images that are named like objects of the runs to 64 pixels.

    Names are compared without folder and extension; of several images with the same name, the first
    is taken. `images` is whatever `glocal.extract.open_images` opens or returns. A DataWarning
    names the objects without a readable image.

    Returns
    -------
    dict
        WebP images as data URIs, by the name of the object.

    Raises
    ------
    DataError
        No image has the name of an object.
    """
    from glocal.extract.images import Source, Unreadable, open_images

    networks = [views for run in runs for views in run.views.values()]
    names = {name for views in networks for view in views.values() for name in view.names}
    source = images if isinstance(images, Source) else open_images(images)
    numbers: dict[str, int] = {}  # of the first image of each name
    for number, image_name in enumerate(source.names):
        numbers.setdefault(_key(image_name), number)
    matches = {name: numbers[_key(name)] for name in sorted(names) if _key(name) in numbers}
    if not matches:
        raise DataError(
            f"no image in {source.described} has the name of an object: images are named like "
            f"{source.names[0]}, objects like {min(names, default='none')}. Name the images after "
            "the objects; folder and extension do not count."
        )
    pictures = {}
    for count, (name, number) in enumerate(matches.items(), start=1):
        progress(count)
        with contextlib.suppress(Unreadable):
            pictures[name] = _data_uri(source.read(number, at_least=2 * _SIDE))
    if lacking := sorted(names - pictures.keys()):
        warnings.warn(
            f"no readable image has the name of {_listed(lacking)}.", DataWarning, stacklevel=2
        )
    return pictures


def _listed(names: list[str]) -> str:
    """The first names, and the number of the others."""
    listed = ", ".join(names[:_MAX_LISTED])
    if len(names) > _MAX_LISTED:
        listed += f" and {len(names) - _MAX_LISTED} more"
    return listed


def _data_uri(image: Any) -> str:
    """A Pillow image, shrunk to a thumbnail in place, as a data URI."""
    stream = io.BytesIO()
    image.thumbnail((_SIDE, _SIDE))
    image.save(stream, format="webp", quality=60, exif=b"", icc_profile=None)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _key(name: str) -> str:
    # some file systems store letters apart from their accents
    return unicodedata.normalize("NFC", object_name(name))
