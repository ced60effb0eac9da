"""Mixtures of the fits on a path, and the choice among them by the neighbours that they keep.

A path leads at one λ from the original features over fits of `glocal` to `global`. A mixture lies
between two neighbours on it: its W is a weighted mean of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from glocal.similarity import Embedding, Square, Values

_ROUNDING = 1e-9  # of a promise where it crosses the share to keep


@dataclass(frozen=True)
class PathPosition:
    """A position between two neighbours on a path.

    Parameters
    ----------
    following : int
        The number of the neighbour on the side of `global`: 1 is the first fit of the path, and 0,
        the original features, follows nothing.
    share : float
        The weight of that neighbour, above 0 and at most 1. The rest is the neighbour before it.
    """

    following: int
    share: float

    @property
    def fits(self) -> list[int]:
        """The numbers of the fits that are mixed, from the side of `global`."""
        if self.share == 1 or self.following == 1:
            return [self.following]
        before = self.following - 1
        return [self.following, before]

    def towards(self, other: PathPosition, share: float) -> PathPosition:
        """The position at a share of the way to another one between the same two neighbours.

        This position may also be the neighbour before them.
        """
        is_between_the_same = self.following == other.following
        own_share = self.share if is_between_the_same else 0.0
        distance = other.share - own_share
        mixed_share = own_share + share * distance
        return PathPosition(other.following, mixed_share)


ORIGIN = PathPosition(0, 1.0)
"""The position of the original features."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture on a path, with the held-out scores of its W in all folds.

    Parameters
    ----------
    lmbda : float
        λ of the path.
    position : PathPosition
        The position on the path; `ORIGIN` for the original features.
    credit : (t,) array
        The credit of each held-out answer when the model chooses by cosine, 0 to 1.
    agreement : float
        The weighted mean of `credit`.
    kept : (m,) array
        The share of its nearest neighbours in the rows with the origin of the fit that each
        held-out image keeps.
    """

    lmbda: float
    position: PathPosition
    credit: Values
    agreement: float
    kept: Float[np.ndarray, " m"]

    @property
    def is_original(self) -> bool:
        """Whether the mixture is the original features."""
        return self.position == ORIGIN

    @property
    def neighbours_kept_error(self) -> float:
        """The standard error of the mean share of neighbours kept."""
        n_images = len(self.kept)
        error = self.kept.std() / np.sqrt(n_images)
        return float(error)

    @property
    def promise(self) -> float:
        """The promised share of neighbours: the mean share kept, minus one standard error."""
        mean = float(self.kept.mean())
        return mean - self.neighbours_kept_error

    def weights(self, matrices: Sequence[Square]) -> Square:
        """Mix the W of the fits of the position with each other, or with a scaled identity."""
        following, *rest = matrices
        before = rest[0] if rest else scaled_identity_of(following)
        share = self.position.share
        rest_share = 1 - share
        return share * following + rest_share * before

    def towards(self, other: Mixture, share: float) -> Mixture:
        """The mixture at this share of the way to `other`, with linearly interpolated scores."""
        if share == 0:
            return self
        position = self.position.towards(other.position, share)
        credit_change = other.credit - self.credit
        agreement_change = other.agreement - self.agreement
        kept_change = other.kept - self.kept
        return replace(
            self,
            position=position,
            credit=self.credit + share * credit_change,
            agreement=self.agreement + share * agreement_change,
            kept=self.kept + share * kept_change,
        )


def best_on_path(path: Sequence[Mixture], keep: float) -> Mixture:
    """The mixture of a path with the largest agreement of those that promise to keep this share.

    Where the promise crosses `keep` between two mixtures, that point is a candidate too.
    """
    candidates = list(path)
    for mixture, following in pairwise(path):
        promise = mixture.promise
        following_promise = following.promise
        if promise >= keep > following_promise:
            excess = promise - keep
            decrease = promise - following_promise
            share = excess / decrease
            crossing = mixture.towards(following, share)
            candidates.append(crossing)
    agreement = [mixture.agreement for mixture in candidates]
    promises = [mixture.promise for mixture in candidates]
    best = best_keeping(agreement, promises, keep)
    return candidates[best]


def best_keeping(agreement: Sequence[float], promises: Sequence[float], keep: float) -> int:
    """The number of the candidate that agrees most among those that promise to keep a share.

    The promise of a candidate is a conservative estimate: the mean share of neighbours that it
    keeps on the folds, minus one standard error. If no promise reaches `keep`, the result is the
    candidate with the largest one.
    """
    least = keep - _ROUNDING
    is_allowed = np.asarray(promises) >= least
    if not is_allowed.any():
        best = np.argmax(promises)
        return int(best)
    allowed_agreement = np.where(is_allowed, agreement, -np.inf)
    best = allowed_agreement.argmax()
    return int(best)


def mix(path: Sequence[Embedding], position: PathPosition) -> Embedding:
    """The mixture at a position of a path, which begins with the original features."""
    number = position.following
    share = position.share
    following = path[number]
    if share == 1:
        return following
    before = path[number - 1]
    rest_share = 1 - share
    return rest_share * before + share * following


def scaled_identity_of(W: Square) -> Square:
    """The identity, scaled to the trace of W."""
    p = len(W)
    scale = np.trace(W) / p
    return scale * np.eye(p)
