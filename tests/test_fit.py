"""Fitting an arm: what a fit improves, keeps, refuses and puts on record."""

import dataclasses
import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from fits import fit_arm

from glocal import aligner
from glocal.aligner import Arm, Exact, FitData, fitting
from glocal.aligner.heldout import heldout_scores, scaled_identity
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.rows import row_statistics
from glocal.data.splits import local_blocks, split_answers
from glocal.errors import (
    CollapseWarning,
    DataError,
    DataWarning,
    NotConvergedWarning,
    OverfitWarning,
    ParameterError,
)
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.files import array_sha256
from glocal.objective import ChoiceLoss, LocalLoss, Objective
from glocal.similarity import candidate_pairs
from glocal.solver import DualityGap

ARMS = {"naive": {"lmbda": 0.05}, "global": {"lmbda": 0.1}, "glocal": {"lmbda": 0.1, "alpha": 0.3}}


@pytest.fixture(scope="module")
def split(world):
    """Answers on the training objects and on the held-out objects of fold 0."""
    train, heldout = split_answers(world.answers, len(world.objects), folds=3)
    return world.answers.select(train), world.answers.select(heldout)


@pytest.fixture(scope="module")
def fits(world, split):
    """The three arms, fitted on the training objects."""
    local = {"glocal": world.local}
    return {
        method: fit_arm(
            world.objects, split[0], local_features=local.get(method), method=method, **options
        )
        for method, options in ARMS.items()
    }


def kept(transform, world):
    """Neighbours kept among the local images."""
    X = world.objects.standardization(world.local.matrix, "float64")
    return neighbours_kept(X, transform.apply(world.local.matrix).astype(np.float64))


def objective_by_hand(world, answers, transform, method, options):
    """The objective of the paper at a fitted transform, in float64, on all columns."""
    scalars = world.objects.standardization
    alpha = options.get("alpha", 0.0)
    loss = ChoiceLoss(
        scalars(world.objects.matrix, "float64"), answers.objects, candidate_pairs("odd-one-out")
    )
    images = scalars(world.local.matrix, "float64")
    local = LocalLoss([images[rows] for rows in local_blocks(len(images))], 0.25) if alpha else None
    mix = 0.0 if method == "naive" else 1.0
    objective = Objective(loss, local, alpha, options["lmbda"], mix)
    return objective(transform.weights.astype(np.float64))


# what a fit is for


@pytest.mark.parametrize("method", ARMS)
def test_every_arm_agrees_better_on_objects_it_has_not_seen(world, split, fits, method):
    """Held-out odd-one-out accuracy rises clearly above that of the original features, for every
    arm.
    """
    X = world.objects.matrix
    original, aligned = (
        odd_one_out(Z, split[1])
        for Z in (world.objects.standardization(X), fits[method].transform(X))
    )
    assert aligned.accuracy > original.accuracy + 0.15


def test_glocal_keeps_more_neighbours_than_global(world, split, fits):
    """At equal λ, the local term keeps more neighbours of each image, and more with a larger α;
    `naive` keeps fewest.
    """
    local = fit_arm(world.objects, split[0], local_features=world.local, alpha=0.8, lmbda=0.1)
    neighbours = {method: kept(fit.transform, world) for method, fit in fits.items()}
    assert neighbours["glocal"] > neighbours["global"] + 0.03
    assert kept(local.transform, world) > neighbours["glocal"]
    assert neighbours["global"] > neighbours["naive"]
    assert local.record.parts["global"] > fits["glocal"].record.parts["global"]


# the record


@pytest.mark.parametrize("method", ARMS)
def test_the_objective_on_record_is_the_lowest_and_that_of_the_saved_weights(
    world, split, fits, method
):
    """The objective and its parts, computed in principal axes, equal those of W on all columns, and
    no small change of W lowers the objective.
    """
    record = fits[method].record
    transform = fits[method].transform
    options = ARMS[method]
    evaluation = objective_by_hand(world, split[0], transform, method, options)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 1e-1):
        E = rng.normal(size=transform.weights.shape)
        moved = dataclasses.replace(
            transform, weights=(transform.weights + size * (E + E.T) / 16).astype(np.float32)
        )
        nearby = objective_by_hand(world, split[0], moved, method, options)
        assert nearby.value > evaluation.value * (1 - 1e-5)
    assert record.objective == pytest.approx(evaluation.value, rel=1e-5)
    for name, part in evaluation.parts.items():
        assert record.parts[name] == pytest.approx(part, rel=1e-3)
    weights = {
        "global": 1 - options.get("alpha", 0.0),
        "local": options.get("alpha", 0.0),
        "penalty": options["lmbda"],
    }
    assert record.objective == pytest.approx(
        sum(weights[k] * v for k, v in record.parts.items()), rel=1e-5
    )


