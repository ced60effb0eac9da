"""Answers of every kind have one loss, one kernel and the same certificates."""

import json

import numpy as np
import pytest
from fits import fit_arm
from world import run

from glocal import Features
from glocal.aligner import Arm, Exact, FitData
from glocal.cli.app import execute
from glocal.data.answers import KINDS, Answers
from glocal.data.splits import split_persons
from glocal.errors import DataError, TrivialOptimumError

N = 14  # number of objects
P = 5  # number of dimensions
T = 60  # number of answers
WIDTH = {"odd-one-out": 3, "anchor": 3, "nearest-of-n": 6}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


X = normal(N, P)


def random_sets(kind, n=N, t=T, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(n)[: WIDTH[kind]] for _ in range(t)], dtype=np.int32)


def chosen_by(X, kind, t, seed=0):
    """Answers of simulated people who choose by the softmax of the features' dot products."""
    objects = random_sets(kind, n=len(X), t=t, seed=seed)
    questions = Answers(objects, kind=kind)
    S = np.stack(
        [np.einsum("ij,ij->i", X[objects[:, i]], X[objects[:, j]]) for i, j in questions.pairs]
    )
    place = (S + np.random.default_rng(seed + 1).gumbel(size=S.shape)).argmax(axis=0)
    rows = [questions.with_choice(int(place[row]))[row] for row in range(t)]
    return Answers(np.array(rows), kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_fits_of_every_kind_are_certified(kind):
    """A fit to answers of any kind, by people who judge by the features, has a certified optimum
    below chance.
    """
    answers = chosen_by(2 * X, kind, 900)
    data = FitData(Features(X), answers)
    solver = Exact(dtype="float64")
    for arm in (Arm("global", lmbda=0.05), Arm("naive", lmbda=0.02)):
        solution = solver.solve(data, arm)
        assert solution.certificate == "global optimum: duality gap"
        assert solution.parts["global"] < answers.chance_loss - 0.05
    with pytest.raises(TrivialOptimumError):
        solver.solve(data, Arm("naive", lmbda=solution.lambda_max))


def test_persons_are_held_out():
    """All answers of a third of the persons are held out, and none of them is used to train."""
    person = np.repeat(["ann", "bob", "cem", "dan", "eve", "fay"], 10)
    answers = Answers(random_sets("anchor"), kind="anchor", person=person)
    seen = []
    for fold in range(3):
        train, heldout = split_persons(answers, folds=3, fold=fold, seed=1)
        assert (train ^ heldout).all()
        assert not set(person[heldout]) & set(person[train])
        seen += set(person[heldout])
    assert sorted(seen) == sorted(set(person))
    with pytest.raises(DataError, match="do not say who gave them"):
        split_persons(Answers(random_sets("anchor"), kind="anchor"))


def test_more_held_out_than_trained_on_is_said(tmp_path):
    """If the held-out persons gave more answers than the others, the command says so."""
    np.save(tmp_path / "x.npy", normal(30, 4, seed=0))
    person = np.repeat(["ann", "bob", "cem", "dan"], [5, 5, 5, 45])
    Answers(random_sets("anchor", t=60), kind="anchor", person=person).save(tmp_path / "a.npz")
    notes = []
    for fold in range(4):
        code, _, err = run(
            "data", "split", "--features", tmp_path / "x.npy", "--answers", tmp_path / "a.npz",
            "--by", "persons", "--folds", 4, "--fold", fold, "--out", tmp_path / "split",
        )  # fmt: skip
        assert code == 0, err
        notes.append("--folds" in err)
    assert sum(notes) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_commands_take_every_kind(tmp_path, capsys, kind):
    """Split, fit and evaluate take files of every kind, bare with `--kind` or as an archive that
    records it.
    """
    rows = 3 * normal(30, 6, seed=3)
    order = np.random.default_rng(2).permutation(30)
    chosen = chosen_by(rows, kind, 600)
    np.save(tmp_path / "features.npy", rows[order])
    (tmp_path / "file_names.txt").write_text("\n".join(f"{i}.png" for i in order))
    named = Answers(
        chosen.objects, kind=kind, person=np.arange(600) % 7, names=[str(i) for i in range(30)]
    )
    named.save(tmp_path / "a.npz")
    np.save(tmp_path / "bare.npy", np.argsort(order)[chosen.objects])

    def run(*command):
        assert execute([*command, "--features", str(tmp_path / "features.npy"), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    archive = ["--answers", str(tmp_path / "a.npz")]
    for by in ("objects", "persons"):
        counts = run("data", "split", *archive, "--by", by, "--out", str(tmp_path / by))
        assert len(Answers.load(tmp_path / by / "heldout.npz")) == counts["heldout"] > 0
    results = []
    out = str(tmp_path / "t.npz")
    for answers in (archive, ["--triplets", str(tmp_path / "bare.npy"), "--kind", kind]):
        fitted = run(
            "fit", "--method", "global", "--lmbda", "0.01", "--holdout", "0", "--out", out, *answers
        )
        scored = run(
            "evaluate", "odd-one-out", *answers, "--transform", out, "--baseline", "original"
        )
        results.append((fitted["objective"], scored["accuracy"], scored["chance"]))
        run("data", "check", *answers)
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    assert results[0][1] > results[0][2] + 0.1


def test_a_split_keeps_the_names_of_its_objects(tmp_path, capsys):
    """Answers that were split with a list of objects are fitted and scored by name,
    without the list.
    """
    rows = normal(30, 6, seed=3)
    order = np.random.default_rng(2).permutation(30)[:-2]  # two objects have no features
    np.save(tmp_path / "features.npy", rows[order])
    (tmp_path / "file_names.txt").write_text("\n".join(f"{i}.png" for i in order))
    (tmp_path / "ids.txt").write_text("\n".join(str(i) for i in range(30)))
    np.save(tmp_path / "answers.npy", chosen_by(rows, "odd-one-out", 900).objects)
    features = ["--features", str(tmp_path / "features.npy")]
    listed = ["--answers", str(tmp_path / "answers.npy"), "--object-ids", str(tmp_path / "ids.txt")]
    assert execute(["data", "split", *features, *listed, "--out", str(tmp_path)]) == 0
    train = Answers.load(tmp_path / "train.npz")
    assert train.names == tuple(str(i) for i in range(30))
    capsys.readouterr()
    answers = ["--answers", str(tmp_path / "heldout.npz")]
    scores = []
    for stated in ([], listed[2:]):
        assert execute(["evaluate", "odd-one-out", *features, *answers, *stated, "--json"]) == 0
        scores.append(json.loads(capsys.readouterr().out)["accuracy"])
    assert scores[0] == scores[1]


GOLDEN = {0.1: 0.4701964, 1.0: 0.4879026, 10.0: 0.5070794}


@pytest.mark.parametrize("lmbda", GOLDEN)
def test_material_appearance_reaches_its_objectives(data_dir, lmbda):
    """EfficientNet-Lite0 on 22,801 weighted comparisons of materials reaches the float64 optima."""
    features = Features.load(data_dir / "anchors/material/features/efficientnet-lite0")
    answers = Answers.load(data_dir / "anchors/material/train.npz", kind="anchor")
    fit = fit_arm(features, answers, method="global", lmbda=lmbda, dtype="float64", tol=1e-6)
    assert fit.record.converged
    assert fit.record.objective == pytest.approx(GOLDEN[lmbda], rel=1e-5)
