"""What a page shows of the choice of a sweep: ``views/original.npz`` and ``views/chosen.npz``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glocal.data.features import object_name
from glocal.data.splits import split_triplets
from glocal.evaluation.views import BeforeAfter, object_view, save_view
from glocal.files import make_folder
from glocal.sweep.outcome import Outcome
from glocal.sweep.run import SweepPlan
from glocal.sweep.selection import setting_of
from glocal.sweep.store import fold_transforms


def write_views(plan: SweepPlan, outcome: Outcome, folder: Path) -> None:
    """Look at the refitted choice beside the original features.

    Flips are those on held-out objects: the answers of each fold under the transform of the choice on that fold. Where
    the transforms of the points were not kept they are those on all answers, which the refit has seen: the split says
    ``fitted``.

    Parameters
    ----------
    plan : SweepPlan
    outcome : Outcome
        Whose choice is looked at.
    folder : Path
        Of the sweep.
    """
    features, seed = plan.data.fit.features, plan.data.fit.seed
    where = make_folder(folder / "views")
    names = [f"object {row}" for row in range(len(features))] if features.names is None else features.names
    names = [object_name(name) for name in names]
    X = features.standardization(features.matrix, "float64")
    original = object_view(
        X,
        names,
        people=plan.data.fit.triplets,
        seed=seed,
        meta={"network": "", "arm": "original", "baseline": "original"},
    )
    save_view(original, where / "original.npz")
    parts = _heldout(plan, outcome, folder, X)
    split = "heldout" if parts else "fitted"
    Z = outcome.transform.apply(np.asarray(features.matrix, dtype=np.float64))
    chosen = object_view(
        Z, names, baseline=original, parts=parts or [BeforeAfter(X, Z, plan.data.fit.triplets)], features=X,
        weights=outcome.transform.weights.astype(np.float64), seed=seed,
        meta={
            "network": "", "arm": "chosen", "baseline": "original", "split": split,
            "settings": {key: outcome.best[key] for key in setting_of(outcome.best)},
        },
    )  # fmt: skip
    save_view(chosen, where / "chosen.npz")


def _heldout(plan: SweepPlan, outcome: Outcome, folder: Path, X: np.ndarray) -> list[BeforeAfter]:
    """The answers of each fold under the transform that was fitted without its objects; nothing if one is not kept."""
    data, parts = plan.data.fit, []
    for fold, transform in enumerate(fold_transforms(folder, outcome.best, plan.folds)):
        Z = transform.apply(np.asarray(data.features.matrix, dtype=np.float64))
        _, heldout = split_triplets(data.triplets, len(X), folds=plan.folds, fold=fold, seed=data.seed)
        parts.append(BeforeAfter(X, Z, data.triplets.select(heldout)))
    return parts
