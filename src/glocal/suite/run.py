"""Run a suite: every task for every arm of every network, arms compared, one table, and where its rows come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal._version import __version__
from glocal.aligner import Arm, fit
from glocal.evaluation.baselines import baseline as cheap
from glocal.evaluation.intervals import KeptResult, Units, compared, holm
from glocal.evaluation.view import load_view, object_view, save_view
from glocal.files import PathLike, array_sha256, atomic_write, make_folder, read_npz, write_npz
from glocal.results import Provenance, Score, to_json
from glocal.suite.plan import OtherArm, Plan
from glocal.suite.sources import Sources
from glocal.suite.table import score_frame, score_table
from glocal.suite.tasks import StructureTask, Task
from glocal.transform import LinearTransform
from glocal.transform.formats import wrong_name

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]
Transforms = dict[str, LinearTransform | None]
_ARRAYS = ("values", "answers", "weights", "clusters")


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """All scores of a suite.

    Those of the metric ``…_difference`` are arm minus baseline with `p` and, corrected by Holm's steps for all
    comparisons of the suite, `p_holm`. `n_kept` cells were there before.
    """

    scores: tuple[Score, ...]
    n_kept: int

    @property
    def table(self) -> pd.DataFrame:
        """The first metric of each task, one line a network and arm, one column a task; see `score_table`."""
        return score_table(score_frame(self.scores))


def run_suite(plan: Plan, out: PathLike, progress: Progress | None = None) -> SuiteResult:
    """Score what has not been scored yet, compare the arms and write the folder of the suite.

    Arms are fitted without fold 0 of the objects, and scored on it: one fold, where a sweep scores all of them. The
    folder has ``rows.jsonl``, ``table.csv``, ``suite.json`` (the plan, and where the rows come from), and
    for each network and arm ``transforms/NETWORK/ARM.npz``, ``views/NETWORK/ARM.npz`` for a report, and
    ``cells/NETWORK/ARM/TASK.npz``. A file of these holds the hash of all that it was made from, and is made again where
    that changes.

    Parameters
    ----------
    plan : Plan
    out : path
        Folder of the suite.
    progress : function or None
        Called with what was done, the number of cells done, and their total.
    """
    folder, scores, kept, done = make_folder(out), list[Score](), 0, 0
    total = len(plan.networks) * len(plan.arms) * len(plan.tasks)
    read = [plan.sources(network) for network in plan.networks]
    for sources in read:
        transforms: Transforms = {arm: _transform(folder, plan, arm, sources) for arm in plan.arms}
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
    result = SuiteResult(tuple(_corrected(scores)), kept)
    texts = {
        "rows.jsonl": "".join(to_json(score.row()) + "\n" for score in result.scores),
        "table.csv": result.table.to_csv(index=False),
        "suite.json": to_json(_record(plan, read)) + "\n",
    }  # fmt: skip
    for name, text in texts.items():
        with atomic_write(folder / name) as stream:
            stream.write(text.encode())
    return result


def _transform(folder: Path, plan: Plan, name: str, sources: Sources) -> LinearTransform | None:
    """The transform of an arm, fitted if it has not been; None for the original features."""
    arm, network = plan.arms[name], sources.network
    if isinstance(arm, OtherArm) and arm.transform is not None:
        file = sources.path(arm.transform)
        return LinearTransform.from_pretrained(file if file.exists() else arm.transform)  # or a name
    if isinstance(arm, OtherArm) and arm.keep is None:
        return None if arm.baseline is None else cheap(arm.baseline, sources.objects)
    local = network.local if isinstance(arm, OtherArm) or arm.local else None
    path = folder / "transforms" / sources.name / f"{name}.npz"
    files = sources.hashes(network.features, local, plan.answers, plan.object_ids)
    key = _key(plan.model_dump(mode="json")["arms"][name], plan.seed, plan.folds, plan.kind, files)
    if path.exists() and (held := LinearTransform.load(path)).meta.get("key") == key:
        return held
    data = replace(sources.fold[0], local_features=None if local is None else sources.features(local))
    found = (fit(data, arm) if isinstance(arm, Arm) else fit(data, keep=arm.keep)).transform
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


def _corrected(scores: Sequence[Score]) -> Iterator[Score]:
    found = iter(holm([score.p for score in scores if score.p is not None]))
    for score in scores:
        yield score if score.p is None else replace(score, p_holm=next(found))


def _write_views(folder: Path, plan: Plan, sources: Sources, transforms: Transforms) -> None:
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


def _record(plan: Plan, read: Sequence[Sources]) -> dict[str, Any]:
    """The plan, the SHA-256 of every file that was read, version, seed and machine."""
    hashes: dict[str, str] = {}
    fitted = [arm.transform for arm in plan.arms.values() if isinstance(arm, OtherArm)]
    files = [file for task in plan.tasks.values() for file in task.files]
    for sources in read:
        network = sources.network
        shared = (network.features, network.local, plan.answers, plan.object_ids, plan.categories)
        hashes |= sources.hashes(*shared, *fitted, *files)
    told = {**plan.model_dump(mode="json", exclude_none=True), "fold": 0}
    return {"plan": told, "provenance": Provenance(__version__, hashes, plan.seed)}


def _content(transform: LinearTransform | None) -> str | None:
    """The hash of what a transform does; None for none."""
    return None if transform is None else array_sha256(np.vstack(transform.folded()))


def _key(*parts: Any) -> str:
    """A hash of all that a file is made from, and of the version of this package."""
    return hashlib.sha256(to_json([__version__, *parts]).encode()).hexdigest()
