"""Anomaly scores of new images, the threshold of the alarm, and ``glocal anomaly``."""

import math

import numpy as np
import pandas as pd
import pytest
from world import folder, run

from glocal import GLocalError, LinearTransform, anomaly_scores, find_anomalies
from glocal.similarity import unit_rows as unit

RNG = np.random.default_rng(5)
NORMAL = RNG.normal(size=(60, 6)) + 0.6
OTHER = 2.4 * np.eye(6)[::2].sum(axis=0) - 0.6  # another kind, with the same mean of all entries
NEW = np.concatenate([RNG.normal(size=(25, 6)) + 0.6, RNG.normal(size=(15, 6)) + OTHER])


def expected_scores(normal, new, k):
    """Minus the mean of the k largest cosines, one image at a time."""
    return np.array([-np.sort(unit(normal) @ z)[-k:].mean() for z in unit(new)])


@pytest.mark.parametrize("k", [1, 5])
def test_a_score_is_minus_the_mean_cosine_to_the_nearest(k):
    """Scores equal a loop over images, and a normal row that is there three times counts once."""
    expected = expected_scores(NORMAL, NEW, k)
    for rows in (NORMAL, np.concatenate([NORMAL, NORMAL[:20], NORMAL[:20]])):
        np.testing.assert_allclose(anomaly_scores(rows, NEW, k), expected, rtol=1e-12)


@pytest.mark.parametrize("alarm", [0.05, 0.1, 0.3, 0.5])
def test_the_threshold_is_a_rank_among_the_scores_of_normal_images(alarm):
    """It is the ⌈(n + 1)(1 - alarm)⌉-th smallest score of a normal image against the others, and
    an anomaly has a higher score; equal normal rows count once, known new rows are counted.
    """
    new = np.concatenate([NEW, NORMAL[7:9]])
    result = find_anomalies(np.concatenate([NORMAL[:1], NORMAL]), new, alarm=alarm, k=3)
    others = ~np.eye(60, dtype=bool)
    left_out = [expected_scores(NORMAL[others[i]], NORMAL[[i]], 3)[0] for i in range(60)]
    threshold = sorted(left_out)[math.ceil(61 * (1 - alarm)) - 1]
    scores = expected_scores(NORMAL, new, 3)
    assert result.threshold == pytest.approx(threshold, rel=1e-12)
    assert result.n_normal == 60
    assert result.n_known == 2
    np.testing.assert_array_equal(result.is_anomaly, scores > threshold)
    nearest = (unit(new) @ unit(NORMAL).T).argmax(axis=1)
    np.testing.assert_array_equal(result.nearest, np.where(nearest, nearest + 1, 0))


def test_a_score_at_the_threshold_is_no_alarm():
    """With 19 normal images at an alarm of .05 the threshold is their largest score, which a new
    image that lies as far away does not exceed.
    """
    angles = np.append(np.linspace(0, 0.5, 18), 1.5)
    normal = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    as_far = np.array([[np.cos(-1.0), np.sin(-1.0)], [np.cos(-1.01), np.sin(-1.01)]])
    result = find_anomalies(normal, as_far, k=1)
    assert result.is_anomaly.tolist() == [False, True]


@pytest.mark.parametrize(
    "noun, change",
    [
        ("at least 19", {"normal": NORMAL[:18]}),
        ("at least 6", {"normal": NORMAL[:5], "alarm": 0.5}),
        ("at least 99", {"alarm": 0.01}), ("at least 61", {"k": 60}), ("alarm", {"alarm": 0.6}),
        ("alarm", {"alarm": 0.0}), ("different", {"normal": np.repeat(NORMAL[:10], 3, axis=0)}),
        ("columns", {"new": NEW[:, :4]}), ("NaN", {"new": NEW * np.nan}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(noun, change, as_a_user):
    """Too few different normal images, a share out of its range and rows that do not match are
    refused by an error that names them.
    """
    with pytest.raises(GLocalError, match=noun):
        find_anomalies(**{"normal": NORMAL, "new": NEW} | change)


@pytest.fixture
def files(here):
    weights = RNG.normal(size=(6, 6)).astype("f4")
    named = here / "new"
    folder(named, features_npy=NEW, file_names_txt="\n".join(f"n{i}.png" for i in range(40)))
    transform = LinearTransform(weights, None, 0.6, 1.0, {})
    folder(here, normal_npy=NORMAL, t_npz=transform, broad_npy=NEW + 0.1)
    return transform


def test_the_command_writes_a_line_for_each_new_image(files):
    """The table has names or rows, scores, alarms and the nearest normal image, of the features as
    they are, of a transform, or of those less the means of a broad collection.
    """
    mean = (NEW + 0.1).mean(axis=0)
    options = {
        "": (NORMAL, NEW), "--transform t.npz": (files(NORMAL), files(NEW)),
        "--transform centred --means broad.npy": (NORMAL - mean, NEW - mean),
    }  # fmt: skip
    for option, sides in options.items():
        record = run(f"anomaly normal.npy new {option} --out scores.csv --k 3 --json").json
        table = pd.read_csv("scores.csv")
        expected = find_anomalies(*sides, k=3)
        assert list(table) == ["image", "score", "is_anomaly", "nearest_normal"]
        assert table["image"].tolist() == [f"n{i}.png" for i in range(40)]
        np.testing.assert_allclose(table["score"], expected.scores, atol=1e-5)
        assert table["is_anomaly"].sum() == record["n_anomalies"]
        assert record["threshold"] == pytest.approx(expected.threshold, abs=1e-5)
        assert table["nearest_normal"].between(0, 59).all()
    assert "new images are anomalies" in run("anomaly normal.npy new --out scores.csv").out
