"""The fit of one place on a line: two neighbouring anchors fitted to all data, and mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.aligner.crossfit import Anchor, anchor_arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.line import mix_anchors, scaled_identity_of
from glocal.solver import Counter


class Mixture(NamedTuple):
    """The weights at a place, the one or two fits beside it, and the share of the last of them."""

    weights: Float[np.ndarray, "p p"]
    solutions: list[Solution]
    share: float


def fit_place(
    data: FitData,
    solver: Exact,
    *,
    lmbda: float,
    alphas: Sequence[float],
    place: float,
    scale: float = 1.0,
    starts: Mapping[Anchor, Float[np.ndarray, "p p"]] | None = None,
    counter: Counter | None = None,
) -> Mixture:
    """Fit the anchors on both sides of a place, and mix their matrices.

    Parameters
    ----------
    data : FitData
    solver : Exact
    lmbda : float
        λ of the line.
    alphas : sequence of float
        α of its anchors after the original features, falling to 0.
    place : float
        0 for the original features, 1 for the first anchor and so on.
    scale : float
        The factor of all similarities.
    starts : mapping or None
        The W from which the fit of an anchor starts.
    counter : Counter or None
    """
    before = min(int(place), len(alphas) - 1)  # the anchor on the side of the original, which is 0
    sides = alphas[max(0, before - 1) : before + 1]
    problem = solver.problem(data, local=any(sides))
    means = {
        anchor: problem.start(weights, anchor_arm(anchor))
        for anchor, weights in (starts or {}).items()
        if anchor[0] == lmbda
    }
    solutions: dict[Anchor, Solution] = {}
    for alpha in sorted(sides):
        anchor = (lmbda, alpha)
        start = means.get(anchor)
        for neighbour, solution in solutions.items():  # at most one
            if solution.warm is not None and start is not None:
                start = solution.warm.moved(means[neighbour], start)
            elif solution.warm is not None:
                start = solution.warm
        solutions[anchor] = solver.minimise(problem, anchor_arm(anchor), start, counter)
    fits = [solutions[lmbda, alpha] for alpha in sides]
    matrices = [solution.transform.weights.astype(np.float64) for solution in fits]
    if not before:
        matrices.insert(0, scaled_identity_of(matrices[0]))
    share = place - before
    return Mixture(scale**0.5 * mix_anchors(matrices, share), fits, share)