def test_the_record_says_how_the_fit_came_about(world, split, fits):
    """The record, which the transform carries in its meta, has the settings, counts, convergence,
    certificate, hashes and seed.
    """
    for method, fit in fits.items():
        record = fit.record
        glocal = method == "glocal"
        assert (record.method, record.status, record.converged) == (method, "converged", True)
        assert (record.alpha, record.tau, record.block_size) == (
            (0.3, 0.25, 1024) if glocal else (None, None, None)
        )
        assert (record.n_answers, record.n_local) == (len(split[0]), 300 if glocal else 0)
        assert record.n_objects == len(split[0].named_objects()) == 160
        assert record.tol == 1e-5
        assert (record.rank is None) == (method != "naive")
        assert 0 <= record.gap <= record.tol * record.objective
        assert set(record.parts) == {"global", "penalty", *(["local"] if glocal else [])}
        assert (record.lambda_max is None) == (method != "naive")
        hashes = {
            "features": array_sha256(world.objects.matrix),
            "answers": array_sha256(split[0].objects),
        }
        if glocal:
            hashes["local_features"] = array_sha256(world.local.matrix)
        assert record.provenance.data == hashes
        assert (record.provenance.seed, record.provenance.threads) == (42, 1)
        assert fit.transform.meta["fit"]["objective"] == record.objective
        assert fit.transform.meta["rows"] == row_statistics(world.objects)
        assert json.loads(json.dumps(fit.transform.meta)) == fit.transform.meta
    assert fits["naive"].record.certificate == "global optimum: duality gap"
    assert fits["global"].record.certificate == "global optimum: duality gap"
    assert fits["glocal"].record.certificate == "none: the local term is not convex"


def test_objects_without_answers_do_not_enter_the_loss(world, split, fits):
    """Rows that no answer names count only for the two scalars, and relabelling the objects changes
    nothing.
    """
    order = np.random.default_rng(0).permutation(len(world.objects))
    shuffled = Features(world.objects.matrix[np.argsort(order)])
    triplets = split[0].relabel(order)
    fit = fit_arm(shuffled, triplets, method="global", lmbda=0.1)
    assert fit.record.objective == pytest.approx(fits["global"].record.objective, rel=1e-5)
    assert fit.record.n_objects == 160


def test_blocks_change_the_local_term(world, split, fits, as_a_user):
    """Each block size has its own objective, whose local part at W is L_local over blocks of that
    size.
    """
    images = world.objects.standardization(world.local.matrix, "float64")
    blocks = [images[block] for block in local_blocks(len(images), 64, 42)]
    small = fit_arm(
        world.objects,
        split[0],
        local_features=world.local,
        block_size=64,
        dtype="float64",
        **ARMS["glocal"],
    )
    by_hand = LocalLoss(blocks, 0.25)(small.transform.weights.astype(np.float64))[0]
    assert small.record.parts["local"] == pytest.approx(by_hand, rel=1e-6)
    assert small.record.block_size == 64
    # L_local of blocks of m images is about log(m - 1) nats
    assert fits["glocal"].record.objective > small.record.objective + 0.1


def test_alpha_0_is_global(world, split, fits, as_a_user):
    """`glocal` with α = 0 gives the objective of `global`, and its certificate."""
    fit = fit_arm(world.objects, split[0], local_features=world.local, alpha=0.0, lmbda=0.1)
    assert fit.record.objective == pytest.approx(fits["global"].record.objective, rel=1e-6)
    assert fit.record.certificate.startswith("global optimum")


# weights and starts


