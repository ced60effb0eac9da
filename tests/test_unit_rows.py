"""Rows are scaled to length 1 wherever those of the fit were."""

from dataclasses import replace

import numpy as np
import pytest

from glocal import Aligner, Exact, Features, FitData, fit, simulated_world
from glocal.aligner import Arm, PaperLoop
from glocal.similarity import scaled_to_length_1

LENGTHS = np.random.default_rng(0).uniform(0.5, 4, size=(400, 1))


def raw(rows):
    """The same directions with other lengths."""
    return rows * LENGTHS[: len(rows)]


@pytest.fixture(scope="module")
def world():
    """A world of rows of length 1."""
    world = simulated_world(n_category=3, n_triplets=1500, n_local=100, dimensions=24)
    objects, local = (
        Features(scaled_to_length_1(part.matrix), part.names)
        for part in (world.objects, world.local)
    )
    return replace(world, objects=objects, local=local)


@pytest.mark.parametrize("objects_are_raw", [True, False])
@pytest.mark.parametrize("loop", [False, pytest.param(True, marks=pytest.mark.nightly)])
@pytest.mark.filterwarnings("ignore::glocal.errors.GLocalWarning")  # of an unconverged loop
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning warns about torch
def test_a_fit_scales_objects_and_local_images(world, objects_are_raw, loop):
    """With `normalize`, or of objects of length 1, a fit is that of rows of length 1, of which
    the transform maps raw rows to the same as their scaled ones.
    """
    solver = PaperLoop(max_epochs=1, min_epochs=1, dtype="float64") if loop else Exact()
    objects = raw(world.objects.matrix) if objects_are_raw else world.objects.matrix
    data = FitData(
        Features(objects), world.answers, Features(raw(world.local.matrix)),
        normalize=objects_are_raw, centre=0.5,
    )  # fmt: skip
    expected = replace(data, features=world.objects, local_features=world.local)
    arm = Arm("glocal", lmbda=1.0)
    fits = [fit(each, arm, solver).transform for each in (data, expected)]
    assert all(transform.normalised for transform in fits)
    Z = [transform(rows) for transform in fits for rows in (objects, world.objects.matrix)]
    np.testing.assert_allclose(Z[1:], [Z[0]] * 3, atol=1e-4)


def test_an_aligner_scales_rows(world):
    """`Aligner(normalize=True)` of raw rows is the Aligner of rows of length 1."""
    X = world.objects.matrix
    aligners = [
        Aligner("global", lmbda=1.0, normalize=normalize).fit(rows, world.answers)
        for rows, normalize in ((raw(X), True), (X, False))
    ]
    np.testing.assert_allclose(aligners[0].transform(X), aligners[1].transform(raw(X)), atol=1e-4)
