"""Answers that a transform turns from wrong to right, and back."""

import json

import numpy as np
import pytest
from scipy import stats

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.flips import flips
from glocal.results import read_rows

RNG = np.random.default_rng(0)
BEFORE = RNG.normal(size=(20, 5))
AFTER = BEFORE + 0.7 * RNG.normal(size=(20, 5))
ANSWERS = np.array([RNG.permutation(20)[:3] for _ in range(400)])


def credits_by_loops(Z, answers, kind):
    """Credit and margin of each answer by plain Python, ties shared."""
    earned, margins = [], []
    for a, b, odd in answers.tolist():
        pairs = [float(Z[i] @ Z[j]) for i, j in ((a, b), (a, odd), (b, odd))]
        if kind == "cosine":
            size = np.linalg.norm(Z, axis=1)
            pairs = [
                s / float(size[i] * size[j]) for s, (i, j) in zip(pairs, ((a, b), (a, odd), (b, odd)), strict=True)
            ]
        best = max(pairs)
        tied = [s > best - 1e-12 for s in pairs]
        earned.append(tied[0] / sum(tied))
        margins.append(pairs[0] - max(pairs[1:]))
    return np.array(earned), np.array(margins)


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_flips_equal_loops(kind):
    """Gained, lost, tallies by object and the order of the examples are those of plain loops."""
    found = flips(BEFORE, AFTER, Answers.from_array(ANSWERS), similarity=kind)
    (before, margin_before), (after, margin_after) = (credits_by_loops(Z, ANSWERS, kind) for Z in (BEFORE, AFTER))
    gained = [k for k in range(400) if after[k] > before[k]]
    lost = [k for k in range(400) if after[k] < before[k]]
    assert gained
    assert lost
    shift = margin_after - margin_before
    assert found.gained.tolist() == sorted(gained, key=lambda k: -shift[k])
    assert found.lost.tolist() == sorted(lost, key=lambda k: shift[k])
    for tally, rows in ((found.gained_by_object, gained), (found.lost_by_object, lost)):
        assert tally.tolist() == [sum(i in ANSWERS[k] for k in rows) for i in range(20)]
    net = {i: int(found.gained_by_object[i] - found.lost_by_object[i]) for i in range(20)}
    assert [abs(net[i]) for i in found.objects().tolist()] == sorted((abs(v) for v in net.values()), reverse=True)


def test_the_difference_is_that_of_the_accuracies():
    """(gained - lost) / answers is the accuracy after less the accuracy before, also weighted and with ties."""
    tied = np.round(BEFORE)
    weights = RNG.integers(0, 4, size=400)
    for triplets in (Answers.from_array(ANSWERS), Answers.from_array(ANSWERS, weights=weights)):
        found = flips(tied, AFTER, triplets, similarity="dot")
        scores = [odd_one_out(Z, triplets, similarity="dot", interval=False) for Z in (tied, AFTER)]
        assert scores[0].tie_rate > 0
        assert found.difference.difference == pytest.approx(scores[1].accuracy - scores[0].accuracy, rel=1e-12)
        assert found.difference.low < found.difference.difference < found.difference.high
    plain = flips(BEFORE, AFTER, Answers.from_array(ANSWERS))
    assert plain.difference.difference == pytest.approx((len(plain.gained) - len(plain.lost)) / 400)


def test_answers_that_share_nothing_have_mcnemars_p_value():
    """Where no two answers share an object the p-value is near that of McNemar's test, which ignores objects."""
    rng = np.random.default_rng(1)
    answers = rng.permutation(3000).reshape(1000, 3)
    before = rng.normal(size=(3000, 4))
    after = before + 0.2 * rng.normal(size=(3000, 4))
    after[answers[:120, 1]] = after[answers[:120, 0]]  # these answers become right
    found = flips(before, after, Answers.from_array(answers))
    gained, lost = len(found.gained), len(found.lost)
    mcnemar = (gained - lost) / np.sqrt(gained + lost)
    assert mcnemar > 2
    assert stats.norm.isf(found.difference.p / 2) == pytest.approx(mcnemar, rel=0.05)


