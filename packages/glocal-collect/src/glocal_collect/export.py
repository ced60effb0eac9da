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
_IMAGES = ["a", "b", "c"]
_SIMILAR_PAIRS = np.array(((1, 2), (0, 2), (0, 1)))  # the other two positions, for each choice


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
        among the person's trials; ``a``, ``b``, ``c``, the images in the order shown, for the kind
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
        images = self.table[_IMAGES]
        return images.to_numpy(np.int64)

    @property
    def is_answer(self) -> np.ndarray:
        """(t,) whether each row is about similarity: neither a catch trial nor "can't tell"."""
        is_decided = self.table["choice"] != CANNOT_TELL
        is_catch = self.table["source"] == CATCH
        is_answer = is_decided & ~is_catch
        return is_answer.to_numpy()

    @property
    def excluded(self) -> list[str]:
        """The ids of the people who are excluded."""
        excluded = self.people.dropna(subset="excluded")
        return excluded["id"].tolist()

    @property
    def catch_passed(self) -> pd.Series:
        """Whether each catch trial was passed, with the index of its row of the table."""
        is_catch = self.table["source"] == CATCH
        catch = self.table[is_catch]
        items = self.items[is_catch]
        right = []
        for images in items.tolist():
            choice = right_choice(self.kind, images)
            right.append(choice)
        return catch["choice"] == np.array(right, dtype=np.int64)

    def without(self, ids: Sequence[str]) -> Collected:
        """Return the same without the trials of the people with these ids.

        Raises
        ------
        ParameterError
            Nobody has one of these ids.
        """
        begun = set(self.people["id"])
        unknown = set(ids) - begun
        if unknown:
            raise ParameterError(
                f"nobody who has begun has the id {min(unknown)!r}. glocal collect people lists "
                "all ids."
            )
        is_left_out = self.table["person"].isin(ids)
        rest = self.table[~is_left_out]
        table = rest.reset_index(drop=True)
        return replace(self, table=table)

    def answers(self) -> Answers:
        """The answers about similarity, in the order of the table, with the catch trials."""
        is_answer = self.is_answer
        items = self.items[is_answer]
        rows = self.table[is_answer]
        choice = rows["choice"].to_numpy(np.int64)
        if self.kind == "anchor":
            reference = np.zeros_like(choice)
            other = 3 - choice
            positions = np.column_stack([reference, choice, other])
        else:
            pairs = _SIMILAR_PAIRS[choice]
            positions = np.column_stack([pairs, choice])
        person = self.table["person"].to_numpy(np.str_)
        passed = self.catch_passed
        has_catch = len(passed) > 0
        return Answers(
            np.take_along_axis(items, positions, axis=1),
            kind=self.kind,
            person=person[is_answer],
            seconds=rows["seconds"].to_numpy(np.float64),
            names=self.names,
            catch_passed=passed.to_numpy() if has_catch else None,
            catch_person=person[passed.index] if has_catch else None,
        )


def read_collected(study: Study, database: Database) -> Collected:
    """Read all answers of a study in one transaction, so that they are of one moment."""
    with (
        database_errors(study.database),
        database.reading() as connection,
    ):
        collected = Collected(
            kind=study.settings.kind,
            names=study.names,
            table=_frame(connection, _ANSWERED_TRIALS),
            people=_frame(connection, _PEOPLE),
        )
        items = collected.items
        n_images = len(study)
        is_image = (items >= 0) & (items < n_images)
        if not is_image.all():
            raise ValueError(f"a trial names image {items.max()} of {n_images}")
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
    collected = read_collected(study, database)
    collected.without([*exclude, *include])
    now = time.time()
    rows: list[tuple[float | None, str]] = []
    for person in exclude:
        if person not in include:
            rows.append((now, person))
    for person in include:
        rows.append((None, person))
    record = "UPDATE people SET excluded = ? WHERE id = ?"
    with (
        database_errors(study.database),
        database.writing() as connection,
    ):
        connection.executemany(record, rows)


def save_npz(collected: Collected, path: Path, without: Sequence[str] = ()) -> None:
    """Write the answers about similarity to an archive that `Answers.load` reads.

    It also holds ``time``, ``order``, ``choice``, ``source``, ``trial`` and ``repeat_of``, and in
    ``without`` the ids of the people who were left out.

    Raises
    ------
    DataError
        There are no answers about similarity.
    """
    is_answer = collected.is_answer
    if not is_answer.any():
        raise DataError("the study has no answers yet. Export it once people have answered.")
    rows = collected.table[is_answer]
    arrays = collected.answers().members()
    arrays["order"] = rows["number"].to_numpy()
    for name in ("time", "choice", "trial", "repeat_of"):
        arrays[name] = rows[name].to_numpy()
    arrays["source"] = rows["source"].to_numpy(np.str_)
    arrays["without"] = np.array(without, dtype=np.str_)
    write_npz(path, arrays)


def save_csv(collected: Collected, path: Path) -> None:
    """Write every row as CSV, catch trials and "can't tell" included.

    It is a table of answers like any other: the images in the order shown, then the one that was
    chosen, by their names, and its position, counted from 1. An apostrophe precedes an id of a
    recruiting site that a spreadsheet would take for a formula.
    """
    roles = ["a", "b", "c", "odd"]
    if collected.kind == "anchor":
        roles = ["reference", "left", "right", "chosen"]
    rows = collected.table
    choice = rows["choice"].to_numpy(np.int64)  # a table without rows has no type
    is_decided = choice != CANNOT_TELL
    is_repeat = rows["source"] == REPEAT
    all_names = np.array(collected.names, dtype=object)
    names = all_names[collected.items]
    chosen = names[np.arange(len(rows)), choice]
    time = pd.to_datetime(rows["time"], unit="s", utc=True)
    position = (rows["choice"] + 1).where(is_decided)
    repeat_of = rows["repeat_of"].where(is_repeat)
    site_ids = rows["name"].fillna("")
    table = pd.DataFrame()
    table["person"] = rows["person"]
    table["name"] = site_ids.replace(r"^([=+\-@])", r"'\1", regex=True)
    table["order"] = rows["number"]
    table[roles[:3]] = names
    table[roles[3]] = np.where(is_decided, chosen, "")
    table["position"] = position.astype("Int64")
    table["seconds"] = rows["seconds"]
    table["time"] = time.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    table["source"] = rows["source"]
    table["trial"] = rows["trial"]
    table["repeat_of"] = repeat_of.astype("Int64")
    text = table.to_csv(index=False)
    write_text(path, text)


def _frame(connection: Connection, query: str) -> pd.DataFrame:
    """The rows of a query as a data frame."""
    cursor = connection.execute(query)
    columns = [column[0] for column in cursor.description]
    rows = map(tuple, cursor)
    return pd.DataFrame(rows, columns=columns)
