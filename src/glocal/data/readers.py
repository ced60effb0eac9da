"""Feature files of every kind that peers write, as one (n, p) numpy array."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from glocal.errors import FileError
from glocal.files import PathLike, read_npy


def read_matrix(path: PathLike) -> np.ndarray:
    """Read a feature matrix by its extension; ``.npy`` is memory-mapped.

    Raises
    ------
    FileError
        Missing, damaged, or of a kind that is not known.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FileError(
            f"features file {path} has the extension {path.suffix or '(none)'!r}; "
            f"allowed are {', '.join(sorted(READERS))}. Save it with numpy.save."
        )
    return reader(path)


def _read_npy(path: Path) -> np.ndarray:
    return read_npy(path, what="features")


READERS: dict[str, Callable[[Path], np.ndarray]] = {".npy": _read_npy}
