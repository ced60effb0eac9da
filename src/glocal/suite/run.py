"""Run a suite: every task for every arm of every network, arms compared, and one table of arms × tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal._version import __version__
from glocal.aligner import Arm, fit
from glocal.evaluation.intervals import KeptResult, Units, compared, holm
from glocal.evaluation.view import load_view, object_view, save_view
from glocal.files import PathLike, array_sha256, make_folder, read_npz, write_npz, write_text
from glocal.results import DIFFERENCE, PEOPLE, Provenance, Score, to_json
from glocal.suite.plan import OtherArm, Plan
from glocal.suite.sources import Sources
from glocal.suite.tasks import StructureTask, Task
from glocal.transform import LinearTransform
from glocal.transform.formats import wrong_name
from glocal.transform.rows import baseline as cheap

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]
_ARRAYS = ("values", "answers", "weights", "clusters")


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """All scores of a suite.

    Those of the metric ``…_difference`` are arm minus baseline with `p` and, corrected by Holm's steps for all
    comparisons of the suite, `p_holm`. `table` is their `score_table`; `n_kept` cells were there before.
    """

    scores: tuple[Score, ...]
    table: pd.DataFrame
    n_kept: int


def run_suite(plan: Plan, out: PathLike, progress: Progress | None = None) -> SuiteResult:
    """Score what has not been scored yet, compare the arms and write the folder of the suite.

    Arms are fitted without fold 0 of the objects, and scored on it: one fold, where a sweep scores all of them. The
    folder has ``rows.jsonl``, ``table.csv``, ``suite.json`` (the plan, and where the rows come from), and for each
    network and arm ``transforms/NETWORK/ARM.npz``, ``views/NETWORK/ARM.npz`` for a report, and
    ``cells/NETWORK/ARM/TASK.npz``. A file of these holds the hash of all that it was made from, and is made again where
    that changes.

    Parameters
    ----------
    out : path
        Folder of the suite.
    progress : function or None
        Called with what was done, the number of cells done, and their total.
    """
    folder, scores, kept, done = make_folder(out), list[Score](), 0, 0
    total = len(plan.networks) * len(plan.arms) * len(plan.tasks)
    read = [plan.sources(network) for network in plan.networks]
    for sources in read:
        transforms = {arm: _transform(folder, plan, arm, sources) for arm in plan.arms}
        for name, task in plan.tasks.items():
            results = {}
            for arm, transform in transforms.items():
                path = folder / "cells" / sources.name / arm / f"{name}.npz"
                results[arm], before = _cell(path, plan, task, sources, transform)
                kept, done = kept + before, done + 1
                if progress is not None:
                    progress(f"{sources.name}, {arm}, {name}", done, total)
            for score in compared(results, [(arm, plan.baseline) for arm in results if arm != plan.baseline]):
                # the original features keep all their neighbours by definition: that others lose some is no finding
                sure = isinstance(task, StructureTask) and transforms[plan.baseline] is None
                scores.append(replace(score, task=name, network=sources.name, p=None if sure else score.p))
        _write_views(folder, plan, sources, transforms)
    corrected = iter(holm([score.p for score in scores if score.p is not None]))
    scores = [score if score.p is None else replace(score, p_holm=next(corrected)) for score in scores]
    table = score_table(score_frame(scores))
    told = {**plan.model_dump(mode="json", exclude_none=True), "fold": 0}
    hashes = {file: value for sources in read for file, value in sources.hashed.items()}
    texts = {
        "rows.jsonl": "".join(to_json(score.row()) + "\n" for score in scores),
        "table.csv": table.to_csv(index=False),
        "suite.json": to_json({"plan": told, "provenance": Provenance(__version__, hashes, plan.seed)}) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return SuiteResult(tuple(scores), table, kept)


def _transform(folder: Path, plan: Plan, name: str, sources: Sources) -> LinearTransform | None:
    """The transform of an arm, fitted if it has not been; None for the original features."""
    arm, network = plan.arms[name], sources.network
    if isinstance(arm, OtherArm) and arm.transform is not None:
        file, _ = sources.path(arm.transform), sources.hashes(arm.transform)
        return LinearTransform.from_pretrained(file if file.exists() else arm.transform)  # or a name
    if isinstance(arm, OtherArm) and arm.keep is None:
        return None if arm.baseline is None else cheap(arm.baseline, sources.objects)
    local = network.local if isinstance(arm, OtherArm) or arm.local else None
    path = folder / "transforms" / sources.name / f"{name}.npz"
    files = sources.hashes(network.features, local, plan.answers, plan.object_ids)
    key = _key(arm.model_dump(mode="json"), plan.seed, plan.folds, plan.kind, files)
    if path.exists() and (held := LinearTransform.load(path)).meta.get("key") == key:
        return held
    data = replace(sources.fold[0], local_features=None if local is None else sources.features(local))
    what = arm if isinstance(arm, Arm) else Keep(keep=arm.keep)
    found = fit(data, what, holdout=0).transform
    found = replace(found, meta={**found.meta, "key": key})
    make_folder(path.parent)
    found.save(path)
    return found


def _cell(
    path: Path, plan: Plan, task: Task, sources: Sources, transform: LinearTransform | None
) -> tuple[KeptResult, bool]:
    """What a task found about an arm, and whether it was found before."""
    files = sources.hashes(sources.network.features, *task.files, plan.answers, plan.object_ids)
    key = _key(task.model_dump(mode="json"), plan.seed, plan.folds, plan.kind, files, _content(transform))
    if path.exists():
        fix = "Delete it: its task is scored anew."
        arrays = read_npz(path, what="cell", fix=fix, required=("key", "scores"), optional=_ARRAYS)
        if str(arrays.pop("key")) == key:
            scores = tuple(Score.of(row) for row in json.loads(str(arrays.pop("scores"))))
            return KeptResult(scores, Units(**arrays) if arrays else None), True
    found = task.score(sources, sources.embedding(transform))
    split = f"fold 0 of {plan.folds}" if task.split is None else str(task.split)
    scores = tuple(replace(one, split=split) for one in found.scores)
    units = {} if found.units is None else {name: getattr(found.units, name) for name in _ARRAYS}
    make_folder(path.parent)
    write_npz(path, {"key": np.array(key), "scores": np.array(to_json([asdict(one) for one in scores])), **units})
    return KeptResult(scores, found.units), False


def _write_views(folder: Path, plan: Plan, sources: Sources, transforms: dict[str, LinearTransform | None]) -> None:
    """Look at every arm beside the baseline, where the folder does not hold that view yet."""
    baseline = None
    files = sources.hashes(sources.network.features, plan.object_ids, plan.categories)
    for name in sorted(plan.arms, key=lambda name: name != plan.baseline):
        arm, transform = plan.arms[name], transforms[name]
        notes = []  # what must be said of a transform that was not fitted here
        if isinstance(arm, OtherArm) and arm.transform is not None and transform is not None:
            notes = list(filter(None, [wrong_name(sources.path(arm.transform), transform.weights)]))
        made = [_content(one) for one in (transform, transforms[plan.baseline])]
        meta = {"network": sources.name, "arm": name, "notes": notes}
        key = _key(meta, plan.baseline, files, made)
        path = folder / "views" / sources.name / f"{name}.npz"
        view = load_view(path) if path.exists() else None
        if view is None or view.meta.get("key") != key:
            Z = sources.embedding(transform)(sources.objects)
            meta |= {"key": key}
            view = object_view(Z, sources.names, categories=sources.categories, baseline=baseline, meta=meta)
            make_folder(path.parent)
            save_view(view, path)
        baseline = baseline or view


def _content(transform: LinearTransform | None) -> str | None:
    """The hash of what a transform does; None for none."""
    return None if transform is None else array_sha256(np.vstack(transform.folded()))


def _key(*parts: Any) -> str:
    """A hash of all that a file is made from, and of the version of this package."""
    return hashlib.sha256(to_json([__version__, *parts]).encode()).hexdigest()


def score_frame(scores: Iterable[Score]) -> pd.DataFrame:
    """Rows as a data frame, one column a field; no network is an empty name."""
    import pandas as pd

    frame = pd.DataFrame([vars(score) for score in scores], columns=[field.name for field in fields(Score)])
    frame["network"] = frame["network"].fillna("")
    for column in ("value", "low", "high", "n", "p", "p_holm"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame


def main_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The first metric of each task, one row a network, task and arm, with `difference` and `p_holm` if compared.

    A metric with other settings is another one. Of rows that were appended several times the last counts.
    """
    gains, place = differences(rows), ["network", "task", "transform", "metric"]
    plain = rows[(rows["transform"] != PEOPLE) & ~rows.index.isin(gains.index)]
    metric = plain["metric"] + plain["settings"].astype(str)
    main = plain[metric == metric.groupby(plain["task"], sort=False).transform("first")]
    main, gains = main.drop_duplicates(place[:3], keep="last"), gains.drop_duplicates(place, keep="last")
    gains = gains.assign(metric=gains["metric"].str.removesuffix(DIFFERENCE), difference=gains["value"])
    return main.drop(columns=["p", "p_holm"]).merge(gains[[*place, "difference", "p_holm"]], on=place, how="left")


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of arm minus baseline."""
    return rows[rows["metric"].str.endswith(DIFFERENCE)]


def score_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a network and arm, one column a task: ``value [low, high]``, ``*`` where it differs from the baseline.

    Differences are paired, p < 0.05 after Holm's correction over all comparisons of the suite.
    """
    import pandas as pd

    main, place = main_rows(rows), ["network", "transform"]
    cells = main.assign(cell=list(map(cell, main.to_dict("records")))).pivot(index=place, columns="task", values="cell")
    order = pd.MultiIndex.from_frame(main[place].drop_duplicates())
    table = cells.reindex(index=order, columns=main["task"].unique()).fillna("-").reset_index()
    table = table.rename(columns={"transform": "arm"}).rename_axis(columns=None)
    return table.drop(columns="network") if (table["network"] == "").all() else table


def cell(row: dict[Any, Any]) -> str:
    """``0.480 [0.460, 0.499]*``."""
    if row["value"] != row["value"]:
        return "-"
    interval = " (no interval)" if row["low"] != row["low"] else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{interval}" + ("*" if row["p_holm"] < 0.05 else "")
