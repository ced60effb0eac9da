"""Mixtures on a path, and the choice of the one that agrees most among those that keep a share.

A *path* leads at one λ from the original features over fits of `glocal` to `global`. A *mixture* is
a point of it: 0 is the original features, 1 the first fit, and 1.5 the mean of the W of the first
and of the second fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.similarity import Embedding, Square, Values

_ROUNDING = 1e-9  # of a promise where it crosses the share to keep


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture on a path, with the held-out scores of its W in all folds.

    Parameters
    ----------
    lmbda, step : float
        λ of the path; 0 for the original features, 1 for the first fit of the path and so on.
    credit : (t,) array
        The credit of each held-out answer when the model chooses by cosine, 0 to 1.
    agreement : float
        The weighted mean of `credit`.
    kept : (m,) array
        The share of its nearest neighbours in the rows with the origin of the fit that each
        held-out image keeps.
    """

    lmbda: float
    step: float
    credit: Values
    agreement: float
    kept: Float[np.ndarray, " m"]

    @property
    def neighbours_kept_error(self) -> float:
        """The standard error of the mean share of neighbours kept."""
        return float(self.kept.std() / np.sqrt(len(self.kept)))

    @property
    def promise(self) -> float:
        """The promised share of neighbours: the mean share kept, minus one standard error."""
        return float(self.kept.mean()) - self.neighbours_kept_error

    @property
    def last_fit(self) -> int:
        """The number of the fit on the side of `global`; 0 for the original features."""
        return ceil(self.step)

    @property
    def share(self) -> float:
        """The share of this fit in the mixture; the rest is the one before it on the path."""
        return 1 - (self.last_fit - self.step)

    def weights(self, matrices: Sequence[Square]) -> Square:
        """Mix the W of `last_fit` with that of the fit before it, or with a scaled identity."""
        before = matrices[1] if len(matrices) > 1 else scaled_identity_of(matrices[0])
        return self.share * matrices[0] + (1 - self.share) * before

    def towards(self, other: Mixture, share: float) -> Mixture:
        """The mixture at this share of the way to `other`, with linearly interpolated scores."""

        def between(score: Any, of_other: Any) -> Any:
            return score + share * (of_other - score)

        return Mixture(
            self.lmbda,
            between(self.step, other.step),
            between(self.credit, other.credit),
            between(self.agreement, other.agreement),
            between(self.kept, other.kept),
        )


def best_on_path(path: Sequence[Mixture], keep: float) -> Mixture:
    """The mixture of a path with the largest agreement of those that promise to keep this share.

    Where the promise crosses `keep` between two mixtures, that point is a candidate too.
    """
    candidates = [*path]
    for mixture, following in pairwise(path):
        if mixture.promise >= keep > following.promise:
            share = (mixture.promise - keep) / (mixture.promise - following.promise)
            candidates.append(mixture.towards(following, share))
    agreement = [mixture.agreement for mixture in candidates]
    promises = [mixture.promise for mixture in candidates]
    return candidates[best_keeping(agreement, promises, keep)]


def best_keeping(agreement: Sequence[float], promises: Sequence[float], keep: float) -> int:
    """The number of the candidate that agrees most among those that promise to keep a share.

    A candidate promises the mean share of neighbours that it keeps on the folds, minus one standard
    error. If none promises `keep`, the result is the candidate that promises most.
    """
    is_allowed = np.asarray(promises) >= keep - _ROUNDING
    if not is_allowed.any():
        return int(np.argmax(promises))
    return int(np.where(is_allowed, agreement, -np.inf).argmax())


def mix(path: Sequence[Embedding], step: float) -> Embedding:
    """Return the mixture at a step of a path, interpolated linearly from each fit to the next."""
    before = max(0, min(int(step), len(path) - 2))
    share = step - before
    return (1 - share) * path[before] + share * path[before + 1]


def scaled_identity_of(W: Square) -> Square:
    """The identity, scaled to the trace of W."""
    return np.trace(W) / len(W) * np.eye(len(W))
