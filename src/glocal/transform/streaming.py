"""Apply a transform to a feature file of any size in constant memory."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from glocal.data.features import Features
from glocal.errors import FileError
from glocal.files import PathLike, atomic_write, check_ending, unreadable
from glocal.transform.checked import apply_checked
from glocal.transform.linear import LinearTransform

_CHUNK_BYTES = 1 << 24
_QUEUED = 3
_sync = getattr(os, "fdatasync", os.fsync)  # which macOS and Windows do not have


def apply_file(
    transform: LinearTransform,
    features: Features,
    out: PathLike,
    *,
    strength: float = 1.0,
    normalize: bool = False,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Transform every row of `features` into the ``.npy`` file `out`.

    Rows are read, multiplied and written in chunks of 16 MB; reading, arithmetic and writing overlap. The output has
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
        Its name says that it is another kind of file.
    """
    check_ending(out, (".npy",))
    if strength != 1.0:
        transform = transform.at_strength(strength)
    n, p = features.matrix.shape
    dtype = features.matrix.dtype if features.matrix.dtype.kind == "f" else np.dtype(np.float32)
    dtype = dtype.newbyteorder("=")
    transform.check_shape((n, p))
    rows = max(1, _CHUNK_BYTES // (p * max(4, dtype.itemsize)))
    with atomic_write(out) as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n, p)}
        )
        stream.flush()
        with _Writer(stream) as writer, _RowReader(features, rows) as reader:
            for start, chunk in reader:
                Z = apply_checked(transform, chunk, source=features.source, start=start, normalize=normalize)
                writer.put(np.ascontiguousarray(Z, dtype=dtype))
                if progress is not None:
                    progress(start + len(chunk))
    return n


class _RowReader:
    """Chunks of rows, read one ahead by a thread of its own."""

    def __init__(self, features: Features, rows: int) -> None:
        self._features = features
        self._rows = rows
        self._queue: queue.Queue[Any] = queue.Queue(_QUEUED)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _RowReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self._thread.is_alive():
            with self._queue.mutex:
                self._queue.queue.clear()
                self._queue.not_full.notify_all()
            self._thread.join(0.05)

    def __iter__(self) -> _RowReader:
        return self

    def __next__(self) -> tuple[int, np.ndarray]:
        item = self._queue.get()
        if item is None:
            raise StopIteration
        if isinstance(item, BaseException):
            raise item
        start, chunk = item
        return start, chunk

    def _run(self) -> None:
        try:
            for start, rows in self._features.chunks(self._rows):
                if self._stop.is_set():
                    return
                self._queue.put((start, np.array(rows)))
            self._queue.put(None)
        except FileError as error:
            self._queue.put(error)
        except OSError as error:  # the writer would take it for its own
            self._queue.put(unreadable(Path(self._features.source), "features", error))
        except Exception as error:  # noqa: BLE001  raised again by the thread that consumes
            self._queue.put(error)


class _Writer:
    """Writes arrays in order from a thread of its own and pushes them to the disk as it goes."""

    def __init__(self, stream: BinaryIO, flush_bytes: int = 1 << 28) -> None:
        self._stream = stream
        self._flush_bytes = flush_bytes
        self._queue: queue.Queue[np.ndarray | None] = queue.Queue(_QUEUED)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Writer:
        self._thread.start()
        return self

    def put(self, rows: np.ndarray) -> None:
        """Queue rows; raises here what went wrong with earlier ones."""
        if self._error is not None:
            raise self._error
        self._queue.put(rows)

    def __exit__(self, kind: object, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def _run(self) -> None:
        pending = 0
        while (rows := self._queue.get()) is not None:
            if self._error is not None:
                continue  # keep emptying the queue, so that the producer is not stuck
            try:
                self._stream.write(rows.data)
                pending += rows.nbytes
                if pending >= self._flush_bytes:
                    _sync(self._stream.fileno())
                    pending = 0
            except Exception as error:  # noqa: BLE001  raised again by the thread that produces
                self._error = error


__all__ = ["apply_file"]