def test_integer_weights_equal_copies(world, split, as_a_user):
    """A fit with integer weights equals the fit to that many copies of each answer, and records a
    hash of the weights.
    """
    answers = split[0].objects[:1500]
    weights = np.random.default_rng(0).integers(0, 3, len(answers))
    weighted, copied = (
        fit_arm(world.objects, part, dtype="float64", lmbda=0.05).record
        for part in (
            Answers(answers, weights.astype(float)),
            Answers(np.repeat(answers, weights, axis=0)),
        )
    )
    assert weighted.objective == pytest.approx(copied.objective, rel=1e-6)
    assert weighted.provenance.data.keys() - copied.provenance.data.keys() == {"weights"}


def test_a_weight_of_0_is_no_copy_and_votes_count_toward_the_unit_of_the_folds(world):
    """Folds are those of the copies: rows of weight 0 name no object and ask no question, and 2,500
    answers with two votes each are 5,000.
    """
    objects = world.answers.objects[:2600]
    weights = np.where(np.arange(2600) < 2500, 2.0, 0.0)
    weighted = FitData(world.objects, Answers(objects, votes=weights))
    copied = FitData(world.objects, Answers(np.repeat(objects[:2500], 2, axis=0)))
    assert weighted.fold_unit == copied.fold_unit == "objects"
    for unit in ("objects", "questions"):
        for first, second in zip(weighted.folds(3, unit), copied.folds(3, unit), strict=True):
            np.testing.assert_array_equal(first.rows, second.rows)
            copies = np.repeat(first.answers.objects, 2, axis=0)
            np.testing.assert_array_equal(copies, second.answers.objects)


def test_a_warm_path_ends_where_cold_fits_do(world, split, as_a_user):
    """A fit that starts at the solution for another α, τ or λ, with its curvature, ends where a
    cold fit does; after a change of α or τ it takes fewer evaluations.
    """
    data = FitData(world.objects, split[0], world.local)
    solver = Exact()
    problem = solver.problem(data)
    first = solver.minimise(problem, Arm("glocal", alpha=0.3))
    for arm in (
        Arm("glocal", alpha=0.25),
        Arm("glocal", alpha=0.3, tau=0.2),
        Arm("glocal", alpha=0.3, lmbda=0.3),
    ):
        warm = solver.minimise(problem, arm, first.warm)
        cold = solver.solve(data, arm)
        assert warm.converged
        assert warm.objective == pytest.approx(cold.objective, rel=2e-5)
        assert warm.evaluations < cold.evaluations or arm.lmbda != 0.1
        again = solver.minimise(problem, arm)  # `first` and `problem` are unchanged
        np.testing.assert_array_equal(cold.warm.W, again.warm.W)


# hold-out


def test_folds_score_objects_and_images_that_the_fits_have_not_seen(world):
    """`cross_score` scores the fit without each fold on the answers and the images of that fold."""
    data = FitData(world.objects, world.answers, world.local)
    arm = Arm("glocal", alpha=0.3)
    scores = aligner.cross_score(data, arm)
    assert (scores.of, scores.folds, scores.seed, scores.converged) == ("objects", 3, 42, True)
    folds = data.folds(3)
    fold_scores = []
    kept = []
    for fold in folds:
        assert not set(fold.rows) & set(np.concatenate(fold.data.blocks))
        transform = Exact().solve(fold.data, arm).transform
        score = odd_one_out(transform(world.objects.matrix), fold.answers, interval=False)
        fold_scores.append([score.accuracy, score.loss])
        images = world.local.matrix[np.sort(fold.rows)].astype(np.float64)
        X = world.objects.standardization(images, "float64")
        kept.append(neighbours_kept(X, transform(images)))
    sizes = [len(fold.answers) for fold in folds]
    agreement, loss = np.average(fold_scores, axis=0, weights=sizes)
    assert scores.n == sum(sizes)
    assert scores.agreement == pytest.approx(agreement, abs=3e-3)
    assert scores.loss == pytest.approx(loss, abs=3e-3)
    assert scores.low < scores.agreement < scores.high
    assert scores.gain == pytest.approx(scores.agreement - scores.original)
    assert scores.gain > 0
    assert (scores.k, scores.n_images, scores.among) == (10, 100, "local images")
    assert scores.kept == scores.kept_raw == pytest.approx(np.mean(kept), abs=1e-3)
    assert scores.kept_low < scores.kept < scores.kept_high


