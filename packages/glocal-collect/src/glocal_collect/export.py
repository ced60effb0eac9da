"""The answers of a study out of its database, at any time: as `Answers`, as an archive, as a table for spreadsheets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.files import atomic_write, write_npz
from glocal_collect.db import Database, database_errors
from glocal_collect.study import Study
from glocal_collect.trials import CATCH, REPEAT, right_choice

CANNOT_TELL = -1
_QUESTION = """
SELECT person, name, number, a, b, c, coalesce(choice, -1) AS choice, seconds, time, source, trials.id AS trial,
coalesce(again, -1) AS again FROM trials JOIN answers ON trial = trials.id JOIN people ON people.id = person
ORDER BY time, trials.id
"""


@dataclass(frozen=True, eq=False)
class Collected:
    """Every answer of a study, in the order of time.

    Parameters
    ----------
    kind : str
        odd-one-out or anchor.
    names : tuple of str
        The images that `items` count.
    table : DataFrame of t rows
        ``person`` and ``name``, the id that a recruiting site has for them; ``number``, the place of the trial among
        those of the person; ``a``, ``b``, ``c``, the images in the order shown, for the kind anchor the reference
        first; ``choice``, the position chosen, -1 for "can't tell"; ``seconds`` as the page measured them; ``time`` in
        seconds since 1970; ``source``, random, repeat or catch; ``trial`` and ``again``, the trial that a repeat asks
        again, otherwise -1.
    people : DataFrame
        Everybody who has consented or has a link, answers or none.
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
    def told(self) -> np.ndarray:
        """(t,) which rows are answers about similarity: neither catch trials nor "can't tell"."""
        return ((self.table["choice"] != CANNOT_TELL) & (self.table["source"] != CATCH)).to_numpy()

    @property
    def passed(self) -> pd.Series:
        """Whether each catch trial was passed, at its row of the table."""
        caught = self.table[self.table["source"] == CATCH]
        right = [right_choice(self.kind, row) for row in self.items[caught.index].tolist()]
        return caught["choice"] == np.array(right, dtype=np.int64)

    @property
    def alike(self) -> pd.Series:
        """Whether a person chose the same image again, for each of their own repeats, at its row of the table."""
        chosen = np.take_along_axis(self.items, self.table[["choice"]].clip(lower=0).to_numpy(np.int64), axis=1)[:, 0]
        table = self.table.assign(chosen=chosen)[self.told]
        pairs = table.reset_index().merge(table, left_on=["again", "person"], right_on=["trial", "person"])
        return pd.Series((pairs["chosen_x"] == pairs["chosen_y"]).to_numpy(), index=pairs["index"], dtype=bool)

    def answers(self) -> Answers:
        """The answers about similarity, in the order of `told`, with the catch trials beside them."""
        told, passed = self.table[self.told], self.passed
        choice, person = told["choice"].to_numpy(), self.table["person"].to_numpy(np.str_)
        if self.kind == "anchor":
            places = np.stack([np.zeros_like(choice), choice, 3 - choice], axis=1)
        else:
            places = np.column_stack([np.array([[1, 2], [0, 2], [0, 1]])[choice], choice])
        return Answers(
            np.take_along_axis(self.items[self.told], places, axis=1), kind=self.kind, person=person[self.told],
            seconds=told["seconds"].to_numpy(np.float64), names=self.names,
            catch_passed=passed.to_numpy() if len(passed) else None,
            catch_person=person[passed.index] if len(passed) else None,
        )  # fmt: skip


def collected(study: Study, database: Database) -> Collected:
    """Read all answers of a study in one look, which later answers do not change."""
    with database_errors(study.database), database.reading() as connection:
        table = pd.read_sql_query(_QUESTION, connection)
        people = pd.read_sql_query("SELECT * FROM people ORDER BY length(id), id", connection)
        found = Collected(study.settings.kind, study.names, table, people)
        if len(table) and not 0 <= found.items.min() <= found.items.max() < len(study):
            raise ValueError(f"a trial names image {found.items.max()} of {len(study)}")
        return found


def save_npz(found: Collected, path: Path) -> int:
    """Write the answers about similarity to an archive that `Answers.load` reads; how many there are.

    It also holds ``time``, ``order``, ``choice``, ``source``, ``trial`` and ``again`` of each answer.
    """
    if not found.told.any():
        raise DataError("the study has no answers yet. Export it once people have answered.")
    told = found.table[found.told].rename(columns={"number": "order"})
    more = {name: told[name].to_numpy() for name in ("time", "order", "choice", "trial", "again")}
    write_npz(path, {**found.answers().members(), **more, "source": told["source"].to_numpy(np.str_)})
    return len(told)


def save_csv(found: Collected, path: Path) -> int:
    """Write every row as CSV, catch trials and "can't tell" included; no name acts as a formula of a spreadsheet."""
    table = found.table.copy()
    for column in ("a", "b", "c"):
        table[column] = np.array(found.names, dtype=object)[table[column]]
    table["choice"] = (table["choice"] + 1).where(table["choice"] != CANNOT_TELL).astype("Int64")
    table["again"] = table["again"].where(table["source"] == REPEAT).astype("Int64")
    table["time"] = pd.to_datetime(table["time"], unit="s", utc=True).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    table.insert(3, "kind", found.kind)
    texts = table.select_dtypes(include=["object", "string"]).columns
    table[texts] = table[texts].fillna("").replace(r"^([=+\-@\t\r])", r"'\1", regex=True)
    names = {"number": "order", "a": "image_1", "b": "image_2", "c": "image_3"}
    with atomic_write(path) as stream:
        stream.write(table.rename(columns=names).to_csv(index=False).encode())
    return len(table)
