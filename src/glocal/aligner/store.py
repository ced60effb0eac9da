"""A folder of finished paths of fits, each a file named by the hash of all that determines it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
_WHAT = "finished path"
_FIX = "Remove it to fit the path again."


class PathStore:
    """The files of finished paths in a folder, which is made when it is first used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: dict[FoldProblem, str] = {}

    def file(self, problem: FoldProblem, path: Sequence[ObjectiveSettings]) -> Path:
        """The file of a path of fits to a problem, whether it exists or not."""
        if problem not in self._keys:
            self._keys[problem] = _key(problem)
        key = self._keys[problem]
        settings = [each.parameters for each in path]
        return self.folder / f"{_sha256([key, settings])}.npz"

    def write(
        self,
        problem: FoldProblem,
        path: Sequence[ObjectiveSettings],
        outcomes: Sequence[Outcome],
    ) -> None:
        """Write the fits of a path."""
        arrays: dict[str, Any] = {"outcomes": np.array(to_json([*map(_fields, outcomes)]))}
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Solution):
                arrays[f"weights{number}"] = outcome.transform.weights
                arrays[f"bias{number}"] = outcome.transform.bias
        make_folder(self.folder)
        # to compress W takes as long as some fits
        write_npz(self.file(problem, path), arrays, level=0)

    def read(self, problem: FoldProblem, path: Sequence[ObjectiveSettings]) -> list[Outcome] | None:
        """Read the fits of a path; None if it is not finished, a FileError if it is damaged."""
        file = self.file(problem, path)
        if not file.exists():
            return None
        names = [f"{name}{number}" for number in range(len(path)) for name in ("weights", "bias")]
        arrays = read_npz(file, what=_WHAT, fix=_FIX, required=("outcomes",), optional=names)
        with reading(file, _WHAT, _FIX):
            fields = json.loads(str(arrays["outcomes"]))
            outcomes: list[Outcome] = []
            for number, settings in enumerate(path):
                if "report" not in fields[number]:
                    outcomes.append(Unfitted(**fields[number]))
                    continue
                transform = problem.data.transform(arrays[f"weights{number}"])
                transform = replace(transform, bias=arrays.get(f"bias{number}"))
                report = SolverReport(**fields[number].pop("report"))
                outcomes.append(Solution(transform, settings, report, **fields[number]))
            return outcomes


def _fields(outcome: Outcome) -> dict[str, Any]:
    """How a fit ended, without its arrays."""
    if isinstance(outcome, Unfitted):
        return vars(outcome)
    return {"report": outcome.report, "threads": outcome.threads, "seconds": outcome.seconds}


def _key(problem: FoldProblem) -> str:
    """The hash of all that determines the fits to a problem."""
    data = problem.data
    objects = data.answers.named_objects() if data.objects is None else data.objects
    values = [data.answers.kind, data.block_size, data.seed, data.centre, data.normalize]
    rows = [array_sha256(objects), array_sha256(data.used_images)]
    solver = {type(problem.solver).__name__: vars(problem.solver)}
    return _sha256([__version__, data.hashes(local=True), *values, *rows, solver])


def _sha256(values: Any) -> str:
    return hashlib.sha256(to_json(values).encode()).hexdigest()
