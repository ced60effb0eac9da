"""The answers of a study in SQLite: who has begun, what was asked, what was answered."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glocal.errors import FileError, one_line
from glocal.files import writing

Connection = sqlite3.Connection

_SECONDS_TO_WAIT = 30  # for the lock of another connection
_VERSION = 3  # of the tables; 0 is that of an empty file
_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""  # columns keep their types
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS people (       -- everybody who has consented
    id TEXT PRIMARY KEY, name TEXT UNIQUE, consented REAL NOT NULL, finished REAL, code TEXT,
    excluded REAL                         -- when the owner excluded the person, or NULL
) {_STRICT};
CREATE TABLE IF NOT EXISTS trials (       -- a, b, c are numbers of images in the order shown
    id INTEGER PRIMARY KEY, person TEXT NOT NULL REFERENCES people, number INTEGER NOT NULL,
    a INTEGER NOT NULL, b INTEGER NOT NULL, c INTEGER NOT NULL,
    source TEXT NOT NULL, repeat_of INTEGER REFERENCES trials, UNIQUE (person, number)
) {_STRICT};
CREATE INDEX IF NOT EXISTS trials_by_source ON trials (source, person);
CREATE TABLE IF NOT EXISTS answers (      -- choice is a position, or NULL for "can't tell"
    trial INTEGER PRIMARY KEY REFERENCES trials, choice INTEGER CHECK (choice BETWEEN 0 AND 2),
    seconds REAL NOT NULL, time REAL NOT NULL, changed REAL
) {_STRICT};
PRAGMA user_version = {_VERSION};
COMMIT;
"""


def create_database(path: Path) -> None:
    """Create a database that only its owner can read, or take one in which nobody has begun.

    Raises
    ------
    FileError
        The file cannot be written, or somebody has begun to answer.
    """
    with writing(path):  # SQLite would create it, and the files beside it, readable for all
        os.close(os.open(path, os.O_CREAT, 0o600))
    with database_errors(path), contextlib.closing(_connect(path)) as connection:
        _set_wal_mode(connection)
        connection.executescript(_SCHEMA)
        if scalar(connection, "SELECT count(*) FROM people"):
            raise FileError(
                f"{path} has answers, but the study has no study.json. Put back a copy of it, or "
                f"name another folder."
            )


class Database:
    """An SQLite file in WAL mode, which one thread writes at a time.

    A transaction ends once it is on the disk. Another process may write too: each writer takes the
    lock of the file when its transaction begins (``BEGIN IMMEDIATE``).

    Raises
    ------
    FileError
        The file is missing or damaged. It is not made anew: only `create_database` creates it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle = list[Connection]()
        if not path.is_file():
            raise FileError(f"the answers of the study, {path}, are missing. Put back a copy.")
        with contextlib.ExitStack() as on_error, database_errors(path):
            self._writer = on_error.enter_context(contextlib.closing(_connect(path)))
            queries = ("PRAGMA user_version", "PRAGMA quick_check(1)")
            if [scalar(self._writer, query) for query in queries] != [_VERSION, "ok"]:
                raise ValueError("it is damaged, or holds no study")
            on_error.pop_all()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is on the disk when the block ends, and undone if the block raises."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self._writer.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database and waits for no writer."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _connect(self._path)
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.rollback()
            self._idle.append(connection)

    def close(self) -> None:
        """Close all connections, which leaves the database whole in its one file."""
        with self._lock:
            for connection in (self._writer, *self._idle):
                connection.close()


@contextlib.contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn any error of a database into a FileError.

    NOTE `glocal.files.reading` must not be used here. It opens and closes the file, and on POSIX a
    close drops every lock that this process has on the file. Another process that ends would then
    delete the log that this one still writes to.
    """
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        raise FileError(
            f"the answers of the study, {path}, cannot be used ({one_line(error)}). Check the disk "
            f"and the permissions, or put back a copy."
        ) from error


def scalar(connection: Connection, query: str, *parameters: Any) -> Any:
    """The first value of the first row; None if there is no row."""
    row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]


def _set_wal_mode(connection: Connection) -> None:
    """Set WAL mode, and wait while another process does the same.

    NOTE SQLite refuses a change of the mode at once, whatever the time limit of the connection is,
    where two processes wait for each other.
    """
    deadline = time.monotonic() + _SECONDS_TO_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _connect(path: Path) -> Connection:
    address = f"{path.resolve().as_uri()}?mode=rw"  # a missing file is not created
    connection = sqlite3.connect(
        address, uri=True, timeout=_SECONDS_TO_WAIT, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    try:
        connection.executescript("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;")
    except BaseException:
        connection.close()
        raise
    return connection
