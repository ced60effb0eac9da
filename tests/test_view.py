"""A view holds what people look at in an embedding, exact and small, and is read back whole."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from glocal.errors import FileError
from glocal.evaluation.view import load_view, object_view, paired_views, save_view

RNG = np.random.default_rng(1)
ROWS = RNG.normal(size=(5, 12))[np.repeat(np.arange(5), 8)] * 2 + RNG.normal(size=(40, 12))
NAMES = [f"o{i}" for i in range(40)]


METAS = """\
"arm": 5
"change": 3
"change": {"axes": [{"factor": "high"}]}
"change": {"flips": {"counts": {"lost": 1}}}
"change": {"flips": {"counts": {}, "better": [[40]], "worse": []}}
"""


def test_views_before_and_after_are_read_back_whole(tmp_path):
    """The ten nearest by cosine are in SciPy's order, and every name and number comes back from the
    file.
    """
    rows = {"original": ROWS, "x": ROWS * np.linspace(0.1, 3, 12)}
    views = paired_views(*rows.values(), NAMES, name="x", change={})
    for arm, view in views.items():
        D = cdist(rows[arm], rows[arm], "cosine") + 9 * np.eye(40)
        np.testing.assert_array_equal(view.neighbours, np.argsort(D, axis=1)[:, :10])
        assert view.meta["arm"] == arm
        save_view(view, tmp_path / "v.npz")
        np.testing.assert_equal(vars(load_view(tmp_path / "v.npz")), vars(view))


def test_a_collapsed_embedding_has_a_view_that_says_so():
    """Only the view of a collapsed embedding has the mark of a collapse."""
    assert object_view(np.ones((40, 3)), NAMES).meta["collapsed"]
    assert not object_view(ROWS, NAMES).meta["collapsed"]


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[:3],
        lambda array: array + 1000, *METAS.splitlines(),
    ],
)  # fmt: skip
def test_arrays_that_are_not_of_its_objects_are_refused(change, tmp_path):
    """The file is named."""
    path = tmp_path / "v.npz"
    save_view(object_view(ROWS, NAMES), path)
    arrays = dict(np.load(path))
    if isinstance(change, str):
        arrays["text"] = np.array(str(arrays["text"]).replace('"meta": {', f'"meta": {{{change}, '))
    else:
        arrays["neighbours"] = change(arrays["neighbours"])
    np.savez(path, **arrays)
    with pytest.raises(FileError, match="view file"):
        load_view(path)