def test_hub_objects_widen_the_interval():
    """Flips that share one of two hubs are weaker evidence than flips that share none; one hub leaves no interval."""
    rng = np.random.default_rng(2)
    Z = np.eye(302)
    rest = np.arange(2, 202).reshape(2, 100)
    hub, hubs = (np.stack([np.arange(100) % count, *rest], axis=1) for count in (1, 2))
    separate = np.arange(300).reshape(100, 3)
    found = []
    for answers in (hub, hubs, separate):
        after = Z.copy()
        right = rng.permutation(100)[:30]
        after[answers[right, 1]] = after[answers[right, 0]]
        found.append(flips(Z + 1e-3 * rng.normal(size=Z.shape), after, Answers.from_array(answers)).difference)
    assert (found[0].low, found[0].p) == (None, None)
    assert found[1].high - found[1].low > found[2].high - found[2].low


def test_the_same_embedding_flips_nothing():
    """An embedding, or a multiple of it, does not differ from itself."""
    found = flips(BEFORE, 2 * BEFORE, Answers.from_array(ANSWERS))
    assert (len(found.gained), len(found.lost), found.table().shape) == (0, 0, (0, 2))
    assert (found.difference.difference, found.difference.p) == (0, 1)
    assert found.objects().tolist() == []


@pytest.mark.usefixtures("as_a_user")
def test_embeddings_of_other_objects_are_refused():
    """Another number of rows, no answer and an index out of range are one sentence each."""
    with pytest.raises(DataError, match="the baseline has 20 rows and the new one 19"):
        flips(BEFORE, AFTER[:19], Answers.from_array(ANSWERS))
    with pytest.raises(DataError, match="no triplet to compare"):
        flips(BEFORE, AFTER, Answers.from_array(np.empty((0, 3), dtype=int)))
    with pytest.raises(DataError, match="name object 20"):
        flips(BEFORE, AFTER, Answers.from_array([[0, 1, 20]]))


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(3)
    np.save(tmp_path / "features.npy", BEFORE)
    (tmp_path / "file_names.txt").write_text("\n".join(f"object{i}.jpg" for i in range(20)))
    (tmp_path / "ids.txt").write_text("\n".join(["nowhere", *(f"object{i}" for i in range(20))]))
    named = ANSWERS + 1
    named[:3, 0] = 0  # three answers with an object that has no features
    np.save(tmp_path / "triplets.npy", named)
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, weights=rng.normal(size=(5, 5)).astype("f4"), mean=0.0, std=1.0)
    return tmp_path


def run(files, *arguments):
    named = [str(files / a) if "." in a else a for a in arguments]
    common = ("--features", files / "features.npy", "--triplets", files / "triplets.npy", "--object-ids")
    return execute(["evaluate", "odd-one-out", *map(str, common), str(files / "ids.txt"), *named])


