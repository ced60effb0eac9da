"""Rows are scaled to length 1 wherever those of the fit were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from world import folder, run, table

from glocal import (
    Aligner,
    Features,
    FitData,
    LinearTransform,
    ObjectiveSettings,
    fit,
    simulated_world,
)
from glocal.aligner.fitting import fit_and_score, fit_plan
from glocal.jsonlines import read_rows
from glocal.similarity import scaled_to_length_1

LENGTHS = np.random.default_rng(0).uniform(0.5, 4, size=(400, 1))


raw = lambda rows: rows * LENGTHS[: len(rows)]  # the same directions with other lengths


@pytest.fixture(scope="module")
def world():
    """A world of rows of length 1."""
    world = simulated_world(n_category=3, n_answers=1500, n_local=100, dimensions=24)
    objects, local = (
        Features(scaled_to_length_1(part.matrix), part.names)
        for part in (world.objects, world.local)
    )
    return replace(world, objects=objects, local=local)


@pytest.mark.parametrize("objects_are_raw", [True, False])
def test_a_fit_scales_objects_and_local_images(world, objects_are_raw):
    """With `normalize`, or of objects of length 1, a fit is that of rows of length 1, of which
    the transform maps raw rows to the same as their scaled ones.
    """
    objects, local = (Features(raw(part.matrix)) for part in (world.objects, world.local))
    expected = FitData(
        world.objects, world.answers, world.local, normalize=objects_are_raw, centre=1
    )
    features = objects if objects_are_raw else world.objects
    data = replace(expected, features=features, local_features=local)
    fits = [
        fit(each, ObjectiveSettings("glocal", lmbda=1.0)).transform for each in (data, expected)
    ]
    Z = [transform(rows.matrix) for transform in fits for rows in (objects, world.objects)]
    np.testing.assert_allclose(Z[1:], [Z[0]] * 3, atol=1e-4)


def test_an_aligner_scales_rows(world):
    """`Aligner(normalize=True)` maps raw rows to the same as rows of length 1."""
    X = world.objects.matrix
    aligner = Aligner("global", lmbda=1.0, normalize=True).fit(raw(X), world.answers)
    np.testing.assert_allclose(aligner.transform(X), aligner.transform(raw(X)), atol=1e-4)


SUITE = """
networks.n.features = "x.npy"
arms.original = {}
arms.t.transform = "t.npz"
arms.centred.baseline = "centred"
arms.pca.baseline = "pca"
tasks.structure = {kind = "structure", features = "x.npy", k = 5}
"""


def applied(transform, X):
    assert run("apply t.npz x.npy --recentre x.npy --dimensions 5 --out z.npy").code == 0
    return np.abs(np.load("z.npy"))


def evaluated(transform, X):
    line = "evaluate structure --features x.npy --transform t.npz"
    line += " --baseline original --baseline centred --baseline pca"
    assert "length 1" in run(line).out
    rows = run(f"{line} --json").json["rows"]
    return [row["value"] for row in rows if row["metric"] == "cka"]


def scored(transform, X):
    folder(Path(), suite_toml=SUITE)
    assert "length 1" in run("suite suite.toml --out out").out
    return [row["value"] for row in read_rows("out/rows.jsonl")]


def reported(transform, X):
    record = run("report t.npz --features x.npy --out page.html --json").json
    assert "scaled to length 1" in Path("page.html").read_text("utf-8")
    return [axis["factor"] for axis in record["axes"][0]["axes"]]


@pytest.fixture(scope="module")
def fitted(world):
    data = FitData(world.objects, world.answers, normalize=True)
    plan = fit_plan(data, ObjectiveSettings("global", lmbda=1.0), None)
    return fit_and_score(plan).transform, raw(world.local.matrix)


@pytest.mark.parametrize(
    "use",
    [
        LinearTransform.__call__, applied, evaluated, scored, reported,
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_raw_rows_and_rows_of_length_1_give_the_same(use, fitted, tmp_path, monkeypatch):
    """Every use of a transform that was fitted on rows of length 1 gives the same for raw rows and
    for rows of length 1.
    """
    transform, X = fitted
    results = []
    for name, scaled in (("raw", X), ("unit", scaled_to_length_1(X))):
        rows = scaled.astype(np.float32)
        monkeypatch.chdir(folder(tmp_path / name, x_npy=rows, t_npz=transform))
        results.append(np.asarray(use(transform, rows)))
    assert results[0].size >= 4
    np.testing.assert_allclose(*results, rtol=1e-3, atol=1e-4)


REFUSED = """
evaluate structure --features x.npy --transform unit.npz --baseline raw.npz | raw.npz was fitted on
suite suite.toml --out out | raw.npz was fitted on other rows
report unit.npz raw.npz --features x.npy --out page.html | raw.npz was fitted on other rows
apply raw.npz unit.npy --out z.npy | length 1
apply raw.npz x.npy --recentre unit.npy --out z.npy | length 1
"""


@table("line, noun", REFUSED)
def test_fits_and_rows_of_another_scale_are_not_mixed(line, noun, fitted, here):
    """A table of fits to rows of length 1 and to other rows, and rows of length 1 for a fit to
    other rows, or for its new origin, are an error unless --force.
    """
    unit, X = fitted
    other = replace(LinearTransform.centring(Features(X)), weights=unit.weights)
    suite = SUITE.replace("original = {}", 'raw.transform = "raw.npz"').replace("t.npz", "unit.npz")
    rows = {"x_npy": X, "unit_npy": scaled_to_length_1(X)}
    folder(here, unit_npz=unit, raw_npz=other, suite_toml=suite, **rows)
    message = run(line).error(1)
    assert noun in message
    assert "--force" in message
    assert not Path("z.npy").exists()
    assert run(f"{line} --force").code == 0
