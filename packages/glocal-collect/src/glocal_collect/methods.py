"""The sentences on the design of a study for the paragraph of methods."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from glocal.screen import plural
from glocal_collect.export import Collected
from glocal_collect.study import Study
from glocal_collect.trials import CATCH, REPEAT

_QUESTIONS = {
    "odd-one-out": "named the odd one out",
    "anchor": "named which of two is more like the third",
}
_TO_ADD = "[Add how participants were recruited and paid, and the rule of exclusion.]"


def design_of(study: Study, collected: Collected, people: pd.DataFrame) -> tuple[str, ...]:
    """Who took part, when and how long; the trials of each kind; and who is excluded.

    `people` are the rows of the table of people who have answered.
    """
    return tuple(_sentences(study, collected, people))


def _sentences(study: Study, collected: Collected, people: pd.DataFrame) -> Iterator[str]:
    table = collected.table
    n_people = len(people)
    days = pd.to_datetime(table["time"], unit="s", utc=True).dt.strftime("%Y-%m-%d")
    minutes = table.groupby("person")["seconds"].sum() / 60
    yield (
        f"{n_people:,} {plural('participant', n_people)} saw {len(table):,} trials of three of "
        f"{len(study):,} images and {_QUESTIONS[study.settings.kind]} ({days.min()} to "
        f"{days.max()}; median {table['seconds'].median():.1f} s a trial and "
        f"{minutes.median():.0f} minutes a participant, {minutes.sum() / 60:.1f} hours in all)."
    )
    counts = table["source"].value_counts()
    n_catch = int(counts.get(CATCH, 0))
    n_repeats = int(counts.get(REPEAT, 0))
    passed = f", {collected.catch_passed.sum():,} of them passed" if n_catch else ""
    yield (
        f"Of the trials {n_repeats:,} repeated an earlier question and {n_catch:,} were catch "
        f"trials{passed}; “can’t tell” was chosen {(table['choice'] < 0).sum():,} times."
    )
    is_excluded = people["excluded"].notna()
    n_random = int(people["is_marked"].sum())
    yield (
        f"Number of participants who were excluded: {is_excluded.sum():,}; who answered as if at "
        f"random, by odds above 10 : 1 against careful answers: {n_random:,}."
    )
    yield _TO_ADD
