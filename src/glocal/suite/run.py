"""Run a suite: every task for every arm of every network, arms compared, one table, and where its rows come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal._version import __version__
from glocal.evaluation.intervals import holm
from glocal.evaluation.result import KeptResult, difference_score
from glocal.files import PathLike, atomic_write, make_folder
from glocal.results import PEOPLE, Provenance, Score, to_json
from glocal.suite.cells import Cells
from glocal.suite.plan import Plan
from glocal.suite.sources import Sources
from glocal.suite.table import score_frame, score_table
from glocal.suite.text import csv, markdown
from glocal.suite.views import Views

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]


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

    That is ``rows.jsonl``, ``table.csv``, ``table.md``, ``suite.json`` (provenance) and ``views/`` (for a report).

    Parameters
    ----------
    plan : Plan
    out : path
        Folder of the suite; finished fits and cells in it are used again where their content is the same.
    progress : function or None
        Called with what was done, the number of cells done, and their total.

    Returns
    -------
    SuiteResult
    """
    folder = make_folder(out)
    cells = Cells(folder, plan)
    total, done, kept = len(plan.networks) * len(plan.arms) * len(plan.tasks), 0, 0
    scores: list[Score] = []
    read = [Sources(plan, network) for network in plan.networks]
    for sources in read:
        network = sources.network.name
        transforms = {}
        results: dict[str, dict[str, KeptResult]] = {task.name: {} for task in plan.tasks}
        for arm in plan.arms:
            transforms[arm.name] = cells.transform(arm, sources)
            for task in plan.tasks:
                results[task.name][arm.name], before = cells.found(task, arm, sources, transforms[arm.name])
                done, kept = done + 1, kept + before
                if progress is not None:
                    progress(f"{network}, {arm.name}, {task.name}", done, total)
        Views(folder, plan, sources).write(transforms)
        for name, by_arm in results.items():
            scores += [replace(one, task=name, network=network) for one in _compared(by_arm, plan.baseline)]
    result = SuiteResult(tuple(_corrected(scores)), kept)
    _write(folder, result)
    write_provenance(folder, plan, read, cells)
    return result


def _compared(results: Mapping[str, KeptResult], baseline: str) -> Iterator[Score]:
    """The scores of all arms in a task, those of people once, and each arm less the baseline.

    A difference is on the same answers, draws and classes, images, or objects: the mean of the paired units, which is
    the difference of the two scores that the table shows.
    """
    for arm, one in results.items():
        yield from (replace(score, transform=arm) for score in one.scores if score.transform != PEOPLE)
    base = results[baseline]
    yield from (score for score in base.scores if score.transform == PEOPLE)
    for arm, one in results.items():
        if arm != baseline and one.units is not None and base.units is not None:
            yield replace(difference_score(one.scores[0], one.units.less(base.units), baseline), transform=arm)


def _corrected(scores: Sequence[Score]) -> Iterator[Score]:
    found = iter(holm([score.p for score in scores if score.p is not None]))
    for score in scores:
        yield score if score.p is None else replace(score, p_holm=next(found))


def _write(folder: Path, result: SuiteResult) -> None:
    lines = "".join(to_json(score.row()) + "\n" for score in result.scores)
    table = result.table
    for name, text in (("rows.jsonl", lines), ("table.csv", csv(table)), ("table.md", markdown(table))):
        with atomic_write(folder / name) as stream:
            stream.write(text.encode())


def write_provenance(folder: Path, plan: Plan, sources: Sequence[Sources], cells: Cells) -> None:
    """Write the plan of a suite, the SHA-256 of every file it read, version, seed and machine, as one JSON object.

    Paths stand as the suite file gives them, ``{network}`` replaced; ``transforms`` names the file of each fitted arm.
    """
    fits: dict[str, dict[str, str]] = {one.network.name: {} for one in sources}
    for one, arm in product(sources, plan.arms):
        if (file := cells.file(arm, one)) is not None:
            fits[one.network.name][arm.name] = file.name
    record = {
        "plan": _plain(plan), "provenance": Provenance(__version__, _hashes(plan, sources), plan.seed),
        "transforms": fits,
    }  # fmt: skip
    with atomic_write(folder / "suite.json") as stream:
        stream.write((to_json(record) + "\n").encode())


def _plain(plan: Plan) -> dict[str, Any]:
    return {
        "networks": {network.name: {"features": network.features, "local": network.local} for network in plan.networks},
        "answers": dict(plan.answers), "arms": {arm.name: dict(arm.settings) for arm in plan.arms},
        "tasks": {task.name: {"kind": task.kind, **task.settings} for task in plan.tasks},
        "baseline": plan.baseline, "seed": plan.seed, "folds": plan.folds, "fold": plan.fold,
        "categories": plan.categories,
    }  # fmt: skip


def _hashes(plan: Plan, sources: Sequence[Sources]) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for one in sources:
        texts = [one.network.features, one.network.local, plan.categories, *plan.answers.values()]
        texts += [arm.settings.get("transform") for arm in plan.arms]
        texts += [value for task in plan.tasks for value in task.settings.values() if isinstance(value, str)]
        for text in texts:
            if text is not None and one.is_file(text):
                for name, sha256 in one.hashes(text).items():
                    hashes[name.replace("{network}", one.network.name)] = sha256
    return hashes
