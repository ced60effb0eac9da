"""The summary of a study: its participants, its ceiling, and whether more answers would help."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.planning import attained_share
from glocal.evaluation.agreement import MIN_REPEATED_SHARE, ceiling
from glocal.evaluation.intervals import Result
from glocal.results import Score

if TYPE_CHECKING:
    import pandas as pd

MIN_GAIN = 0.01
"""A study can stop if twice as many answers certainly add less agreement (a fraction) than this."""
JUDGED = (
    *("answers", "seconds", "catch", "catch_trials", "shared", "agreement", "low", "high"),
    *("repeats", "alike", "odds", "is_marked", "excluded"),
)
"""Columns with numbers about a person that may be published."""
_COLUMNS = ("Answers", "Remark", "Median s", "Catch failed", "Agrees with others", "Repeats alike")


@dataclass(frozen=True, eq=False)
class StudyData:
    """A study, as the package that collected it passes it to the report.

    Parameters
    ----------
    title : str
    answers : Answers
        Answers with the names of the objects, without those of excluded people.
    image : function
        Maps the number of an object to the path of its image.
    people : DataFrame
        One row for each person, indexed by id, with the columns `JUDGED`. ``is_marked`` is whether
        the person answers as if at random, and ``excluded`` the time of the exclusion, if any. A
        person may have no answers.
    cells : DataFrame
        The same rows as texts, with the titles that the columns have on the page.
    """

    title: str
    answers: Answers
    image: Callable[[int], Path]
    people: pd.DataFrame
    cells: pd.DataFrame


@dataclass(frozen=True, eq=False)
class StudySummary:
    """The people of a study, how well they agree, and whether to go on collecting.

    `participants`, `agreement`, `advice` and `reason` are sentences. `curve` holds the agreement
    for each number of fitted answers, `last_doubling` the gain between the last two numbers, and
    `curve_record` both as JSON values.
    """

    people: pd.DataFrame
    cells: pd.DataFrame
    ceiling: Result | None
    curve: tuple[Score, ...]
    last_doubling: Score
    curve_record: dict[str, Any]
    participants: str
    agreement: str
    advice: str
    reason: str

    def record(self) -> dict[str, Any]:
        """The numbers behind the sentences, and the advice, as JSON values."""
        people = self.people.reindex(columns=JUDGED).reset_index(names="person")
        return {
            "participants": people.to_dict("records"),
            "ceiling": None if self.ceiling is None else self.ceiling.majority,
            **self.curve_record,
            "advice": f"{self.advice} {self.reason}",
        }


def summarise(
    study: StudyData, features: Features, answers: Answers, scores: pd.DataFrame
) -> StudySummary:
    """Summarise a study.

    `answers` are the answers of the study, whose indices are rows of the features, and `scores` are
    the scores of a fit to them.
    """
    from glocal.aligner.curve import curve_record, learning_curve

    curve_scores = learning_curve(features, answers)
    *curve, last_doubling = curve_scores
    bounds = ceiling(answers, least=MIN_REPEATED_SHARE)
    advice, reason = advise(last_doubling, answers, _attainable(bounds, scores))
    has_begun = study.people["answers"] > 0
    return StudySummary(
        people=study.people[has_begun],
        cells=study.cells.loc[has_begun, [name for name in _COLUMNS if name in study.cells]],
        ceiling=bounds,
        curve=tuple(curve),
        last_doubling=last_doubling,
        curve_record=curve_record(curve_scores),
        participants=" ".join(_participants(study.people[has_begun], answers)),
        agreement=_agreement(bounds),
        advice=advice,
        reason=reason,
    )


def advise(last_doubling: Score, answers: Answers, attainable: float | None) -> tuple[str, str]:
    """Return the advice whether to go on collecting, and the reason.

    The formula of `glocal.plan_study` says which share of the `attainable` gain twice as many
    answers would add. The attainable gain is the ceiling less the agreement of the original
    features; it is None if it is not known, or if the fit has not certainly gained. Then the last
    doubling of the learning curve, a less certain guide, decides alone.
    """
    n_answers = len(answers)
    n_objects = len(answers.named_objects())
    shares = [attained_share(t, n_objects) for t in (n_answers, 2 * n_answers)]
    gain = math.nan if attainable is None else attainable * (shares[1] - shares[0])
    ends = (last_doubling.low, last_doubling.high)
    low, high = (math.nan if end is None else end for end in ends)
    advice = "It is open whether more answers about these images would help."
    if high < MIN_GAIN or gain < MIN_GAIN:
        advice = (
            "Stop collecting: more answers about these images would hardly help. To do better on "
            "other images, show more images."
        )
    elif gain >= MIN_GAIN:
        advice = (
            "Go on collecting: twice as many answers about these images would add about "
            f"{100 * gain:.1f} points of agreement."
        )
    elif low > 0:
        advice = "Go on collecting: more answers about these images would help."
    interval = "" if math.isnan(low) else f" (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    return advice, (
        f"By the formula of the plan, {n_answers:,} answers about {n_objects:,} images give about "
        f"{100 * shares[0]:.0f} % of what is attainable for these images, and twice as many, from "
        f"{answers.n_people or 0:,} more people like these, {100 * shares[1]:.0f} %. The "
        f"last doubling of the learning curve changed agreement by "
        f"{100 * last_doubling.value:+.1f} points{interval}."
    )


def _attainable(bounds: Result | None, scores: pd.DataFrame) -> float | None:
    """The ceiling less the agreement before a fit; None if the fit has not certainly gained."""
    by_metric = scores.set_index("metric")
    (gain_low,) = by_metric.loc[["accuracy_cosine_difference"], "low"]
    if bounds is None or not gain_low > 0:
        return None
    original = by_metric.loc[["accuracy_cosine"], "value"].iloc[0]
    return float(bounds.majority[0] - original)


def plural(noun: str, number: int) -> str:
    """The singular of a noun if the number is 1, else its plural."""
    if number == 1:
        return noun
    return "people" if noun == "person" else f"{noun}s"


def _participants(people: pd.DataFrame, answers: Answers) -> Iterator[str]:
    """Sentences on who took part, who is excluded, and whose answers look random."""
    is_excluded = people["excluded"].notna()
    is_marked = people["is_marked"] & ~is_excluded
    n_people = len(people)
    yield (
        f"{n_people:,} {plural('person', n_people)} took part. The fit uses "
        f"{len(answers):,} answers from {answers.n_people or 0:,} of them"
        f"{_listed(is_excluded, '; excluded: ')}."
    )
    if is_marked.any():
        yield (
            f"{_listed(is_marked, 'Answering as if at random: ')}; their answers are in the fit. "
            "If the rule that you wrote down beforehand says so, exclude them with glocal collect "
            "people STUDY --exclude ID, and make this page again."
        )


def _listed(is_member: pd.Series[bool], start: str) -> str:
    """`start` followed by the ids of the members; empty if there are no members."""
    ids = is_member.index[is_member].tolist()
    return start + ", ".join(map(str, ids)) if ids else ""


def _agreement(bounds: Result | None) -> str:
    """The ceiling in words."""
    if bounds is None:
        return (
            "Fewer than a tenth of the answers are to questions that were asked twice or more. The "
            "ceiling, the highest agreement with people that any model can reach, is therefore not "
            "known."
        )
    highest, lowest = (score.text() for score in bounds.scores)
    return (
        f"Of {bounds.n_answers:,} answers to questions that were asked twice or more, a fraction "
        f"of {highest} equals the most frequent answer to its question, as a mean over questions. "
        "If all questions have equally many answers, no model that always gives a question the "
        f"same answer can agree with people more. A fraction of {lowest} of the answers equals the "
        "most frequent of the other answers to its question."
    )
