"""Fitting an arm: what a fit improves, keeps, refuses and puts on record."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import world as worlds
from fits import fit_arm, fold_means, spend_budget

from glocal import (
    Answers,
    Exact,
    Features,
    FitData,
    GLocalError,
    Keep,
    ObjectiveSettings,
    cross_score,
    fit,
    simulated_answers,
    split_answers,
)
from glocal.aligner import fitting
from glocal.aligner.folds import fit_folds, fold_unit
from glocal.data.rows import row_statistics
from glocal.errors import (
    CollapseWarning,
    DataError,
    NotConvergedWarning,
    OverfitWarning,
    ParameterError,
    TrivialOptimumError,
)
from glocal.files import array_sha256
from glocal.objective import Objective

ARMS = {
    "naive": ObjectiveSettings("naive", lmbda=0.1),
    "mixed": ObjectiveSettings("global", lmbda=0.1, mix=0.8),
    "global": ObjectiveSettings("global", lmbda=0.1),
    "glocal": ObjectiveSettings("glocal", lmbda=0.1, alpha=0.3),
}

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits


@pytest.fixture(scope="module")
def data(world):
    """Weighted answers on the training objects of fold 0, and local images in blocks of 64."""
    weights = np.random.default_rng(0).uniform(0.5, 2, len(world.answers))
    answers = dataclasses.replace(world.answers, weights=weights)
    train, _ = split_answers(answers, len(world.objects), folds=3)
    fitted = answers.select(train)
    return FitData(world.objects, fitted, world.local, block_size=64, centre="scalar")


@pytest.fixture(scope="module")
def fits(data):
    """The fit of each arm."""
    return {name: fit(data, arm) for name, arm in ARMS.items()}


@pytest.fixture(scope="module")
def few(world):
    """A function that makes data of the first answers, without local images."""
    return lambda n: FitData(world.objects, world.answers.select(np.arange(n)))


# the record


def test_the_record_says_how_the_fit_came_about(data, fits):
    """The record, which the transform carries, has the settings, counts, convergence,
    certificate, hashes and seed.
    """
    arrays = {"features": data.features.matrix, "answers": data.answers.objects}
    arrays["weights"] = data.answers.weights
    expected = {"status": "converged", "converged": True, "n_objects": 160, "tol": 1e-5}
    expected |= {"n_answers": len(data.answers), "certificate": "global optimum: duality gap"}
    expected |= {"n_local": 0, "block_size": None}
    for name, fitted in fits.items():
        arm = ARMS[name]
        if arm.local:
            arrays["local_features"] = data.local_features.matrix
            expected |= {"n_local": 300, "block_size": 64}
            expected["certificate"] = "none: the local term is not convex"
        record = vars(fitted.record)
        assert record | expected | arm.parameters == record
        assert 0 <= record["gap"] <= 1e-5 * record["objective"]
        assert (record["rank"] is None) == (name != "naive")
        assert (record["lambda_max"] is None) == (name not in ("naive", "mixed"))
        hashes = {key: array_sha256(array) for key, array in arrays.items()}
        provenance = record["provenance"]
        assert provenance.data == hashes
        assert provenance.seed == 42
        assert provenance.threads == 1
        assert fitted.transform.record.fit is fitted.record
        assert fitted.transform.record.rows == row_statistics(data.features)


def test_alpha_0_is_global(data, fits):
    """`glocal` with α = 0 gives the objective of `global`, and its certificate."""
    record = fit(data, ObjectiveSettings("glocal", lmbda=0.1, alpha=0.0)).record
    assert record.objective == pytest.approx(fits["global"].record.objective, rel=1e-6)
    assert record.certificate.startswith("global optimum")


def test_a_lambda_whose_optimum_is_0_is_refused(data, fits):
    """A fit with λ ≥ λ_max is refused, and a `glocal` fit with λ ≥ (1 - α) λ_max, since no cosine
    depends on the scale.
    """
    largest = fits["mixed"].record.lambda_max
    # closer to λ_max, the local term still pulls W toward 0 along the identity
    for name, limit, below in (("global", largest, 0.9), ("glocal", 0.7 * largest, 0.2)):
        arm = ARMS[name].replace(mix=0.8)
        with pytest.raises(TrivialOptimumError, match="W = 0"):
            fit(data, arm.replace(lmbda=1.01 * limit))
        record = fit(data, arm.replace(lmbda=below * limit)).record
        assert record.parts["global"] < math.log(3) - 1e-4


# weights


def test_a_weight_of_0_is_no_copy_and_votes_count_toward_the_unit_of_the_folds(world):
    """Folds are those of the copies: rows of weight 0 name no object and ask no question, and 2,500
    answers with two votes each are 5,000.
    """
    objects = world.answers.objects[:2600]
    weights = np.where(np.arange(2600) < 2500, 2.0, 0.0)
    weighted = FitData(world.objects, Answers(objects, votes=weights))
    copied = FitData(world.objects, Answers(np.repeat(objects[:2500], 2, axis=0)))
    assert fold_unit(weighted) == fold_unit(copied) == "objects"
    for unit in ("objects", "questions"):
        for first, second in zip(
            fit_folds(weighted, 3, unit), fit_folds(copied, 3, unit), strict=True
        ):
            np.testing.assert_array_equal(first.rows, second.rows)
            copies = np.repeat(first.answers.objects, 2, axis=0)
            np.testing.assert_array_equal(copies, second.answers.objects)


# hold-out


def test_folds_score_objects_and_images_that_the_fits_have_not_seen(world):
    """`cross_score` scores the fit without each fold on the answers and the images of that fold."""
    data = FitData(world.objects, world.answers, world.local)
    arm = ObjectiveSettings("glocal", lmbda=0.1, alpha=0.3)
    solver = Exact(tol=1e-3)
    scores = cross_score(data, arm, solver)
    expected = {"of": "objects", "folds": 3, "seed": 42, "converged": True}
    expected |= {"k": 10, "n_images": 100, "among": "local images", "neighbours_kept_centred": None}
    assert scores.model_dump() | expected == scores.model_dump()
    folds = fit_folds(data, 3)
    transforms = [solver.solve(fold.data, arm).transform for fold in folds]
    agreement, loss, kept = fold_means(data, folds, transforms)
    assert scores.n == sum(len(fold.answers) for fold in folds)
    assert (scores.agreement, scores.loss) == pytest.approx((agreement, loss), abs=3e-3)
    assert scores.low < scores.agreement < scores.high
    assert scores.gain == pytest.approx(scores.agreement - scores.original)
    assert scores.gain > 0
    assert scores.neighbours_kept == pytest.approx(kept, abs=1e-3)
    assert scores.neighbours_kept_low < scores.neighbours_kept < scores.neighbours_kept_high


def test_an_arm_with_few_answers_is_measured_by_default(few):
    """`fit_and_score` measures an arm with 30 to 4,999 answers on three folds of questions, and
    records the scores in the transform too; `fit` measures nothing.
    """
    data = few(900)
    arm = ObjectiveSettings("global", lmbda=10.0)
    solver = Exact(tol=1e-2)
    fitted = fitting.fit_and_score(fitting.fit_plan(data, arm, solver))
    scores = cross_score(data, arm, solver, transform=fitted.transform)
    assert fitted.record.heldout == scores
    assert scores.of == "questions"
    assert scores.folds == 3
    assert scores.axes_chance > 0
    assert fitted.transform.record.fit.heldout == scores
    assert fit(data, arm, solver).record.heldout is None
    for n in (20, 12_000):
        plan = fitting.fit_plan(few(n), arm, solver)
        assert fitting.fit_and_score(plan).record.heldout is None


def test_folds_of_unequal_size_have_one_number_of_neighbours(world, few):
    """With 11, 11 and 10 held-out images the nine nearest are compared in each fold, and the record
    says so.
    """
    local = Features(world.local.matrix[:32], None, "local images")
    data = dataclasses.replace(few(1000), local_features=local)
    scores = cross_score(data, ObjectiveSettings("global", lmbda=3.0))
    assert scores.k == 9
    assert scores.n_images == 11
    assert scores.neighbours_kept < 1


def test_a_fold_of_a_fold_holds_out_a_part_of_the_rest(world, few):
    """Objects and images of the outer fold are in no part of an inner one, 16 blocks of images are
    used at most; folds of questions hold out the objects that answers name, and folds of objects
    cut these into parts.
    """
    data = few(100)
    named = [*data.answers.named_objects()]
    assert all([*fold.rows] == named for fold in fit_folds(data, 3))
    assert sorted(np.concatenate([fold.rows for fold in fit_folds(data, 3, "objects")])) == named
    for local, n in ((None, 240), (world.local, 300)):
        data = FitData(world.objects, world.answers, local, block_size=3)
        outer = fit_folds(data, 3, "objects")[0]
        inner = fit_folds(outer.data, 2, "objects")[0]
        assert local is None or len(data.blocks) == 16
        rest = inner.data.objects if local is None else inner.data.images
        assert sorted([*outer.rows, *inner.rows, *rest]) == [*range(n)]


@pytest.mark.nightly
def test_overfitting_is_warned_of(few, as_a_user):
    """A fit to few answers with a small penalty, which predicts worse than scaled features, is
    warned of.
    """
    with pytest.warns(OverfitWarning, match="overfitting"):
        scores = cross_score(few(1500), ObjectiveSettings("global", lmbda=1e-3), Exact(tol=3e-2))
    assert scores.loss > scores.original_loss


def test_one_unconverged_fold_is_recorded(few, monkeypatch):
    """The hold-out did not converge if the fit of one of its folds did not; the interval of a small
    gain reaches below 0.
    """
    solutions = spend_budget(monkeypatch, "solve", 1)
    scores = cross_score(few(1000), ObjectiveSettings("global", lmbda=300.0), folds=np.int64(3))
    assert len(solutions) == 3
    assert not scores.converged
    assert scores.gain_low < 0 < scores.gain_high


def test_no_folds_leave_no_scores(world, as_a_user):
    """If nobody asks, the scores by which `keep` chose stay in the record; 0 folds leave none."""
    local = Features(world.local.matrix[:30])
    data = FitData(world.objects, world.answers.select(np.arange(200)), local)
    plan = fitting.fit_plan(data, Keep(keep=0.9), None)
    records = [fitting.fit_and_score(plan, holdout=folds) for folds in (None, 0)]
    assert [fit.record.heldout is None for fit in records] == [False, True]
    assert records[1].transform.record.fit.heldout is None


@pytest.mark.filterwarnings("ignore::glocal.errors.DataWarning")
@pytest.mark.parametrize(
    "n, folds, noun", [(900, 1, "folds"), (6000, 81, "folds"), (6000, 60, "fold 0 of 60")]
)
def test_folds_that_cannot_be_made_are_refused(world, n, folds, noun):
    """There are at least two folds of questions or objects, at least three of the 240 objects in
    each, and all objects of an answer.
    """
    apart = Answers(np.arange(240).reshape(80, 3)[np.arange(n) % 80])
    plan = fitting.fit_plan(
        FitData(world.objects, apart), ObjectiveSettings("global", lmbda=0.1), None
    )
    with pytest.raises((DataError, ParameterError), match=noun):
        fitting.fit_and_score(plan, holdout=folds)


# refusals and warnings


@pytest.mark.filterwarnings("ignore::glocal.errors.NotConvergedWarning")
def test_a_collapse_is_warned_of(world, few, monkeypatch):
    """A fit to answers that contradict each other evenly warns that its loss is that of chance, and
    one that maps all objects to one point has collapsed whatever its loss.
    """
    triples = worlds.answers(300, 240).objects
    evenly = np.concatenate([triples, triples[:, [0, 2, 1]], triples[:, [1, 2, 0]]])
    with pytest.warns(CollapseWarning, match="that of chance"):
        fit(FitData(world.objects, Answers(evenly)), ObjectiveSettings("global", lmbda=10.0))
    monkeypatch.setattr(fitting, "one_point", lambda Z: True)
    with pytest.warns(CollapseWarning, match="one point"):
        fit(few(100), ObjectiveSettings("global", lmbda=1.0))


def test_a_spent_budget_is_warned_of(data):
    """No arm spends more evaluations than its budget, or claims convergence once it is spent."""
    with pytest.warns(NotConvergedWarning):
        record = fit(data, ARMS["glocal"], Exact(1e-9, max_evaluations=4)).record
    assert record.evaluations <= 4
    assert not record.converged


OUT_OF_RANGE = """{"method": "local"} {"method": "glocal"} {"method": "naive", "mix": 0.5}
{"alpha": -0.1} {"alpha": 1.0} {"alpha": 1.1} {"alpha": NaN}
{"lmbda": -1.0} {"lmbda": 0.0} {"lmbda": Infinity} {"lmbda": NaN}
{"tau": 0.0} {"tau": Infinity} {"mix": 0.0} {"mix": -0.1} {"mix": 1.1} {"mix": NaN}
{"tol": 0.0} {"tol": Infinity} {"dtype": "float16"} {"max_evaluations": 0} {"seed": -1}
{"method": "glocal", "block_size": 2}"""


@worlds.table("text", OUT_OF_RANGE.replace("} {", "}\n{"))
def test_settings_out_of_range_are_refused(world, text):
    """Every setting outside its range is refused with its name."""
    options = json.loads(text)
    local = world.local if "block_size" in options else None
    with pytest.raises(ParameterError, match=[*options][-1]):
        fit_arm(world.objects, world.answers, local_features=local, **options)


def test_data_that_do_not_belong_together_are_refused(world, as_a_user):
    """No answers are named before what else is wrong, and one local image has no neighbours; the
    class of a solver is none.
    """
    nothing = np.full_like(world.objects.matrix, np.nan)
    for sentence, n, local in (("no answer to fit", 0, nothing), ("there are 1", 9, nothing[:1])):
        data = FitData(world.objects, world.answers.select(np.arange(n)), Features(local))
        with pytest.raises(GLocalError, match=sentence):
            fit(data, ObjectiveSettings("glocal", lmbda=0.1))
    with pytest.raises(ParameterError, match="solver"):
        fit(FitData(world.objects, world.answers), ObjectiveSettings("global", lmbda=0.1), Exact)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::glocal.errors.GLocalWarning")
def test_a_start_from_global_shares_the_budget(monkeypatch, as_a_user):
    """If the best scale is nearly 0, `glocal` starts from `global` within the same budget, and does
    not end at chance.
    """
    rng = np.random.default_rng(0)
    mind = rng.normal(size=(60, 3))
    X = np.concatenate([3 * rng.normal(size=(60, 20)), 0.3 * mind], axis=1)
    answers = simulated_answers(9 * mind, 800)
    data = FitData(Features(X), answers, Features(rng.normal(size=(40, 23))))
    calls = []
    evaluate = Objective.__call__

    def count(self, W):
        calls.append(1)
        return evaluate(self, W)

    monkeypatch.setattr(Objective, "__call__", count)
    arm = ObjectiveSettings("glocal", lmbda=1e-3)
    for budget in (1, 5, 60, 1000):
        calls.clear()
        solution = Exact(max_evaluations=budget).solve(data, arm)
        assert solution.report.evaluations == len(calls) <= budget
    assert solution.report.parts["global"] < 0.5  # a start from the best scale ends at chance


FIT = """
import warnings, sys; warnings.simplefilter("ignore")
import glocal, numpy as np
rows, rng = np.random.default_rng(0).normal(size=(30, 5)), np.random.default_rng(1)
answers = glocal.Answers(np.array([rng.permutation(30)[:3] for _ in range(90)]))
settings = glocal.ObjectiveSettings("global", lmbda=9.0)
glocal.fit(glocal.FitData(glocal.Features(rows), answers), settings)
print(*{"torch", "numba", "pandas", "sklearn"} & {*sys.modules})
"""


def test_a_small_fit_loads_nothing_it_does_not_need():
    """A small fit loads neither torch nor a compiler."""
    assert subprocess.check_output([sys.executable, "-c", FIT], text=True) == "\n"


def test_a_method_without_an_objective_fails(world):
    """A name that only passed as a method is refused by the fit, and never fitted as `global`."""
    settings = ObjectiveSettings.model_construct(method="mine", lmbda=0.1, mix=1.0)
    with pytest.raises(ParameterError, match="mine"):
        Exact().solve(FitData(world.objects, world.answers), settings)
