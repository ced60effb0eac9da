"""One point by the mini-batch solver: a cold fit with its own learning rate, as a single fit would run it."""

from __future__ import annotations

from dataclasses import replace

from glocal.aligner.outcome import Outcome, solved
from glocal.aligner.settings import Settings
from glocal.aligner.validation import Validation
from glocal.data.features import Features
from glocal.sweep.data import FoldData
from glocal.sweep.grid import Point


def fit_by_loop(data: FoldData, point: Point, settings: Settings) -> Outcome:
    """Fit one point on the training part of its fold, from the start of the profile.

    Where the profile keeps a fold for the stopping rule (``validation_folds``, as the authors' cross-validation does),
    the rule watches what the sweep holds out, and the fit sees all of the rest; else it watches what is fitted.

    Raises
    ------
    DivergedError
        The learning rate is too large for this point.
    MissingDependencyError
        Lightning is not installed.
    """
    assert point.eta is not None
    profile = replace(settings.profile, eta=point.eta)
    own = replace(
        settings, method=point.method, alpha=point.alpha or 0.0, lmbda=point.lmbda, tau=point.tau or 1.0,
        bias=point.bias, profile=profile,
    )  # fmt: skip
    local = data.local if point.method == "glocal" else None
    watched = None
    if profile.validation_folds is not None:
        heldout = data.heldout.relabel(data.objects)[0]
        watched = Validation(heldout, None if local is None else Features(data.images, None, "held-out local images"))
    return solved(data.features, data.train, local, data.scalars, own, None, None, watched)