def test_one_answer_has_no_interval(files, capsys):
    """One answer is one cluster: no interval and no p-value, null in JSON and in the rows, words in the text."""
    np.save(files / "one.npy", ANSWERS[5:6] + 1)
    right = np.zeros((5, 5), dtype="f4")
    right[:, 0] = (BEFORE[ANSWERS[5, 0]] + BEFORE[ANSWERS[5, 1]] - 2 * BEFORE[ANSWERS[5, 2]]).astype("f4")
    np.savez(files / "right.npz", weights=right, mean=0.0, std=1.0)
    common = [
        "evaluate",
        "odd-one-out",
        "--features",
        str(files / "features.npy"),
        "--triplets",
        str(files / "one.npy"),
    ]
    common += ["--object-ids", str(files / "ids.txt"), "--transform", str(files / "right.npz")]
    common += ["--similarity", "dot", "--baseline", "original"]
    assert execute([*common, "--json", "--out", str(files / "s.jsonl")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["low"], found["high"]) == (1, None, None)
    against = found["baseline"]
    assert (against["low"], against["high"]) == (None, None)
    assert against["p"] == (1.0 if against["difference"] == 0 else None)
    rows = {row["metric"]: row for row in read_rows(files / "s.jsonl")}
    assert (rows["accuracy_dot"]["low"], rows["accuracy_dot_difference"]["high"]) == (None, None)
    assert execute(common) == 0
    said = capsys.readouterr().out
    assert f"accuracy (dot)  {found['accuracy']:.3f} (no interval: one cluster of scores, or all are equal)" in said
    assert "(no interval: one cluster of answers, or all are equal)   p " in said


def test_a_baseline_adds_the_paired_difference(files, capsys):
    """The JSON keeps its keys and gains the comparison; --out gains one row; names stand for objects."""
    assert run(files, "--transform", "a.npz", "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert run(files, "--transform", "a.npz", "--baseline", "original", "--out", "s.jsonl", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    against = found.pop("baseline")
    assert found == alone
    W = np.load(files / "a.npz")["weights"].astype(float)
    wanted = flips((BEFORE - BEFORE.mean()) / BEFORE.std(), BEFORE @ W, Answers.from_array(ANSWERS[3:]))
    assert against["difference"] == pytest.approx(wanted.difference.difference)
    assert (against["low"], against["high"]) == pytest.approx((wanted.difference.low, wanted.difference.high))
    assert (against["n_gained"], against["n_lost"]) == (len(wanted.gained), len(wanted.lost))
    assert against["accuracy"] + against["difference"] == pytest.approx(found["accuracy"])
    first = [f"object{i}" for i in ANSWERS[3:][wanted.gained[0]]]
    assert against["most_gained"][0] == first
    last = read_rows(files / "s.jsonl")[-1]
    assert (last["metric"], last["settings"]) == ("accuracy_cosine_difference", {"baseline": "original"})
    assert run(files, "--transform", "a.npz", "--baseline", "b.npz") == 0
    assert "answers gained" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["flips.npy", "flips.csv"])
def test_flips_are_written_in_the_terms_of_the_triplets_file(files, name):
    """Each line is the row of the triplets file, its three indices as they stand there, and +1 or -1."""
    assert run(files, "--transform", "a.npz", "--baseline", "original", "--flips", name) == 0
    read = np.load if name.endswith(".npy") else (lambda path: np.loadtxt(path, dtype=int, delimiter=",", skiprows=1))
    lines = read(files / name)
    triplets = np.load(files / "triplets.npy")
    np.testing.assert_array_equal(triplets[lines[:, 0]], lines[:, 1:4])
    W = np.load(files / "a.npz")["weights"].astype(float)
    wanted = flips((BEFORE - BEFORE.mean()) / BEFORE.std(), BEFORE @ W, Answers.from_array(ANSWERS[3:]))
    assert sorted(lines[lines[:, 4] == 1, 0]) == sorted(wanted.gained + 3)
    assert sorted(lines[lines[:, 4] == -1, 0]) == sorted(wanted.lost + 3)
    assert set(lines[:, 4]) == {1, -1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--flips", "f.npy"), "--flips needs a baseline"),
        (("--baseline", "original", "--flips", "f.txt"), "extension must be .npy or .csv"),
        (("--baseline", "nowhere.npz"), "does not exist"),
        (("--baseline", "original", "--flips", "no/f.npy"), "does not exist"),
    ],
)
def test_bad_options_exit_1_with_one_sentence(files, capsys, options, words):
    """Flips without a baseline, another extension, a missing file or folder: one line, exit 1."""
    assert run(files, *options) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_rotation_leaves_the_order_of_equal_flips():
    """Answers whose margins shift alike come in their own order, whatever rounding does to the shifts."""
    rng = np.random.default_rng(7)
    before, after = (rng.integers(0, 2, size=(30, 12)).astype(float) for _ in range(2))
    triplets = Answers.from_array(np.array([rng.permutation(30)[:3] for _ in range(400)]))
    found = flips(before, after, triplets, similarity="dot")
    assert len(np.unique(found.shift)) < 30
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    turned = flips(before @ rotation, after @ rotation, triplets, similarity="dot")
    np.testing.assert_array_equal(turned.table(), found.table())
