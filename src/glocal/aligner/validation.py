"""What the stopping rule of the mini-batch solver watches, and how it is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.aligner.local import LocalBlocks
from glocal.aligner.settings import Settings
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


@dataclass(frozen=True, eq=False)
class Watched:
    """One part of a split: answers and blocks of local images."""

    triplets: Triplets
    local: LocalBlocks | None


def first_fold(
    triplets: Triplets, local: LocalBlocks | None, folds: int, settings: Settings
) -> tuple[Watched, Watched]:
    """The fit without fold 0 of the named objects and of the local images, and that fold.

    Raises
    ------
    DataError
        One side of the split has no answer.
    """
    named = triplets.named()
    # NOTE folds over the objects that the answers name: rows of a fold held out before would make a fold of their own
    inside = np.zeros(int(named.max()) + 1, dtype=bool)
    inside[named[object_folds(len(named), folds, settings.seed)[0]]] = True
    sides = triplets.inside(inside)
    for part, what in zip(sides, ("outside", "inside"), strict=True):
        if not part.any():
            raise DataError(
                f"no answer has its objects {what} fold 0 of {folds}, which the stopping rule watches. "
                "Give more answers, or --profile modern, which watches what it fits."
            )
    trained, watched = (triplets.select(side) for side in sides)
    if local is None:
        return Watched(trained, None), Watched(watched, None)
    images = np.concatenate(local.blocks)
    if local.rows is not None:
        images = images[np.argsort(local.rows)]  # in the order of the file
    fold = object_folds(len(images), folds, settings.seed)[0]
    rest = np.setdiff1d(np.arange(len(images)), fold)
    return Watched(trained, _blocks(images[rest], settings)), Watched(watched, _blocks(images[fold], settings))


def given_fold(
    validation: Validation, triplets: Triplets, local: LocalBlocks | None, scalars: Any, settings: Settings
) -> tuple[Watched, Watched]:
    """The training data unchanged, and the user's validation set."""
    watched = None
    if local is not None:
        if validation.local_features is None:
            raise DataError("the stopping rule watches a fold without local images; method glocal needs some there.")
        watched = LocalBlocks.standardized(
            validation.local_features, scalars, settings, standardized=settings.profile.local_standardized
        )
    return Watched(triplets, local), Watched(validation.triplets, watched)


def watched_accuracy(Z: Float[np.ndarray, "n p"], triplets: Triplets, ties: str) -> float:
    """Agreement of dot products with the watched answers under one of the two tie rules, unweighted."""
    similarities = PairSimilarities(Z, "dot")
    earned = [
        credit(pairs, similarities.tolerance)[0] if ties == "shared" else strict_credit(pairs)
        for _, pairs in similarities.chunks(triplets)
    ]
    return float(np.concatenate(earned).mean())


def _blocks(images: np.ndarray, settings: Settings) -> LocalBlocks:
    drawn = local_blocks(len(images), settings.block_size, settings.seed)
    return LocalBlocks([images[rows] for rows in drawn])
