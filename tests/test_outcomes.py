"""What fits, sweeps and curves choose on made data, and how they score, stays as it is.

`benchmarks/outcomes.py` compares more outcomes of two checkouts, to 1e-6.
"""

from functools import cache

import pytest

from glocal import FitData, Keep, cross_score, fit
from glocal.aligner.curve import learning_curve
from glocal.data.world import simulated_world
from glocal.sweep import sweep

TOLERANCE = 0.002


@cache
def data(n_answers, n_local=0):
    world = simulated_world(n_object=2, n_answers=n_answers, n_local=n_local or 90, dimensions=32)
    return FitData(world.objects, world.answers, world.local if n_local else None)


def choice_of(record):
    return record.method, record.alpha, record.lmbda, record.tau


def scores_of(heldout):
    return heldout.agreement, heldout.neighbours_kept, heldout.loss


@pytest.mark.parametrize(
    "n_answers, n_local, keep, choice, scores",
    [
        (1200, 90, 0.8, ("glocal", 0.5, 0.08, 0.1), (0.5542, 0.8089, 0.9046)),
        (6000, 120, 0.8, ("glocal", 0.5, 0.1, 0.1), (0.5544, 0.8108, 0.9097)),
        (1200, 0, None, ("global", None, 0.027, None), (0.7258, None, 0.6088)),
    ],
    ids=["folds of questions", "folds of objects", "by the loss"],
)
def test_keep_chooses_the_same_transform(n_answers, n_local, keep, choice, scores):
    """The choice of `keep` is as recorded, and its scores are as recorded to .002."""
    record = fit(data(n_answers, n_local), Keep(keep=keep)).record
    assert choice_of(record) == choice
    for score, recorded in zip(scores_of(record.heldout), scores, strict=True):
        assert recorded is None or score == pytest.approx(recorded, abs=TOLERANCE)


def test_a_sweep_chooses_the_same_setting():
    """The choice of a sweep is as recorded, and its scores are as recorded to .002."""
    grid = {"method": ["global", "glocal"], "lmbda": [1, 0.3], "alpha": [0.25, 0.5], "tau": [0.1]}
    best = sweep(data(6000, 120), grid, keep=0.8).best
    assert (best["method"], best["lmbda"], best["alpha"]) == ("glocal", 0.3, 0.5)
    assert best["agreement"] == pytest.approx(0.5396, abs=TOLERANCE)
    assert best["neighbours_kept"] == pytest.approx(0.8233, abs=TOLERANCE)


def test_nested_choices_score_the_same():
    """A `Keep` that chooses anew without each fold scores as recorded to .002."""
    scores = scores_of(cross_score(data(6000, 120), Keep(keep=0.8), folds=2))
    assert scores == pytest.approx((0.5783, 0.7125, 0.8863), abs=TOLERANCE)


def test_a_learning_curve_is_the_same():
    """The agreement at each size of a learning curve is as recorded to .002."""
    small = data(1200)
    scores = [score.value for score in learning_curve(small.features, small.answers)]
    assert scores == pytest.approx([0.5625, 0.6325, 0.6833, 0.7258, 0.0425], abs=TOLERANCE)
