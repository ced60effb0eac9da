"""What a solver hands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData, LocalBlocks
from glocal.objective import Evaluation
from glocal.solver import Solution
from glocal.transform import LinearTransform

OnStep = Callable[[int, Evaluation], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """The transform of standardized features, and how the solver came to it.

    `embedded` is X W up to a rotation, without b; `rank` the number of directions that were fitted where rows are
    fewer than columns, else None. `gathered` says that no objects × objects matrix was made; `n_fitted` and `watched`
    are None where the fit saw all answers and nothing else was watched.
    """

    transform: LinearTransform
    solution: Solution
    scale: float
    certificate: str
    embedded: Float[Tensor, "n p"]
    lambda_max: float | None = None
    rank: int | None = None
    gathered: bool = False
    n_fitted: int | None = None
    watched: dict[str, Any] | None = None


@runtime_checkable
class Solver(Protocol):
    """How an arm is minimised: `Exact`, or the paper's `Loop`."""

    name: ClassVar[str]
    most_blocks: ClassVar[int | None]

    @property
    def dtype(self) -> str:
        """Of the computation."""
        ...

    @property
    def device(self) -> str:
        """Any torch device."""
        ...

    def solve(
        self,
        data: FitData,
        arm: Arm,
        local: LocalBlocks | None = None,
        start: LinearTransform | None = None,
        on_step: OnStep | None = None,
    ) -> Outcome:
        """Minimise one arm on the answers and these blocks of local images."""
        ...

    def beside(self, name: str) -> Solver:
        """The same for a further fit, whose files go into a folder of their own."""
        ...

    def settings(self) -> dict[str, Any]:
        """What the record of a fit says of its solver."""
        ...
