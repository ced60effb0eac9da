"""The rows of some consecutive inputs: what an extraction computes, writes and loses at most together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(eq=False)
class Chunk:
    """Rows of some items, zeros where an item is missing; no rows at all where all are.

    `run` has versions and hardware of the process that computed them; `content` is the hash of the items, where they
    were not read by the source that the store has.
    """

    number: int
    items: range
    run: dict[str, Any]
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    missing: list[tuple[int, str]] = field(default_factory=list)
    content: str | None = None
    _seen: int = 0

    def add(self, numbers: range, features: dict[str, np.ndarray], missing: list[tuple[int, str]]) -> bool:
        """Put the rows of some items in place; True when the chunk is whole."""
        gone = [number - numbers.start for number, _ in missing]
        for layer, matrix in features.items():
            if layer not in self.rows:
                self.rows[layer] = np.zeros((len(self.items), matrix.shape[1]), matrix.dtype)
            here = self.rows[layer][numbers.start - self.items.start :][: len(numbers)]
            here[:] = matrix[: len(numbers)]
            here[gone] = 0
        self.missing += missing
        self._seen += len(numbers)
        return self._seen == len(self.items)
