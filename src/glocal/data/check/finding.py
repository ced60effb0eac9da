"""What a check finds: the numbers behind it, what follows if nothing is done, and the remedy."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.errors import DataWarning

SEVERITIES: tuple[Literal["error", "warning", "note"], ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One problem: an ``error`` makes results wrong, a ``warning`` may, a ``note`` is informational.

    `check` is its short name, `consequence` what happens if nothing is done, `fix` what to do, and `evidence` the
    numbers behind the message.
    """

    severity: Literal["error", "warning", "note"]
    check: str
    message: str
    consequence: str
    fix: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """The finding as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.message}; {self.consequence}. Fix: {self.fix}."


error, warning, note = (partial(Finding, severity) for severity in SEVERITIES)


@dataclass(frozen=True, eq=False)
class Case:
    """What is checked together.

    Parameters
    ----------
    features : Features
        Of the objects.
    local : Features or None
        Of the local images.
    answers, heldout : Answers or None
        Answers to fit, and those of another part, kept apart to score on.
    object_ids : sequence of str, or None
        The list that the answers index; None for the rows of the features.
    order : (n,) int or None
        The sort index that was applied to the answers.
    """

    features: Features
    local: Features | None = None
    answers: Answers | None = None
    heldout: Answers | None = None
    object_ids: Sequence[str] | None = None
    order: Int[np.ndarray, " n"] | None = None

    @property
    def listed(self) -> Sequence[str] | None:
        """The names of the objects that the answers index, where they are joined by name."""
        if self.object_ids is not None or self.answers is None or self.features.names is None:
            return self.object_ids
        return self.answers.names


def warn(findings: Iterable[Finding]) -> None:
    """Warn of each, at the line of the caller's caller."""
    for finding in (one for one in findings if one.severity != "note"):
        warnings.warn(f"{finding.message}. Fix: {finding.fix}.", DataWarning, stacklevel=4)
