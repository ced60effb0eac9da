"""The answers and neighbours that a transform changes, and the record of all its changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.evaluation.axes import axes
from glocal.evaluation.structure import neighbours
from glocal.similarity import (
    Embedding,
    Objects,
    Rows,
    Values,
    of_pairs,
    pair_tolerance,
)

if TYPE_CHECKING:
    from glocal.transform import LinearTransform

Part = tuple[Embedding, Answers]
"""An embedding Z of all objects, and the answers that are compared with it."""
SHOWN_NEIGHBOURS = 10
_OUTCOMES = ("wrong", "better", "worse", "right")  # wrong before and after, right after, …


def pair_support(
    pairs: Int[np.ndarray, "*shape 2"], answers: Answers
) -> Float[np.ndarray, "*shape 2"]:
    """Count the answers that chose each pair of objects, and those that could have.

    Answers count by their weights.
    """
    import pandas as pd

    numbering = np.array([1 << 32, 1])
    number = (np.sort(pairs, axis=-1) @ numbering).ravel()
    counts = []
    for candidates in (answers.pairs[:1], answers.pairs):
        shown = np.concatenate([answers.objects[:, pair] for pair in candidates])
        weights = pd.Series(np.tile(answers.all_weights, len(candidates)))
        totals = weights.groupby(np.sort(shown, axis=1) @ numbering).sum()
        counts.append(totals.reindex(number, fill_value=0.0))
    return np.stack(counts, axis=-1).reshape(pairs.shape)


def change_record(
    transform: LinearTransform | None,
    features: Features,
    X: Embedding,
    parts: Sequence[Part],
    *,
    folds: Sequence[LinearTransform] = (),
    is_unseen: bool | None,
) -> dict[str, Any]:
    """The change record of a transform, as JSON values.

    Without a transform it has no axes, and without parts no flips and no confirmed pairs.

    Parameters
    ----------
    transform, features, folds
        As in `axes`.
    X : (n, p) array
        The features of all objects before the transform.
    parts : sequence of Part
    is_unseen : bool or None
        Whether the fits had not seen the answers of the parts; None if that is not known.
    """
    record: dict[str, Any] = {}
    if transform is not None:
        table = axes(transform, features, folds=folds)
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        record |= {"axes": rows, "chance": table.attrs["chance"]}
    if parts:
        record |= {
            "flips": flips(X, parts),
            "confirmed": confirmed(X, parts),
            "is_unseen": is_unseen,
        }
    return record


def confirmed(
    X: Embedding, parts: Sequence[Part], k: int = SHOWN_NEIGHBOURS
) -> dict[str, list[float]]:
    """Count the answers that confirm pairs of neighbours that a transform loses or gains.

    ``lost`` pairs are neighbours only before the transform, ``gained`` pairs only after. Each entry
    is [answers that chose such a pair, answers that could have], and each pair counts once.
    Neighbours are the k nearest among the objects that the answers of a part name.
    """
    totals = {"lost": np.zeros(2), "gained": np.zeros(2)}
    for Z, answers in parts:
        named = answers.named_objects()
        before, after = (neighbours(rows[named], min(k, len(named) - 1)) for rows in (X, Z))
        for name, nearest, others in (("lost", before, after), ("gained", after, before)):
            is_changed = ~is_among(nearest, others)
            pairs = np.column_stack([is_changed.nonzero()[0], nearest[is_changed]])
            pairs = np.unique(np.sort(named[pairs], axis=1), axis=0)
            totals[name] += pair_support(pairs, answers).sum(axis=0)
    return {name: total.tolist() for name, total in totals.items()}


def is_among(
    neighbours: Int[np.ndarray, "n k"], others: Int[np.ndarray, "n k"]
) -> Bool[np.ndarray, "n k"]:
    """Whether each neighbour of an object is also one of its `others`."""
    return (neighbours[:, :, None] == others[:, None, :]).any(axis=2)


def flips(X: Embedding, parts: Sequence[Part], n: int = 4) -> dict[str, Any]:
    """Count the answers that became right or wrong, and list the clearest of them.

    Returns
    -------
    dict
        ``counts`` holds the weights of the answers that became right (``better``) or wrong
        (``worse``), or were ``right`` or ``wrong`` both times. ``better`` and ``worse`` list the
        objects of the n clearest answers, the chosen pair first: those whose smaller margin, before
        or after, is the largest. Listed answers share no object.
    """
    columns = [
        np.stack([_margins(X, answers), _margins(Z, answers), answers.all_weights])
        for Z, answers in parts
    ]
    before, after, weights = np.concatenate(columns, axis=1)
    objects = np.concatenate([answers.objects for _, answers in parts])
    outcomes = np.array(_OUTCOMES)[2 * (before > 0) + (after > 0)]
    counts = {name: float(weights[outcomes == name].sum()) for name in _OUTCOMES}
    order = np.argsort(-np.minimum(np.abs(before), np.abs(after)), kind="stable")
    examples = {}
    for name in ("better", "worse"):
        clearest = objects[order[outcomes[order] == name]]
        examples[name] = list(islice(_without_repetition(clearest), n))
    return {"counts": counts, **examples}


def _margins(Z: Rows, answers: Answers) -> Values:
    """The margin of the chosen pair over the most similar other pair; at most 0 for a tie."""
    S = of_pairs(Z, answers.objects, answers.pairs)
    return S[:, 0] - S[:, 1:].max(axis=1) - pair_tolerance(Z)


def _without_repetition(answers: Objects) -> Iterator[list[int]]:
    """Yield the objects of each answer that shares none with the answers yielded before."""
    shown: set[int] = set()
    for answer in answers:
        if shown.isdisjoint(answer.tolist()):
            shown.update(answer.tolist())
            yield answer.tolist()
