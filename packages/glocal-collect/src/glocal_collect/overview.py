"""What each person of a study did, and how well, as numbers and as the cells of a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glocal.aligner.participants import participants
from glocal.data.features import Features
from glocal_collect.db import Database, database_errors
from glocal_collect.export import Collected, read_collected
from glocal_collect.study import Study

MARK = "as if at random"
_JUDGED = ["agreement", "low", "high", "shared", "repeats", "alike", "model", "odds", "is_marked"]
_COUNTS = ["answers", "cannot_tell", "catch_trials", "catch_failed", "repeats", "alike"]
_MAX_LOG10_ODDS = 6.0  # above these the number of zeros says nothing


def features_of(study: Study, path: Path | None = None) -> Features | None:
    """Features of the images: those of a path, else of the folder ``features`` of the study."""
    folder = study.folder / "features"
    if path is None and not folder.exists():
        return None
    return Features.load(path or folder)


def judge(collected: Collected, features: Features | None = None) -> pd.DataFrame:
    """How each person answers: columns of `glocal.aligner.participants.participants`.

    ``alike`` is the number of repeats that got the same answer.
    """
    if not collected.is_answer.any():
        return pd.DataFrame(columns=_JUDGED)
    table = participants(collected.answers(), features)[_JUDGED]
    return table.assign(alike=table["alike"] * table["repeats"])


def overview(study: Study, collected: Collected, judged: pd.DataFrame) -> pd.DataFrame:
    """A row for everybody who has a link or has begun.

    Beside the columns of `judge` it has ``name``, ``code``, ``answers`` with catch trials and
    "can't tell", ``cannot_tell``, ``seconds`` (their median), ``catch_trials``, ``catch_failed``,
    ``opened``, ``contested``, and the times ``consented``, ``finished``, ``last``, ``excluded``.
    """
    ids = {*collected.people["id"], *study.personal_ids}
    table = collected.people.astype(object).set_index("id")
    table = table.reindex(sorted(ids, key=lambda person: (len(person), person)))
    if study.settings.code:
        table["code"] = table["code"].where(table["code"].isna(), study.settings.code)
    answers = collected.table.assign(is_unsure=collected.table["choice"] < 0)
    by_person = answers.groupby("person")
    table["answers"] = by_person.size()
    table["cannot_tell"] = by_person["is_unsure"].sum()
    table["seconds"] = by_person["seconds"].median()
    table["last"] = by_person["time"].max()
    failed = (~collected.catch_passed).groupby(answers["person"])
    table["catch_trials"] = failed.size()
    table["catch_failed"] = failed.sum()
    table["opened"] = collected.openings
    table = table.join(judged)
    counts = [*_COUNTS, "opened"]
    table[counts] = table[counts].apply(pd.to_numeric).fillna(0).astype(int)
    table["is_marked"] = table["is_marked"].eq(True)
    return table.rename_axis("person")


def exclude(study: Study, database: Database, ids: Sequence[str], *, is_excluded: bool) -> None:
    """Record that people, by their ids, are excluded or not; nothing is deleted.

    Raises
    ------
    ParameterError
        Nobody has this id; then nothing is recorded.
    """
    read_collected(study, database).without(ids)
    moment = time.time() if is_excluded else None
    with database_errors(study.database), database.writing() as connection:
        record = "UPDATE people SET excluded = ? WHERE id = ?"
        connection.executemany(record, [(moment, person) for person in ids])


def cells(table: pd.DataFrame, per_person: int) -> pd.DataFrame:
    """The overview as texts by the titles of columns; the last row has the sums."""
    sums = table[_COUNTS].sum().to_frame("All").T
    rows = pd.concat([table.astype(object), sums.astype(object)])
    texts = pd.DataFrame([_cells(row, per_person) for row in rows.itertuples()], rows.index)
    texts.loc["All", ["Answers", "Last answer (UTC)"]] = [str(sums["answers"].item()), ""]
    return texts


def _cells(row: Any, per_person: int) -> dict[str, str]:
    """The texts of a row; what is not known is empty."""
    agreement = f"{_text(row.agreement, '.2f')} [{_text(row.low, '.2f')}, {_text(row.high, '.2f')}]"
    log10_odds = min(row.odds, _MAX_LOG10_ODDS)
    last = "has not begun" if pd.isna(row.consented) else ""
    if not pd.isna(row.last):
        last = f"{pd.Timestamp(row.last, unit='s'):%Y-%m-%d %H:%M}"
    remark = MARK if row.is_marked is True else ""
    return {
        "Site id": _text(row.name),
        "Answers": f"{row.answers} of {per_person}",
        "Remark": remark if pd.isna(row.excluded) else "excluded",
        "Can’t tell": _text(row.cannot_tell),
        "Median s": _text(row.seconds, ".1f"),
        "Catch failed": _part(row.catch_failed, row.catch_trials),
        "Agrees with others": f"{agreement} of {row.shared:.0f}" if row.shared > 0 else "",
        "Repeats alike": _part(row.alike, row.repeats),
        "Random : careful": f"{10**log10_odds:,.0f} : 1" if log10_odds > 0 else "",
        "Opened": _text(row.opened),
        "Refused": _text(row.contested),
        "Last answer (UTC)": last,
    }


def _text(value: Any, form: str = "") -> str:
    return "" if pd.isna(value) else format(value, form)


def _part(count: int, total: int) -> str:
    return f"{count} of {total}" if total else ""
