"""The findings of checks: a problem, its consequence if nothing is done, and the fix."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.errors import DataWarning

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

_PERSONS = (
    "inspect their answers and exclude these persons: "
    "answers.select(~numpy.isin(answers.person, persons))"
)
_KINDS: dict[str, tuple[Severity, str, str]] = {
    # about features
    "features": (
        "error",
        "nothing can be computed from this file",
        "repair the file or write it again",
    ),
    "constant": (
        "warning",
        "constant columns distinguish nothing, and shift the numbers that standardize all columns",
        "leave units of a network that no image activates; drop a number or padding, here and in "
        "all later features",
    ),
    "huge": (
        "warning",
        "this column alone determines the similarities and the standardization",
        "extract that column again, or drop it here and in all later features",
    ),
    "zero": (
        "warning",
        "their similarities reflect only the offset that all rows share",
        "compute the features of those images again, or remove them",
    ),
    "scale": (
        "warning",
        "these rows determine both standardization scalars, so that all other rows look alike",
        "compute the features of those images again, or remove them",
    ),
    "standardized": (
        "warning",
        "a transform learned here applies only to features standardized by the same lost numbers",
        "use the features as the network gives them; the lost numbers cannot be recovered",
    ),
    "duplicates": (
        "warning",
        "they count more than once, and copies become each other's nearest neighbours",
        "check for images extracted twice, or a failed extraction that repeats its last batch",
    ),
    # about local features, compared with those of the objects
    "shape": (
        "error",
        "one matrix cannot transform both",
        "extract both with the same model and layer",
    ),
    "local": (
        "warning",
        "the local term preserves the neighbours of a different space",
        "take both from the same network and layer, and prepare both files, and all later ones, in "
        "the same way: as the network gives them, or with rows of length 1",
    ),
    # about answers
    "answers": ("error", "nothing can be learned from this file", "correct the file"),
    "base": (
        "warning",
        "each answer is learned from the wrong images",
        "if the file counts from 1, pass `base=1` (the list of objects then has one more line)",
    ),
    "coverage": (
        "note",
        "nothing is learned about these objects",
        "nothing, if that is intended; otherwise check the base and the list of objects",
    ),
    "repeats": (
        "note",
        "they are counted more than once",
        "nothing, if the questions were asked several times; otherwise remove the copies",
    ),
    "contradictions": (
        "warning",
        "no model can agree with two contradictory answers",
        "check whether the file lists alternatives as if they had been chosen, and whether its "
        "first column is a reference (`kind='anchor'`)",
    ),
    "join": (
        "warning",
        "these answers are dropped and counted",
        "add the missing features to keep them",
    ),
    "columns": (
        "warning",
        "the fit learns the opposite of what people said, or compares with the wrong object",
        "check which column holds the reference: it comes first, the chosen object second",
    ),
    "order": (
        "warning",
        "answers about one object are learned from the image of another",
        "give the list in the order that the answers index (`object_ids`, or a sort index: "
        "`order`)",
    ),
    "chance": (
        "warning",
        "answers about one object may be learned from the image of another",
        "check that answers and features list the objects in the same order (`object_ids`, "
        "`order`)",
    ),
    "leakage": (
        "error",
        "the held-out score is partly a score on training questions",
        "split again (glocal data split)",
    ),
    # about people
    "votes": (
        "warning",
        "some answers count for nothing, or for too much",
        "check that the column holds votes, not times or ratings",
    ),
    "fast": ("warning", "nobody can look at three pictures in that time", _PERSONS),
    "catch": (
        "warning",
        "people who miss questions with a known answer are unlikely to attend to the others",
        _PERSONS,
    ),
}
"""For each check, by its short name: severity, consequence if nothing is done, and fix."""


@dataclass(frozen=True)
class Finding:
    """One problem: an ``error`` invalidates results, a ``warning`` may do so, a ``note`` informs.

    `check` is the short name of the check, `consequence` the effect of the problem if nothing is
    done, and `fix` the remedy.
    """

    severity: Severity
    check: str
    message: str
    consequence: str
    fix: str

    def __str__(self) -> str:
        return f"{self.message}; {self.consequence}. Fix: {self.fix}."


def finding(
    check: str, message: object, *, severity: Severity | None = None, fix: str | None = None
) -> Finding:
    """Return the finding of a check, with a severity or fix of its own if the case has one."""
    usual_severity, consequence, usual_fix = _KINDS[check]
    text = str(message).rstrip(".")
    return Finding(severity or usual_severity, check, text, consequence, fix or usual_fix)


@dataclass(frozen=True, eq=False)
class Case:
    """The data that are checked together.

    They are the features of objects and of local images, the answers to fit, and the held-out
    answers to score on. `object_ids` is the list that the answers index, or None if they index
    feature rows. `order` is the sort index that was applied to the answers.
    """

    features: Features
    local: Features | None = None
    answers: Answers | None = None
    heldout: Answers | None = None
    object_ids: Sequence[str] | None = None
    order: Int[np.ndarray, " n"] | None = None

    @property
    def listed(self) -> Sequence[str] | None:
        """The names of the objects that the answers index, or None if they index feature rows."""
        if self.object_ids is not None or self.answers is None or self.features.names is None:
            return self.object_ids
        return self.answers.names


def warn(findings: Iterable[Finding]) -> None:
    """Issue each finding as a DataWarning, at the line that called the checking function."""
    for finding in findings:
        warnings.warn(f"{finding.message}. Fix: {finding.fix}.", DataWarning, stacklevel=4)
