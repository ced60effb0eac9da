"""The options of a sweep beside those of its fits; nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass

from glocal.options import option


@dataclass(frozen=True)
class SweepOptions:
    """The grid, its folds, the rule of the choice and the tolerance of the points."""

    grid: str | None = option(
        None,
        "arms (all arms on one front), paper, or a TOML file of lists: method, alpha, lmbda, tau, mix, eta. "
        "[default: arms; paper with solver minibatch]",
        kind=str,
    )
    folds: int = option(3, "Parts of objects and local images.")
    select: str = option(
        "front-knee", "front-knee, val-loss, or a constraint: 'neighbours_kept>=0.9' or 'agreement>=0.5'."
    )
    exchange: float | None = option(
        None,
        "Choose by the agreement that all neighbours are worth, in place of the knee. "
        "[default: 0.3, only where the front is nearly straight]",
        kind=float,
    )
    tol: float = option(1e-4, "Relative tolerance of every point.")
