"""Answers of every kind have one loss, one kernel and the same certificates."""

from dataclasses import replace

import numpy as np
import pytest
import world
from fits import fit_arm

from glocal import Features
from glocal.aligner import Arm, Exact, FitData
from glocal.data.answers import KINDS, Answers
from glocal.errors import TrivialOptimumError

N = 30  # number of objects
X = np.random.default_rng(0).normal(size=(N, 5))
ORDER = np.random.default_rng(2).permutation(N)


@pytest.mark.parametrize("kind", KINDS)
def test_fits_of_every_kind_are_certified(kind):
    """A fit to answers of any kind, by people who judge by the features, has a certified optimum
    below chance.
    """
    answers = world.chosen(world.answers(900, N, kind), 4 * X)
    data = FitData(Features(X), answers)
    solver = Exact(dtype="float64")
    for arm in (Arm("global", lmbda=0.05), Arm("naive", lmbda=0.02)):
        solution = solver.solve(data, arm)
        assert solution.certificate == "global optimum: duality gap"
        assert solution.parts["global"] < answers.chance_loss - 0.05
    with pytest.raises(TrivialOptimumError):
        solver.solve(data, Arm("naive", lmbda=solution.lambda_max))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write answers of a kind about objects whose features are in another order."""
    monkeypatch.chdir(tmp_path)

    def write(kind, order=ORDER):
        answers = world.chosen(world.answers(600, N, kind), 3 * X)
        names = "\n".join(map(str, range(N)))
        world.folder(
            tmp_path,
            features_npy=X[order],
            file_names_txt="\n".join(f"{i}.png" for i in order),
            ids_txt=names,
            bare_npz=answers,
            named_npz=replace(answers, person=np.arange(600) % 7, names=names.split()),
            sorted_npy=np.argsort(order)[answers.objects] if len(order) == N else answers.objects,
        )

    return write


def run(line):
    return world.run(f"{line} --features features.npy --json").json


@pytest.mark.parametrize("kind", KINDS)
def test_commands_take_every_kind(files, kind):
    """Split, fit and evaluate take files of every kind, bare with `--kind` or as an archive that
    records it.
    """
    files(kind)
    for by in ("objects", "persons"):
        counts = run(f"data split --answers named.npz --by {by} --out {by}")
        assert len(Answers.load(f"{by}/heldout.npz")) == counts["heldout"] > 0
    results = []
    for data in ("--answers named.npz", f"--triplets sorted.npy --kind {kind}"):
        fitted = run(f"fit --method global --lmbda 0.01 --holdout 0 --out t.npz {data}")
        scored = run(f"evaluate odd-one-out {data} --transform t.npz")
        results.append((fitted["objective"], scored["accuracy"], scored["chance"]))
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    assert results[0][1] > results[0][2] + 0.1


def test_a_split_keeps_the_names_of_its_objects(files):
    """Answers that were split with a list of objects are fitted and scored by name,
    without the list.
    """
    files("odd-one-out", ORDER[:-2])  # two objects have no features
    run("data split --answers bare.npz --object-ids ids.txt --out .")
    assert Answers.load("train.npz").names == tuple(map(str, range(N)))
    score = "evaluate odd-one-out --answers heldout.npz"
    assert run(score)["accuracy"] == run(f"{score} --object-ids ids.txt")["accuracy"]


GOLDEN = {0.1: 0.4701964, 1.0: 0.4879026, 10.0: 0.5070794}


@pytest.mark.parametrize("lmbda", GOLDEN)
def test_material_appearance_reaches_its_objectives(data_dir, lmbda):
    """EfficientNet-Lite0 on 22,801 weighted comparisons of materials reaches the float64 optima."""
    features = Features.load(data_dir / "anchors/material/features/efficientnet-lite0")
    answers = Answers.load(data_dir / "anchors/material/train.npz", kind="anchor")
    fit = fit_arm(features, answers, method="global", lmbda=lmbda, dtype="float64", tol=1e-6)
    assert fit.record.converged
    assert fit.record.objective == pytest.approx(GOLDEN[lmbda], rel=1e-5)
