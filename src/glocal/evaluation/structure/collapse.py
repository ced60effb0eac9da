"""When a transform has mapped everything to one point."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from glocal.similarity import unit_rows

SMALLEST_SPREAD = 1e-12


def collapsed(Z: Float[np.ndarray, "n p"]) -> bool:
    """Whether all rows are one point, or all point one way: nothing is left for cosines to compare.

        mean_i ‖z_i - z̄‖² ≤ 1e-12 · mean_i ‖z_i‖²,     of the rows or of the rows scaled to length 1.

    What differs then is rounding, so that neighbours, ranks and correlations of it are arbitrary; scores of such rows
    are those of chance.
    """
    Z = np.asarray(Z, dtype=np.float64)
    return any(_spread(rows) <= SMALLEST_SPREAD * float(np.vdot(rows, rows)) for rows in (Z, unit_rows(Z)))


def _spread(rows: np.ndarray) -> float:
    centred = rows - rows.mean(axis=0)
    return float(np.vdot(centred, centred))
