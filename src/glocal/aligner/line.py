"""A line of mixed transforms, from the original features to `global`, and a choice on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter

import numpy as np
from jaxtyping import Float

from glocal.aligner.crossfit import HeldOutScores


@dataclass(frozen=True, eq=False)
class Position(HeldOutScores):
    """A place on a line, with its scores on what three folds hold out.

    `lmbda` is λ of the line; `place` is 0 for the original features, 1 for the first anchor and so
    on.
    """

    lmbda: float
    place: float

    @property
    def kept_error(self) -> float:
        """The standard error of the mean share of neighbours kept."""
        return float(self.kept.std() / np.sqrt(len(self.kept)))

    @property
    def kept_lower_bound(self) -> float:
        """The promise: the mean share of neighbours kept, less a standard error."""
        return float(self.kept.mean()) - self.kept_error

    def interpolate(self, other: Position, share: float) -> Position:
        """The place at this share of the way to another; all scores are interpolated linearly."""
        steps = {name: vars(other)[name] - value for name, value in vars(self).items()}
        return replace(
            self, **{name: vars(self)[name] + share * step for name, step in steps.items()}
        )


@dataclass(frozen=True, eq=False)
class Line:
    """The places of one λ in order, the original features first."""

    positions: tuple[Position, ...]

    @property
    def lmbda(self) -> float:
        """λ of its anchors."""
        return self.positions[-1].lmbda

    def best(self, keep: float) -> Position:
        """The place with the largest agreement of those that promise to keep this share.

        Places between two scored ones count too: where the promise crosses `keep`, and the top of
        the parabola through a best place and its neighbours, so that the choice is continuous in
        the data.
        """
        allowed = [place for place in self.positions if place.kept_lower_bound >= keep]
        candidates = allowed or [self.positions[0]]
        for position, following in pairwise(self.positions):
            excess = position.kept_lower_bound - keep
            if excess >= 0 > following.kept_lower_bound - keep:
                share = excess / (position.kept_lower_bound - following.kept_lower_bound)
                candidates = [*candidates, position.interpolate(following, share)]
        best = max(candidates, key=attrgetter("agreement"))
        top = self._top(best)
        return top if top.kept_lower_bound >= keep else best

    def _top(self, best: Position) -> Position:
        """The top of the parabola through a scored place and its neighbours; an end as it is."""
        places = list(self.positions)
        if best not in places[1:-1]:
            return best
        index = places.index(best)
        before = places[index - 1]
        after = places[index + 1]
        rise = best.agreement - before.agreement
        fall = best.agreement - after.agreement
        if rise + fall <= 0:
            return best
        # in steps, positive towards `after`, between -1/2 and 1/2
        offset = (rise - fall) / (2 * (rise + fall))
        return best.interpolate(after if offset > 0 else before, abs(offset))


def mix_anchors(
    anchors: Sequence[Float[np.ndarray, "n p"]], place: float
) -> Float[np.ndarray, "n p"]:
    """The mixture at a place: a straight line from each anchor to the next."""
    before = max(0, min(int(place), len(anchors) - 2))
    share = place - before
    return (1 - share) * anchors[before] + share * anchors[before + 1]


def scaled_identity_of(W: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "p p"]:
    """The identity at the scale of W."""
    identity: np.ndarray = np.trace(W) / len(W) * np.eye(len(W))
    return identity
