"""What a run folder holds, read back without data and without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.errors import FileError
from glocal.evaluation.views import View, load_view
from glocal.files import PathLike, one_line, read_object
from glocal.results import Score, read_rows, read_scores
from glocal.suite.table import score_frame
from glocal.suite.text import file_stems
from glocal.sweep.choice import METRICS
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    import pandas as pd

_ROWS = ("rows.jsonl", "scores.jsonl")
_POINTS = "points.jsonl"
_DONE = ("converged", "trivial")
_NEEDED = ("alpha", "lmbda", "tau", "accuracy_cosine")
MEASURED = (*METRICS, "evaluations", "seconds")
"""What a point of a sweep is scored by, and what it cost."""
_POINT_NUMBERS = (*_NEEDED, "mix", "eta", *MEASURED, "objective", "gap")


@dataclass(frozen=True, eq=False)
class SweepRun:
    """A sweep: its settings, points, means over folds and front (None while it is unfinished), and chosen transform."""

    name: str
    config: dict[str, Any]
    points: pd.DataFrame
    means: pd.DataFrame | None
    front: pd.DataFrame | None
    meta: dict[str, Any]

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The chosen setting with its means."""
        return self.meta.get("sweep", {}).get("best")

    @property
    def original(self) -> dict[str, Any] | None:
        """The means of the untransformed features."""
        if self.front is None:
            return None
        return next(iter(self.front[self.front["method"] == "original"].to_dict("records")), None)


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that a report shows.

    Parameters
    ----------
    names : tuple of str
        Of the folders.
    rows : DataFrame
        Scores, one column a field of `Score`; maybe none.
    sweeps : tuple of SweepRun
    views : dict
        Network → arm → View, the baseline first. The network of a sweep is its folder.
    suites : dict
        Folder → the content of its ``suite.json``.
    fits : dict
        Folder → {name: record of the fit} of the transforms of a suite.
    repeated : tuple of str
        Folders that score what a folder before them scores too: of such rows the last counts.
    """

    names: tuple[str, ...]
    rows: pd.DataFrame
    sweeps: tuple[SweepRun, ...] = ()
    views: dict[str, dict[str, View]] = field(default_factory=dict)
    suites: dict[str, dict[str, Any]] = field(default_factory=dict)
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()

    @property
    def baseline(self) -> str:
        """The arm that others are compared with."""
        return next((str(suite["plan"]["baseline"]) for suite in self.suites.values()), "original")

    @property
    def simulated(self) -> bool:
        """Whether the people of these scores are those of a simulated world."""
        return bool((self.rows["metric"] == "ceiling_people").any())


def load_run(folders: PathLike | Sequence[PathLike], progress: Callable[[int, int], None] | None = None) -> Run:
    """Read what ``glocal evaluate suite``, ``glocal sweep`` and ``glocal demo`` write.

    Parameters
    ----------
    folders : path or sequence of paths
        One or several, e.g. a suite and sweeps of the same networks. A folder stands for itself and for the run folders
        that lie in it, such as the sweeps of several networks.
        Of a folder with ``rows.jsonl`` the ``scores.jsonl`` that ``glocal demo`` writes beside it is not read.
    progress : function or None
        Called with the number of views that are read, and of all.

    Raises
    ------
    FileError
        A folder is missing, holds none of these, or a file in it is damaged.
    """
    paths = (
        [Path(folders)] if isinstance(folders, str) or not isinstance(folders, Sequence) else list(map(Path, folders))
    )
    paths = _run_folders(paths)
    scores: list[Score] = []
    sweeps: list[SweepRun] = []
    views: dict[str, dict[str, View]] = {}
    suites: dict[str, dict[str, Any]] = {}
    fits: dict[str, dict[str, Any]] = {}
    names = run_names(paths)
    scored: set[tuple[str | None, ...]] = set()
    repeated = []
    n_views, read = sum(len(list((path / "views").glob("*.npz"))) for path in paths), 0
    for path, name in zip(paths, names, strict=True):
        held = [file for file in _ROWS if (path / file).is_file()][:1]
        swept = (path / _POINTS).is_file()
        if swept and any((other / "suite.json").is_file() for other in paths):
            held = []  # NOTE a suite scores fold 0 and a sweep all folds: their numbers do not stand side by side
        found = [score for file in held for score in read_scores(path / file)]
        found = [replace(score, network=name) if swept else score for score in found]
        what = {(score.network, score.task, score.metric, score.transform) for score in found}
        repeated += [name] if what & scored else []
        scores, scored = scores + found, scored | what
        if swept:
            sweeps.append(_sweep(path, name))
        if (path / "suite.json").is_file():
            suites[name] = _suite(path / "suite.json")
            fits[name] = _fits(path, suites[name])
        known = _arms_of(suites[name]) if name in suites else None
        for file in sorted((path / "views").glob("*.npz")):
            view, read = load_view(file), read + 1
            if progress is not None:
                progress(read, n_views)
            network, arm = str(view.meta.get("network") or name), str(view.meta.get("arm", file.stem))
            seen = views.setdefault(network, {})
            # NOTE a folder may hold views of arms that its suite has no more, and older ones under another file name
            if known is None or ((network, arm) in known and (arm not in seen or known[network, arm] == file.stem)):
                seen[arm] = view
    views = {network: arms for network, arms in views.items() if arms}
    first = [network for suite in suites.values() for network in suite["plan"]["networks"] if network in views]
    views = {network: _ordered(views[network], suites) for network in dict.fromkeys([*first, *views])}
    return Run(tuple(names), score_frame(scores), tuple(sweeps), views, suites, fits, tuple(repeated))


def _run_folders(paths: Sequence[Path]) -> list[Path]:
    """The run folders among these and those that lie in them, each once."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
        runs = [folder for folder in (path, *inside) if any((folder / file).is_file() for file in (*_ROWS, _POINTS))]
        if not runs:
            raise FileError(
                f"{path} is not a run folder: it holds none of {', '.join(_ROWS)} and {_POINTS}, and nor does a folder "
                "in it. Give the folder that glocal evaluate suite --out or glocal sweep --out wrote."
            )
        found += runs
    return list(dict.fromkeys(found))


