"""The superclasses of CIFAR-100, which torchvision does not read, taken from the data set's own file."""

from __future__ import annotations

import pickletools
from pathlib import Path

_KEY = "coarse_labels"
_INTEGERS = {"BININT1", "BININT2", "BININT", "INT", "LONG1"}
# what stands between the numbers of a list: its beginning, its pieces, and their places in the memo
_BETWEEN = {"EMPTY_LIST", "LIST", "MARK", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"}


def coarse_labels(path: Path, n: int, classes: int) -> list[int]:
    """Read the list under ``coarse_labels`` without unpickling: opcodes are read, none is executed.

    A ValueError unless ``cifar-100-python/train`` or ``test`` has one of `n` labels below `classes`.
    """
    labels: list[int] | None = None
    with path.open("rb") as stream:
        for opcode, argument, _ in pickletools.genops(stream):
            if labels is None:
                labels = [] if argument in (_KEY, _KEY.encode()) else None
            elif opcode.name in _INTEGERS:
                labels.append(int(argument or 0))
            elif opcode.name not in _BETWEEN:
                break
    if labels is None or len(labels) != n or not all(0 <= label < classes for label in labels):
        raise ValueError(f"{path} has no list of {n} {_KEY} from 0 to {classes - 1}")
    return labels
