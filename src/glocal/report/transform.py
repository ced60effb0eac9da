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
from glocal.evaluation.agreement import agreement_scores, answer_credit
from glocal.evaluation.axes import FoldTransform, embeddings
from glocal.evaluation.ceiling import ceiling
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
    is_unseen = mapped.seen.is_unseen
    if mapped.parts and is_unseen is not False:
        scores = _agreement(name, mapped)
    else:
        scores = list(recorded_scores(record.fit, name))
    metrics = {score.metric for score in scores}
    if KEPT not in metrics:
        scores += _neighbours(name, mapped)
    scores += _ceiling_scores(answers)
    network = _network(transform, features)
    change = change_record(
        transform,
        features,
        mapped.X,
        mapped.parts,
        folds=[fold for fold, _ in folds],
        is_unseen=is_unseen,
    )
    views = paired_views(mapped.X, mapped.Z, features.labels, name=name, change=change)
    path = "features.npy"
    if os.path.exists(features.source):
        path = features.source
    place = (network, name)
    return Run(
        name,
        Scores(replace(score, network=network or None) for score in scores),
        record=RunRecord(
            source=record.source,
            fit=record.fit,
            normalize=transform.normalize,
            chance=None if answers is None else answers.chance,
        ),
        fits={} if record.fit is None else {place: record.fit},
        commands={place: apply_command(file, path)},
        views={network: views},
        featured=name,
    )


def _mapped(
    transform: LinearTransform,
    features: Features,
    answers: Answers | None,
    folds_of_answers: Folds,
) -> _Mapped:
    """Map the objects, for the answers of each fold by the transform that was fitted without it."""
    folds = [fold for fold, _ in folds_of_answers]
    X, Z, fold_embeddings = embeddings(transform, features, folds)
    parts: list[Part] = []
    shares: Seen | None = Seen(questions=0.0, objects=1.0)
    if folds:
        heldout = [part for _, part in folds_of_answers]
        parts += zip(fold_embeddings, heldout, strict=True)
    elif answers is not None:
        record = transform.record
        shares = seen(record.fitted, record.hashes, features, answers)
        parts.append((Z, answers))
    if shares is None:
        shares = Seen(questions=None, objects=None)
    return _Mapped(X, Z, parts, shares)


def _network(transform: LinearTransform, features: Features) -> str:
    """The network of the features, by the fit, by their record, or by the name of their file."""
    record = transform.record
    fitted = record.hashes.get("features")
    if fitted == array_sha256(features.matrix):
        return record.source.network_name
    if os.path.exists(features.source):
        file = Path(features.source)
        return network_of(features, file)
    source = Source(**features.network)
    return source.network_name


def _agreement(name: str, mapped: _Mapped) -> list[Score]:
    """Agreement before and after with the answers of all parts, and the gain."""
    from glocal.aligner.folds import pooled_answers

    before = []
    after = []
    answers = []
    for embedding, part in mapped.parts:
        before.append(answer_credit(mapped.X, part))
        after.append(answer_credit(embedding, part))
        answers.append(part)
    credit = {
        ORIGINAL: np.concatenate(before),
        name: np.concatenate(after),
    }
    split = "all" if len(answers) == 1 else HELD_OUT_QUESTIONS
    scores = agreement_scores(credit, pooled_answers(answers), split)
    shares = mapped.seen.fields
    return [replace(score, **shares) for score in scores]


def _neighbours(name: str, mapped: _Mapped) -> list[Score]:
    """The neighbours that the original features and the transformed ones keep."""
    n_others = len(mapped.X) - 1
    k = min(_K, n_others)
    counts = kept_neighbours(mapped.X, mapped.Z, k)
    (kept,) = counts.scores
    original = replace(kept, value=1.0, low=None, high=None)
    transformed = replace(kept, transform=name)
    return [original, transformed]


def _ceiling_scores(answers: Answers | None) -> list[Score]:
    """How far people agree with each other, if that is known."""
    if answers is None:
        return []
    bounds = ceiling(answers)
    if bounds is None:
        return []
    return list(bounds.scores)
