"""The tables of a study, in SQLite or PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from glocal.collect.study import Study
from glocal.errors import FileError, ParameterError
from glocal.files import one_line

_tables = sql.MetaData()

study_table = sql.Table("study", _tables, sql.Column("number", sql.String(32), primary_key=True))
people = sql.Table(
    "people", _tables,
    sql.Column("id", sql.String(32), primary_key=True),
    sql.Column("name", sql.String(64), unique=True),
    sql.Column("made", sql.Double, nullable=False),
    sql.Column("consented", sql.Double),
    sql.Column("finished", sql.Double),
    sql.Column("code", sql.String(16)),
)  # fmt: skip
"""Those who have a link of their own, and those who came by the open link and consented."""
trials = sql.Table(
    "trials", _tables,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("person", sql.ForeignKey("people.id"), nullable=False),
    sql.Column("number", sql.Integer, nullable=False),
    sql.Column("images", sql.Text, nullable=False),
    sql.Column("source", sql.String(16), nullable=False, index=True),
    sql.Column("again", sql.ForeignKey("trials.id")),
    sql.Column("made", sql.Double, nullable=False),
    sql.UniqueConstraint("person", "number"),
)  # fmt: skip
"""What was asked: `images` are their numbers, a JSON list in the order shown; `again` is the trial that is repeated."""
answers = sql.Table(
    "answers", _tables,
    sql.Column("trial", sql.ForeignKey("trials.id"), primary_key=True, autoincrement=False),
    sql.Column("choice", sql.Integer),
    sql.Column("seconds", sql.Double, nullable=False),
    sql.Column("time", sql.Double, nullable=False),
    sql.Column("changed", sql.Double),
)  # fmt: skip
"""One for each trial that was answered; `choice` is a position, or null for "can't tell"."""
proposals = sql.Table(
    "proposals", _tables,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("images", sql.Text, nullable=False),
    sql.Column("committee", sql.String(64), nullable=False),
    sql.Column("made", sql.Double, nullable=False),
    sql.Column("taken", sql.ForeignKey("trials.id"), index=True),
)  # fmt: skip
"""What is worth asking, best first; `taken` is the trial that asked it."""


def checked_address(url: str) -> str:
    """The address of a database that a study can have, the same in every folder; a ParameterError for another one."""
    engine = _engine(url, make=False)
    address = engine.url
    engine.dispose()
    if address.get_backend_name() != "sqlite":
        return url
    return address.set(database=os.path.abspath(address.database or "")).render_as_string()


def open_database(study: Study) -> Engine:
    """The database of a study, with its tables.

    SQLite is in WAL mode and writes to disk before a transaction ends (``synchronous=FULL``).

    Raises
    ------
    ParameterError
        An address that is neither of SQLite nor of PostgreSQL.
    FileError
        It cannot be reached, or has another study.
    """
    engine = _engine(study.database)
    try:
        with engine.begin() as connection:
            _tables.create_all(connection)
            held = connection.execute(sql.select(study_table.c.number)).scalars().all()
            if not held:
                connection.execute(study_table.insert().values(number=study.number))
    except (SQLAlchemyError, ValueError) as error:
        engine.dispose()
        raise FileError(
            f"the database of the study {study.folder} cannot be opened ({_reason(error)}). {_advice(study)}"
        ) from error
    if held and held != [study.number]:
        engine.dispose()
        raise FileError(
            f"the database of {study.folder} has the answers of another study. Give each study a database of its own."
        )
    return engine


def add_people(connection: Connection, number: int) -> list[str]:
    """Make people 1 to `number`, as far as they are not there; their ids."""
    ids = [f"p{i}" for i in range(1, number + 1)]
    there = set(connection.execute(sql.select(people.c.id)).scalars())
    new = [{"id": one, "made": time.time()} for one in ids if one not in there]
    if new:
        connection.execute(people.insert(), new)
    return ids


def add_proposals(engine: Engine, items: Iterable[Sequence[int]], committee: str) -> int:
    """Put what is worth asking, best first, in the place of what still waits; how many there are now.

    Items are image numbers; for the kind anchor the first is the reference, otherwise their order says nothing.
    """
    now = time.time()
    new = [{"images": json.dumps([int(i) for i in one]), "committee": committee, "made": now} for one in items]
    with engine.begin() as connection:
        connection.execute(proposals.delete().where(proposals.c.taken.is_(None)))
        if new:
            connection.execute(proposals.insert(), new)
    return len(new)


@contextlib.contextmanager
def writable(study: Study) -> Iterator[None]:
    """What a full disk, or a database that is away, makes of a change is a FileError of one sentence."""
    try:
        yield
    except SQLAlchemyError as error:
        raise FileError(
            f"the database of the study {study.folder} cannot be written ({_reason(error)}). {_advice(study)}"
        ) from error


def _advice(study: Study) -> str:
    if study.database.startswith("sqlite"):
        return "Reading writes beside it too: check that its folder is there and may be written, with room for more."
    return "Check that it runs, and its address in --database."


@contextlib.contextmanager
def readable(study: Study) -> Iterator[None]:
    """What a damaged database makes of a question to it is a FileError of one sentence."""
    try:
        yield
    except (SQLAlchemyError, ValueError, TypeError, OverflowError) as error:
        raise FileError(
            f"the answers of the study {study.folder} cannot be read ({_reason(error)}). Its database is damaged or "
            "cannot be reached: check that it runs, or put back a copy."
        ) from error


def _engine(url: str, *, make: bool = True) -> Engine:
    try:
        address = sql.make_url(url)
        name = address.get_backend_name()
        if name == "postgresql":
            return sql.create_engine(address.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except (SQLAlchemyError, ValueError) as error:
        raise ParameterError(
            f"--database is not the address of a database ({one_line(error)}). Write sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST/NAME."
        ) from error
    if name != "sqlite":
        raise ParameterError(f"--database is of {name}; allowed are sqlite:///FILE and postgresql://….")
    if (address.database or ":").startswith((":", "file:")):  # in memory, answers would end with the server
        raise ParameterError(f"--database is {url}, which names no file; write sqlite:///FILE.")
    if make:  # before SQLite makes it and its neighbours readable for all
        with contextlib.suppress(OSError):  # SQLite says what is wrong
            os.close(os.open(str(address.database), os.O_CREAT, 0o600))
    engine = sql.create_engine(address, connect_args={"timeout": 30, "check_same_thread": False})
    sql.event.listen(engine, "connect", _prepare_sqlite)
    sql.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # NOTE Python's driver would begin transactions of its own, and too late
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that will write takes its lock at once: one that read before could not wait for it."""
    reads = connection.get_execution_options().get("reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _reason(error: Exception) -> str:
    return one_line(getattr(error, "orig", None) or error)[:200]
