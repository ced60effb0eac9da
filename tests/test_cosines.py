"""Thresholds of the cosine move with a transform so that the number of matches stays."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import stdtrit
from typer.testing import CliRunner

from glocal.cli.app import app
from glocal.errors import DataError, ParameterError
from glocal.evaluation.cosines import cosine_shift
from glocal.similarity import unit_rows
from glocal.transform.linear import LinearTransform


def cloud(n: int = 60, p: int = 6, seed: int = 0) -> np.ndarray:
    """Rows with a common direction, as features of networks have one."""
    return 1 + np.random.default_rng(seed).normal(size=(n, p))


def pairs_above(X: np.ndarray, threshold: float) -> int:
    """The number of pairs of rows whose cosine reaches a threshold, by a loop over pairs."""
    U = unit_rows(X)
    return sum(float(U[i] @ U[j]) >= threshold for i in range(len(U)) for j in range(i))


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_as_many_pairs_match_after_as_before(threshold):
    """The new threshold is reached by exactly as many pairs as the old one, counted pair by pair."""
    X, Z = cloud(), cloud() @ np.random.default_rng(1).normal(size=(6, 6))
    (moved,) = cosine_shift(X, Z, thresholds=[threshold]).thresholds
    assert pairs_above(X, threshold) == pairs_above(Z, moved.after) == moved.matches


@pytest.mark.parametrize("below", [1, 900, 1769])
def test_the_new_threshold_lies_midway(below):
    """It is the middle of the last cosine that reaches it and the next one, also where one pair is on a side."""
    X, Z = cloud(), cloud() @ np.random.default_rng(1).normal(size=(6, 6))
    old, new = (np.sort((unit_rows(A) @ unit_rows(A).T)[np.triu_indices(60, 1)]) for A in (X, Z))
    (moved,) = cosine_shift(X, Z, thresholds=[old[below - 1 : below + 1].mean()]).thresholds
    assert moved.after == pytest.approx(new[below - 1 : below + 1].mean(), abs=1e-12)


def test_a_rotation_and_a_scale_move_nothing():
    """Under a rotation all matches stay, and the threshold lies between the two cosines around it as before."""
    X = cloud()
    Q = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    found = cosine_shift(X, 3 * X @ Q, thresholds=[0.7])
    assert found.before == pytest.approx(found.after)
    assert found.thresholds[0].kept == 1
    assert found.thresholds[0].after == pytest.approx(0.7, abs=0.01)


def test_pairs_with_a_gallery():
    """With a gallery the pairs are each row with each row of it."""
    X, Y = cloud(20), cloud(30, seed=3)
    found = cosine_shift(X, -X, (Y, Y), thresholds=[0.0])
    cosines = unit_rows(X) @ unit_rows(Y).T
    assert found.n == 600
    assert found.thresholds[0].matches == np.count_nonzero(cosines >= 0)
    assert found.before == pytest.approx(np.quantile(cosines, found.levels))
    assert found.after == pytest.approx(np.quantile(-cosines, found.levels))


def test_without_a_threshold_those_of_one_percent_and_one_permille():
    """No threshold given: those that 1 % and 0.1 % of the pairs reach; the quantiles are quartiles and both tails."""
    found = cosine_shift(cloud(100), cloud(100))
    assert [moved.matches for moved in found.thresholds] == [50, 5]
    assert found.levels == (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


def test_a_pair_at_the_threshold_matches():
    """A pair whose cosine is the threshold itself reaches it: equal rows at 1, orthogonal ones at 0."""
    X = np.repeat(np.eye(5), 4, axis=0)
    (moved,) = cosine_shift(X, X, thresholds=[1.0]).thresholds
    assert (moved.matches, moved.kept) == (5 * 6, 1.0)


def test_what_cannot_be_compared_is_refused():
    """A threshold that is no cosine, one that no pair reaches, and too few rows are refused."""
    X = cloud()
    with pytest.raises(ParameterError, match=r"threshold is 1\.5; a cosine lies in \[-1, 1\]"):
        cosine_shift(X, X, thresholds=[1.5])
    with pytest.raises(ParameterError, match=r"which none of the 1770 pairs reach; their cosines lie between"):
        cosine_shift(X, X, thresholds=[0.99999])
    with pytest.raises(DataError, match="there are 3 rows"):
        cosine_shift(X[:3], X[:3])


def test_the_interval_of_a_threshold_covers_it():
    """Of 100 samples of rows from one population, the interval holds its threshold in at least 85."""
    rng = np.random.default_rng(4)
    A = rng.normal(size=(6, 6))
    population = 1 + rng.normal(size=(1500, 6))
    wanted = cosine_shift(population, population @ A, thresholds=[0.8]).thresholds[0].after
    covered = 0
    for _ in range(100):
        X = 1 + rng.normal(size=(80, 6))
        (moved,) = cosine_shift(X, X @ A, thresholds=[0.8]).thresholds
        covered += moved.low <= wanted <= moved.high
    assert covered >= 85


def test_the_interval_of_a_threshold_is_that_of_ten_groups_left_out():
    """Its half is Student's t of 9 degrees times the jackknife's error, from the rows without every tenth one."""
    X, Z = cloud(), cloud() @ np.random.default_rng(1).normal(size=(6, 6))
    (moved,) = cosine_shift(X, Z, thresholds=[0.6]).thresholds
    parts = [np.arange(60) % 10 != g for g in range(10)]
    without = [cosine_shift(X[part], Z[part], thresholds=[0.6]).thresholds[0].after for part in parts]
    half = stdtrit(9, 0.975) * np.sqrt(9 / 10 * np.square(np.array(without) - np.mean(without)).sum())
    assert (moved.after - moved.low, moved.high - moved.after) == pytest.approx((half, half), rel=1e-3)


def test_an_interval_of_cosines_holds_none_above_1():
    """Near the largest cosine the interval of a threshold ends at 1."""
    X = np.array([[1.0, 0.0], [1.0, 1e-3], [0.0, 1.0], [0.7, 0.7]] * 5) + np.linspace(0, 0.01, 40).reshape(20, 2)
    for moved in cosine_shift(X, X[::-1] * [1, 3], thresholds=[0.5, 0.99, 0.9999]).thresholds:
        assert -1 <= moved.low <= moved.after <= moved.high <= 1


def test_the_command_reads_a_store_and_a_transform(tmp_path):
    """``evaluate scores`` compares the stored rows with the transformed ones; JSON and rows say the same."""
    X = cloud().astype(np.float32)
    np.save(tmp_path / "store.npy", X, allow_pickle=False)
    W = np.random.default_rng(5).normal(size=(6, 6)).astype(np.float32)
    transform = LinearTransform(W, None, mean=0.5, std=2.0)
    transform.save(tmp_path / "transform.npz")
    words = ["evaluate", "scores", "--features", str(tmp_path / "store.npy"), "--threshold", "0.5", "--json"]
    words += ["--transform", str(tmp_path / "transform.npz"), "--out", str(tmp_path / "rows.jsonl")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    (moved,) = cosine_shift(X.astype(np.float64), transform(X.astype(np.float64)), thresholds=[0.5]).thresholds
    assert found["thresholds"][0]["after"] == pytest.approx(moved.after)
    first, second = (json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines())
    assert (first["metric"], first["value"]) == ("threshold", pytest.approx(moved.after))
    assert (second["metric"], second["value"]) == ("matches_kept", pytest.approx(moved.kept))


def test_equal_rows_have_a_cosine_of_1():
    """Rows of a store compared with themselves reach 1 and no more, so that thresholds drawn from them are allowed."""
    X = cloud()
    (first, _) = cosine_shift(X, X, (X, X)).thresholds
    assert first.before <= 1
    assert cosine_shift(X, X, (X, X)).before[-1] <= 1


def test_a_seed_that_is_none_is_said(tmp_path):
    """A negative seed of the draw of rows is one sentence."""
    np.save(tmp_path / "x.npy", cloud())
    LinearTransform(np.eye(6), None, 0.0, 1.0).save(tmp_path / "t.npz")
    given = ["--features", str(tmp_path / "x.npy"), "--transform", str(tmp_path / "t.npz")]
    found = CliRunner().invoke(app, ["evaluate", "scores", *given, "--seed", "-1"])
    assert "seed is -1; allowed is 0 to" in str(found.exception)
