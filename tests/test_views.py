"""What is kept of an embedding for people to look at: exact where it is exact, small, and read back whole."""

import itertools

import numpy as np
import pytest
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import cdist

from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.errors import DataError, FileError
from glocal.evaluation.agreement import answer_credit
from glocal.evaluation.view import (
    BeforeAfter,
    load_view,
    matrix_of,
    object_map,
    object_order,
    object_view,
    save_view,
    spectrum,
)
from glocal.sweep import sweep


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(5), 8)
    return rng.normal(size=(5, 12))[groups] * 2 + rng.normal(size=(40, 12))


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(2)
    return Answers.from_array(np.array([rng.permutation(40)[:3] for _ in range(3000)]))


@pytest.fixture(scope="module")
def pair(rows, answers):
    """A baseline and a transformed embedding beside it."""
    W = np.diag(np.linspace(0.1, 3, 12))
    names = [f"o{i}" for i in range(40)]
    categories = [f"c{i // 8}" for i in range(40)]
    before = object_view(rows, names, categories=categories)
    after = object_view(
        rows @ W, names, categories=categories, baseline=before, parts=[BeforeAfter(rows, rows @ W, answers)],
        weights=W, features=rows, meta={"arm": "x"},
    )  # fmt: skip
    return before, after


def test_neighbours_are_those_of_explicit_distances(rows, pair):
    """The ten nearest by cosine are the first ten of scipy's sorted distances, itself left out."""
    D = cdist(rows, rows, "cosine")
    np.fill_diagonal(D, np.inf)
    np.testing.assert_array_equal(pair[0].neighbours, np.argsort(D, axis=1)[:, :10])


def test_flips_are_the_answers_whose_credit_changed(rows, pair, answers):
    """Gained and lost are exactly the answers right on one side only, the largest shift of margin first."""
    Z = rows @ np.diag(np.linspace(0.1, 3, 12))
    a, b = answer_credit(rows, answers), answer_credit(Z, answers)
    view = pair[1]
    for found, which in ((view.gained, b > a), (view.lost, b < a)):
        assert {tuple(x) for x in found.tolist()} == {tuple(x) for x in answers.answers[which].tolist()}
    assert view.meta["n_answers"] == 3000
    assert view.meta["difference"][0] == pytest.approx(b.mean() - a.mean())
    S = [1 - cdist(e, e, "cosine") for e in (rows, Z)]
    shift = [abs(np.subtract(*[s[i, j] - max(s[i, k], s[j, k]) for s in S])) for i, j, k in view.gained]
    assert shift == sorted(shift, reverse=True)


def test_flips_of_folds_are_joined(rows, answers):
    """Parts with embeddings of their own give the flips of each, merged by the size of their shift."""
    first, second = answers.select(np.arange(3000) < 1500), answers.select(np.arange(3000) >= 1500)
    Z = [rows * np.linspace(1, 2, 12), rows * np.linspace(3, 1, 12)]
    view = object_view(
        rows, list(map(str, range(40))), parts=[BeforeAfter(rows, Z[0], first), BeforeAfter(rows, Z[1], second)]
    )
    gained = sum(
        int((answer_credit(z, t) > answer_credit(rows, t)).sum()) for z, t in zip(Z, (first, second), strict=True)
    )
    assert (view.meta["n_gained"], view.meta["n_answers"]) == (gained, 3000)


def test_the_strongest_flips_are_kept(rows, answers, monkeypatch):
    """Of more flips than a view keeps the strongest of each side are listed; all are counted."""
    parts = [BeforeAfter(rows, rows[:, ::-1] ** 3, answers)]
    whole = object_view(rows, list(map(str, range(40))), parts=parts)
    monkeypatch.setattr("glocal.evaluation.view._MOST_FLIPS", 7)
    view = object_view(rows, list(map(str, range(40))), parts=parts)
    for side in ("gained", "lost"):
        np.testing.assert_array_equal(getattr(view, side), getattr(whole, side)[:7])
        assert view.meta[f"n_{side}"] == len(getattr(whole, side)) > 7


def test_objects_without_categories_are_in_the_order_of_a_tree(rows, monkeypatch):
    """The order is that of average linkage; of too many objects for one it is that along the first axis."""
    distances = cdist(rows, rows, "cosine")[np.triu_indices(40, 1)]
    np.testing.assert_array_equal(object_order(rows), leaves_list(linkage(distances, "average")))
    monkeypatch.setattr("glocal.evaluation.view._CLUSTERED", 39)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    axis = np.linalg.svd(unit - unit.mean(axis=0))[2][0]
    along = np.argsort(unit @ axis)
    assert object_order(rows).tolist() in (along.tolist(), along[::-1].tolist())


def test_a_matrix_is_the_mean_over_pairs_of_groups(rows):
    """Each cell is the mean of 1 - cosine over the pairs of two groups, an object never paired with itself."""
    order = np.random.default_rng(3).permutation(40)
    found = matrix_of(rows, order, most=7)
    D = cdist(rows, rows, "cosine")[np.ix_(order, order)]
    edges = np.arange(8) * 40 // 7
    groups = [np.arange(*pair) for pair in itertools.pairwise(edges)]
    for i, a in enumerate(groups):
        for j, b in enumerate(groups):
            block = D[np.ix_(a, b)]
            expected = block.mean() if i != j else block[~np.eye(len(a), dtype=bool)].mean()
            if found.low <= expected <= found.high:
                assert found.values()[i, j] == pytest.approx(expected, abs=(found.high - found.low) / 255)


