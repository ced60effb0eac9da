"""The file of a cell of a suite: the result of one task for one arm, by the hash of its inputs."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import EpisodeValues
from glocal.evaluation.intervals import CrossedValues, ItemValues, ObjectValues
from glocal.files import make_folder, read_npz, write_npz
from glocal.results import to_json
from glocal.scores import Score

_KINDS = (ItemValues, ObjectValues, CrossedValues, EpisodeValues)
_UNITS = {kind.__name__: kind for kind in _KINDS}
_VALUES = tuple({field.name for kind in _KINDS for field in fields(kind)})
_FIX = "Delete it; the task will then be scored again."


@dataclass(frozen=True)
class CellFile:
    """The file of a cell, and the hash of all that its result is made from."""

    path: Path
    key: str

    def read(self) -> Result | None:
        """The result in the file; None if there is no file, or if it was made from other inputs."""
        if not self.path.exists():
            return None
        required = ["record"]
        arrays = read_npz(self.path, what="cell", fix=_FIX, required=required, optional=_VALUES)
        record = json.loads(str(arrays.pop("record")))
        if record["key"] != self.key:
            return None
        values: dict[str, Any] = {
            name: array if array.ndim else array.item() for name, array in arrays.items()
        }
        values["limits"] = tuple(values["limits"].tolist())
        scores = tuple(Score(**row) for row in record["scores"])
        return Result(scores, _UNITS[record["units"]](**values), record)

    def write(self, result: Result, shared: str) -> None:
        """Write a result; `shared` is the hash of the data that networks are compared on."""
        record = {
            "key": self.key,
            "shared": shared,
            "units": type(result.units).__name__,
            "scores": result.scores,
        }
        make_folder(self.path.parent)
        write_npz(self.path, {"record": np.array(to_json(record)), **vars(result.units)})
