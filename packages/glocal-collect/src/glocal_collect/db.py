"""The answers of a study in SQLite: who may answer, what was asked, what was answered."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from glocal.errors import FileError, one_line

T = TypeVar("T")
Connection = sqlite3.Connection

_SCHEMA = """
CREATE TABLE IF NOT EXISTS people (
    id TEXT PRIMARY KEY, name TEXT UNIQUE, consented REAL, finished REAL, code TEXT,
    opened INTEGER NOT NULL DEFAULT 0,    -- how often the page was opened after the consent
    contested INTEGER NOT NULL DEFAULT 0  -- how often somebody else came with the same name and was refused
);
CREATE TABLE IF NOT EXISTS trials (       -- a, b, c are numbers of images in the order shown
    id INTEGER PRIMARY KEY, person TEXT NOT NULL REFERENCES people, number INTEGER NOT NULL,
    a INTEGER NOT NULL, b INTEGER NOT NULL, c INTEGER NOT NULL,
    source TEXT NOT NULL, again INTEGER REFERENCES trials, UNIQUE (person, number)
);
CREATE INDEX IF NOT EXISTS trials_by_source ON trials (source);
CREATE TABLE IF NOT EXISTS answers (      -- choice is a position, or NULL for "can't tell"
    trial INTEGER PRIMARY KEY REFERENCES trials, choice INTEGER, seconds REAL NOT NULL, time REAL NOT NULL, changed REAL
);
"""


class Database:
    """A file of SQLite in WAL mode, written by one thread at a time; a transaction has ended when it is on the disk.

    Another process may write too: each writer takes the lock of the file at once (``BEGIN IMMEDIATE``).
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock, self._idle = path, threading.Lock(), list[Connection]()
        os.close(
            os.open(path, os.O_CREAT, 0o600)
        )  # before SQLite makes it, and its neighbours, readable for all
        self._writer = self._connect()
        self._writer.execute("PRAGMA journal_mode=WAL")
        self._writer.executescript(_SCHEMA)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do the work in one transaction: all of it is on the disk when this returns, and none if it raises."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._writer)
                self._writer.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self._writer.execute("ROLLBACK")
                raise
            return result

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database, and waits for nobody."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.rollback()
            self._idle.append(connection)

    def close(self) -> None:
        """Close it; the file is whole by itself."""
        with self._lock:
            for connection in (self._writer, *self._idle):
                connection.close()

    def _connect(self) -> Connection:
        connection = sqlite3.connect(
            self._path, timeout=30, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        return connection


@contextlib.contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a database is read into one FileError.

    NOTE `glocal.files.reading` must not be used here. It opens and closes the file, and on POSIX a close drops every
    lock that this process has on it: another process that ends then deletes the log that this one still writes to.
    """
    try:
        yield
    except (
        sqlite3.Error,
        ValueError,
        OSError,
    ) as error:  # pandas reports errors of SQLite as an OSError
        raise FileError(
            f"the answers of the study, {path}, are damaged ({one_line(error)}). Put back a copy."
        ) from error


def one(connection: Connection, question: str, *given: Any) -> Any:
    """The first value of the first row, None where there is none."""
    row = connection.execute(question, given).fetchone()
    return None if row is None else row[0]
