"""The choice about an arm, and the advice that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from glocal.advice.sentences import sentence
from glocal.advice.subject import Subject
from glocal.scores import (
    MIN_MEASURED_ANSWERS,
)

MIN_KEPT_FOR_SEARCH = 0.8


class Choice(StrEnum):
    """What to do with an arm, or why nothing can be said."""

    UNFINISHED = "unfinished"
    COLLAPSED = "collapsed"
    OVERFITTED = "overfitted"
    NOT_COMPARED = "not compared"
    NETWORKS_COMPARED = "networks compared"
    NOT_MEASURED = "not measured"
    TOO_FEW_ANSWERS = "too few answers"
    SEEN = "seen"
    UNCHANGED = "unchanged"
    MOVED = "moved"
    UNCERTAIN = "uncertain"
    WORSE = "worse"
    USE_NOT_FOR_SEARCH = "use, not for search"
    USE_WITH_EXCEPTIONS = "use, with exceptions"
    USE = "use"


ACTIONS = {
    Choice.UNFINISHED: "Continue it with glocal sweep --resume.",
    Choice.COLLAPSED: "Do not use it: lower --lmbda, or check that answers and features belong "
    "together.",
    Choice.OVERFITTED: "Do not use it as it is: raise --lmbda, or let glocal fit choose it.",
    Choice.NOT_COMPARED: "",
    Choice.NETWORKS_COMPARED: "",
    Choice.NOT_MEASURED: "For its agreement with people, pass --answers that are new.",
    Choice.TOO_FEW_ANSWERS: "Collect more answers.",
    Choice.SEEN: "Do not rely on it: score answers that the fit had not seen.",
    Choice.UNCHANGED: "It leaves the features as they are. Collect more answers.",
    Choice.MOVED: "It only moves the origin of the features. Collect more answers.",
    Choice.UNCERTAIN: "Do not rely on it yet. Collect more answers.",
    Choice.WORSE: "Do not use it.",
    Choice.USE_NOT_FOR_SEARCH: "Where neighbours matter, as in search, fit again with --keep 0.9. "
    "Elsewhere, use it:",
    Choice.USE_WITH_EXCEPTIONS: "Except for {worse}, use it:",
    Choice.USE: "Use it:",
}
"""What to do by the choice; a command follows the choices to use an arm."""
USES = (Choice.USE, Choice.USE_WITH_EXCEPTIONS, Choice.USE_NOT_FOR_SEARCH)
"""The choices to use an arm."""


@dataclass(frozen=True)
class Advice:
    """The choice about an arm, what was measured in a sentence, what to do, and the command."""

    choice: Choice
    sentence: str
    action: str = ""
    command: str | None = None


def advise(subject: Subject, command: str | None = None) -> Advice:
    """The advice about an arm; the command is kept if the choice is to use it."""
    choice = _choice(subject)
    action = ACTIONS[choice].format(worse=subject.tasks(Choice.WORSE))
    return Advice(choice, sentence(subject), action, command if choice in USES else None)


def _choice(subject: Subject) -> Choice:
    """The choice to make."""
    agreement = subject.agreement
    if subject.is_collapsed:
        return Choice.COLLAPSED
    if subject.is_overfitted:
        return Choice.OVERFITTED
    if agreement is None:
        is_known = subject.kept is None or subject.gains
        return Choice.NOT_COMPARED if is_known else Choice.NOT_MEASURED
    if 0 < agreement.after.n < MIN_MEASURED_ANSWERS:
        return Choice.TOO_FEW_ANSWERS
    if agreement.after.is_seen:
        return Choice.SEEN
    if subject.fit is not None and subject.is_unchanged:
        return Choice.MOVED if subject.fit.centre else Choice.UNCHANGED
    if agreement.change == "none":
        return Choice.UNCERTAIN
    if agreement.change == "down":
        return Choice.WORSE
    if subject.kept is not None and subject.kept.value < MIN_KEPT_FOR_SEARCH:
        return Choice.USE_NOT_FOR_SEARCH
    return Choice.USE_WITH_EXCEPTIONS if subject.tasks(Choice.WORSE) else Choice.USE
