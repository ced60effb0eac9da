"""Run a suite: every task for every arm of every network, and the arms compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glocal._version import __version__
from glocal.aligner import PaperLoop
from glocal.data.answers import Answers
from glocal.data.seen import Seen
from glocal.errors import DataWarning, warn
from glocal.evaluation.comparison import compared
from glocal.evaluation.view import Meta, change_record, load_view, object_view, save_view
from glocal.files import PathLike, make_folder, write_text
from glocal.jsonlines import write_rows
from glocal.results import Provenance, to_json
from glocal.scores import AGREEMENT, Score, Scores
from glocal.screen import COLUMNS, Printable
from glocal.similarity import Embedding
from glocal.suite.cells import (
    SEEN_OUTSIDE_FOLD,
    ArmResults,
    ArmTransforms,
    Cells,
    Progress,
    SuiteCell,
    npz_path,
    transform_content,
)
from glocal.suite.plan import Plan
from glocal.suite.sources import Sources
from glocal.suite.table import (
    UNIT_ROWS,
    corrected,
    long_scores,
    network_lines,
    score_lines,
    score_table,
)
from glocal.suite.tasks import OddOneOutTask, StructureTask

if TYPE_CHECKING:
    import pandas as pd

FOLD_0 = "fold 0"


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
        splits = {score.split for score in self.scores}
        for fold in sorted(splits):
            if not fold.startswith(FOLD_0):
                continue
            yield f"Arms are fitted without {fold}, and scored on it."
            if not fold.endswith("objects"):
                yield (
                    "These answers are about objects that the arms were fitted to; for new "
                    "objects, expect lower agreement."
                )
        if self.scores.network_gains:
            yield "Networks are compared on the same data; p after correction within a task."
        yield (
            f"* differs from {self.plan.baseline} (paired, p < 0.05 after Holm's correction for "
            "all comparisons)."
        )

    def text_lines(self, width: int = COLUMNS) -> list[str]:
        """The table as lines of text, which are blocks if it is wider than the screen."""
        lines = []
        if self.scores:
            lines = score_lines(self.scores, self.plan.baseline, width)
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
    networks = [plan.sources(network_name, force=force) for network_name in plan.networks]
    for sources in networks:
        _ = sources.objects  # raises before any fit if they do not belong to a transform
    folder = make_folder(out)
    cells = Cells(plan, folder / "cells", progress)
    scores: list[Score] = []
    for sources in networks:
        transforms = _arm_transforms(plan, sources, folder / "transforms")
        for task_name in plan.tasks:
            results = cells.results(sources, task_name, transforms)
            if results:
                _warn_of_seen(task_name, results)
                scores += _compared(plan, sources, task_name, results)
        for arm_name in plan.arms:
            _write_view(folder / "views", plan, sources, transforms, arm_name)
    network_gains = [*cells.network_gains()]
    all_scores = Scores(corrected(scores) + network_gains)
    _write_folder(folder, plan, networks, all_scores)
    return SuiteResult(all_scores, plan, cells.n_kept, cells.failed)


def _arm_transforms(plan: Plan, sources: Sources, folder: Path) -> ArmTransforms:
    """The transform of each arm of a network, which is fitted unless the folder has it."""
    transforms: ArmTransforms = {}
    for arm_name, arm in plan.arms.items():
        file = npz_path(folder, sources.name, arm_name)
        transforms[arm_name] = arm.transform_of(sources, file)
    return transforms


def _warn_of_seen(task_name: str, results: ArmResults) -> None:
    """Warn of arms that were fitted to the answers of a task."""
    for arm_name, result in results.items():
        first = result.scores[0]
        if first.metric not in AGREEMENT or first.seen_objects is None:
            continue
        seen = Seen(first.seen_answers, first.seen_objects)
        if seen == SEEN_OUTSIDE_FOLD["questions"]:  # the notes say that
            continue
        sentence = seen.warning()
        if sentence is not None:
            warn(f"{arm_name} on {task_name}: {sentence}", DataWarning)


def _compared(plan: Plan, sources: Sources, task_name: str, results: ArmResults) -> list[Score]:
    """The scores of all arms of a network on a task, and their differences from the baseline."""
    baseline = plan.baseline
    pairs = [(arm_name, baseline) for arm_name in plan.arms if arm_name != baseline]
    # the original features keep all neighbours by definition, so that testing this is trivial
    is_from_original = plan.arms[baseline].is_original
    is_structure = isinstance(plan.tasks[task_name], StructureTask)
    is_trivial = is_from_original and is_structure
    rows = []
    for score in compared(results, pairs):
        settings = {**score.settings, **sources.settings}
        row = replace(
            score,
            task=task_name,
            network=sources.name,
            p=None if is_trivial else score.p,
            settings=settings,
        )
        rows.append(row)
    return rows


def _write_view(
    folder: Path, plan: Plan, sources: Sources, transforms: ArmTransforms, arm_name: str
) -> None:
    """Write the view of an arm, unless the folder has it.

    The change that an arm makes is measured on answers that no arm was fitted to.
    """
    baseline = transforms[plan.baseline]
    transform = transforms[arm_name]
    view_key = sources.key(
        {"network": sources.name, "arm": arm_name},
        plan.baseline,
        sources.files.hashes(sources.network.features, plan.object_ids, plan.answers),
        [transform_content(baseline), transform_content(transform)],
    )
    file = npz_path(folder, sources.name, arm_name)
    if file.exists() and load_view(file).meta.get("key") == view_key:
        return
    objects = sources.objects.named(sources.object_ids)
    Z = sources.embedding(transform)(objects)
    answer_parts: list[tuple[Embedding, Answers]] = []
    is_unseen = None
    if plan.answers is not None:
        answer_parts.append((Z, sources.heldout_answers))
        arm = plan.arms[arm_name]
        seen = SuiteCell(OddOneOutTask(), arm, transform, sources).seen
        is_unseen = None if seen is None else seen.is_unseen
    meta = Meta(network=sources.name, arm=arm_name, key=view_key, change={})
    if arm_name != plan.baseline:
        meta["change"] = change_record(
            transform,
            objects,
            sources.embedding(baseline)(objects),
            answer_parts,
            is_unseen=is_unseen,
        )
    make_folder(file.parent)
    view = object_view(Z, objects.labels, meta=meta)
    save_view(view, file)


def _write_folder(folder: Path, plan: Plan, networks: Sequence[Sources], scores: Scores) -> None:
    """Write the rows, the table and the record."""
    data_hashes: dict[str, str] = {}
    for sources in networks:
        data_hashes |= sources.files.hashes_in_use
    settings = plan.model_dump(mode="json", exclude_none=True)
    provenance = Provenance(version=__version__, data=data_hashes, seed=plan.seed)
    record = {
        "plan": {**settings, "fold": 0},
        "provenance": provenance,
    }
    rows = (score.row() for score in scores)
    table = long_scores(scores).to_csv(index=False)
    write_rows(folder / "rows.jsonl", rows)
    write_text(folder / "scores.csv", table)
    write_text(folder / "suite.json", to_json(record) + "\n")
