"""Run a suite: every task for every arm of every network, and the arms compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal._version import __version__
from glocal.aligner import PaperLoop
from glocal.data.seen import Seen
from glocal.errors import DataWarning, PluginError, warn
from glocal.evaluation.comparison import Result, compared
from glocal.evaluation.view import Meta, change_record, load_view, object_view, save_view
from glocal.files import (
    PathLike,
    array_sha256,
    file_name,
    make_folder,
    write_text,
)
from glocal.jsonlines import write_rows
from glocal.results import Provenance, to_json
from glocal.scores import AGREEMENT, PEOPLE, Score, Scores
from glocal.screen import COLUMNS, Printable
from glocal.suite.arms import Arm
from glocal.suite.cells import CellFile
from glocal.suite.plan import Plan
from glocal.suite.sources import Sources
from glocal.suite.table import (
    UNIT_ROWS,
    corrected,
    long_scores,
    network_differences,
    network_lines,
    score_lines,
    score_table,
)
from glocal.suite.tasks import OddOneOutTask, StructureTask, Task
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    import pandas as pd

FOLD_0 = "fold 0"
_SEEN = {"objects": Seen(0.0, 0.0), "questions": Seen(0.0, 1.0)}
"""What a fit saw of the answers that a fold of objects or of questions holds out."""
Progress = Callable[[int, int, str], None]
Transforms = dict[str, LinearTransform | None]
"""The transform of each arm of a network; None for the original features."""
Results = dict[str, Result]
"""The result of each arm of a network on a task."""


@dataclass(frozen=True, eq=False, repr=False)
class SuiteResult(Printable):
    """All scores of a suite.

    A score whose metric ends in ``_difference`` is arm minus baseline, with its `p` and with
    `p_corrected`, which is corrected for all comparisons of the suite (Holm). `n_kept` is the
    number of cells that were reused, and `failed` says why tasks of other distributions have no
    scores.
    """

    scores: Scores
    plan: Plan
    n_kept: int
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """Say how to read the table."""
        return " ".join(self.notes())

    def notes(self) -> Iterator[str]:
        """Yield how to read the table, in sentences."""
        yield "In brackets 95 % intervals."
        if any(score.settings.get("normalize") for score in self.scores):
            yield UNIT_ROWS
        folds = {score.split for score in self.scores if score.split.startswith(FOLD_0)}
        for fold in sorted(folds):
            yield f"Arms are fitted without {fold}, and scored on it."
            if not fold.endswith("objects"):
                yield "These answers are about fitted objects; on new objects expect less."
        if self.scores.network_gains:
            yield "Networks are compared on the same data; p after correction within a task."
        yield (
            f"* differs from {self.plan.baseline} (paired, p < 0.05 after Holm's correction for "
            "all comparisons)."
        )

    def text_lines(self, width: int = COLUMNS) -> list[str]:
        """The table as lines of text, which are blocks if it is wider than the screen."""
        lines = score_lines(self.scores, self.plan.baseline, width) if self.scores else []
        return lines + network_lines(self.scores, width)

    def table(self) -> pd.DataFrame:
        """A line for each network and arm, and a column for each task, with 95 % intervals."""
        return score_table(self.scores, self.plan.baseline)


def run_suite(
    plan: Plan,
    out: PathLike,
    progress: Progress = lambda count, total, cell: None,
    *,
    force: bool = True,
) -> SuiteResult:
    """Score the cells that have no scores yet, compare the arms and write the folder of the suite.

    A cell is a task for an arm of a network. Arms are fitted without fold 0 of the objects,
    questions or people, and scored on it; a sweep, in contrast, scores all folds. The folder has
    ``rows.jsonl``, ``scores.csv``, ``suite.json`` (the plan and the provenance of the rows), and
    for each network and arm ``transforms/NETWORK/ARM.npz``, ``views/NETWORK/ARM.npz`` for a
    report, and ``cells/NETWORK/ARM/TASK.npz``. Each of these ``.npz`` files holds the hash of all
    that it was made from, and is made again if the hash changes.

    Parameters
    ----------
    out : path
        Folder of the suite.
    progress : function
        Called with the number of finished cells, the number of all cells, and the name of the cell.
    force : bool
        False: rows that do not belong to a transform are an error, not a warning; see
        `glocal.transform.checks.table_rows`.

    Raises
    ------
    FileError
        A file of a task or arm does not exist. This is checked before any fit.
    MissingDependencyError
        An arm of the paper's loop needs Lightning. This is checked before any fit.
    DataError
        `force` is False, and rows do not belong to a transform.
    """
    plan.check_files()
    if any(arm.solver for arm in plan.arms.values()):
        PaperLoop.check_installed()
    networks = [plan.sources(network, force=force) for network in plan.networks]
    for sources in networks:
        _ = sources.objects  # raises before any fit if they do not belong to a transform
    folder = make_folder(out)
    cells = _Cells(plan, folder / "cells", progress)
    scores: list[Score] = []
    for sources in networks:
        files = {name: _file(folder / "transforms", sources.name, name) for name in plan.arms}
        transforms: Transforms = {
            name: arm.transform_of(sources, files[name]) for name, arm in plan.arms.items()
        }
        for task in plan.tasks:
            if results := cells.results(sources, task, transforms):
                _warn_of_seen(task, results)
                scores += _compared(plan, sources, task, results)
        for name in plan.arms:
            _make_view(folder, plan, sources, transforms, name)
    all_scores = Scores((*corrected(scores), *cells.network_gains()))
    _write_folder(folder, plan, networks, all_scores)
    return SuiteResult(all_scores, plan, sum(cells.were_kept), cells.failed)


@dataclass
class _Cells:
    """The cells of a suite: their results by task and network, and why tasks failed."""

    plan: Plan
    folder: Path
    progress: Progress
    were_kept: list[bool] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    by_task: dict[str, dict[str, Results]] = field(default_factory=dict)

    def results(self, sources: Sources, task: str, transforms: Transforms) -> Results:
        """The results of a task for the arms of a network; empty if a plugin fails."""
        total = len(self.plan.networks) * len(self.plan.tasks) * len(transforms)
        results = {}
        for arm, transform in transforms.items():
            file = _file(self.folder, sources.name, arm, task)
            try:
                results[arm], was_kept = _cell(
                    file, self.plan.arms[arm], self.plan.tasks[task], sources, transform
                )
            except PluginError as error:
                self.failed[task] = str(error)
                return {}
            self.were_kept.append(was_kept)
            self.progress(len(self.were_kept), total, f"{sources.name}, {arm}, {task}")
        self.by_task.setdefault(task, {})[sources.name] = results
        return results

    def network_gains(self) -> Iterator[Score]:
        """Yield the networks that have the data of the first one, less the first one, by task."""
        for task, networks in self.by_task.items():
            first, *_ = networks.values()
            shared = _shared_hash(first)
            same = {name: arms for name, arms in networks.items() if _shared_hash(arms) == shared}
            if shared:
                yield from (replace(row, task=task) for row in network_differences(same))


def _file(folder: Path, *names: str) -> Path:
    """The file of a network, an arm or a task in a folder; no part of its path has a blank."""
    *parents, name = map(file_name, names)
    return folder.joinpath(*parents, f"{name}.npz")


def _warn_of_seen(task: str, results: Results) -> None:
    """Warn of arms that were fitted to the answers of a task."""
    for arm, result in results.items():
        first = result.scores[0]
        if first.metric in AGREEMENT and first.seen_objects is not None:
            shares = Seen(first.seen_answers, first.seen_objects)
            sentence = shares.warning()
            if sentence is not None and shares != _SEEN["questions"]:  # the notes say that
                warn(f"{arm} on {task}: {sentence}", DataWarning)


def _compared(plan: Plan, sources: Sources, task: str, results: Results) -> list[Score]:
    """The scores of all arms of a network on a task, and their differences from the baseline."""
    # the original features keep all neighbours by definition, so that testing this is trivial
    is_of_original = plan.arms[plan.baseline].is_original
    is_trivial = is_of_original and isinstance(plan.tasks[task], StructureTask)
    pairs = [(arm, plan.baseline) for arm in plan.arms if arm != plan.baseline]
    return [
        replace(
            score,
            task=task,
            network=sources.name,
            p=None if is_trivial else score.p,
            settings={**score.settings, **sources.settings},
        )
        for score in compared(results, pairs)
    ]


def _shared_hash(results: Results) -> str:
    """The hash of the answers, RDMs or labels of a task; empty if it has none."""
    return str(next(iter(results.values())).values["shared"])


def _cell(
    path: Path, arm: Arm, task: Task, sources: Sources, transform: LinearTransform | None
) -> tuple[Result, bool]:
    """The result of a task for an arm, and whether it was read from the file of the cell."""
    file = CellFile(path, _cell_key(task, sources, transform))
    result = file.read()
    if result is not None:
        return result, True
    file.write(_measured(arm, task, sources, transform), _shared_data_hash(task, sources))
    result = file.read()
    assert result is not None
    return result, False


def _cell_key(task: Task, sources: Sources, transform: LinearTransform | None) -> str:
    """The hash of all that the result of a task is made from."""
    files: list[Path | None] = [sources.network.features, *task.paths]
    if task.reads_answers:  # those of a fit are in the content of its transform
        files += [sources.shared.answers, sources.shared.object_ids]
    has_fits = task.split is None and sources.has_fits
    options = task.model_dump(mode="json")
    return sources.key(options, sources.hashes(*files), _content(transform), has_fits)


def _measured(arm: Arm, task: Task, sources: Sources, transform: LinearTransform | None) -> Result:
    """Score a task for an arm; each row names its split, and what the arm had seen of it."""
    result = task.score(sources, sources.embedding(transform))
    split = sources.split_name if task.split is None else sources.text(task.split)
    shares = _seen(arm, task, sources, transform)
    seen = {} if shares is None else shares.fields
    rows = [
        replace(score, split=split, **({} if score.transform == PEOPLE else seen))
        for score in result.scores
    ]
    return replace(result, scores=tuple(rows))


def _shared_data_hash(task: Task, sources: Sources) -> str:
    """The hash of the answers, RDMs or labels of a task by object; empty if it has none."""
    data = task.shared_data(sources)
    return "" if data is None else hashlib.sha256(to_json(data).encode()).hexdigest()


def _seen(arm: Arm, task: Task, sources: Sources, transform: LinearTransform | None) -> Seen | None:
    """What an arm was fitted to of the answers of a task; None if not known or without answers."""
    if not arm.is_fitted:
        return task.seen(sources, None if arm.transform is None else transform)
    if task.split is not None or sources.fold.unit == "people":
        return task.seen(sources, transform)
    return None if task.seen(sources, None) is None else _SEEN[sources.fold.unit]


def _make_view(
    folder: Path, plan: Plan, sources: Sources, transforms: Transforms, name: str
) -> None:
    """Write the view of an arm, unless the folder has it.

    The change that an arm makes is measured on answers that no arm was fitted to.
    """
    arms = [transforms[plan.baseline], transforms[name]]
    meta: dict[str, Any] = {"network": sources.name, "arm": name}
    hashes = sources.hashes(sources.network.features, plan.object_ids, plan.answers)
    key = sources.key(meta, plan.baseline, hashes, list(map(_content, arms)))
    file = _file(folder / "views", sources.name, name)

    if file.exists() and load_view(file).meta.get("key") == key:
        return
    objects = sources.objects.named(sources.object_ids)
    X, Z = (sources.embedding(transform)(objects) for transform in arms)
    parts = []
    is_unseen = None
    if plan.answers is not None:
        parts.append((Z, sources.heldout_answers))
        shares = _seen(plan.arms[name], OddOneOutTask(), sources, transforms[name])
        is_unseen = None if shares is None else shares.is_unseen
    view = Meta(network=sources.name, arm=name, key=key, change={})
    if name != plan.baseline:
        view["change"] = change_record(transforms[name], objects, X, parts, is_unseen=is_unseen)
    make_folder(file.parent)
    save_view(object_view(Z, objects.labels, meta=view), file)


def _write_folder(folder: Path, plan: Plan, networks: list[Sources], scores: Scores) -> None:
    """Write the rows, the table and the record."""
    settings = {**plan.model_dump(mode="json", exclude_none=True), "fold": 0}
    hashes = {file: value for sources in networks for file, value in sources.hashed.items()}
    record = {
        "plan": settings,
        "provenance": Provenance(version=__version__, data=hashes, seed=plan.seed),
    }
    write_rows(folder / "rows.jsonl", (score.row() for score in scores))
    write_text(folder / "scores.csv", long_scores(scores).to_csv(index=False))
    write_text(folder / "suite.json", to_json(record) + "\n")


def _content(transform: LinearTransform | None) -> list[Any]:
    """What a transform is: the hash of its map, and its record; empty for the original features."""
    if transform is None:
        return []
    return [array_sha256(np.vstack(transform.folded())), transform.record.model_dump(mode="json")]
