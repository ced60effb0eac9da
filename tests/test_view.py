"""A view holds what people look at in an embedding, exact and small, and is read back whole."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from glocal.aligner import FitData
from glocal.errors import FileError
from glocal.evaluation.view import load_view, object_map, object_view, save_view
from glocal.sweep import sweep

RNG = np.random.default_rng(1)
ROWS = RNG.normal(size=(5, 12))[np.repeat(np.arange(5), 8)] * 2 + RNG.normal(size=(40, 12))
NAMES = [f"o{i}" for i in range(40)]


@pytest.mark.parametrize("n", [40, 8])
def test_the_map_is_the_principal_plane_turned(n):
    """Distances in the map are those of the two leading singular directions, up to scale, and a map
    is rotated to fit another.
    """
    rows = ROWS[:n]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    U, s, _ = np.linalg.svd(unit - unit.mean(axis=0))
    expected = U[:, :2] * s[:2]
    result = object_map(rows)
    assert np.square(result).sum(axis=1).mean() == pytest.approx(1)
    ratio = cdist(result, result)[0, 1:] / cdist(expected, expected)[0, 1:]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
    turned = result @ np.array([[0.6, 0.8], [0.8, -0.6]])
    np.testing.assert_allclose(object_map(rows, turned), turned, atol=1e-9)


def test_a_view_is_read_back_whole(tmp_path):
    """The ten nearest by cosine are in SciPy's order, and every name and number comes back from the
    file.
    """
    categories = [f"c{i // 8}" for i in range(40)]
    before = object_view(ROWS, NAMES, categories=categories)
    after = object_view(ROWS * np.linspace(0.1, 3, 12), NAMES, baseline=before, meta={"arm": "x"})
    D = cdist(ROWS, ROWS, "cosine") + 9 * np.eye(40)
    np.testing.assert_array_equal(before.neighbours, np.argsort(D, axis=1)[:, :10])
    for view in (before, after):
        save_view(view, tmp_path / "v.npz")
        result = load_view(tmp_path / "v.npz")
        for name in ("names", "categories", "meta", "positions", "neighbours"):
            np.testing.assert_equal(getattr(result, name), getattr(view, name))


def test_a_collapsed_embedding_has_a_view_that_says_so():
    """A view of a collapsed embedding has all objects in the middle of its map, and the mark of a
    collapse.
    """
    view = object_view(np.ones((40, 3)), NAMES)
    assert view.meta["collapsed"]
    assert (view.positions == 0).all()
    assert not object_view(ROWS, NAMES).meta["collapsed"]


@pytest.mark.nightly
def test_a_sweep_keeps_views_of_its_choice(world, tmp_path):
    """The folder of a sweep has views of the original features and of the refitted choice, rotated
    to fit.
    """
    data = FitData(world.objects, world.answers, world.local)
    result = sweep(data, {"alpha": [0.5], "lmbda": [0.1], "tau": [0.25]}, folds=2, out=tmp_path)
    original, chosen = (
        load_view(tmp_path / "views" / f"{name}.npz") for name in ("original", "chosen")
    )
    assert (original.meta["arm"], chosen.meta["arm"]) == ("original", "chosen")
    Z = result.transform.apply(np.asarray(world.objects.matrix, dtype=np.float64))
    expected = object_view(Z, original.names, baseline=original).positions
    np.testing.assert_allclose(chosen.positions, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("map", lambda array: array[:3]),
        ("map", lambda array: array.astype(str)),
        ("neighbours", lambda array: array[:3]),
        ("neighbours", lambda array: array.ravel()),
        ("neighbours", lambda array: array + 1000),
        *(
            ("text", lambda text, part=part: np.array(str(text).replace('"meta": {', part)))
            for part in (
                '"meta": {"arm": 5, ',
                '"meta": {"change": 3, ',
                '"meta": {"change": {"axes": [{"factor": "high"}]}, ',
                '"meta": {"change": {"flips": {"counts": {"lost": 1}}}, ',
                '"meta": {"change": {"flips": {"counts": {}, "better": [[40]], "worse": []}}, ',
            )
        ),
        ("text", lambda text: np.array(str(text).replace('ies": null', 'ies": []'))),
    ],
)
def test_arrays_that_are_not_of_its_objects_are_refused(name, change, tmp_path):
    """The file is named."""
    path = tmp_path / "v.npz"
    save_view(object_view(ROWS, NAMES), path)
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, name: change(arrays[name])})
    with pytest.raises(FileError, match="view file"):
        load_view(path)
