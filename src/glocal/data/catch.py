"""Catch trials: questions with one right answer, which tell whether a person attended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from glocal.errors import DataError


@dataclass(frozen=True, eq=False)
class CatchTrials:
    """What people did on questions with one right answer, such as two equal pictures beside another one.

    Parameters
    ----------
    passed : (c,) bool
        Whether the right answer was given.
    person : (c,) array or None
        Who gave it, if that is known.
    """

    passed: Bool[np.ndarray, " c"]
    person: Shaped[np.ndarray, " c"] | None = None

    def __post_init__(self) -> None:
        if self.passed.ndim != 1 or self.passed.dtype != bool:
            raise DataError(
                f"catch trials hold {self.passed.dtype} of shape {self.passed.shape}; give one true or false each."
            )
        if self.person is not None and (self.person.shape != self.passed.shape or self.person.dtype.kind not in "iubU"):
            raise DataError(
                f"catch trials have persons of shape {self.person.shape} and type {self.person.dtype}; "
                f"each of the {len(self.passed)} needs one integer or name."
            )

    def __len__(self) -> int:
        return len(self.passed)

    def arrays(self) -> dict[str, np.ndarray]:
        """The members of a file of answers that hold them."""
        return {"catch_passed": self.passed} | ({} if self.person is None else {"catch_person": self.person})


def catch_in(found: dict[str, Any]) -> CatchTrials | None:
    """Take the catch trials out of what a file of answers holds."""
    passed, person = found.pop("catch_passed", None), found.pop("catch_person", None)
    return None if passed is None else CatchTrials(passed, person)


def caught(parts: Sequence[CatchTrials | None]) -> CatchTrials | None:
    """The catch trials of several sets of answers as one; without persons where not all of them have these."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    persons = [part.person for part in known if part.person is not None]
    return CatchTrials(
        np.concatenate([part.passed for part in known]),
        np.concatenate(persons) if len(persons) == len(known) else None,
    )
