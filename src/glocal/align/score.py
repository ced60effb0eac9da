"""What the choice gains: both arms on the answers whose objects a fold holds out, all folds together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.splits import split_triplets
from glocal.evaluation.alignment import answer_credit, heldout_rows
from glocal.results import Score
from glocal.sweep.store import fold_transforms


def heldout_scores(objects: Features, answers: Answers, sweep: Path, choice: dict[str, Any]) -> list[Score]:
    """Agreement of the original features and of the choice with the held-out answers, and their paired difference.

    Each answer whose objects lie in one fold is scored by the transform that was fitted without that fold. `choice` has
    the ``setting``, the ``folds`` and their ``seed``.
    """
    X, folds = np.asarray(objects.matrix, dtype=np.float64), choice["folds"]
    fold_of = np.full(len(answers), -1)
    for fold in range(folds):
        fold_of[split_triplets(answers, len(X), folds=folds, fold=fold, seed=choice["seed"])[1]] = fold
    held, fold_of = answers.select(fold_of >= 0), fold_of[fold_of >= 0]
    credits = {"original": answer_credit(objects.standardization(X, "float64"), held), "chosen": np.empty(len(held))}
    for fold, transform in enumerate(fold_transforms(sweep, choice["setting"], folds)):
        credits["chosen"][fold_of == fold] = answer_credit(transform(X), held.select(fold_of == fold))
    before, after, gain = heldout_rows(credits, held)
    return [before, after, replace(gain, p_holm=gain.p)]  # one comparison: nothing to correct for
