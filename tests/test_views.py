"""What is kept of an embedding for people to look at: exact where it is exact, small, and read back whole."""

import itertools
import json
import sys
import types

import numpy as np
import pytest
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import cdist

from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.errors import DataError, FileError, MissingDependencyError, ParameterError
from glocal.evaluation.alignment import answer_credit
from glocal.evaluation.views import BeforeAfter, load_view, matrices, measure, object_view, save_view
from glocal.evaluation.views.maps import map_kind, object_map, turned
from glocal.evaluation.views.matrices import eight_bit, matrix_of, object_order, people_matrix
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
    before = object_view(rows, names, categories=categories, people=answers)
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
    monkeypatch.setattr(measure, "_MOST_FLIPS", 7)
    view = object_view(rows, list(map(str, range(40))), parts=parts)
    for side in ("gained", "lost"):
        np.testing.assert_array_equal(getattr(view, side), getattr(whole, side)[:7])
        assert view.meta[f"n_{side}"] == len(getattr(whole, side)) > 7


def test_a_cell_beyond_the_range_is_the_end_of_it():
    """The range is that between groups: what is farther apart inside one has the value of its end."""
    found = eight_bit(np.array([[3.0, 0.5, 1.0], [0.5, 0.0, 0.75], [1.0, 0.75, np.nan]]))
    assert found.cells.tolist() == [[254, 0, 254], [0, 0, 127], [254, 127, 255]]
    assert (found.low, found.high) == (0.5, 1.0)


def test_objects_without_categories_are_in_the_order_of_a_tree(rows, monkeypatch):
    """The order is that of average linkage; of too many objects for one it is that along the first axis."""
    distances = cdist(rows, rows, "cosine")[np.triu_indices(40, 1)]
    np.testing.assert_array_equal(object_order(rows), leaves_list(linkage(distances, "average")))
    monkeypatch.setattr(matrices, "_CLUSTERED", 39)
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
                assert found.values()[i, j] == pytest.approx(expected, abs=(found.high - found.low) / 254)


def test_a_small_matrix_is_whole(rows):
    """With fewer objects than cells every pair has its own cell."""
    found = matrix_of(rows, np.arange(40))
    D = cdist(rows, rows, "cosine")
    off = ~np.eye(40, dtype=bool)
    np.testing.assert_allclose(found.values()[off], D[off], atol=(found.high - found.low) / 254)


def test_a_place_in_a_matrix_is_a_share_of_the_objects():
    """Where cells hold one or two objects, two halves of the objects are two halves of the matrix."""
    found = matrix_of(np.repeat(np.eye(2), 15, axis=0), np.arange(30), most=20).values()
    np.testing.assert_array_equal(found > 0.5, np.kron(1 - np.eye(2), np.ones((10, 10))) > 0)


def test_peoples_matrix_counts_answers_about_a_pair(answers):
    """A cell is the share of answers with a pair of its groups that chose another pair; grey where nobody was asked."""
    order = np.arange(40)[::-1].copy()
    found = people_matrix(answers.select(np.arange(3000) < 400), order)
    m = len(found.cells)
    sizes = np.diff(np.arange(m + 1) * 40 // m)
    group = np.empty(40, dtype=int)
    group[order] = np.repeat(np.arange(m), sizes)
    asked, apart = np.zeros((2, m, m))
    for a, b, odd in answers.answers[:400]:
        for i, j, chosen in ((a, b, 1), (a, odd, 0), (b, odd, 0)):
            for x, y in ((group[i], group[j]), (group[j], group[i])):
                asked[x, y] += 1
                apart[x, y] += 1 - chosen
    off = (asked > 0) & ~np.eye(m, dtype=bool)
    np.testing.assert_allclose(found.values()[off], (apart / np.maximum(asked, 1))[off], atol=1 / 250)
    assert (np.isnan(found.values()) == (asked == 0)).all()
    assert people_matrix(answers.select(np.arange(3000) < 10), order) is None


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
    """Distances in the map are those of scikit-learn's PCA up to scale, and turning does not change them.

    The axes point to where the object farthest along each stands; 8 objects have fewer rows than dimensions.
    """
    from sklearn.decomposition import PCA

    rows = rows[:n]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = PCA(2).fit_transform(unit)
    found = object_map(rows, "pca")
    assert np.square(found).sum(axis=1).mean() == pytest.approx(1)
    assert (found.max(axis=0) >= -found.min(axis=0)).all()
    ratio = cdist(found, found)[0, 1:] / cdist(expected, expected)[0, 1:]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
    angle = np.array([[0.0, -1.0], [1.0, 0.0]])
    np.testing.assert_allclose(turned(found @ angle, found), found, atol=1e-9)


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
        assert (found.people is None, found.axes is None) == (view.people is None, view.axes is None)
    np.testing.assert_allclose(found.axes.gains, after.axes.gains, rtol=1e-6)


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_damaged_view_is_one_sentence(tmp_path, content):
    """A file that is no view says so and what to do."""
    path = tmp_path / "v.npz"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"view file .*(damaged|empty)") as caught:
        load_view(path)
    assert "\n" not in str(caught.value)


