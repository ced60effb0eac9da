"""The doctor of votes and persons: weights that count nothing or all, raters at random, too fast, inattentive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from glocal.data.answers import Answers
from glocal.data.check.case import Case
from glocal.data.check.finding import Finding
from glocal.data.people import FAST, People, people, without

_DOMINANT = 0.1  # of the total weight, where there are at least 100 answers
_MOSTLY = 0.5
_SLOW = 200.0  # seconds; a median above it is of milliseconds
_SHOWN = 5


def check_people(answers: Answers, credit: Float[np.ndarray, " t"] | None = None) -> list[Finding]:
    """Votes that look wrong, and persons whose answers do, of any kind of answers.

    A person is named whose answers are likelier at random than like those of the other persons, by so much that in 99
    of 100 sets of answers without such a person nobody is named; `glocal.data.people.People` says how.

    Parameters
    ----------
    answers : Answers
    credit : (t,) float or None
        How right the features are on each answer, NaN where they cannot tell: what persons are compared by where no
        question was put to two of them.

    Returns
    -------
    list of Finding
    """
    findings = _votes(answers)
    if answers.seconds is not None and len(answers) and np.nanmedian(answers.seconds) > _SLOW:
        findings.append(
            Finding(
                "warning",
                "seconds",
                f"answers: the median time of an answer is {np.nanmedian(answers.seconds):.0f} seconds",
                "divide by 1000 if they are milliseconds (glocal data import --column milliseconds=COLUMN)",
                {"median": float(np.nanmedian(answers.seconds))},
                _in_seconds,
            )
        )
    if answers.person is None or not len(answers):
        return findings
    found = people(answers, credit)
    findings += _named(
        found, found.odds_random > found.convicting, "random", "answer as if at random", f"odds>{found.convicting:.1f}"
    )
    if found.fast is not None:
        fast = np.nan_to_num(found.fast) > _MOSTLY
        findings += _named(
            found, fast, "fast", f"give more than half of their answers in less than {FAST} s", f"fast>{_MOSTLY}"
        )
    inattentive = found.odds_inattentive > found.convicting
    findings += _named(found, inattentive, "catch", "fail catch trials as if at random", "catch<0.8")
    return findings


def _votes(answers: Answers) -> list[Finding]:
    w = answers.weights
    if w is None or not len(w):
        return []
    findings = []
    if (w == 0).any():
        message = f"answers: {int((w == 0).sum())} of {len(w)} have weight 0 and count for nothing"
        findings.append(Finding("note", "votes", message, "nothing, if that is meant; else check the column of votes"))
    if w.max() > 1 and (w != np.round(w)).any():
        message = f"answers: weights up to {w.max():g} are neither whole votes nor probabilities"
        findings.append(Finding("warning", "votes", message, "check that the column holds votes, not times or ratings"))
    if len(w) >= 100 and w.max() > _DOMINANT * w.sum():
        message = f"answers: answer {int(w.argmax())} alone has {w.max() / w.sum():.0%} of the total weight"
        findings.append(Finding("warning", "votes", message, "check its votes; it decides the fit"))
    return findings


def _in_seconds(case: Case) -> Case:
    def change(answers: Answers) -> Answers:
        return replace(answers, seconds=None if answers.seconds is None else answers.seconds / 1000)

    return case.changed(change)


def _named(found: People, which: Bool[np.ndarray, " q"], check: str, what: str, rule: str) -> list[Finding]:
    if not which.any():
        return []
    dropped = found.person[which]
    names = ", ".join(str(name) for name in dropped[:_SHOWN]) + (", …" if which.sum() > _SHOWN else "")
    return [
        Finding(
            "warning",
            check,
            f"persons: {which.sum()} of {len(found.person)} {what} ({names}), {found.answers[which].sum()} of "
            f"{found.answers.sum()} answers",
            f"look at them (glocal evaluate people) and leave them out: glocal data filter --drop-raters '{rule}'",
            {"persons": dropped.tolist(), "answers": int(found.answers[which].sum())},
            lambda case: case if case.answers is None else case.with_answers("answers", without(case.answers, dropped)),
        )
    ]
