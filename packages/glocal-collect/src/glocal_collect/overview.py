"""The table of the people of a study: what each did, and how well, in numbers and in texts."""

from pathlib import Path
from typing import Any

import pandas as pd

from glocal.aligner.people import people
from glocal.data.features import Features
from glocal_collect.export import Collected
from glocal_collect.study import Study

JUDGED = [
    "answers",
    "seconds",
    "catch",
    "catch_trials",
    "shared",
    "agreement",
    "repeats",
    "alike",
    "model",
    "log10_odds",
    "judgement",
    "is_marked",
    "excluded",
]
"""Columns with numbers about a person that may be published."""
NOT_COMPARED = pd.DataFrame(columns=JUDGED).drop(columns=["answers", "excluded"])
"""The description of people whom nothing has compared yet."""


def describe_people(
    study: Study, collected: Collected, features: Path | None = None
) -> pd.DataFrame:
    """Describe how each person answers by `glocal.people`.

    The model of the answers takes the features at a path, or those in the folder ``features`` of
    the study, or none if there is no such folder.
    """
    path = features or study.folder / "features"
    loaded = None
    if features or path.exists():
        loaded = Features.load(path)
    answers = collected.answers()
    description = people(answers, loaded)
    return description.reindex(columns=NOT_COMPARED.columns)


def people_table(
    study: Study, collected: Collected, description: pd.DataFrame = NOT_COMPARED
) -> pd.DataFrame:
    """Return one row for everybody who has a personal link or has begun.

    Besides the columns of the description by `describe_people` it has ``name``, ``code``,
    ``answers`` (catch trials and "can't tell" included), ``cannot_tell``, ``trials`` (the number
    that everybody is asked), and the times ``consented``, ``finished``,
    ``last`` and ``excluded``.
    """
    ids = {*collected.people["id"], *study.personal_ids}
    shortest_first = sorted(ids, key=lambda person: (len(person), person))
    begun = collected.people.astype(object).set_index("id")
    everybody = begun.reindex(shortest_first)
    counts = collected.table.groupby("person").agg(
        answers=("trial", "size"),
        cannot_tell=("choice", lambda choice: (choice < 0).sum()),
        last=("time", "max"),
    )
    table = everybody.join([counts, description])
    for column in ("answers", "cannot_tell"):
        numbers = table[column].astype(float)
        table[column] = numbers.fillna(0).astype(int)
    table["is_marked"] = table["is_marked"].eq(True)
    judgement = "not compared yet" if description is NOT_COMPARED else "no model"
    judgements = table["judgement"].astype(object)
    table["judgement"] = judgements.fillna(judgement)
    table["trials"] = study.settings.per_person
    return table.rename_axis("person")


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table of people as texts under titles of columns; an unknown value is empty."""
    rows = map(_cells, table.itertuples())
    ids = table.index.tolist()
    return pd.DataFrame(rows, ids)


def _cells(row: Any) -> dict[str, str]:
    exclusion = "" if pd.isna(row.excluded) else "excluded; "
    last = "has not begun" if pd.isna(row.consented) else ""
    if row.answers:
        last = f"{pd.Timestamp(row.last, unit='s'):%Y-%m-%d %H:%M}"
    agreement = f"{row.agreement:.2f} of {row.shared:.0f}"
    return {
        "Site id": _text(row.name),
        "Answers": f"{row.answers} of {row.trials}",
        "Judgement": exclusion + row.judgement,
        "Can’t tell": str(row.cannot_tell),
        "Median s": _text(row.seconds, ".1f"),
        "Catch failed": _part(1 - row.catch, row.catch_trials),
        "Agrees with others": agreement if row.shared > 0 else "",
        "Repeats alike": _part(row.alike, row.repeats),
        "Last answer (UTC)": last,
    }


def _text(value: Any, form: str = "") -> str:
    return "" if pd.isna(value) else format(value, form)


def _part(share: float, total: float) -> str:
    return f"{share * total:.0f} of {total:.0f}" if total > 0 else ""
