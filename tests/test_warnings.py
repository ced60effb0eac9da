"""Where warnings point."""

import inspect
import warnings

import numpy as np
import pytest
import world as worlds

import glocal


@pytest.fixture(scope="module")
def small():
    features = np.random.default_rng(0).normal(size=(40, 6))
    return features, worlds.answers(300, 40).objects


def fit(features, triplets):
    data = glocal.FitData(glocal.Features(features), glocal.Answers(triplets))
    glocal.fit(
        data, glocal.ObjectiveSettings("global", lmbda=0.1), glocal.Exact(1e-9, max_evaluations=2)
    )


def cross_score(features, triplets):
    data = glocal.FitData(glocal.Features(features), glocal.Answers(triplets))
    glocal.cross_score(data, glocal.ObjectiveSettings("global", lmbda=1e-4))


def estimator(features, triplets):
    solver = glocal.Exact(1e-9, max_evaluations=2)
    glocal.Aligner(method="global", lmbda=0.1, solver=solver).fit(features, triplets)


@pytest.mark.parametrize("call", [fit, cross_score, estimator])
def test_warnings_point_at_the_line_that_called_the_package(small, call):
    """However deep in the package a warning begins, its line belongs to the caller."""
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        call(*small)
    lines, first = inspect.getsourcelines(call)
    assert issued
    for warning in issued:
        assert warning.filename == __file__
        assert first <= warning.lineno < first + len(lines)


def test_rooms_are_reached_from_the_package():
    """Each room that docstrings name is an attribute of the package."""
    for room in ("aligner", "objective", "solver"):
        assert inspect.ismodule(getattr(glocal, room))