def run_names(paths: Sequence[Path]) -> list[str]:
    """The folders of a run as it calls them: by their own names where these differ."""
    short = [path.resolve().name for path in paths]
    longer = [f"{path.resolve().parent.name}/{path.resolve().name}" for path in paths]
    choices = (short, longer, [str(path.resolve()) for path in paths])
    return next((names for names in choices if len(set(names)) == len(names)), choices[-1])


def _sweep(path: Path, name: str) -> SweepRun:
    import pandas as pd

    config = _json(path / "sweep.json") if (path / "sweep.json").is_file() else {}
    if not isinstance(config.get("data", {}), dict):
        raise FileError(f"{path / 'sweep.json'} is not the record of a sweep. Run glocal sweep --resume again.")
    tables: list[pd.DataFrame | None] = []
    for file in ("means.csv", "front.csv"):
        try:
            tables.append(_table(path / file) if (path / file).is_file() else None)
        except (OSError, ValueError) as error:
            raise FileError(
                f"{path / file} is not the table of a sweep ({one_line(error)}). "
                "Run glocal sweep --resume to write it again."
            ) from error
    meta = LinearTransform.load(path / "transform.npz").meta if (path / "transform.npz").is_file() else {}
    if not isinstance(meta.get("fit", {}), dict) or ("sweep" in meta and not _is_choice(meta["sweep"])):
        raise FileError(
            f"{path / 'transform.npz'} is not a transform that a sweep chose: its record lacks the choice. Run glocal "
            "sweep --resume to write it again."
        )
    points = pd.DataFrame(read_rows(path / _POINTS, ("fold", "method", *_NEEDED)))
    points = points[points["method"] != "original"]
    if "status" in points:
        points = points.assign(converged=points["status"].isin(_DONE))
    return SweepRun(name, config, points, tables[0], tables[1], meta)


def _table(path: Path) -> pd.DataFrame:
    """Means over folds; a ValueError where they are not numbers."""
    import numpy as np
    import pandas as pd

    table = pd.read_csv(path)
    if "method" not in table:
        raise ValueError("it has no column method")
    for name in [name for name in _POINT_NUMBERS if name in table] + [f"{name}_se" for name in MEASURED]:
        if name in table:
            table[name] = pd.to_numeric(table[name])
            if np.isinf(table[name]).any():
                raise ValueError(f"its {name} is infinite")
    return table


def _is_choice(told: Any) -> bool:
    """Whether a sweep told what it chose, with settings and scores that are numbers or undefined."""
    best = told.get("best") if isinstance(told, dict) else None
    return (
        isinstance(best, dict)
        and isinstance(best.get("method"), str)
        and all(isinstance(best.get(name), int | float | None) for name in _POINT_NUMBERS)
    )


def _arms_of(suite: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """The networks and arms of a suite, and how files of them are called."""
    return file_stems(product(suite["plan"]["networks"], suite["plan"]["arms"]))


def _fits(path: Path, suite: dict[str, Any]) -> dict[str, Any]:
    """The records of the fits that belong to the suite as it is now."""
    found = {}
    for network, files in (suite.get("transforms") or {}).items():
        for arm, name in files.items():
            file = path / "transforms" / Path(str(name)).name
            if file.is_file():
                found[f"{network}, {arm}"] = LinearTransform.load(file).meta.get("fit", {})
    return found


def _ordered(arms: dict[str, View], suites: dict[str, dict[str, Any]]) -> dict[str, View]:
    """Arms in the order of the suite, the baseline first."""
    wanted = [arm for suite in suites.values() for arm in suite["plan"]["arms"]]
    baseline = {str(view.meta.get("baseline", "original")) for view in arms.values()}

    def place(arm: str) -> tuple[bool, int]:
        return arm not in baseline, wanted.index(arm) if arm in wanted else len(wanted)

    return {arm: arms[arm] for arm in sorted(arms, key=place)}


def _suite(path: Path) -> dict[str, Any]:
    suite = _json(path)
    plan = suite.get("plan")
    if not (
        isinstance(plan, dict)
        and {"baseline", "fold", "folds", "seed"} <= set(plan)
        and all(_of_objects(plan.get(name)) for name in ("networks", "arms", "tasks"))
        and _of_objects(suite.get("transforms") or {})
        and isinstance(record := suite.get("provenance") or {}, dict)
        and isinstance(record.get("data") or {}, dict)
    ):
        raise FileError(f"{path} is not a complete record of a suite. Run glocal evaluate suite again.")
    return suite


def _of_objects(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(part, dict) for part in value.values())


def _json(path: Path) -> dict[str, Any]:
    return read_object(path, what="run", fix="Run again what wrote it.")
