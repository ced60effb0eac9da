"""The findings of checks: a problem, its consequence if nothing is done, and the fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import listed_objects
from glocal.errors import DataWarning, UnrelatedWarning, warn
from glocal.files import read_object
from glocal.similarity import Numbers

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class _Kind(NamedTuple):
    """What the findings of a check have in common, but for cases that have their own."""

    severity: Severity
    consequence: str
    fix: str


@cache
def _kinds() -> dict[str, _Kind]:
    """The kind of findings of each check, by its short name."""
    file = Path(__file__).with_suffix(".toml")
    table = read_object(file, what="table")
    return {check: _Kind(**fields) for check, fields in table.items()}


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


Findings = Iterator[Finding]


def finding(
    check: str, message: object, *, severity: Severity | None = None, fix: str | None = None
) -> Finding:
    """Return the finding of a check, with a severity or fix of its own if the case has one."""
    kind = _kinds()[check]
    sentence = str(message).rstrip(".")
    return Finding(
        check=check,
        message=sentence,
        severity=severity or kind.severity,
        consequence=kind.consequence,
        fix=fix or kind.fix,
    )


def by_severity(findings: list[Finding]) -> list[Finding]:
    """The findings, the most severe first."""
    return sorted(findings, key=_rank)


def _rank(finding: Finding) -> int:
    """The place of the severity of a finding, 0 for the most severe."""
    return SEVERITIES.index(finding.severity)


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
    order: Numbers | None = None

    @property
    def listed(self) -> Sequence[str] | None:
        """The names of the objects that the answers index, or None if they index feature rows."""
        if self.answers is None:
            return self.object_ids
        return listed_objects(self.features, self.answers, self.object_ids)


def warn_of_findings(findings: Iterable[Finding]) -> None:
    """Issue each finding as a DataWarning, at the line that called the checking function."""
    for finding in findings:
        category = UnrelatedWarning if finding.check == "chance" else DataWarning
        warn(f"{finding.message}. Fix: {finding.fix}.", category)
