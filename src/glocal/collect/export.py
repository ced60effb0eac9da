"""The answers of a study out of its database, at any time: as `Answers`, as an archive, as a table for spreadsheets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sql
from jaxtyping import Bool, Float, Int, Shaped
from sqlalchemy.engine import Engine

from glocal.arrays import write_npz as write_arrays
from glocal.collect.database import answers, readable, trials
from glocal.collect.study import Study
from glocal.collect.trials import CATCH, REPEAT, right_choice
from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.files import atomic_write

CANNOT_TELL = -1


@dataclass(frozen=True, eq=False)
class Collected:
    """Every answer of a study, in the order of time.

    Parameters
    ----------
    kind : str
        odd-one-out or anchor.
    names : tuple of str
        The images that `items` count.
    person : (t,) str
    order : (t,) int
        The place of the trial among those of the person, from 0.
    items : (t, 3) int
        In the order shown; for the kind anchor the reference is the first.
    choice : (t,) int
        The position chosen, 0 to 2; -1 for "can't tell".
    seconds, time : (t,) float
        How long it took as the page measured it, and when it came, in seconds since 1970.
    source : (t,) str
        random, informative, repeat or catch: why it was asked. Evaluation without bias uses random ones.
    trial, again : (t,) int
        The number of the trial, and for a repeat of the one that it asks again, otherwise -1.
    """

    kind: str
    names: tuple[str, ...]
    person: Shaped[np.ndarray, " t"]
    order: Int[np.ndarray, " t"]
    items: Int[np.ndarray, "t 3"]
    choice: Int[np.ndarray, " t"]
    seconds: Float[np.ndarray, " t"]
    time: Float[np.ndarray, " t"]
    source: Shaped[np.ndarray, " t"]
    trial: Int[np.ndarray, " t"]
    again: Int[np.ndarray, " t"]

    def __len__(self) -> int:
        return len(self.choice)

    @property
    def told(self) -> Bool[np.ndarray, " t"]:
        """Which rows are answers about similarity: neither catch trials nor "can't tell"."""
        return (self.choice != CANNOT_TELL) & (self.source != CATCH)

    @property
    def right(self) -> Bool[np.ndarray, " c"]:
        """Whether each catch trial, in order, was passed."""
        caught = self.source == CATCH
        wanted = [right_choice(self.kind, items) for items in self.items[caught].tolist()]
        return self.choice[caught] == np.array(wanted, dtype=np.int64)

    def answers(self) -> Answers:
        """The answers about similarity, in the order of `told`, with the catch trials beside them."""
        rows = self.told
        items, choice = self.items[rows], self.choice[rows]
        others = np.array([[1, 2], [0, 2], [0, 1]])
        if self.kind == "anchor":
            places = np.stack([np.zeros_like(choice), choice, 3 - choice], axis=1)
        else:
            places = np.concatenate([others[choice], choice[:, None]], axis=1)
        caught = self.source == CATCH
        return Answers(
            np.take_along_axis(items, places, axis=1), kind=self.kind, person=self.person[rows],
            seconds=self.seconds[rows], names=self.names,
            catch_passed=self.right if caught.any() else None,
            catch_person=self.person[caught] if caught.any() else None,
        )  # fmt: skip


def collected(study: Study, engine: Engine) -> Collected:
    """Read all answers of a study in one look, which later answers do not change."""
    columns = (
        trials.c.person, trials.c.number, trials.c.images, answers.c.choice, answers.c.seconds, answers.c.time,
        trials.c.source, trials.c.id, trials.c.again,
    )  # fmt: skip
    question = sql.select(*columns).join(answers, answers.c.trial == trials.c.id).order_by(answers.c.time, trials.c.id)
    with readable(study), engine.connect().execution_options(reads=True) as connection:
        rows = connection.execute(question).all()
        by_column = zip(*rows, strict=True) if rows else [()] * 9
        person, order, shown, choice, seconds, time, source, trial, again = by_column
        items = np.array([json.loads(one) for one in shown], dtype=np.int64).reshape(-1, 3)
        if items.size and not 0 <= items.min() <= items.max() < len(study):
            raise ValueError(f"a trial names image {items.max()} of {len(study)}")
        return Collected(
            study.settings.kind, study.names, np.array(person, dtype=np.str_), np.array(order, dtype=np.int64),
            items,
            np.array([CANNOT_TELL if one is None else one for one in choice], dtype=np.int64),
            np.array(seconds, dtype=np.float64), np.array(time, dtype=np.float64), np.array(source, dtype=np.str_),
            np.array(trial, dtype=np.int64), np.array([-1 if one is None else one for one in again], dtype=np.int64),
        )  # fmt: skip


def write_npz(found: Collected, path: Path) -> int:
    """Write the answers about similarity to an archive that `Answers.load` reads; how many there are.

    Beside what `Answers` has, it holds for each answer `time`, `order`, `choice`, `source`, `trial` and `again`.
    """
    if not found.told.any():
        raise DataError("the study has no answers yet. Export it when people have answered.")
    told = found.answers()
    rows = found.told
    write_arrays(
        path,
        told.members()
        | {
            "time": found.time[rows], "order": found.order[rows], "choice": found.choice[rows],
            "source": found.source[rows], "trial": found.trial[rows], "again": found.again[rows],
        },
    )  # fmt: skip
    return len(told)


def write_csv(found: Collected, path: Path) -> int:
    """Write every row as CSV, catch trials and "can't tell" included; no name acts as a formula of a spreadsheet."""
    import pandas as pd

    from glocal.suite.text import csv

    names = np.array(found.names, dtype=object)
    shown = {f"image_{place + 1}": names[found.items[:, place]] for place in range(3)}
    repeats = np.where(found.source == REPEAT, found.again, -1)
    table = pd.DataFrame(
        {
            "trial": found.trial, "person": found.person.astype(object), "order": found.order, "kind": found.kind,
            "source": found.source.astype(object), **shown,
            "choice": [None if one == CANNOT_TELL else str(one + 1) for one in found.choice.tolist()],
            "seconds": found.seconds,
            "time": np.datetime_as_string((found.time * 1000).astype("datetime64[ms]"), timezone="UTC").astype(object),
            "again": [None if one < 0 else str(one) for one in repeats.tolist()],
        }
    )  # fmt: skip
    with atomic_write(path) as stream:
        stream.write(csv(table).encode())
    return len(found)
