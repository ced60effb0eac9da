"""A folder of finished paths of fits, each a file named by the hash of all that determines it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class PathStore:
    """The files of finished paths in a folder, which is made when it is first used."""

    folder: Path

    def file(self, key: str, path: Sequence[ObjectiveSettings]) -> Path:
        """The file of a path of fits to the problem of a key, whether it exists or not."""
        settings = [each.parameters for each in path]
        return self.folder / f"{_sha256([key, settings])}.npz"

    def write(self, file: Path, outcomes: Sequence[Outcome]) -> None:
        """Write the fits of a path."""
        arrays: dict[str, Any] = {"outcomes": np.array(to_json([*map(_fields, outcomes)]))}
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Solution):
                arrays[f"weights{number}"] = outcome.transform.weights
                arrays[f"bias{number}"] = outcome.transform.bias
        make_folder(self.folder)
        write_npz(file, arrays, level=0)  # to compress W takes as long as some fits

    def read(
        self, file: Path, problem: FoldProblem, path: Sequence[ObjectiveSettings]
    ) -> list[Outcome] | None:
        """Read the fits of a path; None if it is not finished, a FileError if it is damaged."""
        if not file.exists():
            return None
        names = [f"{name}{number}" for number in range(len(path)) for name in ("weights", "bias")]
        what = "finished path"
        fix = "Remove it to fit the path again."
        arrays = read_npz(file, what=what, fix=fix, required=("outcomes",), optional=names)
        with reading(file, what, fix):
            fields = json.loads(str(arrays["outcomes"]))
            return [
                _outcome(fields[number], arrays, number, problem, settings)
                for number, settings in enumerate(path)
            ]


def _fields(outcome: Outcome) -> dict[str, Any]:
    """How a fit ended, without its arrays."""
    if isinstance(outcome, Unfitted):
        return vars(outcome)
    return {
        "report": vars(outcome.report),
        "threads": outcome.threads,
        "seconds": outcome.seconds,
    }


def _outcome(
    fields: dict[str, Any],
    arrays: dict[str, Any],
    number: int,
    problem: FoldProblem,
    settings: ObjectiveSettings,
) -> Outcome:
    """A fit of a path, from its fields and arrays."""
    if "report" not in fields:
        return Unfitted(**fields)
    transform = problem.data.transform(arrays[f"weights{number}"])
    transform = replace(transform, bias=arrays.get(f"bias{number}"))
    report = SolverReport(**fields["report"])
    return Solution(
        transform, settings, report, threads=fields["threads"], seconds=fields["seconds"]
    )


def key_of(problem: FoldProblem) -> str:
    """The hash of all that determines the fits to a problem."""
    data = problem.data
    objects = data.answers.named_objects() if data.objects is None else data.objects
    values = [data.answers.kind, data.block_size, data.seed, data.centre, data.normalize]
    rows = [array_sha256(objects), array_sha256(data.used_images)]
    solver = {type(problem.solver).__name__: vars(problem.solver)}
    return _sha256([__version__, data.hashes(local=True), *values, *rows, solver])


def _sha256(values: Any) -> str:
    return hashlib.sha256(to_json(values).encode()).hexdigest()
