"""The options of a sweep beside those of its fits; nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass

from glocal.options import option


@dataclass(frozen=True)
class SweepOptions:
    """The grid, its folds, the rule of the choice and the tolerance of the points."""

    grid: str = option("paper", "paper, or a TOML file of lists: alpha, lmbda, tau, mix, eta.")
    folds: int = option(3, "Parts of objects and local images.")
    select: str = option(
        "front-knee", "front-knee, val-loss, or a constraint: 'neighbours_kept>=0.8' or 'agreement>=0.5'."
    )
    tol: float = option(1e-4, "Relative tolerance of every point.")
