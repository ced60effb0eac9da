"""Run folders, read back without data and without torch, and small pictures of their objects."""

from __future__ import annotations

import base64
import contextlib
import io
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.data.features import object_name
from glocal.errors import DataError, DataWarning, FileError
from glocal.evaluation.view import View, load_view
from glocal.files import PathLike, read_object, reading
from glocal.results import read_rows, read_scores
from glocal.suite.table import score_frame
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    import pandas as pd

_ROWS = "rows.jsonl"
_POINTS = "points.jsonl"
_MEANS_COLUMNS = ("method", "accuracy_cosine", "neighbours_kept", "front", "chosen")
_FIX = "Run again what wrote it."
_SIDE = 64  # pixels of the longer side of a picture
_MAX_LISTED = 3  # objects without a picture that are named


@dataclass(frozen=True, eq=False)
class Run:
    """The folder of a suite or of a sweep; `name` tells it from the others of a report.

    `rows` are scores, one column a field of `glocal.results.Score`, maybe none; `record` is
    ``suite.json`` or ``sweep.json``, `fits` the records of fits by their names, `views` those of
    each network by arm, the baseline first. Of a sweep `points` has a row for each fold and
    setting, `means` one for each setting, the original features among them (None while it is
    unfinished), and `choice` the rule, its reason and the chosen setting. `is_simulated` says that
    its plan, or that of the suite in whose folder it lies, is of simulated data.
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

    @property
    def baseline(self) -> str:
        """The arm that others are compared with."""
        return str(self.record.get("plan", {}).get("baseline", "original"))


def load_runs(folders: PathLike | Sequence[PathLike]) -> list[Run]:
    """Read what ``glocal suite``, ``glocal sweep`` and ``glocal demo`` write.

    A folder stands for itself and for the run folders that lie in it, such as the sweeps of several
    networks.

    Raises
    ------
    FileError
        A folder is missing, holds none of these, or a file in it is damaged.
    """
    if isinstance(folders, str) or not isinstance(folders, Sequence):
        folders = [folders]
    paths: dict[Path, None] = {}  # in order, each once
    for folder in map(Path, folders):
        candidates = [folder]
        if folder.is_dir():
            candidates += sorted(child for child in folder.iterdir() if child.is_dir())
        runs = [candidate for candidate in candidates if _is_run(candidate)]
        if not runs:
            raise FileError(
                f"{folder} is no run folder: neither it nor a folder in it holds {_ROWS} or "
                f"{_POINTS}. Name the folder that glocal suite --out or glocal sweep --out wrote."
            )
        paths |= dict.fromkeys(run.resolve() for run in runs)
    return [_load(path, name) for path, name in _names(list(paths)).items()]


def _is_run(folder: Path) -> bool:
    return (folder / _ROWS).is_file() or (folder / _POINTS).is_file()


def _names(paths: list[Path]) -> dict[Path, str]:
    """The last parts of each path that tell it from the others: ``sweep``, or ``mine/sweep``."""
    names = {}
    for path in paths:
        others = [other.parts for other in paths if other != path]
        length = 1
        while any(parts[-length:] == path.parts[-length:] for parts in others):
            length += 1
        names[path] = "/".join(path.parts[-length:])
    return names


def _load(path: Path, name: str) -> Run:
    scores = read_scores(path / _ROWS) if (path / _ROWS).is_file() else []
    parts: dict[str, Any] = {}
    if (path / _POINTS).is_file():
        parts = _sweep_parts(path)
    elif (path / "suite.json").is_file():
        parts = _suite_parts(path)
    is_simulated = _is_simulated(path) or _is_simulated(path.parent)
    run = Run(name, score_frame(scores), is_simulated=is_simulated, **parts)
    return replace(run, views=_views(path, run))


def _is_simulated(folder: Path) -> bool:
    """Whether a folder is that of a suite of simulated data."""
    plan = None
    with contextlib.suppress(FileError):  # another program's file may have this name
        plan = read_object(folder / "suite.json", what="run").get("plan")
    return isinstance(plan, dict) and bool(plan.get("simulated"))


def _sweep_parts(path: Path) -> dict[str, Any]:
    """What the folder of a sweep holds besides scores and views."""
    import pandas as pd

    points = read_rows(path / _POINTS, ("fold", "method", "status"), what="run")
    parts: dict[str, Any] = {"points": pd.DataFrame(points)}
    if (path / "sweep.json").is_file():
        parts["record"] = read_object(path / "sweep.json", what="run", fix=_FIX)
    if (path / "transform.npz").is_file():
        meta = LinearTransform.load(path / "transform.npz").meta
        parts["choice"] = meta.get("sweep") or {}
        parts["fits"] = {"the refitted choice": meta.get("fit") or {}}
    if (path / "means.csv").is_file():
        with reading(path / "means.csv", "run", _FIX):
            means = pd.read_csv(path / "means.csv")
            if lacking := set(_MEANS_COLUMNS) - set(means):
                raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
        parts["means"] = means
    return parts


def _suite_parts(path: Path) -> dict[str, Any]:
    """What the folder of a suite holds besides scores and views."""
    record = read_object(path / "suite.json", what="run", fix=_FIX)
    with reading(path / "suite.json", "run", _FIX):
        for key in ("arms", "networks", "tasks"):
            if not isinstance(record["plan"][key], dict):
                raise ValueError(f"its {key} are not an object")
    fits = {}
    for file in sorted((path / "transforms").rglob("*.npz")):
        if file.stem in record["plan"]["arms"]:
            fit = LinearTransform.load(file).meta.get("fit") or {}
            fits[f"{file.parent.name}, {file.stem}"] = fit
    return {"record": record, "fits": fits}


def _views(path: Path, run: Run) -> dict[str, dict[str, View]]:
    """The views of a folder, the baseline first, without arms and networks that the plan lacks."""
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
    images: PathLike, runs: Sequence[Run], *, progress: Callable[[int], None] = lambda number: None
) -> dict[str, str]:
    """Shrink the images that have the names of the runs' objects to 64 pixels.

    Folder and extension do not count; of several images of a name the first is taken. `images` is
    what `glocal.extract.open_images` opens. Objects without a readable image are named in a
    DataWarning.

    Returns
    -------
    dict
        WebP images in data URIs, by the name of the object.

    Raises
    ------
    DataError
        No image has the name of an object.
    """
    from glocal.extract.images import Unreadable, open_images

    names = {
        name
        for run in runs
        for arms in run.views.values()
        for view in arms.values()
        for name in view.names
    }
    source = open_images(images)
    numbers: dict[str, int] = {}  # of the first image of each name
    for number, image_name in enumerate(source.names):
        numbers.setdefault(_key(image_name), number)
    matches = {name: numbers[_key(name)] for name in sorted(names) if _key(name) in numbers}
    if not matches:
        raise DataError(
            f"no image in {source.described} has the name of an object: images are named like "
            f"{source.names[0]}, objects like {next(iter(names), 'none')}. Name images after "
            "objects; folder and extension do not count."
        )
    pictures = {}
    for count, (name, number) in enumerate(matches.items(), start=1):
        progress(count)
        with contextlib.suppress(Unreadable):
            pictures[name] = _data_uri(source.read(number, at_least=2 * _SIDE))
    _warn_of_lacking(sorted(names - pictures.keys()))
    return pictures


def _data_uri(image: Any) -> str:
    """A small copy of an image of Pillow."""
    stream = io.BytesIO()
    image.thumbnail((_SIDE, _SIDE))
    image.save(stream, format="webp", quality=60, exif=b"", icc_profile=None)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _warn_of_lacking(names: list[str]) -> None:
    if not names:
        return
    listed = ", ".join(names[:_MAX_LISTED])
    if len(names) > _MAX_LISTED:
        listed += f" and {len(names) - _MAX_LISTED} more"
    warnings.warn(f"no readable image has the name of {listed}.", DataWarning, stacklevel=3)


def _key(name: str) -> str:
    # some file systems take letters and accents apart
    return unicodedata.normalize("NFC", object_name(name))
