"""The changes that a transform makes: axes, and answers that flip."""

from dataclasses import replace

import numpy as np
import pytest
from world import matrix

import glocal
from glocal import Answers, Exact, Features, FitData, LinearTransform, ObjectiveSettings, axes
from glocal.aligner.folds import fit_folds
from glocal.errors import DataError
from glocal.evaluation.axes import FoldTransform, chance_level, embeddings
from glocal.evaluation.view import flips
from glocal.similarity import unit_rows
from glocal.transform import reduced


def planted(n=300, seed=0):
    """Objects, and a map that stretches one random direction threefold and halves another."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 12))
    Q = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    W = (Q * [3, 0.5, *[1] * 10]) @ Q.T
    return X, Q, LinearTransform(W.astype(np.float32), None, 0.0, 1.0)


X, Q, STRETCH = planted()


def asked(text, **details):
    """Answers from a text."""
    return Answers.from_array(matrix(text, int), **details)


def test_planted_directions_are_recovered():
    """The stretched direction is the first axis and the halved one the last, and the objects at the
    ends of the axes lie at the ends of the directions.
    """
    table = axes(STRETCH, Features(X, tuple(map(str, range(300)))), 2)
    assert table["factor"].iloc[0] > 1.5
    assert table["factor"].iloc[-1] < 0.8
    for row, direction in ((0, Q[:, 0]), (-1, Q[:, 1])):
        position = unit_rows(X) @ direction
        ends = [position[[*map(int, table[end].iloc[row])]].mean() for end in ("low", "high")]
        assert min(ends) < -1.2 * position.std()
        assert max(ends) > 1.2 * position.std()


def test_shares_are_of_all_differences_and_do_not_overlap():
    """The shares of all axes add up to 1, before and after, and gains are in descending order."""
    table = axes(STRETCH, X[:40], 40)
    assert table[["before", "after"]].sum().tolist() == pytest.approx([1, 1], abs=1e-9)
    gains = (table["after"] - table["before"]).to_numpy()
    assert (np.diff(gains[gains > 0]) <= 1e-12).all()


@pytest.mark.parametrize("change", ["sign", "rotation", "scale", "length of rows", "duplicates"])
def test_axes_do_not_depend_on(change):
    """The sign, rotation and scale of the map, the lengths of rows and duplicates change no axis; a
    printed table has all names.
    """
    W = STRETCH.weights.astype("f8")
    weights = {"sign": -W, "rotation": W @ Q, "scale": 7 * W}.get(change, W).astype("f4")
    rows = np.repeat(np.arange(300), 1 + (change == "duplicates"))
    lengths = np.random.default_rng(1).uniform(0.5, 1.4, size=(300, 1))
    features = X[rows] * (lengths if change == "length of rows" else 1)
    names = np.array([f"thing of a long name, number {row:03}" for row in range(300)])
    mine = axes(STRETCH, Features(X, tuple(names)))
    other = axes(replace(STRETCH, weights=weights), Features(features, tuple(names[rows])))
    numbers = ["factor", "before", "after"]
    np.testing.assert_allclose(other[numbers], mine[numbers], rtol=1e-4)
    assert other["low"].tolist() == mine["low"].tolist()
    shown = {name for end in ("low", "high") for ends in mine[end] for name in ends}
    printed = str(mine)
    assert shown == {name for name in names if name in printed}


@pytest.mark.filterwarnings("ignore:the columns that stand out")
def test_the_transform_in_the_box_a_centre_and_fewer_dimensions_have_axes():
    """Each kind of transform has axes, and features of another network are refused."""
    rng = np.random.default_rng(0)
    like_clip = -14 * np.eye(512)[92]  # the column that stands out in features of CLIP
    raw = rng.normal(like_clip, size=(80, 512))
    box, centred = map(glocal.pretrained, ("clip-vit-b-32", "clip-vit-b-32-centred"))
    chance = lambda transform: axes(transform, raw).attrs["chance"]
    whole = chance(box)
    assert chance(box.at_strength(0.5)) == pytest.approx(whole / 2)
    assert chance(centred) > 0 < whole
    for other in (LinearTransform.centring(X), reduced(STRETCH, Features(X), 4)):
        assert len(axes(other, X))
    with pytest.raises(DataError, match="dimensions"):
        axes(box, X)


@pytest.mark.filterwarnings("ignore::glocal.errors.GLocalWarning")
def test_an_axis_stands_above_chance_by_the_folds(world, as_a_user):
    """Shuffled answers show no axis; those of the simulated people show some, and all folds share
    the first.
    """
    shuffled = np.random.default_rng(1).permuted(world.answers.objects, axis=1)
    tables = []
    for answers in (world.answers, replace(world.answers, objects=shuffled)):
        data = FitData(world.objects, answers)
        parts = [data, *(fold.data for fold in fit_folds(data, 3, "objects"))]
        fits = [
            glocal.fit(part, ObjectiveSettings("global", lmbda=0.3), Exact(tol=1e-2))
            for part in parts
        ]
        transform, *unseen = (fitted.transform for fitted in fits)
        folds = list(map(FoldTransform, unseen, [len(part.answers) for part in parts[1:]]))
        tables.append(axes(transform, world.objects, folds=folds))
        fractions = [len(part.answers) / len(answers) for part in parts[1:]]
        _, Z, others = embeddings(transform, world.objects, folds)
        assert tables[-1].attrs["chance"] == pytest.approx(chance_level(Z, others, fractions))
    assert tables[0]["stability"][0] > 0.9
    assert not len(tables[1])


def test_an_axis_that_folds_do_not_share_is_unsure(monkeypatch):
    """The stability of an axis is near 1 if all folds share it, that of the worst fold otherwise,
    and has no column without folds; a fold with other axes raises the level of chance above it.
    """
    other = planted(seed=5)[2]
    half = lambda transform: FoldTransform(transform, 0)
    stability = lambda *folds: axes(STRETCH, X, 1, folds=[*map(half, folds)])["stability"][0]
    assert stability(STRETCH, STRETCH.at_strength(0.9)) > 0.99
    assert "stability" not in axes(STRETCH, X, 1)
    assert not len(axes(STRETCH, X, 1, folds=[half(other)]))
    monkeypatch.setattr("glocal.evaluation.axes.chance_level", lambda *_: 0.0)
    assert stability(other) < 0.8
    assert stability(STRETCH, other) == stability(other, STRETCH) == stability(other)


def test_an_identity_and_a_collapse_have_no_axes():
    """A transform that changes nothing, or leaves nothing, amplifies no axis."""
    for same in (STRETCH.at_strength(0), replace(STRETCH, weights=0 * STRETCH.weights)):
        assert not len(axes(same, X).query("factor > 1"))


def test_flips_are_counted_by_weight_and_the_clearest_shown():
    """Flips are counted by weight, an answer is right only if its pair alone is the most similar,
    and the clearest answers are returned.
    """
    X, Z = (np.eye(3)[row] + 0.1 for row in matrix("0 1 0; 0 0 1", int))
    answers = asked("0 1 2; 0 2 1", votes=[2, 1])
    counts = {"better": 2, "worse": 1, "right": 0, "wrong": 0}
    expected = {"counts": counts, "better": [[0, 1, 2]], "worse": [[0, 2, 1]]}
    assert flips(X, [(Z, answers)]) == expected
    assert flips(np.ones((3, 2)), [(Z, answers)])["counts"]["wrong"] == 1


def test_a_clear_flip_is_clear_before_and_after():
    """An answer is as clear as its smaller margin, and is listed once."""
    # the cosines of the first row with each of three
    angles = np.arccos(matrix("1 .5 .6 1 .3 .7; 1 .95 .05 1 .7 .3")) * [0, 1, -1, 0, 1, -1]
    X, Z = np.stack([np.cos(angles), np.sin(angles)], axis=2)
    better = flips(X, [(Z, asked("0 1 2; 3 4 5; 3 4 5"))])["better"]
    assert better == [[3, 4, 5], [0, 1, 2]]