def test_held_out_scores_are_weighted(world):
    """Held-out scores of weighted answers are those of the copies, whose folds differ in weight."""
    objects = world.answers.objects[:900]
    weights = np.random.default_rng(0).integers(1, 9, len(objects))
    parts = Answers(objects, weights.astype(float)), Answers(np.repeat(objects, weights, axis=0))
    weighted, copied = (
        heldout_scores(data, folds, [scaled_identity(fold.data) for fold in folds])
        for data in (FitData(world.objects, part) for part in parts)
        for folds in [data.folds(2, "objects")]
    )
    for name in ("agreement", "loss", "original", "original_loss"):
        assert getattr(weighted, name) == pytest.approx(getattr(copied, name), rel=1e-3)


def test_an_arm_with_few_answers_is_measured_by_default(world):
    """`fit_and_score` measures an arm with 30 to 4,999 answers on three folds of questions, and
    records the scores in the transform too; `fit` measures nothing.
    """
    few = FitData(world.objects, world.answers.select(np.arange(900)))
    arm = Arm("global", lmbda=10.0)
    fitted = fitting.fit_and_score(few, arm, None)
    scores = aligner.cross_score(few, arm, transform=fitted.transform)
    assert fitted.record.heldout == scores
    assert (scores.of, scores.folds) == ("questions", 3)
    assert scores.axes_chance > 0
    assert fitted.transform.meta["fit"]["heldout"] == scores.model_dump()
    assert aligner.fit(few, arm).record.heldout is None
    fewer = FitData(world.objects, world.answers.select(np.arange(20)))
    for data in (fewer, FitData(world.objects, world.answers)):
        assert fitting.fit_and_score(data, arm, None).record.heldout is None


def test_folds_of_unequal_size_have_one_number_of_neighbours(world):
    """With 11, 11 and 10 held-out images the nine nearest are compared in each fold, and the record
    says so.
    """
    data = FitData(
        world.objects,
        world.answers.select(np.arange(1000)),
        Features(world.local.matrix[:32], None, "local images"),
    )
    scores = aligner.cross_score(data, Arm("global", lmbda=3.0))
    assert (scores.k, scores.n_images) == (9, 11)
    assert scores.kept_raw == scores.kept < 1


def test_a_fold_of_a_fold_holds_out_a_part_of_the_rest(world):
    """Objects and images of the outer fold are in no part of an inner one, 16 blocks of images are
    used at most, and folds of questions hold out the objects that answers name.
    """
    few = FitData(world.objects, world.answers.select(np.arange(30)))
    for fold in few.folds(3):
        assert [*fold.rows] == [*few.answers.named_objects()]
    for local in (None, world.local):
        data = FitData(world.objects, world.answers, local, block_size=3)
        outer = data.folds(3, "objects")[0]
        inner = outer.data.folds(2, "objects")[0]
        parts = [outer.rows, inner.rows]
        n = 240
        if local is not None:
            assert len(data.blocks) == 16
            n = 300
            parts.append(inner.data.images)
        else:
            parts.append(inner.data.objects)
        assert sorted(np.concatenate(parts)) == [*range(n)]


@pytest.mark.nightly
def test_overfitting_is_warned_of(world, as_a_user):
    """A fit to few answers with a small penalty, which predicts worse than scaled features, is
    warned of.
    """
    few = FitData(world.objects, world.answers.select(np.arange(1500)))
    with pytest.warns(OverfitWarning, match="overfitting"):
        scores = aligner.cross_score(few, Arm("global", lmbda=1e-3), Exact(tol=3e-2))
    assert scores.loss > scores.original_loss


def test_one_unconverged_fold_is_recorded(world, monkeypatch):
    """The hold-out did not converge if the fit of one of its folds did not; the interval of a small
    gain reaches below 0.
    """
    solve = Exact.solve
    solutions = []

    def spend(*arguments):
        status = "budget" if len(solutions) == 1 else "converged"
        solutions.append(dataclasses.replace(solve(*arguments), status=status))
        return solutions[-1]

    monkeypatch.setattr(Exact, "solve", spend)
    data = FitData(world.objects, world.answers.select(np.arange(1000)))
    scores = aligner.cross_score(data, Arm("global", lmbda=300.0))
    assert len(solutions) == 3
    assert scores.gain_low < 0 < scores.gain_high
    assert not scores.converged


