"""What a run folder holds, read back without data and without torch, and small pictures of its objects."""

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

_ROWS, _POINTS = "rows.jsonl", "points.jsonl"
_FIX = "Run again what wrote it."
_SIDE = 64  # pixels of the longer side of a picture


@dataclass(frozen=True, eq=False)
class Run:
    """The folder of a suite or of a sweep; `name` tells it from the others of a report.

    `rows` are scores, one column a field of `glocal.results.Score`, maybe none; `record` is ``suite.json`` or
    ``sweep.json``, `fits` the records of fits by their names, `views` those of each network by arm, the baseline first.
    Of a sweep `points` has a row for each fold and setting, `means` one for each setting, the original features among
    them (None while it is unfinished), and `choice` the rule, its reason and the chosen setting. `is_simulated` says
    that its plan, or that of the suite in whose folder it lies, is of simulated data.
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

    A folder stands for itself and for the run folders that lie in it, such as the sweeps of several networks.

    Raises
    ------
    FileError
        A folder is missing, holds none of these, or a file in it is damaged.
    """
    given = [folders] if isinstance(folders, str) or not isinstance(folders, Sequence) else folders
    found: list[Path] = []
    for path in map(Path, given):
        inside = sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
        runs = [folder for folder in (path, *inside) if any((folder / file).is_file() for file in (_ROWS, _POINTS))]
        if not runs:
            raise FileError(
                f"{path} is no run folder: neither it nor a folder in it holds {_ROWS} or {_POINTS}. Name the folder "
                "that glocal suite --out or glocal sweep --out wrote."
            )
        found += runs
    paths = [*dict.fromkeys(path.resolve() for path in found)]
    return [_load(path, name) for path, name in zip(paths, _names(paths), strict=True)]


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell it from the others: ``sweep``, or ``mine/sweep``."""
    names = []
    for path in paths:
        suffixes = [path.parts[-length:] for length in range(1, len(path.parts) + 1)]
        others = [other for other in paths if other != path]
        alone = [suffix for suffix in suffixes if not any(other.parts[-len(suffix) :] == suffix for other in others)]
        names.append("/".join(alone[0]))
    return names


def _load(path: Path, name: str) -> Run:
    rows = score_frame(read_scores(path / _ROWS) if (path / _ROWS).is_file() else [])
    more = _sweep(path) if (path / _POINTS).is_file() else _suite(path) if (path / "suite.json").is_file() else {}
    run = Run(name, rows, is_simulated=_is_simulated(path) or _is_simulated(path.parent), **more)
    return replace(run, views=_views(path, run))


def _is_simulated(folder: Path) -> bool:
    """Whether a folder is that of a suite of simulated data."""
    plan = None
    with contextlib.suppress(FileError):  # a folder of something else may hold anything under this name
        plan = read_object(folder / "suite.json", what="run").get("plan")
    return isinstance(plan, dict) and bool(plan.get("simulated"))


def _sweep(path: Path) -> dict[str, Any]:
    """What the folder of a sweep holds besides scores and views."""
    import pandas as pd

    about, fitted, table = path / "sweep.json", path / "transform.npz", path / "means.csv"
    found: dict[str, Any] = {
        "points": pd.DataFrame(read_rows(path / _POINTS, ("fold", "method", "status"), what="run"))
    }
    if about.is_file():
        found["record"] = read_object(about, what="run", fix=_FIX)
    if fitted.is_file():
        meta = LinearTransform.load(fitted).meta
        found |= {"choice": meta.get("sweep") or {}, "fits": {"the refitted choice": meta.get("fit") or {}}}
    if table.is_file():
        with reading(table, "run", _FIX):
            found["means"] = pd.read_csv(table)
            _ = found["means"][["method", "accuracy_cosine", "neighbours_kept", "front", "chosen"]]
    return found


def _suite(path: Path) -> dict[str, Any]:
    """The same of a suite."""
    record = read_object(path / "suite.json", what="run", fix=_FIX)
    with reading(path / "suite.json", "run", _FIX):
        _ = [record["plan"][key].keys() for key in ("arms", "networks", "tasks")]
    files = sorted((path / "transforms").rglob("*.npz"))
    fits = {
        f"{file.parent.name}, {file.stem}": LinearTransform.load(file).meta.get("fit") or {}
        for file in files
        if file.stem in record["plan"]["arms"]
    }
    return {"record": record, "fits": fits}


def _views(path: Path, run: Run) -> dict[str, dict[str, View]]:
    """The views of a folder, the baseline first, without those of arms that its suite has no more."""
    plan = run.record.get("plan") or {"arms": ("original", "chosen")}
    found: dict[str, dict[str, View]] = {}
    for file in sorted((path / "views").rglob("*.npz")):
        view = load_view(file)
        found.setdefault(str(view.meta.get("network") or run.name), {})[str(view.meta.get("arm"))] = view
    order = dict.fromkeys([run.baseline, *plan["arms"]])
    return {
        network: {arm: arms[arm] for arm in order if arm in arms}
        for network, arms in found.items()
        if network in plan.get("networks", found)
    }


def load_thumbnails(
    images: PathLike, runs: Sequence[Run], *, progress: Callable[[int], None] = lambda done: None
) -> dict[str, str]:
    """Shrink the images that have the names of the runs' objects to 64 pixels, as WebP in data URIs by name.

    Folder and extension do not count; of several images of a name the first is taken. `images` is what
    `glocal.extract.open_images` opens. Objects without a readable image are named in a DataWarning.

    Raises
    ------
    DataError
        No image has the name of an object.
    """
    from glocal.extract.images import Unreadable, open_images

    names = {name for run in runs for arms in run.views.values() for view in arms.values() for name in view.names}
    source, numbers = open_images(images), dict[str, int]()
    for number, held in enumerate(source.names):
        numbers.setdefault(_key(held), number)
    wanted = {name: numbers[_key(name)] for name in sorted(names) if _key(name) in numbers}
    if not wanted:
        raise DataError(
            f"no image in {source.described} has the name of an object: images are named like {source.names[0]}, "
            f"objects like {next(iter(names), 'none')}. Name images after objects; folder and extension do not count."
        )

    pictures = {}
    for done, (name, number) in enumerate(wanted.items(), start=1):
        progress(done)
        try:
            image = source.read(number, at_least=2 * _SIDE)
        except Unreadable:
            continue
        drawn = io.BytesIO()
        image.thumbnail((_SIDE, _SIDE))
        image.save(drawn, format="webp", quality=60, exif=b"", icc_profile=None)
        pictures[name] = f"data:image/webp;base64,{base64.b64encode(drawn.getvalue()).decode()}"
    if lacking := sorted(names - set(pictures)):
        some = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        warnings.warn(f"no readable image has the name of {some}.", DataWarning, stacklevel=2)
    return pictures


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", object_name(name))  # some file systems take letters and accents apart
