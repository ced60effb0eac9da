"""`object_view`: look at one embedding of the objects beside a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.evaluation.flips import flips
from glocal.evaluation.statistics import paired_difference
from glocal.evaluation.structure.collapse import collapsed
from glocal.evaluation.structure.neighbourhoods import neighbours
from glocal.evaluation.structure.spectrum import spectrum
from glocal.evaluation.views.maps import map_kind, object_map, turned
from glocal.evaluation.views.matrices import matrix_of, object_order, people_matrix
from glocal.evaluation.views.view import View

_K = 10
_MOST_FLIPS = 1000


class BeforeAfter(NamedTuple):
    """Answers on which two embeddings of the objects are compared; those of a fold, under the transform of the fold."""

    before: np.ndarray
    after: np.ndarray
    answers: Answers


def object_view(
    Z: Float[np.ndarray, "n p"],
    names: Sequence[str],
    *,
    categories: Sequence[str] | None = None,
    baseline: View | None = None,
    parts: Sequence[BeforeAfter] = (),
    people: Answers | None = None,
    weights: Float[np.ndarray, "p r"] | None = None,
    features: Float[np.ndarray, "n p"] | None = None,
    kind: str = "auto",
    seed: int = 42,
    meta: Mapping[str, Any] | None = None,
) -> View:
    """Map, ten nearest neighbours, flips, ordered dissimilarities and spectrum of one embedding.

    The `baseline` beside which it is looked at gives the order of the matrices (else the `categories` do), and the map
    is turned to fit its. Flips are listed of the answers of `parts`; `people` are all answers, for people's own matrix;
    `weights` and `features` are the transform and the standardized features, for the spectrum.

    Examples
    --------
    >>> view = object_view(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), ["cat", "dog", "car"])
    >>> [view.names[i] for i in view.neighbours[0]]
    ['dog', 'car']
    """
    n = len(Z)
    held = None if baseline is None else baseline.names
    for what, other in (("names", names), ("categories", categories), ("rows in the baseline", held)):
        if other is not None and len(other) != n:
            raise DataError(f"there are {n} objects but {len(other)} {what}; give one an object.")
    if n < 2:
        raise DataError("a view needs at least two objects.")
    order = object_order(Z, categories) if baseline is None else baseline.order
    first = None if baseline is None else baseline.positions.astype(np.float64)
    positions = object_map(Z, kind, seed=seed, start=first)
    if first is not None:
        positions = turned(positions, first)
    gained, lost, flipped = _flipped(parts)
    axes = None if weights is None or features is None else spectrum(weights, features)
    return View(
        names=tuple(names), categories=None if categories is None else tuple(categories),
        positions=positions.astype(np.float32), neighbours=neighbours(Z, min(_K, n - 1)), gained=gained, lost=lost,
        order=order, rdm=matrix_of(Z, order), people=None if people is None else people_matrix(people, order),
        axes=axes, meta={**(meta or {}), **flipped, "map": map_kind(kind, n), "collapsed": bool(collapsed(Z))},
    )  # fmt: skip


def _flipped(parts: Sequence[BeforeAfter]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Flips of all parts, strongest shift of margin first, and the paired difference over all their answers."""
    if not parts:
        nothing = np.empty((0, 3), dtype=np.int64)
        return nothing, nothing, {"n_answers": 0, "n_gained": 0, "n_lost": 0}
    found = [flips(part.before, part.after, part.answers) for part in parts]
    sides = []
    for side in ("gained", "lost"):
        answers = np.concatenate(  # of wide answers the first three: a view shows the chosen pair and another object
            [part.answers.objects[getattr(one, side), :3] for part, one in zip(parts, found, strict=True)]
        )
        shifts = np.concatenate([np.abs(one.shift[getattr(one, side)]) for one in found])
        sides.append(answers[np.argsort(-shifts, kind="stable")].astype(np.int64))
    paired = paired_difference(
        np.concatenate([one.after for one in found]), np.concatenate([one.before for one in found]),
        answers=np.concatenate([part.answers.objects for part in parts]),
        weights=_of_all([part.answers.weights for part in parts]),
        clusters=_of_all([part.answers.person for part in parts]),
    )  # fmt: skip
    counts = {
        "n_answers": sum(len(part.answers) for part in parts), "n_gained": len(sides[0]), "n_lost": len(sides[1]),
        "difference": [paired.difference, paired.low, paired.high],
    }  # fmt: skip
    return sides[0][:_MOST_FLIPS], sides[1][:_MOST_FLIPS], counts


def _of_all(lists: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """What is known of the answers of every part, one after the other; None where it is not known of all."""
    known = [one for one in lists if one is not None]
    return np.concatenate(known) if len(known) == len(lists) else None