def test_a_place_in_a_matrix_is_a_share_of_the_objects():
    """Where cells hold one or two objects, two halves of the objects are two halves of the matrix."""
    found = matrix_of(np.repeat(np.eye(2), 15, axis=0), np.arange(30), most=20).values()
    np.testing.assert_array_equal(found > 0.5, np.kron(1 - np.eye(2), np.ones((10, 10))) > 0)


def test_objects_are_ordered_by_category_and_likeness(rows):
    """Categories are runs, "other" the last; without categories the planted groups are runs."""
    categories = ["b", "other", "a", "b"] * 10
    ordered = np.array(categories)[object_order(rows, categories)]
    assert list(dict.fromkeys(ordered)) == ["a", "b", "other"]
    assert (ordered[:-1] != ordered[1:]).sum() == 2
    groups = np.repeat(np.arange(5), 8)
    tight = np.random.default_rng(0).normal(size=(5, 12))[groups] + 0.01 * rows
    assert (np.diff(groups[object_order(tight)]) != 0).sum() == 4


@pytest.mark.parametrize("n", [40, 8])
def test_the_map_is_the_principal_plane_turned(rows, n):
    """Distances in the map are those of the two leading singular directions up to scale; turning finds another map."""
    rows = rows[:n]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    U, s, _ = np.linalg.svd(unit - unit.mean(axis=0))
    expected = U[:, :2] * s[:2]
    found = object_map(rows)
    assert np.square(found).sum(axis=1).mean() == pytest.approx(1)
    ratio = cdist(found, found)[0, 1:] / cdist(expected, expected)[0, 1:]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
    turned = found @ np.array([[0.6, 0.8], [0.8, -0.6]])
    np.testing.assert_allclose(object_map(rows, turned), turned, atol=1e-9)


def test_a_view_is_read_back_whole_and_small(pair, tmp_path):
    """Every array, name and number of a view comes back from a compressed file without pickles."""
    before, after = pair
    for view in (before, after):
        save_view(view, tmp_path / "v.npz")
        found = load_view(tmp_path / "v.npz")
        assert (found.names, found.categories, found.meta) == (view.names, view.categories, view.meta)
        for name in ("positions", "neighbours", "gained", "lost", "order"):
            np.testing.assert_array_equal(getattr(found, name), getattr(view, name))
        np.testing.assert_array_equal(found.rdm.cells, view.rdm.cells)
        assert (found.axes is None) == (view.axes is None)
    np.testing.assert_allclose(found.axes.gains, after.axes.gains, rtol=1e-6)


def test_the_spectrum_finds_planted_gains():
    """Of W = U diag(g) Uᵀ on the principal axes U, gains are g over their mean and the shares follow g² λ."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 6)) * np.array([6, 5, 4, 3, 2, 1.0])
    rows -= rows.mean(axis=0)
    values, axes = np.linalg.eigh(rows.T @ rows / 400)
    values, axes = values[::-1], axes[:, ::-1]
    g = np.array([0.2, 0.5, 0.9, 2.0, 1.5, 0.8])
    for scale in (1, 1e-3):
        found = spectrum((axes * g) @ axes.T, scale * rows + 3)
        np.testing.assert_allclose(found.gains, g / g.mean(), rtol=1e-9)
        np.testing.assert_allclose(found.singular_values, np.sort(g)[::-1], rtol=1e-9)
        np.testing.assert_allclose(found.share_before, values / values.sum(), rtol=1e-9)
        np.testing.assert_allclose(found.share_after, g**2 * values / (g**2 * values).sum(), rtol=1e-9)
        assert found.raised == 2


def test_a_transform_without_trace_or_at_zero_has_a_spectrum(rows):
    """With tr W = 0 gains are those of W itself; W = 0 leaves nothing, and nothing is divided by zero."""
    W = np.diag([1.0, -1.0] + [0.0] * 10)
    assert spectrum(W, rows).gains.max() <= 1 + 1e-12
    assert spectrum(np.eye(12) / 3, rows).raised == 0
    assert spectrum(0 * W, rows).share_after.tolist() == [0] * 12


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_damaged_view_is_one_sentence(tmp_path, content):
    """A file that is no view says so and what to do."""
    path = tmp_path / "v.npz"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"view file .*(damaged|empty)") as caught:
        load_view(path)
    assert "\n" not in str(caught.value)


def test_a_collapsed_embedding_has_a_view_that_says_so(rows):
    """One point for all objects: a map at its middle, and the mark."""
    view = object_view(np.ones((40, 3)), list(map(str, range(40))))
    assert view.meta["collapsed"]
    assert (view.positions == 0).all()
    assert not object_view(rows, list(map(str, range(40)))).meta["collapsed"]


def test_what_cannot_be_viewed_is_said(rows):
    """Another number of names, and one object."""
    with pytest.raises(DataError, match="40 objects but 3 names"):
        object_view(rows, ["a", "b", "c"])
    with pytest.raises(DataError, match="at least two objects"):
        object_view(rows[:1], ["a"])


def test_a_sweep_keeps_views_of_its_choice(world, tmp_path):
    """Flips of a sweep are held-out answers of each fold under that fold's transform."""
    data = FitData(world.objects, world.triplets, world.local)
    found = sweep(data, {"alpha": [0.5], "lmbda": [0.1], "tau": [0.25]}, folds=2, out=tmp_path)
    view = load_view(tmp_path / "views" / "chosen.npz")
    assert load_view(tmp_path / "views" / "original.npz").axes is None
    assert (view.meta["split"], view.meta["n_answers"]) == ("heldout", found.scores[0].n)
    assert view.meta["difference"][0] == pytest.approx(found.scores[2].value)
