"""Run a suite: every task for every arm of every network, arms compared, one table, and where its rows come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal._version import __version__
from glocal.aligner import fit
from glocal.arrays import read_npz, write_npz
from glocal.evaluation.baselines import baseline as cheap
from glocal.evaluation.intervals import Units, holm
from glocal.evaluation.result import KeptResult, difference_score
from glocal.evaluation.view import load_view, object_view, save_view
from glocal.files import PathLike, array_sha256, atomic_write, make_folder
from glocal.results import PEOPLE, Provenance, Score, to_json
from glocal.suite.plan import NamedArm, Plan, Task
from glocal.suite.sources import Sources
from glocal.suite.table import score_frame, score_table
from glocal.suite.tasks import Embed, perform
from glocal.suite.text import csv, markdown
from glocal.transform import LinearTransform, check_rows
from glocal.transform.files import wrong_name

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
    def rows(self) -> pd.DataFrame:
        """The scores as a data frame."""
        return score_frame(self.scores)

    @property
    def table(self) -> pd.DataFrame:
        """The first metric of each task, one line a network and arm, one column a task; see `score_table`."""
        return score_table(self.rows)


def run_suite(plan: Plan, out: PathLike, progress: Progress | None = None) -> SuiteResult:
    """Score what has not been scored yet, compare the arms and write the folder of the suite.

    Arms are fitted without fold 0 of the objects, and scored on it: one fold, where a sweep scores all of them. The
    folder has ``rows.jsonl``, ``table.csv``, ``table.md``, ``suite.json`` (the plan, and where the rows come from), and
    for each network and arm ``transforms/NETWORK-ARM.npz``, ``views/NETWORK-ARM.npz`` for a report, and
    ``cells/NETWORK-ARM-TASK.npz``. A file of these holds the hash of all that it was made from, and is made again where
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
    for name in ("transforms", "cells", "views"):
        make_folder(folder / name)
    total = len(plan.networks) * len(plan.arms) * len(plan.tasks)
    read = [Sources(plan, network) for network in plan.networks]
    for sources in read:
        network = sources.network.name
        transforms: Transforms = {arm.name: _transform(folder, plan, arm, sources) for arm in plan.arms}
        for task in plan.tasks:
            results = {}
            for arm in plan.arms:
                results[arm.name], before = _cell(folder, plan, task, arm, sources, transforms[arm.name])
                kept, done = kept + before, done + 1
                if progress is not None:
                    progress(f"{network}, {arm.name}, {task.name}", done, total)
            scored = _compared(results, plan.baseline, task, transforms[plan.baseline])
            scores += [replace(score, task=task.name, network=network) for score in scored]
        _write_views(folder, plan, sources, transforms)
    result = SuiteResult(tuple(_corrected(scores)), kept)
    rows, table = "".join(to_json(score.row()) + "\n" for score in result.scores), result.table
    record = to_json(_record(plan, read)) + "\n"
    for name, text in (("rows.jsonl", rows), ("table.csv", csv(table)), ("table.md", markdown(table)),
                       ("suite.json", record)):  # fmt: skip
        with atomic_write(folder / name) as stream:
            stream.write(text.encode())
    return result


def _transform(folder: Path, plan: Plan, arm: NamedArm, sources: Sources) -> LinearTransform | None:
    """The transform of an arm, fitted if it has not been; None for the original features."""
    if "transform" in arm.settings:
        given = LinearTransform.load(sources.path(arm.settings["transform"]))
        check_rows(given, sources.objects)
        return given
    if "baseline" in arm.settings:
        return cheap(arm.settings["baseline"], sources.objects)
    network, one = sources.network, arm.arm
    if one is None:
        return None
    local = network.local if one.local else None
    path = folder / "transforms" / f"{plan.stems[network.name, arm.name]}.npz"
    files = sources.hashes(network.features, local, plan.answers, plan.object_ids)
    key = _key(arm.settings, plan.seed, plan.folds, plan.kind, files)
    if path.exists() and (held := LinearTransform.load(path)).meta.get("key") == key:
        return held
    data = replace(sources.fold[0], local_features=None if local is None else sources.features(local))
    found = fit(data, one).transform
    found = replace(found, meta={**found.meta, "key": key})
    found.save(path)
    return found


def _cell(
    folder: Path, plan: Plan, task: Task, arm: NamedArm, sources: Sources, transform: LinearTransform | None
) -> tuple[KeptResult, bool]:
    """What a task found about an arm, and whether it was found before."""
    network = sources.network
    path = folder / "cells" / f"{plan.stems[network.name, arm.name, task.name]}.npz"
    people = (plan.answers, plan.object_ids) if task.kind in ("odd-one-out", "rsa") else ()
    files = sources.hashes(network.features, *task.files, *people)
    key = _key(task.kind, task.settings, plan.seed, plan.folds, plan.kind, files, _content(transform))
    if path.exists():
        fix = "Delete it: its task is scored anew."
        arrays = read_npz(path, what="cell", fix=fix, required=("key", "scores"), optional=_ARRAYS)
        if str(arrays.pop("key")) == key:
            scores = tuple(Score.of(row) for row in json.loads(str(arrays.pop("scores"))))
            return KeptResult(scores, Units(**arrays) if arrays else None), True
    found = perform(task, sources, _embedding(sources, transform), f"fold 0 of {plan.folds}", plan.seed)
    units = {} if found.units is None else {name: getattr(found.units, name) for name in _ARRAYS}
    write_npz(path, {"key": np.array(key), "scores": np.array(to_json([asdict(one) for one in found.scores])), **units})
    return found, False


