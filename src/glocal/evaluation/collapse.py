"""When features are one point: what differs then is rounding, and every score is that of chance."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float

from glocal.errors import CollapseWarning
from glocal.similarity import unit_rows

_SMALLEST_SPREAD = 1e-12
_CHANCE_SLACK = 1e-6  # nats


def one_point(rows: Float[np.ndarray, "n p"]) -> bool:
    """Whether rows differ by nothing but rounding: mean_i ‖z_i - z̄‖² ≤ 1e-12 · mean_i ‖z_i‖², in float64."""
    centred = rows - rows.mean(axis=0)
    return float(np.vdot(centred, centred)) <= _SMALLEST_SPREAD * float(np.vdot(rows, rows))


def collapsed(Z: Float[np.ndarray, "n p"]) -> bool:
    """Whether all rows are one point, or all point one way: nothing is left for cosines to compare."""
    Z = np.asarray(Z, dtype=np.float64)
    return one_point(Z) or one_point(unit_rows(Z))


def at_chance(loss: float, chance: float) -> bool:
    """Whether a loss on the fitted answers, in nats, is that of guessing: nothing was learned from them."""
    return loss >= chance - _CHANCE_SLACK


def unless_collapsed(*parts: Float[np.ndarray, "_ p"]) -> list[Float[np.ndarray, "_ p"]]:
    """The rows of each part in float64; zeros, with a CollapseWarning, where all parts together are one point.

    All cosines of zeros tie, so that whatever ranks them, ties shared, scores exactly chance.
    """
    rows = [np.asarray(part, dtype=np.float64) for part in parts]
    if not collapsed(np.concatenate(rows)):
        return rows
    warnings.warn("collapse: all rows are one point; the scores are those of chance.", CollapseWarning, stacklevel=3)
    return [np.zeros_like(part) for part in rows]
