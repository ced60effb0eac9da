"""What the stopping rule of the mini-batch solver watches, and how it is scored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from glocal.aligner.data import FitData, LocalBlocks
from glocal.data.features import Features
from glocal.data.splits import local_blocks, object_folds
from glocal.data.triplets import Triplets
from glocal.errors import DataError
from glocal.similarity import PairSimilarities, credit, strict_credit


@dataclass(frozen=True, eq=False)
class Validation:
    """Answers and local images that the stopping rule watches and the fit does not see.

    Parameters
    ----------
    triplets : Triplets
        Indices are rows of the object features.
    local_features : Features or None
        Needed by `glocal`.
    """

    triplets: Triplets
    local_features: Features | None = None


Part = tuple[FitData, LocalBlocks | None]


def first_fold(data: FitData, local: LocalBlocks | None, folds: int) -> tuple[Part, Part]:
    """The fit without fold 0 of the named objects and of the local images, and that fold.

    Raises
    ------
    DataError
        One side of the split has no answer.
    """
    triplets, seed = data.triplets, data.seed
    named = triplets.named()
    # NOTE folds over the objects that the answers name: rows of a fold held out before would make a fold of their own
    inside = np.zeros(int(named.max()) + 1, dtype=bool)
    inside[named[object_folds(len(named), folds, seed)[0]]] = True
    sides = triplets.inside(inside)
    for part, what in zip(sides, ("outside", "inside"), strict=True):
        if not part.any():
            raise DataError(
                f"no answer has its objects {what} fold 0 of {folds}, which the stopping rule watches. "
                "Give more answers, or --profile modern, which watches what it fits."
            )
    trained, watched = (replace(data, triplets=triplets.select(side)) for side in sides)
    if local is None:
        return (trained, None), (watched, None)
    images = np.concatenate(local.blocks)
    if local.rows is not None:
        images = images[np.argsort(local.rows)]  # in the order of the file
    fold = object_folds(len(images), folds, seed)[0]
    rest = np.setdiff1d(np.arange(len(images)), fold)

    def blocks(images: np.ndarray) -> LocalBlocks:
        return LocalBlocks([images[rows] for rows in local_blocks(len(images), data.block_size, seed)])

    return (trained, blocks(images[rest])), (watched, blocks(images[fold]))


def given_fold(validation: Validation, data: FitData, local: LocalBlocks | None, dtype: str) -> tuple[Part, Part]:
    """The training data unchanged, and the user's validation set."""
    images = validation.local_features
    watched = replace(data, triplets=validation.triplets, local_features=images, images=None)
    if local is None:
        return (data, None), (watched, None)
    if images is None:
        raise DataError("the stopping rule watches a fold without local images; method glocal needs some there.")
    return (data, local), (watched, watched.read(dtype))


def watched_accuracy(Z: Float[np.ndarray, "n p"], triplets: Triplets, ties: str) -> float:
    """Agreement of dot products with the watched answers under one of the two tie rules, unweighted."""
    similarities = PairSimilarities(Z, "dot")
    earned = [
        credit(pairs, similarities.tolerance)[0] if ties == "shared" else strict_credit(pairs)
        for _, pairs in similarities.chunks(triplets)
    ]
    return float(np.concatenate(earned).mean())
