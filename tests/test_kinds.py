"""Answers of every kind have one loss, one kernel and the same certificates."""

from dataclasses import replace

import numpy as np
import pytest
import world
from fits import fit_arm

from glocal import Features
from glocal.aligner import Arm, Exact, FitData
from glocal.data.answers import KINDS, Answers
from glocal.data.splits import split_persons
from glocal.errors import DataError, TrivialOptimumError

N = 14  # number of objects
P = 5  # number of dimensions


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


X = normal(N, P)


def chosen_by(X, kind, t, seed=0):
    """Answers of simulated people who choose by the softmax of the features' dot products."""
    questions = world.answers(t, len(X), kind, seed)
    objects = questions.objects
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
    answers = world.answers(60, N, "anchor", person=person)
    seen = []
    for fold in range(3):
        train, heldout = split_persons(answers, folds=3, fold=fold, seed=1)
        assert (train ^ heldout).all()
        assert not set(person[heldout]) & set(person[train])
        seen += set(person[heldout])
    assert sorted(seen) == sorted(set(person))
    with pytest.raises(DataError, match="do not say who gave them"):
        split_persons(world.answers(60, N, "anchor"))


@pytest.mark.parametrize("kind", KINDS)
def test_commands_take_every_kind(tmp_path, monkeypatch, kind):
    """Split, fit and evaluate take files of every kind, bare with `--kind` or as an archive that
    records it.
    """
    rows = 3 * normal(30, 6, seed=3)
    order = np.random.default_rng(2).permutation(30)
    chosen = chosen_by(rows, kind, 600)
    named = replace(chosen, person=np.arange(600) % 7, names=[str(i) for i in range(30)])
    world.folder(
        tmp_path,
        features_npy=rows[order],
        file_names_txt="\n".join(f"{i}.png" for i in order),
        a_npz=named,
        bare_npy=np.argsort(order)[chosen.objects],
    )
    monkeypatch.chdir(tmp_path)

    def run(line):
        return world.run(f"{line} --features features.npy --json").json

    for by in ("objects", "persons"):
        counts = run(f"data split --answers a.npz --by {by} --out {by}")
        assert len(Answers.load(f"{by}/heldout.npz")) == counts["heldout"] > 0
    results = []
    for data in ("--answers a.npz", f"--triplets bare.npy --kind {kind}"):
        fitted = run(f"fit --method global --lmbda 0.01 --holdout 0 --out t.npz {data}")
        scored = run(f"evaluate odd-one-out {data} --transform t.npz --baseline original")
        results.append((fitted["objective"], scored["accuracy"], scored["chance"]))
        run(f"data check {data}")
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    assert results[0][1] > results[0][2] + 0.1


def test_a_split_keeps_the_names_of_its_objects(tmp_path, monkeypatch):
    """Answers that were split with a list of objects are fitted and scored by name,
    without the list.
    """
    rows = normal(30, 6, seed=3)
    order = np.random.default_rng(2).permutation(30)[:-2]  # two objects have no features
    world.folder(
        tmp_path,
        features_npy=rows[order],
        file_names_txt="\n".join(f"{i}.png" for i in order),
        ids_txt="\n".join(map(str, range(30))),
        answers_npz=chosen_by(rows, "odd-one-out", 900),
    )
    monkeypatch.chdir(tmp_path)
    features = "--features features.npy"
    listed = "--object-ids ids.txt"
    assert world.run(f"data split {features} --answers answers.npz {listed} --out .").code == 0
    assert Answers.load("train.npz").names == tuple(map(str, range(30)))
    score = f"evaluate odd-one-out {features} --answers heldout.npz --json"
    first, second = (world.run(f"{score} {stated}").json for stated in ("", listed))
    assert first["accuracy"] == second["accuracy"]


GOLDEN = {0.1: 0.4701964, 1.0: 0.4879026, 10.0: 0.5070794}


@pytest.mark.parametrize("lmbda", GOLDEN)
def test_material_appearance_reaches_its_objectives(data_dir, lmbda):
    """EfficientNet-Lite0 on 22,801 weighted comparisons of materials reaches the float64 optima."""
    features = Features.load(data_dir / "anchors/material/features/efficientnet-lite0")
    answers = Answers.load(data_dir / "anchors/material/train.npz", kind="anchor")
    fit = fit_arm(features, answers, method="global", lmbda=lmbda, dtype="float64", tol=1e-6)
    assert fit.record.converged
    assert fit.record.objective == pytest.approx(GOLDEN[lmbda], rel=1e-5)
