"""What the local term adds to the teacher's own entropy: the divergence of neighbourhoods."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from glocal.data.splits import local_blocks
from glocal.errors import ParameterError
from glocal.similarity import unit_rows


def divergence(
    X: Float[np.ndarray, "n p"],
    Z: Float[np.ndarray, "n q"],
    *,
    tau: float = 0.25,
    block_size: int = 1024,
    seed: int = 42,
) -> float:
    """Mean over images of KL(P_i ‖ Q_i), in nats, inside blocks of images.

        P_i = softmax_{j≠i}( cos(x_i, x_j) / τ ),     Q_i = softmax_{j≠i}( cos(z_i, z_j) / τ )

    It is L_local less the mean entropy of the teacher P, so 0 where no cosine changes. The blocks are those that a fit
    makes of these images with this block size and seed; the value depends on their size.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 4 and 5.
    """
    if not (np.isfinite(tau) and tau > 0):
        raise ParameterError(f"tau is {tau}; it must be a temperature above 0.")
    total = 0.0
    for rows in local_blocks(len(X), block_size, seed):
        log_p, log_q = _log_softmax(X[rows], tau), _log_softmax(Z[rows], tau)
        total += float(np.sum(np.exp(log_p) * (log_p - log_q)))
    return max(0.0, total / len(X))


def _log_softmax(Z: np.ndarray, tau: float) -> np.ndarray:
    """(m, m - 1) log probabilities of the other rows of a block."""
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    m = len(rows)
    logits = (rows @ rows.T)[~np.eye(m, dtype=bool)].reshape(m, m - 1) / tau
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits
