"""Noise ceilings from repeated answers."""

import json
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.repeated import tally
from glocal.errors import DataError
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.ceiling import BRAIN_SCORE, ceiling, normalised, reached
from glocal.evaluation.statistics import triplet_estimate
from glocal.results import read_rows

RNG = np.random.default_rng(0)
SETS = np.array([RNG.permutation(12)[:3] for _ in range(25)])


def drawn_answers():
    """About 8 answers a set, shuffled inside and among each other."""
    rows = []
    for members in SETS:
        share = RNG.dirichlet([1, 1, 1])
        for odd in RNG.choice(3, size=RNG.integers(2, 15), p=share):
            pair = RNG.permutation([k for k in range(3) if k != odd])
            rows.append([*members[pair], members[odd]])
    return RNG.permutation(np.array(rows))


ANSWERS = drawn_answers()
Z = RNG.normal(size=(12, 4))


def by_loops(answers):
    """Majority share a triplet, and the credit of each answer by the majority of the other answers."""
    groups = defaultdict(list)
    for a, b, odd in answers.tolist():
        groups[tuple(sorted((a, b, odd)))].append(odd)
    shares, credits = [], []
    for odds in groups.values():
        if len(odds) < 2:
            continue
        shares.append(max(Counter(odds).values()) / len(odds))
        for place, odd in enumerate(odds):
            others = Counter(odds[:place] + odds[place + 1 :])
            most = [k for k, v in others.items() if v == max(others.values())]
            credits.append((odd in most) / len(most))
    return np.mean(shares), np.mean(credits), len(shares), len(credits)


def test_both_bounds_equal_loops():
    """Majority share a triplet and leave-one-answer-out agreement, ties shared, are those of plain loops."""
    found = ceiling(Answers.from_array(ANSWERS))
    majority, left_out, n_triplets, n_answers = by_loops(ANSWERS)
    assert found.majority.value == pytest.approx(majority, rel=1e-12)
    assert found.leave_one_out.value == pytest.approx(left_out, rel=1e-12)
    assert (found.n_triplets, found.n_answers, found.n_single) == (n_triplets, n_answers, 0)
    for bound in (found.majority, found.leave_one_out):
        assert 0 <= bound.low < bound.value < bound.high <= 1
    assert found.leave_one_out.value < found.majority.value


@pytest.mark.parametrize(
    ("odds", "majority", "left_out"),
    [
        ([2, 2, 2], 1, 1),
        ([2, 2, 1], 2 / 3, (0.5 + 0.5 + 0) / 3),  # the rest of an answer 2 is {2, 1}: a tie
        ([2, 1], 1 / 2, 0),
        ([0, 1, 2], 1 / 3, 0),
        ([0, 0, 1, 1], 1 / 2, 0),
    ],
)
def test_bounds_on_paper(odds, majority, left_out):
    """On one triplet the bounds are those computed by hand."""
    rows = [[*(k for k in range(3) if k != odd), odd] for odd in odds]
    found = ceiling(Answers.from_array(rows))
    assert found.majority.value == pytest.approx(majority)
    assert found.leave_one_out.value == pytest.approx(left_out)


def test_an_integer_weight_is_that_many_answers():
    """Answers counted by weights have the ceiling of the answers one by one; fractions are refused."""
    counted = tally(Answers.from_array(ANSWERS)).answers()
    assert len(counted) < len(ANSWERS)
    assert ceiling(counted) == ceiling(Answers.from_array(ANSWERS))
    with pytest.raises(DataError, match="not whole numbers"):
        ceiling(Answers.from_array(ANSWERS, weights=np.full(len(ANSWERS), 0.5)))


def test_triplets_answered_once_are_left_out():
    """A triplet with one answer counts in neither bound; if all are such there is no ceiling."""
    once = np.array([[9, 10, 11]])
    assert not (np.sort(SETS, axis=1) == [9, 10, 11]).all(axis=1).any()
    found, before = (ceiling(Answers.from_array(a)) for a in (np.concatenate([ANSWERS, once]), ANSWERS))
    assert (found.majority, found.leave_one_out, found.n_single) == (before.majority, before.leave_one_out, 1)
    with pytest.raises(DataError, match="none of the 1 questions has two answers"):
        ceiling(Answers.from_array(once))
    with pytest.raises(DataError, match="no answer to tally"):
        ceiling(Answers.from_array(np.empty((0, 3), dtype=int)))


def test_the_interval_is_over_triplets():
    """Intervals are those of the mean over triplets, weighted by answers for the cautious bound."""
    found, counts = ceiling(Answers.from_array(ANSWERS)), tally(Answers.from_array(ANSWERS))
    share = counts.counts.max(axis=1) / counts.counts.sum(axis=1)
    assert (found.majority.low, found.majority.high) == triplet_estimate(share, counts.sets).interval(fraction=True)


def test_people_who_answer_at_random_leave_a_cautious_bound_of_chance():
    """Without agreement leave-one-out is 1/3 within its interval, and the majority share is optimistic."""
    rng = np.random.default_rng(1)
    sets = np.array([rng.permutation(60)[:3] for _ in range(300)])
    rows = rng.permuted(np.repeat(sets, 20, axis=0), axis=1)
    found = ceiling(Answers.from_array(rows))
    assert found.leave_one_out.low < 1 / 3 < found.leave_one_out.high
    assert found.majority.low > 0.4


def test_no_model_exceeds_the_majority_share():
    """A model that answers each triplet with the most frequent answer reaches the answer-weighted majority share."""
    counts = tally(Answers.from_array(ANSWERS)).counts
    best = counts.max(axis=1).sum() / counts.sum()
    for seed in range(20):
        embedding = np.random.default_rng(seed).normal(size=(12, 4))
        assert odd_one_out(embedding, Answers.from_array(ANSWERS), interval=False).accuracy <= best


def test_a_model_is_compared_with_every_ceiling():
    """Accuracy is that on all answers; normalised is its place between chance and the ceiling, ratio the quotient."""
    triplets = Answers.from_array(ANSWERS)
    found, bounds = reached(Z, triplets, brain_score=True), ceiling(triplets)
    score = odd_one_out(Z, triplets)
    assert found.accuracy == pytest.approx(score.accuracy, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((score.low, score.high), rel=1e-9)
    values = {
        "majority": bounds.majority.value,
        "leave_one_out": bounds.leave_one_out.value,
        "brain_score": BRAIN_SCORE,
    }
    assert found.ratio == pytest.approx({name: score.accuracy / value for name, value in values.items()})
    assert found.normalised == pytest.approx(
        {name: (score.accuracy - 1 / 3) / (value - 1 / 3) for name, value in values.items()}
    )
    assert set(reached(Z, triplets).ratio) == {"majority", "leave_one_out"}


def test_normalised_scores_on_paper():
    """Chance is 0, the ceiling 1, below chance negative; no ceiling above chance gives NaN."""
    assert normalised(1 / 3, 0.67) == pytest.approx(0)
    assert normalised(0.67, 0.67) == pytest.approx(1)
    assert normalised(0.2, 0.67) < 0
    assert math.isnan(normalised(0.5, 1 / 3))


def test_people_who_never_agree_leave_no_ratio():
    """Where both answers to every triplet differ the cautious ceiling is 0: no model has a ratio to it."""
    found = reached(Z, Answers.from_array([[0, 1, 2], [2, 0, 1], [3, 4, 5], [5, 3, 4]]))
    assert found.ceiling.leave_one_out.value == 0
    assert math.isnan(found.ratio["leave_one_out"])
    assert math.isnan(found.normalised["leave_one_out"])
    assert found.ratio["majority"] == pytest.approx(found.accuracy / 0.5)


def test_a_collapsed_model_is_at_zero():
    """All rows equal: accuracy 1/3, tie rate 1, normalised 0."""
    found = reached(np.ones((12, 4)), Answers.from_array(ANSWERS))
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.tie_rate == 1
    assert found.normalised == pytest.approx({"majority": 0, "leave_one_out": 0})


@pytest.fixture
def files(tmp_path):
    lines = [f"{a},{b},{odd},{k % 7}" for k, (a, b, odd) in enumerate(ANSWERS + 1)]
    (tmp_path / "answers.csv").write_text("a,b,odd,person\n" + "\n".join(lines))
    np.save(tmp_path / "features.npy", Z)
    (tmp_path / "file_names.txt").write_text("\n".join(f"{i}.jpg" for i in range(12)))
    (tmp_path / "ids.txt").write_text("\n".join(["nowhere", *map(str, range(12))]))
    return tmp_path


def run(files, *arguments):
    named = [str(files / a) if "." in a else a for a in arguments]
    return execute(["evaluate", "ceiling", "--answers", str(files / "answers.csv"), *named])


def test_the_command_without_features_gives_the_ceilings(files, capsys):
    """One JSON object with both bounds, and two rows."""
    assert run(files, "--base", "1", "--brain-score", "--out", "s.jsonl", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    wanted = ceiling(Answers.from_array(ANSWERS))
    assert (found["majority"], found["majority_low"]) == (wanted.majority.value, wanted.majority.low)
    assert (found["leave_one_out"], found["leave_one_out_high"]) == (
        wanted.leave_one_out.value,
        wanted.leave_one_out.high,
    )
    assert (found["n_triplets"], found["n_answers"], found["n_people"]) == (wanted.n_triplets, len(ANSWERS), 7)
    assert found["brain_score"] == BRAIN_SCORE
    assert "accuracy" not in found
    assert [(row["metric"], row["transform"]) for row in read_rows(files / "s.jsonl")] == [
        ("ceiling_majority", "people"), ("ceiling_leave_one_out", "people"),
    ]  # fmt: skip


def test_the_command_scores_features_on_the_same_triplets(files, capsys):
    """Joined by name, the JSON has the accuracy, normalised and as a ratio; text shows a table."""
    assert run(files, "--features", "features.npy", "--object-ids", "ids.txt", "--out", "s.jsonl", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    wanted = reached((Z - Z.mean()) / Z.std(), Answers.from_array(ANSWERS))
    assert found["accuracy"] == pytest.approx(wanted.accuracy)
    assert found["normalised"] == pytest.approx(wanted.normalised)
    assert found["ratio"] == pytest.approx(wanted.ratio)
    metrics = [row["metric"] for row in read_rows(files / "s.jsonl")]
    assert metrics == [
        "accuracy_cosine", "normalised_by_majority", "normalised_by_leave_one_out", "ceiling_majority",
        "ceiling_leave_one_out",
    ]  # fmt: skip
    assert run(files, "--features", "features.npy", "--object-ids", "ids.txt", "--brain-score") == 0
    assert "brain_score" in capsys.readouterr().out


def test_answers_without_features_are_dropped_from_both(files, capsys):
    """An object that has no features drops its answers from the ceiling as well as from the accuracy."""
    (files / "ids.txt").write_text("\n".join(["nowhere", *map(str, range(11)), "unknown"]))
    assert run(files, "--features", "features.npy", "--object-ids", "ids.txt", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    kept = ANSWERS[(ANSWERS < 11).all(axis=1)]
    assert found["n_dropped"] == len(ANSWERS) - len(kept) > 0
    assert found["majority"] == ceiling(Answers.from_array(kept)).majority.value


def test_options_that_contradict_are_refused(files, capsys):
    """A transform without features is one sentence and exit 1."""
    assert run(files, "--transform", "t.npz") == 1
    assert "pass --features too" in capsys.readouterr().err


@pytest.mark.data
def test_the_published_repeated_answers_have_their_ceiling(data_dir):
    """500 triplets of about 20 answers: majority share 0.6717, leave-one-answer-out 0.6426."""
    answers = Answers.load(data_dir / "things/repeated_answers.csv")
    found = ceiling(answers)
    assert found.majority.value == pytest.approx(0.6717, abs=5e-5)
    assert found.leave_one_out.value == pytest.approx(0.6426, abs=5e-5)
    assert (found.n_triplets, found.n_answers, answers.n_people) == (500, 9988, 325)
    spose = reached(np.load(data_dir / "things/spose_49d.npy"), answers, similarity="dot")
    assert 0.8 < spose.normalised["leave_one_out"] < 1.1