def test_a_view_of_a_later_format_is_refused(pair, tmp_path):
    """A format that this version does not know is not guessed at."""
    save_view(pair[0], tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz") as archive:
        arrays = dict(archive)
    arrays["text"] = np.array(json.dumps({**json.loads(str(arrays["text"])), "format": 9}))
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(FileError, match="format 9; this version reads up to 1"):
        load_view(tmp_path / "v.npz")


def test_a_collapsed_embedding_has_a_view_that_says_so(rows):
    """One point for all objects: a map at its middle, and the mark."""
    view = object_view(np.ones((40, 3)), list(map(str, range(40))))
    assert view.meta["collapsed"]
    assert (view.positions == 0).all()
    assert not object_view(rows, list(map(str, range(40)))).meta["collapsed"]


def test_what_cannot_be_viewed_is_said(rows):
    """Another number of names, one object, another map: one sentence each."""
    with pytest.raises(DataError, match="40 objects but 3 names"):
        object_view(rows, ["a", "b", "c"])
    with pytest.raises(DataError, match="at least two objects"):
        object_view(rows[:1], ["a"])
    with pytest.raises(ParameterError, match="allowed are auto, pca and umap"):
        object_map(rows, "tsne")


def test_umap_without_its_package_is_said(rows, monkeypatch):
    """The map umap names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"glocal\[umap\]"):
        object_map(rows, "umap")


def test_the_map_is_umap_where_it_is_installed(rows, monkeypatch):
    """Without umap-learn auto is the principal plane, number for number, and the view says so; few objects always."""
    monkeypatch.setitem(sys.modules, "umap", None)
    assert map_kind("auto", 40) == "pca"
    np.testing.assert_array_equal(object_map(rows, "auto"), object_map(rows, "pca"))
    assert object_view(rows, list(map(str, range(40)))).meta["map"] == "pca"
    assert map_kind("auto", 15) == "pca"


@pytest.mark.parametrize("start", [None, "given"])
def test_umap_starts_from_the_map_of_the_baseline(rows, monkeypatch, start):
    """Without a map to start from it starts from the principal plane."""
    begun = []

    class Recorded:
        def __init__(self, *, init, **_):
            begun.append(init)

        def fit_transform(self, _):
            return begun[0]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Recorded))
    given = None if start is None else np.random.default_rng(5).normal(size=(40, 2))
    object_map(rows, "umap", start=given)
    np.testing.assert_allclose(begun[0], object_map(rows, "pca") if given is None else given, atol=1e-5)


def test_umap_draws_the_same_map_twice(rows):
    """UMAP with a seed is one map, in which the planted groups lie apart; the second map lies like the first."""
    pytest.importorskip("umap")
    names = list(map(str, range(40)))
    before = object_view(rows, names, kind="auto", seed=7)
    assert before.meta["map"] == map_kind("auto", 40) == "umap"
    np.testing.assert_array_equal(before.positions, object_view(rows, names, kind="umap", seed=7).positions)
    nearest = cdist(before.positions, before.positions)
    np.fill_diagonal(nearest, np.inf)
    assert (nearest.argmin(axis=1) // 8 == np.arange(40) // 8).mean() > 0.9
    after = object_view(rows * 1.1, names, kind="umap", baseline=before, seed=7)
    assert np.corrcoef(after.positions.ravel(), before.positions.ravel())[0, 1] > 0.8
    for few in (2, 3, 5):
        assert np.isfinite(object_map(rows[:few], "umap")).all()
    assert (object_map(np.ones((40, 3)), "umap") == 0).all()


def test_a_sweep_keeps_views_of_its_choice(world, tmp_path):
    """Flips of a sweep are held-out answers of each fold under that fold's transform."""
    data = FitData(world.objects, world.triplets, world.local)
    found = sweep(data, {"alpha": [0.5], "lmbda": [0.1], "tau": [0.25]}, folds=2, out=tmp_path)
    view = load_view(tmp_path / "views" / "chosen.npz")
    assert load_view(tmp_path / "views" / "original.npz").people is not None
    assert (view.meta["split"], view.meta["n_answers"]) == ("heldout", found.scores[0].n)
    assert view.meta["difference"][0] == pytest.approx(found.scores[2].value)
