"""What a check finds: the evidence, the consequence and the fix, and how the data are mended where a rule can do it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from glocal.data.check.case import Case
from glocal.errors import DataWarning

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

CONSEQUENCES = {
    "finite": "such a row has no similarity to any other, and a fit refuses the file",
    "overflow": "these similarities are those of the largest number of half precision, not of the image",
    "constant": "they distinguish nothing and take part in the two scalars that standardize all the others",
    "huge": "similarities and both scalars are those of this column alone",
    "scale": "these rows decide both scalars, so that all other rows look alike",
    "zero": "such a row has no direction: its similarities are those of the offset that all rows share",
    "lengths": "the two scalars fit neither part, and similarities tell the parts apart, not the images",
    "standardized": "a transform learned here applies only to features standardized by the same, lost numbers",
    "duplicates": "what is repeated counts as often as it is there, and copies are neighbours",
    "near duplicates": "neighbours among copies are kept by any transform, and copies in two folds leak",
    "names": "answers about one object are learned from the image of another one",
    "local scale": "the local term keeps neighbours under a standardization that is not theirs",
    "local columns": "the local term keeps the neighbours of another space than the one that is aligned",
    "shape": "one matrix cannot transform both",
    "unreadable": "nothing can be computed from this file",
    "triplets": "nothing can be learned from this file",
    "empty": "there is nothing to learn from",
    "range": "the answers do not refer to these features",
    "base": "each answer is learned from the images of the neighbours in the list",
    "coverage": "nothing is learned about these objects",
    "rare": "what is learned about these objects is noise",
    "contradictions": "no model can satisfy both",
    "join": "these answers are lost",
    "order": "answers about one object are learned from the image of another one",
    "odd column": "the fit learns that the odd one is among the alike",
    "mixed columns": "one part of the answers teaches the opposite of the other",
    "part at chance": "this part of the answers teaches noise",
    "alternatives": "the fit learns that the farther one is the nearer",
    "reference": "the fit compares with another object than people did",
    "leakage": "scores on the held-out answers are those of answers that were trained on",
    "votes": "some answers count for nothing, or for too much",
    "seconds": "the speed of persons is judged by a wrong unit",
    "random": "their answers are noise that the fit takes for similarity",
    "fast": "nobody looks at three pictures in that time",
    "catch": "who did not attend to questions with one right answer did not attend to the others",
}
"""By the name of each check, what happens if nothing is done."""


@dataclass(frozen=True, eq=False)
class Finding:
    """One problem: an `error` makes results wrong, a `warning` may, a `note` is informational; `fix` is the remedy.

    `evidence` holds the numbers behind the message; `mend`, where a rule can mend the data, does so.
    """

    severity: Severity
    check: str
    message: str
    fix: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    mend: Callable[[Case], Case] | None = field(default=None, repr=False)

    @property
    def consequence(self) -> str:
        """What happens if nothing is done."""
        return CONSEQUENCES[self.check]

    def told(self) -> dict[str, Any]:
        """The finding as plain values."""
        return {
            "severity": self.severity, "check": self.check, "message": self.message, "evidence": dict(self.evidence),
            "consequence": self.consequence, "fix": self.fix, "mendable": self.mend is not None,
        }  # fmt: skip

    def __str__(self) -> str:
        return f"{self.message}; {self.consequence}. Fix: {self.fix}."


def warn(findings: Iterable[Finding]) -> None:
    """Warn of each, in the name of whoever called the caller."""
    for finding in findings:
        warnings.warn(f"{finding.message}. Fix: {finding.fix}.", DataWarning, stacklevel=4)
