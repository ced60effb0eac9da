"""Fits whose options are keywords, as on the command line and in files, and a record of scores."""

import json
from dataclasses import replace

import numpy as np

from glocal import Exact, FitData, ObjectiveSettings, fit, neighbours_kept, odd_one_out
from glocal.aligner.data import Blocks
from glocal.results import FitRecord, HeldOutScores, KeepRecord, to_json
from glocal.transform.record import TransformRecord


def fit_arm(features, answers, *, local_features=None, n_dropped=0, on_step=None, **options):
    """Call `fit` with options of the settings, the data and `Exact`; local features: `glocal`."""
    options.setdefault("method", "global" if local_features is None else "glocal")
    options.setdefault("lmbda", 0.1)

    def group(model):
        return {name: options.pop(name) for name in model.model_fields if name in options}

    arm = ObjectiveSettings(**group(ObjectiveSettings))
    solver = Exact(**group(Exact))
    blocks = group(Blocks)
    data = FitData(
        features, answers, local_features, n_dropped=n_dropped, centre="scalar", **blocks
    )
    assert not options, options
    return fit(data, arm, solver, on_step=on_step)


def fold_means(data, folds, transforms):
    """Agreement and loss over the answers that folds hold out, and the mean of the neighbours kept,
    of a transform for each fold.
    """
    X = data.features.matrix.astype(np.float64)
    scores = []
    for fold, transform in zip(folds, transforms, strict=True):
        score = odd_one_out(transform(X), fold.answers, interval=False)
        images = data.evaluation_rows(fold.rows)
        scores.append((score.agreement, score.loss, neighbours_kept(images, transform(images))))
    sizes = [len(fold.answers) for fold in folds]
    agreement, loss, _ = np.average(scores, axis=0, weights=sizes)
    return agreement, loss, np.mean(scores, axis=0)[2]


def spend_budget(monkeypatch, method, number):
    """Let the solution of this number of a method of `Exact` have spent its budget, and the others
    converge; return the list of all.
    """
    made = getattr(Exact, method)
    solutions = []

    def spend(*arguments, **options):
        status = "budget" if len(solutions) == number else "converged"
        solution = made(*arguments, **options)
        report = solution.report.model_copy(update={"status": status, "reason": status})
        solutions.append(replace(solution, report=report))
        return solutions[-1]

    monkeypatch.setattr(Exact, method, spend)
    return solutions


def heldout(**changes):
    """The record of held-out scores of a gain, as JSON values, with these changes."""
    scores = HeldOutScores(
        of="objects",
        folds=3,
        seed=42,
        converged=True,
        n=3000,
        agreement=0.52,
        low=0.5,
        high=0.54,
        original=0.41,
        original_low=0.39,
        original_high=0.43,
        gain=0.11,
        gain_low=0.08,
        gain_high=0.14,
        loss=1.0,
        original_loss=1.05,
        k=7,
        n_images=8,
        among="local images",
        neighbours_kept=0.93,
        neighbours_kept_low=0.92,
        neighbours_kept_high=0.94,
        neighbours_kept_centred=None,
    )
    return scores.model_dump() | changes


def fit_record(**changes):
    """The record of a fit of `global`, as JSON values, with these changes."""
    record = FitRecord(
        **ObjectiveSettings("global", lmbda=0.1).parameters,
        centre=0.0,
        objective=1.0,
        parts={"global": 0.9, "penalty": 1.0},
        status="converged",
        reason="the gap is small",
        gap=0.0,
        certificate="none",
        evaluations=1,
        solver="exact",
        dtype="float32",
        converged=True,
        seconds=0.1,
        n_answers=100,
        n_dropped=0,
        n_objects=10,
        n_local=0,
        n_local_blocks=None,
        block_size=None,
    )
    return json.loads(to_json(record)) | changes


def keep_record(**changes):
    """The record of a choice by `Keep`, as JSON values, with these changes."""
    record = KeepRecord(
        keep=0.9,
        share=1.0,
        scale=1.0,
        fits=(),
        curve=(),
        losses={},
        evaluations=1,
        gain=0.1,
        gain_error=0.01,
        freest=None,
        forgone=0.0,
        forgone_error=0.01,
    )
    return record.model_dump(mode="json") | changes


def record_of(**parts):
    """The record of a transform with these parts, as JSON values."""
    return TransformRecord.model_validate_json(json.dumps(parts))


def row_record(mean=0.0, std=1.0, mean_length=1.0, normalize=True):
    """The statistics of rows, as JSON values."""
    return {"mean": mean, "std": std, "mean_length": mean_length, "normalize": normalize}