def test_a_holdout_without_answers_is_refused(world):
    """A hold-out is refused if no answer has all its objects in the fold."""
    apart = Answers(np.arange(240).reshape(80, 3)[np.arange(6000) % 80])
    with pytest.raises(DataError, match="inside fold 0 of 60"):
        fitting.fit_and_score(FitData(world.objects, apart), Arm("global"), None, holdout=60)


@pytest.mark.parametrize("folds", [-1, 1, 81])
def test_folds_that_cannot_be_made_are_refused(world, folds):
    """There are at least two folds, of at least three of the 240 objects each."""
    with pytest.raises(ParameterError, match="folds"):
        aligner.cross_score(FitData(world.objects, world.answers), Arm("global"), None, folds)


# refusals and warnings


@pytest.mark.parametrize("method", ARMS)
def test_every_arm_keeps_to_its_budget(world, split, method):
    """No arm spends more evaluations than its budget, or claims convergence once it is spent."""
    local = world.local if method == "glocal" else None
    options = {"max_evaluations": 4, "tol": 1e-9, **ARMS[method]}
    with pytest.warns(NotConvergedWarning):
        fit = fit_arm(world.objects, split[0], local_features=local, method=method, **options)
    assert fit.record.evaluations <= 4
    assert not fit.record.converged


