"""Answers of every kind have one loss, one kernel and the same certificates."""

from dataclasses import replace

import numpy as np
import pytest
import world
from fits import fit_arm
from world import normal

from glocal import (
    Answers,
    Exact,
    Features,
    FitData,
    ObjectiveSettings,
    fit,
    import_answers,
    odd_one_out,
)
from glocal.data.people import questions
from glocal.errors import DataError, TrivialOptimumError
from glocal.similarity import KINDS, Kind

N = 30  # number of objects
X = normal(N, 5)
ORDER = np.random.default_rng(2).permutation(N)


@pytest.mark.parametrize("kind", KINDS)
def test_fits_of_every_kind_are_certified(kind):
    """A fit to answers of any kind, by people who judge by the features, has a certified optimum
    below chance.
    """
    answers = world.chosen(world.answers(900, N, kind), 4 * X)
    data = FitData(Features(X), answers)
    solver = Exact(dtype="float64")
    for arm in (ObjectiveSettings("global", lmbda=0.05), ObjectiveSettings("naive", lmbda=0.02)):
        solution = solver.solve(data, arm)
        assert solution.report.certificate == "global optimum: duality gap"
        assert solution.report.parts["global"] < answers.chance_loss - 0.05
    with pytest.raises(TrivialOptimumError):
        solver.solve(data, ObjectiveSettings("naive", lmbda=solution.report.lambda_max))


@pytest.fixture
def two_pairs(monkeypatch):
    """Answers of a kind that somebody added: which of two pairs is more alike?"""
    monkeypatch.setitem(KINDS, "two-pairs", Kind(("a", "b", "c", "d"), ((0, 1), (2, 3))))
    objects = world.answers(900, N, "nearest-of-n").objects[:, :4]
    return world.chosen(Answers(objects, kind="two-pairs"), 4 * X)


def test_an_added_kind_is_fitted_and_saved(two_pairs, tmp_path):
    """A kind that is added to the table is checked, fitted, scored on folds of questions, and read
    from its file.
    """
    solution = fit(FitData(Features(X), two_pairs))
    assert solution.record.heldout.of == "questions"
    assert solution.record.heldout.agreement >= solution.record.heldout.original > two_pairs.chance
    assert odd_one_out(solution.transform(X), two_pairs).agreement > 0.6
    assert "Guessing gives 50.0 %" in solution.summary()
    two_pairs.save(tmp_path / "a.npz")
    assert Answers.load(tmp_path / "a.npz").pairs == ((0, 1), (2, 3))
    with pytest.raises(DataError, match=r"\(t, 4\)"):
        Answers(two_pairs.objects[:, :3], kind="two-pairs")


def test_a_question_of_an_added_kind_is_its_pairs_in_any_order(two_pairs):
    """Answers to the same pairs, in any order, are answers to one question, and the choice is that
    of the same pair; other pairs of the same objects are another question.
    """
    objects = world.matrix("3 1 2 0; 1 3 0 2; 2 0 3 1; 3 2 1 0", np.int32)
    asked, choices = questions(Answers(objects, kind="two-pairs"))
    np.testing.assert_array_equal(asked, world.matrix("0 2 1 3; 0 2 1 3; 0 2 1 3; 0 1 2 3"))
    assert choices.tolist() == [1, 1, 0, 1]


def run(line):
    return world.run(f"{line} --features features.npy --json").json


@pytest.mark.parametrize("kind", KINDS)
def test_commands_take_every_kind(here, kind):
    """Split, fit and evaluate take files of every kind, which a bare file gets by an import; a
    split keeps the names of its objects.
    """
    answers = world.chosen(world.answers(600, N, kind), 3 * X)
    names = tuple(map(str, range(N)))
    world.folder(
        here,
        features_npy=X[ORDER],
        file_names_txt=[f"{i}.png" for i in ORDER],
        ids_txt=names,
        bare_npz=answers,
        named_npz=replace(answers, person=np.arange(600) % 7, names=names),
        sorted_npy=np.argsort(ORDER)[answers.objects],
    )
    for split in ("bare.npz --object-ids ids.txt --by objects", "named.npz --by people"):
        counts = run(f"data split --answers {split} --out .")
        heldout = Answers.load("heldout.npz")
        assert len(heldout) == counts["heldout"] > 0
        assert heldout.names == names
    world.run(f"data import sorted.npy --kind {kind} --out sorted.npz")
    results = []
    for data in ("--answers named.npz", "--answers sorted.npz"):
        fitted = run(f"fit --method global --lmbda 0.01 --holdout 0 --out t.npz {data}")
        scored = run(f"evaluate odd-one-out {data} --transform t.npz")
        results.append((fitted["objective"], scored["agreement"], scored["chance"]))
    assert results[0] == pytest.approx(results[1], rel=1e-6)


GOLDEN = {0.1: 0.4701964, 1.0: 0.4879026, 10.0: 0.5070794}


@pytest.mark.parametrize("lmbda", GOLDEN)
def test_material_appearance_reaches_its_objectives(data_dir, lmbda):
    """EfficientNet-Lite0 on 22,801 weighted comparisons of materials reaches the float64 optima."""
    features = Features.load(data_dir / "anchors/material/features/efficientnet-lite0")
    path = data_dir / "anchors/material/train.npz"  # which has votes, and does not state its kind
    answers = import_answers(path, kind="anchor").answers
    fit = fit_arm(features, answers, method="global", lmbda=lmbda, dtype="float64", tol=1e-6)
    assert fit.record.converged
    assert fit.record.objective == pytest.approx(GOLDEN[lmbda], rel=1e-5)
