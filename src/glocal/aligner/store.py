"""A folder of finished paths of fits, each a file named by the hash of all that determines it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from glocal._version import __version__
from glocal.aligner.exact import Problem, Solution, Unfitted
from glocal.aligner.paper import LoopProblem
from glocal.aligner.settings import ObjectiveSettings
from glocal.files import array_sha256, make_folder, read_npz, reading, write_npz
from glocal.results import SolverReport, to_json

FoldProblem = Problem | LoopProblem
"""The data without a fold, with their solver."""
Outcome = Solution | Unfitted
SettingsPath = Sequence[ObjectiveSettings]
"""The settings of fits, each of which starts at the one before."""
_WHAT = "finished path"
_FIX = "Remove it to fit the path again."


class PathStore:
    """The files of finished paths in a folder, which is made when it is first used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: dict[FoldProblem, str] = {}

    def file(self, problem: FoldProblem, path: SettingsPath) -> Path:
        """The file of a path of fits to a problem, whether it exists or not."""
        if problem not in self._keys:
            self._keys[problem] = _key(problem)
        key = self._keys[problem]
        parameters = [settings.parameters for settings in path]
        name = _sha256([key, parameters])
        return self.folder / f"{name}.npz"

    def write(self, problem: FoldProblem, path: SettingsPath, outcomes: Sequence[Outcome]) -> None:
        """Write the fits of a path."""
        records = [_record(outcome) for outcome in outcomes]
        text = to_json(records)
        arrays: dict[str, np.ndarray | None] = {"outcomes": np.array(text)}
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Solution):
                transform = outcome.transform
                arrays[f"weights{number}"] = transform.weights
                arrays[f"bias{number}"] = transform.bias
        make_folder(self.folder)
        file = self.file(problem, path)
        # to compress W takes as long as some fits
        write_npz(file, arrays, level=0)

    def read(self, problem: FoldProblem, path: SettingsPath) -> list[Outcome] | None:
        """Read the fits of a path; None if it is not finished, a FileError if it is damaged."""
        file = self.file(problem, path)
        if not file.exists():
            return None
        names = _array_names(path)
        arrays = read_npz(file, what=_WHAT, fix=_FIX, required=("outcomes",), optional=names)
        with reading(file, _WHAT, _FIX):
            text = str(arrays["outcomes"])
            records = json.loads(text)
            outcomes: list[Outcome] = []
            for number, settings in enumerate(path):
                record = records[number]
                if "report" not in record:
                    outcomes.append(Unfitted(**record))
                    continue
                W = arrays[f"weights{number}"]
                bias = arrays.get(f"bias{number}")
                transform = problem.data.transform(W)
                transform = replace(transform, bias=bias)
                report_fields = record.pop("report")
                report = SolverReport(**report_fields)
                solution = Solution(transform, settings, report, **record)
                outcomes.append(solution)
            return outcomes


@dataclass(frozen=True)
class _SolutionRecord:
    """A solution without its arrays, as it is written."""

    report: SolverReport
    threads: int | None
    seconds: float


def _record(outcome: Outcome) -> _SolutionRecord | Unfitted:
    """How a fit ended, without its arrays."""
    if isinstance(outcome, Unfitted):
        return outcome
    return _SolutionRecord(outcome.report, outcome.threads, outcome.seconds)


def _array_names(path: SettingsPath) -> list[str]:
    """The names of the arrays of a path of fits, some of which may be missing."""
    numbers = range(len(path))
    weights = [f"weights{number}" for number in numbers]
    biases = [f"bias{number}" for number in numbers]
    return weights + biases


def _key(problem: FoldProblem) -> str:
    """The hash of all that determines the fits to a problem."""
    data = problem.data
    objects = data.answers.named_objects() if data.objects is None else data.objects
    solver = problem.solver
    solver_name = type(solver).__name__
    options = vars(solver)
    values = [
        __version__,
        data.hashes(local=True),
        data.answers.kind,
        data.block_size,
        data.seed,
        data.centre,
        data.normalize,
        array_sha256(objects),
        array_sha256(data.used_images),
        {solver_name: options},
    ]
    return _sha256(values)


def _sha256(values: Sequence[object]) -> str:
    """The hash of values, written as JSON."""
    text = to_json(values)
    digest = hashlib.sha256(text.encode())
    return digest.hexdigest()