def _embedding(sources: Sources, transform: LinearTransform | None) -> Embed:
    """Features → standardized rows by the scalars of the objects, or what the transform makes of them."""
    if transform is None:
        return lambda features: sources.objects.standardization(features.matrix, "float64")
    return lambda features: transform.apply(np.asarray(features.matrix, dtype=np.float64))


def _compared(
    results: Mapping[str, KeptResult], baseline: str, task: Task, transform: LinearTransform | None
) -> Iterator[Score]:
    """The scores of all arms in a task, those of people once, and each arm less the baseline.

    A difference is on the same answers, draws and classes, images, or objects: the mean of the paired units, which is
    the difference of the two scores that the table shows. The original features keep all their neighbours by
    definition: a difference from them has no p-value.
    """
    for arm, one in results.items():
        yield from (replace(score, transform=arm) for score in one.scores if score.transform != PEOPLE)
    base = results[baseline]
    yield from (score for score in base.scores if score.transform == PEOPLE)
    for arm, one in results.items():
        if arm != baseline and one.units is not None and base.units is not None:
            found = difference_score(one.scores[0], one.units.less(base.units), baseline)
            sure = task.kind == "structure" and transform is None
            yield replace(found, transform=arm, p=None if sure else found.p)


def _corrected(scores: Sequence[Score]) -> Iterator[Score]:
    found = iter(holm([score.p for score in scores if score.p is not None]))
    for score in scores:
        yield score if score.p is None else replace(score, p_holm=next(found))


def _write_views(folder: Path, plan: Plan, sources: Sources, transforms: Transforms) -> None:
    """Look at every arm beside the baseline, where the folder does not hold that view yet."""
    network, baseline = sources.network, None
    files = sources.hashes(network.features, plan.object_ids, plan.categories)
    for arm in sorted(plan.arms, key=lambda arm: arm.name != plan.baseline):
        transform, notes = transforms[arm.name], _notes(arm, sources, transforms[arm.name])
        path = folder / "views" / f"{plan.stems[network.name, arm.name]}.npz"
        made = [_content(one) for one in (transform, transforms[plan.baseline])]
        key = _key(network.name, arm.name, plan.baseline, notes, files, made)
        view = load_view(path) if path.exists() else None
        if view is None or view.meta.get("key") != key:
            meta = {"key": key, "network": network.name, "arm": arm.name, "notes": notes}
            Z = _embedding(sources, transform)(sources.objects)
            view = object_view(Z, sources.names, categories=sources.categories, baseline=baseline, meta=meta)
            save_view(view, path)
        baseline = baseline or view


def _notes(arm: NamedArm, sources: Sources, transform: LinearTransform | None) -> list[str]:
    """What must be said of a transform that was not fitted here."""
    if transform is None or "transform" not in arm.settings:
        return []
    said = wrong_name(sources.path(arm.settings["transform"]), transform.weights)
    return [] if said is None else [said]


def _record(plan: Plan, read: Sequence[Sources]) -> dict[str, Any]:
    """The plan, the SHA-256 of every file that was read, version, seed and machine, and the file of each fitted arm."""
    hashes: dict[str, str] = {}
    for sources in read:
        texts = [sources.network.features, sources.network.local, plan.answers, plan.object_ids, plan.categories]
        texts += [arm.settings.get("transform") for arm in plan.arms]
        hashes |= sources.hashes(*texts, *(file for task in plan.tasks for file in task.files))
    told: dict[str, Any] = {
        "networks": {one.name: {"features": one.features, "local": one.local} for one in plan.networks},
        "arms": {arm.name: dict(arm.settings) for arm in plan.arms},
        "tasks": {task.name: {"kind": task.kind, **task.settings} for task in plan.tasks},
        **{key: getattr(plan, key) for key in ("answers", "object_ids", "baseline", "seed", "folds", "categories")},
        "fold": 0,
    }  # fmt: skip
    fitted = [arm.name for arm in plan.arms if arm.arm is not None]
    files = {network.name: {arm: f"{plan.stems[network.name, arm]}.npz" for arm in fitted} for network in plan.networks}
    return {"plan": told, "provenance": Provenance(__version__, hashes, plan.seed), "transforms": files}


def _content(transform: LinearTransform | None) -> str | None:
    """The hash of what a transform does; None for none."""
    if transform is None:
        return None
    parts = [transform.weights, transform.bias, transform.mean, transform.std]
    return _key([None if part is None else array_sha256(np.atleast_1d(part)) for part in parts])


def _key(*parts: Any) -> str:
    """A hash of all that a file is made from, and of the version of this package."""
    return hashlib.sha256(to_json([__version__, *parts]).encode()).hexdigest()
