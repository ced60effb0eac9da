"""The crossed bootstrap over objects and answers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import ParameterError
from glocal.evaluation.statistics.clusters import triplet_estimate

# sized so that the weights of a block of replicates, and the products for a chunk of answers, stay in the cache
_REPLICATES, _ANSWERS = 64, 2048


def triplet_bootstrap(
    values: Float[np.ndarray, " t"],
    answers: Int[np.ndarray, "t 3"],
    weights: Float[np.ndarray, " t"] | None = None,
    *,
    replicates: int = 1000,
    seed: int = 0,
    shrink: bool = True,
) -> tuple[float, float]:
    """95 % interval of a (weighted) mean over answers, by reweighting the objects they share.

    The pigeonhole bootstrap: replicate r draws a weight η_i ~ Exp(1) for each object and weighs the answer (a, b, c)
    by the product,

        θ_r = Σ_t w_t η_a η_b η_c v_t / Σ_t w_t η_a η_b η_c.

    It carries what objects share rightly, but counts the noise of single answers 2³ - 1 = 7 times, so that its
    variance is several times too large where answers are few for their objects. With `shrink` the deviations
    θ_r - mean are therefore scaled down to the error of `triplet_estimate`; what the bootstrap adds to
    `triplet_interval` is then the shape: asymmetric ends, within the range of the values.

    Parameters
    ----------
    values : (t,) float
        The credit of each answer, or a difference of credits.
    answers : (t, 3) integers
    weights : (t,) float or None
    replicates, seed : int
    shrink : bool
        False gives the plain pigeonhole bootstrap, which is conservative.

    Returns
    -------
    low, high : float

    Raises
    ------
    ParameterError
        Fewer than 40 replicates, whose outer 2.5 % cannot be told.

    References
    ----------
    Owen (2007), Ann. Appl. Stat. 1:386; Owen & Eckles (2012), Ann. Appl. Stat. 6:895 (product weights, the factor
    2^r - 1); Menzel (2021), Econometrica 89:2143 (shrinking to the right variance).
    """
    if replicates < 40:
        raise ParameterError(f"replicates is {replicates}; at least 40 are needed for a 95 % interval, 1000 are usual.")
    estimate = triplet_estimate(values, answers, weights)
    w = np.ones(len(values)) if weights is None else weights
    moments = np.stack([w * (values - estimate.mean), w]).astype(np.float32)
    columns = np.ascontiguousarray(answers.T, dtype=np.int64)
    rng = np.random.default_rng(seed)
    deviations = np.concatenate(
        [
            _deviations(moments, columns, rng.standard_exponential((int(columns.max()) + 1, size), dtype=np.float32))
            for size in _block_sizes(replicates)
        ]
    )
    spread = float(deviations.std())
    scale = min(1.0, estimate.error / spread) if shrink and spread > 0 else 1.0
    low, high = np.quantile(deviations, (0.025, 0.975)) * scale
    return estimate.mean + float(low), estimate.mean + float(high)


def _deviations(
    moments: Float[np.ndarray, "2 t"], columns: Int[np.ndarray, "3 t"], eta: Float[np.ndarray, "n r"]
) -> Float[np.ndarray, " r"]:
    """θ_r - mean for each replicate of the object weights."""
    sums = np.zeros((2, eta.shape[1]))
    for start in range(0, columns.shape[1], _ANSWERS):
        a, b, c = columns[:, start : start + _ANSWERS]
        product = eta[a]
        product *= eta[b]
        product *= eta[c]
        sums += moments[:, start : start + _ANSWERS] @ product
    deviations: np.ndarray = sums[0] / sums[1]
    return deviations


def _block_sizes(replicates: int) -> list[int]:
    return [min(_REPLICATES, replicates - start) for start in range(0, replicates, _REPLICATES)]
