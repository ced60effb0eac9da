"""The doctor of votes and persons: weights that are no votes, times in another unit, people who do not attend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.data.check.finding import Finding, note, warning
from glocal.data.people import FAST, convicting, people

if TYPE_CHECKING:
    import pandas as pd

_DOMINANT = 0.1  # of the total weight, where there are at least 100 answers
_MOSTLY = 0.5
_SLOW = 200.0  # seconds; a median above it is of milliseconds
_SHOWN = 5


def check_people(answers: Answers, credit: Float[np.ndarray, " t"] | None = None) -> Iterator[Finding]:
    """Votes that look wrong, and persons whose answers do, of any kind of answers.

    A person is named whose answers are likelier at random than like those of the other persons, by so much that in 99
    of 100 sets of answers without such a person nobody is named; `glocal.data.people` says how.

    Parameters
    ----------
    answers : Answers
    credit : (t,) float or None
        How right the features are on each answer, NaN where they cannot tell: what persons are compared by where no
        question was put to two of them.
    """
    if answers.weights is not None and len(answers):
        yield from _votes(answers.weights)
    if answers.seconds is not None and len(answers) and np.nanmedian(answers.seconds) > _SLOW:
        median = float(np.nanmedian(answers.seconds))
        yield warning(
            "seconds",
            f"answers: the median time of an answer is {median:.0f} seconds",
            "response times are judged in the wrong unit",
            "divide the times by 1000 if they are milliseconds",
            {"median": median},
        )
    if answers.person is None or not len(answers):
        return
    found = people(answers, credit)
    limit = convicting(len(found))
    yield from _named(
        found, found["odds"] > limit, "random", "answer as if at random",
        "their answers are noise that the fit takes for similarity",
    )  # fmt: skip
    if "fast" in found:
        yield from _named(
            found, found["fast"] > _MOSTLY, "fast",
            f"give more than half of their answers in less than {FAST} s",
            "nobody can look at three pictures in that time",
        )  # fmt: skip
    if "odds_inattentive" in found:
        yield from _named(
            found, found["odds_inattentive"] > limit, "catch", "fail catch trials as if at random",
            "a person who misses questions with a known answer is unlikely to attend to the others",
        )  # fmt: skip


def _votes(w: Float[np.ndarray, " t"]) -> Iterator[Finding]:
    most, consequence = int(w.argmax()), "some answers count for nothing, or for too much"
    if (w == 0).any():
        message = f"answers: {int((w == 0).sum())} of {len(w)} have weight 0 and count for nothing"
        fix = "nothing, if that is intended; otherwise check the column of votes"
        yield note("votes", message, consequence, fix)
    if w[most] > 1 and (w != np.round(w)).any():
        message = f"answers: weights up to {w[most]:g} are neither whole votes nor probabilities"
        fix = "check that the column holds votes, not times or ratings"
        yield warning("votes", message, consequence, fix)
    if len(w) >= 100 and w[most] > _DOMINANT * w.sum():
        message = f"answers: answer {most} alone has {w[most] / w.sum():.0%} of the total weight"
        yield warning("votes", message, consequence, "check its votes; it decides the fit")


def _named(found: pd.DataFrame, which: pd.Series[bool], check: str, what: str, consequence: str) -> Iterator[Finding]:
    if which.any():
        persons, answers = found.index[which].tolist(), int(found["answers"][which].sum())
        shown = ", ".join(map(str, persons[:_SHOWN])) + (", …" if len(persons) > _SHOWN else "")
        yield warning(
            check,
            f"persons: {len(persons)} of {len(found)} {what} ({shown}), {answers} of {found['answers'].sum()} answers",
            consequence,
            "inspect their answers and exclude these persons: answers.select(~numpy.isin(answers.person, persons))",
            {"persons": persons, "answers": answers},
        )
