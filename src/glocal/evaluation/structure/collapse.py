"""When a transform has mapped everything to one point."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from glocal.similarity import unit_rows

_SMALLEST_SPREAD = 1e-12
_CHANCE_SLACK = 1e-6  # nats


def one_point(rows: Float[np.ndarray, "n p"]) -> bool:
    """Whether rows differ by nothing but rounding: mean_i ‖z_i - z̄‖² ≤ 1e-12 · mean_i ‖z_i‖², in float64."""
    centred = rows - rows.mean(axis=0)
    return float(np.vdot(centred, centred)) <= _SMALLEST_SPREAD * float(np.vdot(rows, rows))


def collapsed(Z: Float[np.ndarray, "n p"]) -> bool:
    """Whether all rows are one point, or all point one way: nothing is left for cosines to compare.

    The rows, or the rows scaled to length 1, are `one_point`. What differs then is rounding, so that neighbours, ranks
    and correlations of it are arbitrary; scores of such rows are those of chance.
    """
    Z = np.asarray(Z, dtype=np.float64)
    return one_point(Z) or one_point(unit_rows(Z))


def at_chance(loss: float, chance: float) -> bool:
    """Whether a loss on the fitted answers, in nats, is that of guessing: nothing was learned from them."""
    return loss >= chance - _CHANCE_SLACK
