"""A view holds what people look at in an embedding, exact and small, and is read back whole."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from glocal.aligner import FitData
from glocal.errors import FileError
from glocal.evaluation.view import load_view, object_view, save_view
from glocal.sweep import sweep

RNG = np.random.default_rng(1)
ROWS = RNG.normal(size=(5, 12))[np.repeat(np.arange(5), 8)] * 2 + RNG.normal(size=(40, 12))
NAMES = [f"o{i}" for i in range(40)]


def test_a_view_is_read_back_whole(tmp_path):
    """The ten nearest by cosine are in SciPy's order, and every name and number comes back from the
    file.
    """
    before = object_view(ROWS, NAMES)
    after = object_view(ROWS * np.linspace(0.1, 3, 12), NAMES, meta={"arm": "x"})
    D = cdist(ROWS, ROWS, "cosine") + 9 * np.eye(40)
    np.testing.assert_array_equal(before.neighbours, np.argsort(D, axis=1)[:, :10])
    for view in (before, after):
        save_view(view, tmp_path / "v.npz")
        result = load_view(tmp_path / "v.npz")
        for name in ("names", "meta", "neighbours"):
            np.testing.assert_equal(getattr(result, name), getattr(view, name))


def test_a_collapsed_embedding_has_a_view_that_says_so():
    """Only the view of a collapsed embedding has the mark of a collapse."""
    assert object_view(np.ones((40, 3)), NAMES).meta["collapsed"]
    assert not object_view(ROWS, NAMES).meta["collapsed"]


@pytest.mark.nightly
def test_a_sweep_keeps_views_of_its_choice(world, tmp_path):
    """The folder of a sweep has views of the original features and of the refitted choice."""
    data = FitData(world.objects, world.answers, world.local)
    result = sweep(data, {"alpha": [0.5], "lmbda": [0.1], "tau": [0.25]}, folds=2, out=tmp_path)
    original, chosen = (
        load_view(tmp_path / "views" / f"{name}.npz") for name in ("original", "chosen")
    )
    assert (original.meta["arm"], chosen.meta["arm"]) == ("original", "chosen")
    Z = result.transform.apply(np.asarray(world.objects.matrix, dtype=np.float64))
    expected = object_view(Z, original.names).neighbours
    np.testing.assert_array_equal(chosen.neighbours, expected)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("neighbours", lambda array: array[:3]),
        ("neighbours", lambda array: array.astype(str)),
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
