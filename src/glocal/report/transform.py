"""The run of one transform, from features of objects and answers about them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glocal.advice import recorded_scores
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.seen import Seen, seen
from glocal.evaluation.agreement import agreement_scores, answer_credit, ceiling
from glocal.evaluation.axes import FoldTransform, embeddings
from glocal.evaluation.structure import kept_neighbours
from glocal.evaluation.view import Part, change_record, paired_views
from glocal.files import array_sha256
from glocal.report.runs import Run, RunRecord, apply_command
from glocal.scores import HELD_OUT_QUESTIONS, KEPT, ORIGINAL, Score, Scores
from glocal.similarity import Embedding
from glocal.transform import LinearTransform
from glocal.transform.record import Source, network_of

_K = 10  # neighbours
Folds = Sequence[tuple[FoldTransform, Answers]]


class _Mapped(NamedTuple):
    """The objects before, X, and after a transform, Z, and parts of answers with their own map.

    `seen` has the shares of the answers that the map of their part was fitted to.
    """

    X: Embedding
    Z: Embedding
    parts: list[Part]
    seen: Seen


def transform_run(
    name: str,
    transform: LinearTransform,
    features: Features,
    answers: Answers | None = None,
    *,
    folds: Folds = (),
    file: str = "transform.npz",
) -> Run:
    """Make the run of one transform from features of objects and, if given, answers about them.

    Answers that the fit has not seen are the result. Without such answers it is the held-out scores
    in the record of the fit.

    Parameters
    ----------
    name : str
        The heading.
    transform : LinearTransform
    features : Features
        Raw features of at least 4 objects.
    answers : Answers or None
        Answers that index the rows of the features. The record of the transform tells whether it
        was fitted to them.
    folds : sequence of (FoldTransform, Answers)
        The same fit without a part of the questions, and the answers to that part. Each answer is
        then scored by the fit that has not seen it.
    file : str
        The file or name of the transform, for the command that applies it.
    """
    record = transform.record
    mapped = _mapped(transform, features, answers, folds)
    if mapped.parts and mapped.seen.is_unseen is not False:
        scores = _agreement(name, mapped)
    else:
        scores = [*recorded_scores(record.fit, name)]
    if KEPT not in {score.metric for score in scores}:
        scores += _neighbours(name, mapped)
    scores += _ceiling_scores(answers)
    network = _network(transform, features)
    change = change_record(
        transform,
        features,
        mapped.X,
        mapped.parts,
        folds=[fold for fold, _ in folds],
        is_unseen=mapped.seen.is_unseen,
    )
    views = paired_views(mapped.X, mapped.Z, features.labels, name=name, change=change)
    path = features.source if os.path.exists(features.source) else "features.npy"
    return Run(
        name,
        Scores(replace(score, network=network or None) for score in scores),
        record=RunRecord(
            source=record.source,
            fit=record.fit,
            normalize=transform.normalize,
            chance=None if answers is None else answers.chance,
        ),
        fits={} if record.fit is None else {(network, name): record.fit},
        commands={(network, name): apply_command(file, path)},
        views={network: views},
        featured=name,
    )


def _mapped(
    transform: LinearTransform, features: Features, answers: Answers | None, folds: Folds
) -> _Mapped:
    """Map the objects, for the answers of each fold by the transform that was fitted without it."""
    X, Z, fold_embeddings = embeddings(transform, features, [fold for fold, _ in folds])
    if folds:
        parts = list(zip(fold_embeddings, [part for _, part in folds], strict=True))
        return _Mapped(X, Z, parts, Seen(0.0, 1.0))
    if answers is None:
        return _Mapped(X, Z, [], Seen(0.0, 1.0))
    record = transform.record
    shares = seen(record.fitted, record.hashes, features, answers)
    return _Mapped(X, Z, [(Z, answers)], shares or Seen(None, None))


def _network(transform: LinearTransform, features: Features) -> str:
    """The network of the features, by the fit, by their record, or by the name of their file."""
    if transform.record.hashes.get("features") == array_sha256(features.matrix):
        return transform.record.source.network_name
    if os.path.exists(features.source):
        return network_of(features, Path(features.source))
    return Source(**features.network).network_name


def _agreement(name: str, mapped: _Mapped) -> list[Score]:
    """Agreement before and after with the answers of all parts, and the gain."""
    from glocal.aligner.folds import pooled_answers

    parts = mapped.parts
    split = "all" if len(parts) == 1 else HELD_OUT_QUESTIONS
    credit = {
        ORIGINAL: np.concatenate([answer_credit(mapped.X, part) for _, part in parts]),
        name: np.concatenate([answer_credit(after, part) for after, part in parts]),
    }
    scores = agreement_scores(credit, pooled_answers([part for _, part in parts]), split)
    return [replace(score, **mapped.seen.fields) for score in scores]


def _neighbours(name: str, mapped: _Mapped) -> list[Score]:
    """The neighbours that the original features and the transformed ones keep."""
    k = min(_K, len(mapped.X) - 1)
    (kept,) = kept_neighbours(mapped.X, mapped.Z, k).scores
    return [replace(kept, value=1.0, low=None, high=None), replace(kept, transform=name)]


def _ceiling_scores(answers: Answers | None) -> list[Score]:
    """How far people agree with each other, if that is known."""
    bounds = None if answers is None else ceiling(answers)
    return [] if bounds is None else [*bounds.scores]