def test_a_collapse_is_warned_of(world):
    """A fit to answers that contradict each other evenly warns that its loss is that of chance."""
    rng = np.random.default_rng(0)
    triples = np.array([rng.permutation(240)[:3] for _ in range(300)])
    evenly = np.concatenate([triples, triples[:, [0, 2, 1]], triples[:, [1, 2, 0]]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        with pytest.warns(CollapseWarning, match="that of chance"):
            fit_arm(world.objects, Answers.from_array(evenly), method="global", lmbda=10.0)


def test_objects_at_one_point_are_warned_of(world, monkeypatch):
    """A transform that maps all objects to one point has collapsed, whatever its loss."""
    monkeypatch.setattr(fitting, "one_point", lambda Z: True)
    few = world.answers.select(np.arange(100))
    with pytest.warns(CollapseWarning, match="one point"):
        fit_arm(world.objects, few, method="global", lmbda=1.0)


@pytest.mark.parametrize(
    ("options", "noun"),
    [
        *(({"method": value}, "method") for value in ("local", "glocal")),
        *(({"alpha": value}, "alpha") for value in (-0.1, 1.0, 1.1, math.nan)),
        *(({"lmbda": value}, "lmbda") for value in (-1.0, 0.0, math.inf, math.nan)),
        *(({"tau": value}, "tau") for value in (0.0, math.inf)),
        *(({"mix": value}, "mix") for value in (0.0, -0.1, 1.1, math.nan)),
        ({"mix": 0.5, "method": "naive"}, "mix"),
        ({"dtype": "float16"}, "dtype"),
        *(({"tol": value}, "tol") for value in (0.0, math.inf)),
        ({"max_evaluations": 0}, "max_evaluations"),
        ({"seed": -1}, "seed"),
        ({"block_size": 2, "method": "glocal"}, "block_size"),
    ],
)
def test_settings_out_of_range_are_refused(world, options, noun):
    """Every setting outside its range is refused with its name."""
    local = world.local if "block_size" in options else None
    with pytest.raises(ParameterError, match=noun):
        fit_arm(world.objects, world.answers, local_features=local, **options)


def test_arrays_in_place_of_features_and_answers_are_refused(world, as_a_user):
    """The sentence says how to convert them."""
    X = world.objects.matrix
    triplets = world.answers.objects
    for data in ((X, world.answers), (world.objects, triplets)):
        with pytest.raises(ParameterError, match="from_array"):
            FitData(*data)


def test_data_that_do_not_belong_together_are_refused(world):
    """Features, answers and local features that do not fit each other, or are not finite, are
    refused.
    """
    X = world.objects.matrix
    answers = world.answers
    with_nan = X.copy()
    with_nan[3, 2] = np.nan
    valid = (world.objects, answers)
    broken = Features(with_nan)
    cases = [
        ((Features(X[:2]), Answers.from_array([[0, 1, 2]])), None, "has 2 rows"),
        ((Features(X[:100]), answers), None, "has 100 rows"),
        (
            (world.objects, Answers.from_array(np.empty((0, 3), dtype=int))),
            None,
            "no answer to fit",
        ),
        ((broken, answers), None, "holds nan at row 3, column 2"),
        ((Features(np.ones((240, 4))), answers), None, "is constant"),
        (valid, Features(X[:, :8]), "local features have 8 columns but .* have 32"),
        (valid, broken, "holds nan at row 3, column 2"),
        (valid, Features(X[:1]), "local images, but there are 1"),
    ]
    for data, local, sentence in cases:
        with pytest.raises((DataError, ParameterError), match=sentence):
            fit_arm(*data, local_features=local)


def test_local_images_in_another_unit_are_warned_of(world):
    """Images that were not prepared like the objects are compared with them before a fit."""
    local = Features(world.local.matrix * 100, None, "local images")
    with pytest.warns(DataWarning, match="local features"):
        FitData(world.objects, world.answers, local).check(Arm("glocal"))


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::glocal.errors.GLocalWarning")
def test_a_start_from_global_shares_the_budget(monkeypatch, as_a_user):
    """If the best scale is nearly 0, `glocal` starts from `global` within the same budget, and does
    not end at chance; neither fit has a certificate if the result needs none.
    """
    from glocal.objective import objective as module

    criteria = []

    def criterion(objective, *, certified=True):
        criteria.append(certified)
        return DualityGap(objective, certified=certified)

    rng = np.random.default_rng(0)
    mind = rng.normal(size=(60, 3))
    X = np.concatenate([3 * rng.normal(size=(60, 20)), 0.3 * mind], axis=1)
    triples = np.array([rng.permutation(60)[:3] for _ in range(800)])
    near = np.einsum("tap,tbp->tab", mind[triples], mind[triples])
    odd = np.stack([near[:, 1, 2], near[:, 0, 2], near[:, 0, 1]], axis=1).argmax(axis=1)
    answers = triples[np.arange(800)[:, None], (odd[:, None] + np.array([1, 2, 0])) % 3]
    data = FitData(Features(X), Answers(answers), Features(rng.normal(size=(40, 23))))
    calls = []
    evaluate = module.Objective.__call__

    def count(self, W):
        calls.append(1)
        return evaluate(self, W)

    monkeypatch.setattr(module.Objective, "__call__", count)
    for budget in (1, 5, 60, 1000):
        calls.clear()
        solution = Exact(max_evaluations=budget).solve(data, Arm("glocal", lmbda=1e-3))
        assert solution.evaluations == len(calls) <= budget
    assert solution.parts["global"] < 0.5  # a start from the best scale ends at chance
    monkeypatch.setattr("glocal.aligner.exact.DualityGap", criterion)
    Exact().solve(data, Arm("glocal", lmbda=1e-3), certified=False)
    assert criteria == [False, False]


IMPORT = """
import glocal
"""
FIT = """
import glocal, numpy as np
rows, rng = np.random.default_rng(0).normal(size=(30, 5)), np.random.default_rng(1)
answers = glocal.Answers(np.array([rng.permutation(30)[:3] for _ in range(90)]))
glocal.fit(glocal.FitData(glocal.Features(rows), answers), glocal.Arm("global", lmbda=9.0))
"""


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        (IMPORT, ("numpy", "torch", "scipy", "numba")),
        (FIT, ("torch", "numba", "pandas", "sklearn")),
    ],
)
def test_the_core_loads_nothing_it_does_not_need(code, unwanted):
    """Importing glocal loads no library, and a small fit loads neither torch nor a compiler."""
    before = "import warnings, sys; warnings.simplefilter('ignore')"
    after = f"print([name for name in {unwanted!r} if name in sys.modules])"
    command = [sys.executable, "-c", f"{before}{code}{after}"]
    assert subprocess.check_output(command, text=True).strip() == "[]"
