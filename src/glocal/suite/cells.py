"""The cells of a suite: a task for an arm of a network, and the file of its scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glocal.data.seen import Seen
from glocal.errors import PluginError
from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import EpisodeValues
from glocal.evaluation.intervals import CrossedValues, ItemValues, ObjectValues, Units
from glocal.files import (
    array_sha256,
    file_name,
    make_folder,
    read_npz,
    write_npz,
)
from glocal.results import Record, to_json
from glocal.scores import PEOPLE, Score
from glocal.suite.arms import Arm
from glocal.suite.plan import Plan
from glocal.suite.sources import Sources
from glocal.suite.table import network_differences
from glocal.suite.tasks import Task
from glocal.transform import LinearTransform

Progress = Callable[[int, int, str], None]
"""Called with the number of finished cells, the number of all cells, and the name of the cell."""
ArmTransforms = dict[str, LinearTransform | None]
"""The transform of each arm of a network; None for the original features."""
ArmResults = dict[str, Result]
"""The result of each arm of a network on a task."""
SEEN_OUTSIDE_FOLD = {
    "objects": Seen(questions=0.0, objects=0.0),
    "questions": Seen(questions=0.0, objects=1.0),
}
"""What a fit saw of the answers that a fold of objects or of questions holds out."""

_UNIT_CLASSES = (ItemValues, ObjectValues, CrossedValues, EpisodeValues)
_UNITS: dict[str, Callable[..., Units]] = {each.__name__: each for each in _UNIT_CLASSES}
_ARRAYS = tuple({part.name for each in _UNIT_CLASSES for part in fields(each)})
_FIX = "Delete it; the task will then be scored again."


class Measurement(NamedTuple):
    """The result of a cell, and the hash of the answers, RDMs or labels behind it.

    Networks are compared if they have the same hash; it is empty if there are no such data.
    """

    result: Result
    shared_hash: str


class _CellRecord(Record):
    """What the file of a cell holds beside the arrays of its units."""

    key: str
    shared: str
    units: str
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class CellFile:
    """The file of a cell, and the hash of all that its result is made from."""

    path: Path
    key: str

    def read(self) -> Measurement | None:
        """The measurement in the file; None if there is none, or if other inputs were measured."""
        if not self.path.exists():
            return None
        arrays = read_npz(
            self.path,
            what="cell",
            fix=_FIX,
            required=["record"],
            optional=_ARRAYS,
        )
        text = str(arrays.pop("record"))
        record = _CellRecord.model_validate_json(text)
        if record.key != self.key:
            return None
        values = {name: _unit_field(name, array) for name, array in arrays.items()}
        units = _UNITS[record.units](**values)
        result = Result(record.scores, units)
        return Measurement(result, record.shared)

    def write(self, measurement: Measurement) -> None:
        """Write a measurement."""
        result = measurement.result
        record = _CellRecord(
            key=self.key,
            shared=measurement.shared_hash,
            units=type(result.units).__name__,
            scores=result.scores,
        )
        text = np.array(to_json(record))
        arrays = {"record": text, **vars(result.units)}
        make_folder(self.path.parent)
        write_npz(self.path, arrays)


def _unit_field(name: str, array: np.ndarray) -> np.ndarray | float | tuple[float, ...]:
    """The value of a field of units, as it was before it became an array of a file."""
    if name == "limits":
        return tuple(array.tolist())
    if array.ndim == 0:
        return array.item()
    return array


@dataclass(frozen=True, eq=False)
class SuiteCell:
    """A task for an arm of a network; `transform` is None for the original features."""

    task: Task
    arm: Arm
    transform: LinearTransform | None
    sources: Sources

    @property
    def key(self) -> str:
        """The hash of all that the scores are made from."""
        task = self.task
        sources = self.sources
        files: list[Path | None] = [sources.network.features, *task.paths]
        if task.reads_answers:  # the answers of a fit are in the content of its transform
            files.append(sources.shared.answers)
            files.append(sources.shared.object_ids)
        options = task.model_dump(mode="json")
        file_hashes = sources.files.hashes(*files)
        is_heldout = task.split is None and sources.has_fits
        return sources.key(
            options,
            file_hashes,
            transform_content(self.transform),
            is_heldout,
        )

    @property
    def seen(self) -> Seen | None:
        """What the arm was fitted to of the answers of the task; None if there are no answers.

        It is also None if the transform does not record what it was fitted to.
        """
        task = self.task
        sources = self.sources
        if not self.arm.is_fitted:
            pretrained = None if self.arm.transform is None else self.transform
            return task.seen(sources, pretrained)
        fold_unit = sources.fold.unit
        if task.split is not None or fold_unit == "people":
            return task.seen(sources, self.transform)
        if task.scored_answers(sources) is None:
            return None
        return SEEN_OUTSIDE_FOLD[fold_unit]

    def kept_or_measured(self, path: Path) -> tuple[Measurement, bool]:
        """The measurement, and whether it was read from the file of the cell."""
        file = CellFile(path, self.key)
        measurement = file.read()
        if measurement is not None:
            return measurement, True
        file.write(self._measured())
        measurement = file.read()
        assert measurement is not None
        return measurement, False

    def _measured(self) -> Measurement:
        """Score the task for the arm; each row names its split, and what the arm had seen of it."""
        sources = self.sources
        embed = sources.embedding(self.transform)
        result = self.task.score(sources, embed)
        file = self.task.split
        split = sources.split_name if file is None else sources.files.text(file)
        seen = self.seen
        rows = []
        for score in result.scores:
            row = replace(score, split=split)
            is_of_arm = score.transform != PEOPLE
            if is_of_arm and seen is not None:
                row = replace(row, seen_answers=seen.questions, seen_objects=seen.objects)
            rows.append(row)
        return Measurement(
            result=replace(result, scores=tuple(rows)),
            shared_hash=self._shared_hash(),
        )

    def _shared_hash(self) -> str:
        """The hash of the answers, RDMs or labels by object; empty if the task has none."""
        data = self.task.shared_data(self.sources)
        if data is None:
            return ""
        text = to_json(data)
        return hashlib.sha256(text.encode()).hexdigest()


class NetworkResults(NamedTuple):
    """The results of the arms of a network on a task, and the hash of the data they share."""

    network: str
    shared_hash: str
    by_arm: ArmResults


@dataclass
class Cells:
    """The cells of a suite: their results by task and network, and why tasks failed."""

    plan: Plan
    folder: Path
    progress: Progress
    n_finished: int = 0
    n_kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    by_task: dict[str, list[NetworkResults]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of all cells."""
        plan = self.plan
        cells_of_network = len(plan.tasks) * len(plan.arms)
        return len(plan.networks) * cells_of_network

    def results(self, sources: Sources, task_name: str, transforms: ArmTransforms) -> ArmResults:
        """The results of a task for the arms of a network; empty if a plugin fails."""
        task = self.plan.tasks[task_name]
        arm_results: ArmResults = {}
        shared_hash = ""
        for arm_name, transform in transforms.items():
            arm = self.plan.arms[arm_name]
            cell = SuiteCell(task, arm, transform, sources)
            path = npz_path(self.folder, sources.name, arm_name, task_name)
            try:
                measurement, was_kept = cell.kept_or_measured(path)
            except PluginError as error:
                self.failed[task_name] = str(error)
                return {}
            arm_results[arm_name] = measurement.result
            shared_hash = measurement.shared_hash
            self.n_finished += 1
            self.n_kept += was_kept
            cell_name = f"{sources.name}, {arm_name}, {task_name}"
            self.progress(self.n_finished, self.total, cell_name)
        network_results = NetworkResults(sources.name, shared_hash, arm_results)
        self.by_task.setdefault(task_name, []).append(network_results)
        return arm_results

    def network_gains(self) -> Iterator[Score]:
        """Yield the networks that have the data of the first one, less the first one, by task."""
        for task_name, networks in self.by_task.items():
            shared_hash = networks[0].shared_hash
            if not shared_hash:
                continue
            comparable = {
                network.network: network.by_arm
                for network in networks
                if network.shared_hash == shared_hash
            }
            for gain in network_differences(comparable):
                yield replace(gain, task=task_name)


def npz_path(folder: Path, *names: str) -> Path:
    """The file of a network, an arm or a task in a folder; no part of its path has a blank."""
    *parents, stem = map(file_name, names)
    return folder.joinpath(*parents, f"{stem}.npz")


def transform_content(transform: LinearTransform | None) -> list[Any]:
    """What a transform is: the hash of its map, and its record; empty for the original features."""
    if transform is None:
        return []
    weights_and_bias = np.vstack(transform.folded())
    record = transform.record.model_dump(mode="json")
    return [array_sha256(weights_and_bias), record]
