"""One thread that writes: what has come together while it wrote goes to disk together, before anybody is told."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sqlalchemy.engine import Connection, Engine

from glocal.collect.answering import Refused

T = TypeVar("T")
_MOST = 200  # operations in one transaction
_Job = tuple[Callable[[Connection], object], "Future[object]"]


class Writer:
    """Runs operations one after another, several of them in one transaction; a result is there once it is on disk.

    An operation raises `Refused` only before it writes. One that fails in another way takes the transaction with it,
    and each of its operations is run again in a transaction of its own. Where no transaction can begin, since the
    database is locked or gone, all are told at once: each of them would wait as long again.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="glocal-collect-writer", daemon=True)
        self._thread.start()

    def submit(self, operation: Callable[[Connection], T]) -> Future[T]:
        """Have an operation run; its result, or its error, comes when it is on disk."""
        future: Future[T] = Future()
        self._jobs.put((operation, future))  # type: ignore[arg-type]
        return future

    def close(self) -> None:
        """Finish what was asked for, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            batch, ended = self._next()
            if batch:
                self._together(batch)
            if ended:
                return

    def _next(self) -> tuple[list[_Job], bool]:
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            if job[1].set_running_or_notify_cancel():  # somebody may have gone
                batch.append(job)
            if len(batch) == _MOST or self._jobs.empty():
                return batch, False
            job = self._jobs.get()
        return batch, True

    def _together(self, batch: list[_Job]) -> None:
        begun = False
        try:
            with self._engine.begin() as connection:
                begun = True
                results = [_outcome(operation, connection, future) for operation, future in batch]
        except Exception as error:  # noqa: BLE001  told to who asked for it
            if not begun or len(batch) == 1:
                for _, future in batch:
                    future.set_exception(error)
                return
            for job in batch:
                self._together([job])
            return
        for tell in results:
            tell()


def _outcome(
    operation: Callable[[Connection], object], connection: Connection, future: Future[object]
) -> Callable[[], None]:
    """Run an operation; how its result is told once the transaction is on disk."""
    try:
        result = operation(connection)
    except Refused as refusal:
        reason = refusal
        return lambda: future.set_exception(reason)
    return lambda: future.set_result(result)
