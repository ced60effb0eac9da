"""One objective: a weighted sum of named terms with its value and gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The objective at one (W, b).

    `value` is the weighted sum, `parts` the unweighted value of each term, `dW` and `db` the gradient
    (`db` is None without a bias). `excess` is how many times what its tolerance allows the solver's criterion still
    measures there; None where it has not judged.
    """

    value: float
    parts: dict[str, float]
    dW: Float[Tensor, "p q"]
    db: Float[Tensor, " q"] | None
    excess: float | None = None

    @property
    def finite(self) -> bool:
        """Whether value and gradient are usable numbers."""
        return math.isfinite(self.value)


@runtime_checkable
class Term(Protocol):
    """A function of (W, b) with a gradient: returns value, ∂/∂W and ∂/∂b (None if b is None)."""

    @property
    def name(self) -> str:
        """The key of the term in `Evaluation.parts`."""
        ...

    def __call__(
        self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None
    ) -> tuple[float, Float[Tensor, "p q"], Float[Tensor, " q"] | None]:
        """Value and gradient at (W, b)."""
        ...


@dataclass(frozen=True, eq=False)
class Objective:
    """f(W, b) = Σ weight · term(W, b).

    Parameters
    ----------
    terms : tuple of (weight, Term)
        The weights are the coefficients of the paper: 1 - α, α and λ.
    """

    terms: tuple[tuple[float, Term], ...]

    def __call__(self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None = None) -> Evaluation:
        """Evaluate value and gradient."""
        value, parts, dW, db = 0.0, {}, W.new_zeros(W.shape), None if b is None else b.new_zeros(b.shape)
        for weight, term in self.terms:
            part, part_dW, part_db = term(W, b)
            parts[term.name] = part
            value += weight * part
            dW.add_(part_dW, alpha=weight)
            if db is not None and part_db is not None:
                db.add_(part_db, alpha=weight)
        return Evaluation(value, parts, dW, db)

    def term(self, name: str) -> tuple[float, Any]:
        """The weight and the term of that name; a weight of 0 and None if the objective has none."""
        return next(((weight, term) for weight, term in self.terms if term.name == name), (0.0, None))


def weighted(global_loss: Term, local_loss: Term | None, alpha: float, lmbda: float, penalty: Term) -> Objective:
    """(1 - α) L_global + α L_local + λ R, or L_global + λ R without a local loss."""
    if local_loss is None:
        return Objective(((1.0, global_loss), (lmbda, penalty)))
    return Objective(((1 - alpha, global_loss), (alpha, local_loss), (lmbda, penalty)))
