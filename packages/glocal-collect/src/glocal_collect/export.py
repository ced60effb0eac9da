"""The export of answers from the database of a study: as `Answers`, an archive, or a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from glocal.data.answers import Answers
from glocal.errors import DataError, ParameterError
from glocal.files import write_npz, write_text
from glocal_collect.db import Connection, Database, database_errors
from glocal_collect.study import Study
from glocal_collect.trials import CATCH, REPEAT, right_choice

CANNOT_TELL = -1
_ANSWERED_TRIALS = """
SELECT person, name, number, a, b, c, coalesce(choice, -1) AS choice, seconds, time, source,
trials.id AS trial, coalesce(repeat_of, -1) AS repeat_of
FROM trials JOIN answers ON trial = trials.id JOIN people ON people.id = person
ORDER BY time, trials.id
"""
_PEOPLE = "SELECT * FROM people ORDER BY length(id), id"
_SIMILAR_PAIRS = np.array([[1, 2], [0, 2], [0, 1]])  # the other two positions, for each choice


@dataclass(frozen=True, eq=False)
class Collected:
    """Every answer of a study, ordered by time.

    Parameters
    ----------
    kind : str
        odd-one-out or anchor.
    names : tuple of str
        The names of the images, by their numbers.
    table : DataFrame of t rows
        ``person``; ``name``, the id at a recruiting site; ``number``, the position of the trial
        among those of the person; ``a``, ``b``, ``c``, the images in the order shown, for the kind
        anchor the reference first; ``choice``, the position chosen, or -1 for "can't tell";
        ``seconds``, as the page measured them; ``time``, in seconds since 1970; ``source``, random,
        repeat or catch; ``trial``; and ``repeat_of``, the trial that a repeat asks again, else -1.
    people : DataFrame
        Everybody who has consented, with or without answers.
    """

    kind: str
    names: tuple[str, ...]
    table: pd.DataFrame
    people: pd.DataFrame

    @property
    def items(self) -> np.ndarray:
        """(t, 3) images in the order shown."""
        return self.table[["a", "b", "c"]].to_numpy(np.int64)

    @property
    def is_answer(self) -> np.ndarray:
        """(t,) whether each row is about similarity: neither a catch trial nor "can't tell"."""
        table = self.table
        return ((table["choice"] != CANNOT_TELL) & (table["source"] != CATCH)).to_numpy()

    @property
    def excluded(self) -> list[str]:
        """The ids of the people who are excluded."""
        return self.people.dropna(subset="excluded")["id"].tolist()

    @property
    def catch_passed(self) -> pd.Series:
        """Whether each catch trial was passed, with the index of its row of the table."""
        catch = self.table[self.table["source"] == CATCH]
        right = [right_choice(self.kind, row) for row in self.items[catch.index].tolist()]
        return catch["choice"] == np.array(right, dtype=np.int64)

    def without(self, ids: Sequence[str]) -> Collected:
        """Return the same without the trials of the people with these ids.

        Raises
        ------
        ParameterError
            Nobody has one of these ids.
        """
        unknown = {*ids} - {*self.people["id"]}
        if unknown:
            raise ParameterError(
                f"nobody who has begun has the id {min(unknown)!r}. glocal collect people lists "
                "all ids."
            )
        table = self.table[~self.table["person"].isin(ids)].reset_index(drop=True)
        return replace(self, table=table)

    def answers(self) -> Answers:
        """The answers about similarity, in the order of the table, with the catch trials."""
        rows = self.table[self.is_answer]
        choice = rows["choice"].to_numpy(np.int64)
        person = self.table["person"].to_numpy(np.str_)
        if self.kind == "anchor":
            positions = np.stack([np.zeros_like(choice), choice, 3 - choice], axis=1)
        else:
            positions = np.column_stack([_SIMILAR_PAIRS[choice], choice])
        passed = self.catch_passed
        return Answers(
            np.take_along_axis(self.items[self.is_answer], positions, axis=1),
            kind=self.kind,
            person=person[self.is_answer],
            seconds=rows["seconds"].to_numpy(np.float64),
            names=self.names,
            catch_passed=passed.to_numpy() if len(passed) else None,
            catch_person=person[passed.index] if len(passed) else None,
        )


def read_collected(study: Study, database: Database) -> Collected:
    """Read all answers of a study in one transaction, so that they are of one moment."""
    with database_errors(study.database), database.reading() as connection:
        table = _frame(connection, _ANSWERED_TRIALS)
        people = _frame(connection, _PEOPLE)
        collected = Collected(study.settings.kind, study.names, table, people)
        items = collected.items
        if items.size and not 0 <= items.min() <= items.max() < len(study):
            raise ValueError(f"a trial names image {items.max()} of {len(study)}")
        return collected


def record_excluded(
    study: Study, database: Database, exclude: Sequence[str], include: Sequence[str]
) -> None:
    """Record which people, by their ids, are excluded or taken back; nothing is deleted.

    Raises
    ------
    ParameterError
        Nobody has one of these ids. Then nothing is recorded.
    """
    read_collected(study, database).without([*exclude, *include])
    times = dict.fromkeys(exclude, time.time()) | dict.fromkeys(include)
    with database_errors(study.database), database.writing() as connection:
        record = "UPDATE people SET excluded = ? WHERE id = ?"
        connection.executemany(record, [(times[person], person) for person in times])


def save_npz(collected: Collected, path: Path, without: Sequence[str] = ()) -> None:
    """Write the answers about similarity to an archive that `Answers.load` reads.

    It also holds ``time``, ``order``, ``choice``, ``source``, ``trial`` and ``repeat_of``, and in
    ``without`` the ids of the people who were left out.

    Raises
    ------
    DataError
        There are no answers about similarity.
    """
    if not collected.is_answer.any():
        raise DataError("the study has no answers yet. Export it once people have answered.")
    rows = collected.table[collected.is_answer].rename(columns={"number": "order"})
    arrays = collected.answers().members()
    arrays |= {name: rows[name].to_numpy() for name in ("time", "order", "choice", "trial")}
    arrays["repeat_of"] = rows["repeat_of"].to_numpy()
    arrays["source"] = rows["source"].to_numpy(np.str_)
    write_npz(path, {**arrays, "without": np.array(without, dtype=np.str_)})


def save_csv(collected: Collected, path: Path) -> None:
    """Write every row as CSV, catch trials and "can't tell" included.

    It is a table of answers like any other: the images in the order shown, then the one that was
    chosen, by their names, and its position, counted from 1. An apostrophe precedes an id of a
    recruiting site that a spreadsheet would take for a formula.
    """
    roles = ["a", "b", "c", "odd"]
    if collected.kind == "anchor":
        roles = ["reference", "left", "right", "chosen"]
    table = collected.table.rename(columns={"number": "order", "choice": "position"})
    is_decided = (table["position"] != CANNOT_TELL).to_numpy()
    names = np.array(collected.names, dtype=object)[collected.items]
    chosen = names[np.arange(len(table)), table["position"]]
    images = pd.DataFrame(names, columns=roles[:3])
    images[roles[3]] = np.where(is_decided, chosen, "")
    table["position"] = (table["position"] + 1).where(is_decided).astype("Int64")
    table["repeat_of"] = table["repeat_of"].where(table["source"] == REPEAT).astype("Int64")
    time = pd.to_datetime(table["time"], unit="s", utc=True)
    table["time"] = time.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    table["name"] = table["name"].fillna("").replace(r"^([=+\-@])", r"'\1", regex=True)
    table = table[["person", "name", "order"]].join(images).join(table.loc[:, "position":])
    write_text(path, table.to_csv(index=False))


def _frame(connection: Connection, query: str) -> pd.DataFrame:
    """The rows of a query as a data frame."""
    cursor = connection.execute(query)
    return pd.DataFrame(map(tuple, cursor), columns=[column[0] for column in cursor.description])
