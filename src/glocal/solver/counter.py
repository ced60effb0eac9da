"""Progress, counted through all fits of one task."""

from __future__ import annotations

from glocal.objective import Evaluation
from glocal.solver.minimise import OnStep


class Counter:
    """Counts the evaluations of one fit after the other, and reports each step with the number of all so far."""

    def __init__(self, on_step: OnStep | None = None) -> None:
        self._on_step = on_step
        self.evaluations = 0

    def __call__(self, evaluations: int, evaluation: Evaluation) -> None:
        """Report a step of the present fit, after so many evaluations of it."""
        if self._on_step is not None:
            self._on_step(self.evaluations + evaluations, evaluation)

    def add(self, evaluations: int) -> None:
        """Count a fit that has ended."""
        self.evaluations += evaluations
