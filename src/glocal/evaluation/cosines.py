"""How cosines move under a transform: their quantiles, and the threshold that keeps the same number of matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import DataError, ParameterError
from glocal.evaluation.result import Units
from glocal.results import Score
from glocal.similarity import unit_rows

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
SHARES = (0.01, 0.001)
_GROUPS = 10
_WIDTH = 2.262  # the 97.5 % point of Student's t with as many degrees of freedom as groups less one


@dataclass(frozen=True)
class MovedThreshold:
    """A threshold of the cosine and where it goes: as many pairs reach `after` as reached `before`.

    `low` and `high` are the 95 % interval of `after`, by a jackknife over ten groups of rows. `matches` pairs reach
    `before`, and the fraction `kept` of them reaches `after` too.
    """

    before: float
    after: float
    low: float
    high: float
    matches: int
    kept: float


@dataclass(frozen=True, eq=False, kw_only=True)
class CosineShift:
    """The cosines of the same pairs of rows before and after a transform.

    `before` and `after` hold the quantiles of the cosines at `levels`; `n` pairs of rows were looked at.
    """

    levels: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    thresholds: tuple[MovedThreshold, ...]
    n: int

    @property
    def units(self) -> Units | None:
        """None: a threshold is not a mean over units."""
        return None

    @property
    def scores(self) -> tuple[Score, ...]:
        """For each threshold where it goes, and the share of its matches that stay matches."""
        found = []
        for moved in self.thresholds:
            told = {"threshold": moved.before}
            found.append(Score("scores", "threshold", moved.after, moved.low, moved.high, moved.matches, settings=told))
            found.append(Score("scores", "matches_kept", moved.kept, n=moved.matches, settings=told))
        return tuple(found)


def cosine_shift(
    before: Float[np.ndarray, "n p"],
    after: Float[np.ndarray, "n r"],
    gallery: tuple[Float[np.ndarray, "m p"], Float[np.ndarray, "m r"]] | None = None,
    *,
    thresholds: Sequence[float] = (),
) -> CosineShift:
    """Compare the cosines of all pairs of rows before and after a transform.

    A threshold t of a duplicate search or a face match was chosen for the cosines of one space. In another it means
    something else: this finds t' with #{pairs: cos' ≥ t'} = #{pairs: cos ≥ t}.

    Parameters
    ----------
    before, after : (n, p) and (n, r) real arrays
        The same rows in both spaces, at least 10.
    gallery : pair of (m, p) and (m, r) arrays, or None
        The pairs are each row with each of these; None: the rows with each other.
    thresholds : sequence of float
        Of the cosine before, in [-1, 1]. By default those that 1 % and 0.1 % of the pairs reach.

    Returns
    -------
    CosineShift

    Raises
    ------
    ParameterError
        A threshold outside [-1, 1], or one that no pair or every pair reaches.
    DataError
        Fewer than 10 rows.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 8))
    >>> (moved,) = cosine_shift(X, X**3, thresholds=[0.5]).thresholds
    >>> round(moved.after, 2), moved.matches, round(moved.kept, 2)
    (0.5, 65, 0.55)
    """
    if len(before) < _GROUPS or (gallery is not None and len(gallery[0]) < _GROUPS):
        raise DataError(f"there are {len(before)} rows; the cosines of pairs need at least {_GROUPS}.")
    old, rows, columns = _cosines(before, None if gallery is None else gallery[0])
    new, _, _ = _cosines(after, None if gallery is None else gallery[1])
    if not thresholds:
        thresholds = np.quantile(old, [1 - share for share in SHARES]).tolist()
    groups = (rows % _GROUPS, columns % _GROUPS)
    return CosineShift(
        levels=LEVELS,
        before=tuple(np.quantile(old, LEVELS).tolist()),
        after=tuple(np.quantile(new, LEVELS).tolist()),
        thresholds=tuple(_moved(old, new, float(t), groups) for t in thresholds),
        n=len(old),
    )


def _cosines(
    X: np.ndarray, gallery: np.ndarray | None
) -> tuple[Float[np.ndarray, " k"], Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The cosines of all pairs and the two rows of each; equal rows have 1, not a rounding more."""
    U = unit_rows(X)
    if gallery is None:
        rows, columns = np.triu_indices(len(U), 1)
        return np.clip((U @ U.T)[rows, columns], -1, 1), rows, columns
    rows, columns = np.indices((len(U), len(gallery))).reshape(2, -1)
    return np.clip((U @ unit_rows(gallery).T).ravel(), -1, 1), rows, columns


def _moved(old: np.ndarray, new: np.ndarray, threshold: float, groups: tuple[np.ndarray, np.ndarray]) -> MovedThreshold:
    if not -1 <= threshold <= 1:
        raise ParameterError(f"threshold is {threshold}; a cosine lies in [-1, 1].")
    matches = old >= threshold
    m = int(np.count_nonzero(matches))
    if m in (0, len(old)):
        which = "none" if m == 0 else "all"
        raise ParameterError(
            f"threshold is {threshold}, which {which} of the {len(old)} pairs reach; their cosines lie between "
            f"{old.min():.4f} and {old.max():.4f}. Choose a threshold between, or look at more rows."
        )
    after = _same_number(old, new, threshold)
    without = [(groups[0] != g) & (groups[1] != g) for g in range(_GROUPS)]
    left_out = np.array([_same_number(old[part], new[part], threshold) for part in without])
    error = np.sqrt((_GROUPS - 1) / _GROUPS * ((left_out - left_out.mean()) ** 2).sum())
    kept = float(np.count_nonzero(new[matches] >= after) / m)
    low, high = np.clip([after - _WIDTH * error, after + _WIDTH * error], -1, 1).tolist()
    return MovedThreshold(threshold, after, low, high, m, kept)


def _same_number(old: np.ndarray, new: np.ndarray, threshold: float) -> float:
    """The threshold that as many of the new cosines reach: midway between the last that does and the next."""
    m = int(np.count_nonzero(old >= threshold))
    place = len(new) - m
    ordered = np.partition(new, [max(place - 1, 0), min(place, len(new) - 1)])
    below, above = ordered[max(place - 1, 0)], ordered[min(place, len(new) - 1)]
    return float((below + above) / 2)
