"""Apply a transform to a feature file of any size in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from glocal.data.features import Features, check_finite
from glocal.errors import FileError
from glocal.files import PathLike, atomic_write
from glocal.jobs.leaving import check_ending, unreadable, write_npy_header
from glocal.transform.linear import LinearTransform

_AHEAD = 2  # chunks that wait to be written


def apply_file(
    transform: LinearTransform,
    features: Features,
    out: PathLike,
    *,
    strength: float = 1.0,
    normalize: bool = False,
    progress: Callable[[int], None] | None = None,
    chunk_bytes: int = 1 << 24,
) -> int:
    """Transform every row of `features` into the ``.npy`` file `out`.

    Rows are read, multiplied and written in chunks; reading, arithmetic and writing overlap. The output has
    the float dtype of the input (float32 for integers), and appears only when it is whole.

    Parameters
    ----------
    transform : LinearTransform
    features : Features
        Raw (not standardized) rows.
    out : path
        Overwritten atomically.
    strength, normalize
        As in `LinearTransform.apply`.
    progress : function or None
        Called with the number of rows done so far.
    chunk_bytes : int
        Size of a chunk, 16 MB; a few of them are in memory at once.

    Returns
    -------
    int
        The number of rows written.

    Raises
    ------
    DataError
        The dimensions differ, or a row holds NaN or infinity.
    FileError
        `out` cannot be written.
    ParameterError
        `out` has the extension of another kind of file.
    """
    check_ending(out, (".npy",))
    transform = transform if strength == 1.0 else transform.at_strength(strength)
    n, p = features.matrix.shape
    dtype = features.matrix.dtype if features.matrix.dtype.kind == "f" else np.dtype(np.float32)
    dtype = dtype.newbyteorder("=")
    transform.check_shape((n, p))
    rows = max(1, chunk_bytes // (p * max(4, dtype.itemsize)))
    with atomic_write(out) as stream, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        write_npy_header(stream, (n, transform.out_dimensions), dtype)
        waiting = deque[Future[int]]()
        chunks = _chunks(features, rows)
        ahead = reader.submit(next, chunks, None)
        while (part := ahead.result()) is not None:
            ahead = reader.submit(next, chunks, None)
            start, chunk = part
            Z = apply_checked(transform, chunk, source=features.source, start=start, normalize=normalize)
            waiting.append(writer.submit(stream.write, np.ascontiguousarray(Z, dtype=dtype).data))
            while len(waiting) > _AHEAD:
                waiting.popleft().result()
            if progress is not None:
                progress(start + len(chunk))
        for written in waiting:
            written.result()
    return n


def apply_checked(
    transform: LinearTransform,
    X: Shaped[np.ndarray, "n _"],
    *,
    source: str,
    start: int,
    normalize: bool = False,
) -> Shaped[np.ndarray, "n _"]:
    """Apply a transform to rows from row `start` of the file `source`; a DataError names one that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):  # said below, as an error
        Z = transform.apply(X, normalize=normalize)
        total = Z.sum(dtype=np.float64)
    if not np.isfinite(total):  # finite values may still have a sum that overflows
        numbers = range(start, start + len(X))
        check_finite(X, source, numbers)
        check_finite(Z, source, numbers, found="is mapped to")
    return Z


def _chunks(features: Features, rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """Copies of consecutive pieces of rows, each with the number of its first row."""
    try:
        for start, chunk in features.chunks(rows):
            yield start, np.array(chunk)
    except FileError:
        raise
    except OSError as error:  # `atomic_write` would take it for its own
        raise unreadable(Path(features.source), "features", error) from error
