"""What the page of a study says of its participants, of its ceiling, and of more answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.planning import attained_share
from glocal.evaluation.agreement import MIN_REPEATED_SHARE, Ceiling, ceiling
from glocal.results import Score

if TYPE_CHECKING:
    import pandas as pd

MIN_GAIN = 0.01
"""Where twice as many answers add less agreement, a fraction, for certain, a study can stop."""
JUDGED = (
    *("answers", "seconds", "catch", "catch_trials", "shared", "agreement", "low", "high"),
    *("repeats", "alike", "odds", "is_marked", "excluded"),
)
"""Columns of the numbers about a person that may be published."""
_COLUMNS = ("Answers", "Remark", "Median s", "Catch failed", "Agrees with others", "Repeats alike")


@dataclass(frozen=True, eq=False)
class StudyData:
    """A study, as the package that collected it hands it over.

    Parameters
    ----------
    title : str
    answers : Answers
        With the names of the objects, and without the people who are excluded.
    image : function
        The number of an object to the path of its image.
    people : DataFrame
        A row for each person, by id, with the columns `JUDGED`: ``is_marked`` says who answers as
        if at random, ``excluded`` when somebody was excluded. Some may have no answers.
    cells : DataFrame
        The same rows as texts, by the titles of their columns.
    """

    title: str
    answers: Answers
    image: Callable[[int], Path]
    people: pd.DataFrame
    cells: pd.DataFrame


@dataclass(frozen=True, eq=False)
class StudySummary:
    """The people of a study, how well they agree, and whether to go on collecting.

    `participants`, `agreement`, `advice` and `reason` are sentences. `curve` has the agreement for
    each number of fitted answers, `last_doubling` the gain between the last two numbers, and
    `curve_record` both as JSON values.
    """

    people: pd.DataFrame
    cells: pd.DataFrame
    ceiling: Ceiling | None
    curve: tuple[Score, ...]
    last_doubling: Score
    curve_record: dict[str, Any]
    participants: str
    agreement: str
    advice: str
    reason: str

    def record(self) -> dict[str, Any]:
        """What the sentences are made of, as JSON values."""
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
    """Describe a study.

    `answers` are its answers as rows of the features, and `scores` those of a fit to them.
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
    """Whether to go on, and why: what twice as many answers would add.

    By the formula of `glocal.plan_study` that is a share of what is `attainable`, the difference
    between the ceiling and the agreement of the original features. It is None where that is not
    known, or where the fit has not gained for certain; then the last doubling of the learning curve
    decides alone, which is a less certain guide.
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
            "Stop collecting: more answers about these images would hardly help. For other images, "
            "show more images."
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
        f"By the formula of the plan {n_answers:,} answers about {n_objects:,} images give about "
        f"{100 * shares[0]:.0f} % of what is attainable for these images, and twice as many, from "
        f"{answers.n_people or 0:,} more people like these, {100 * shares[1]:.0f} %. The "
        f"last doubling of the learning curve changed agreement by "
        f"{100 * last_doubling.value:+.1f} points{interval}."
    )


def _attainable(bounds: Ceiling | None, scores: pd.DataFrame) -> float | None:
    """The ceiling less the agreement before a fit; None if the fit has not gained for certain."""
    by_metric = scores.set_index("metric")
    (gain_low,) = by_metric.loc[["accuracy_cosine_difference"], "low"]
    if bounds is None or not gain_low > 0:
        return None
    original = by_metric.loc[["accuracy_cosine"], "value"].iloc[0]
    return float(bounds.majority[0] - original)


def plural(noun: str, number: int) -> str:
    """A noun as its number asks for."""
    if number == 1:
        return noun
    return "people" if noun == "person" else f"{noun}s"


def _participants(people: pd.DataFrame, answers: Answers) -> Iterator[str]:
    """Who took part, who is excluded, and who should be looked at."""
    is_excluded = people["excluded"].notna()
    is_marked = people["is_marked"] & ~is_excluded
    n_people = len(people)
    yield (
        f"{n_people:,} {plural('person', n_people)} took part. The fit is to "
        f"{len(answers):,} answers of {answers.n_people or 0:,} of them"
        f"{_listed(is_excluded, '; excluded: ')}."
    )
    if is_marked.any():
        yield (
            f"{_listed(is_marked, 'Answering as if at random: ')}; their answers are in the fit. "
            "If the rule that you wrote down before says so, exclude them by glocal collect people "
            "STUDY --exclude ID, and make this page again."
        )


def _listed(is_member: pd.Series[bool], start: str) -> str:
    """The ids of the members after a start; empty if there are none."""
    ids = is_member.index[is_member].tolist()
    return start + ", ".join(map(str, ids)) if ids else ""


def _agreement(bounds: Ceiling | None) -> str:
    """The ceiling in words."""
    if bounds is None:
        return (
            "Fewer than a tenth of the answers are to questions that were asked twice or more: the "
            "ceiling, how far any model can agree with people, is not known."
        )
    highest, lowest = (score.text() for score in bounds.scores)
    return (
        f"Of the answers to a question that was asked twice or more, a fraction of {highest} "
        "equals the most frequent one, in the mean over these questions. If all have as many "
        "answers, no model that always answers alike can agree with people more. Of their "
        f"{bounds.n_answers:,} answers a fraction of {lowest} equals the most frequent answer of "
        "the others."
    )
