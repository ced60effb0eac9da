"""Fitting an arm: what it improves, what it keeps, what it refuses and what it says of itself."""

import dataclasses
import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from glocal import aligner
from glocal.aligner import Arm, Exact, FitData, fit_arm
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.splits import local_blocks, split_triplets
from glocal.errors import (
    CollapseWarning,
    DataError,
    DataWarning,
    NotConvergedWarning,
    OverfitWarning,
    ParameterError,
    TrivialOptimumError,
)
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.files import array_sha256
from glocal.objective import ChoiceLoss, LocalLoss, Objective, Penalty
from glocal.transform import LinearTransform

ARMS = {"naive": {"lmbda": 0.05}, "global": {"lmbda": 0.1}, "glocal": {"lmbda": 0.1, "alpha": 0.3}}


@pytest.fixture(scope="module")
def split(world):
    """Answers on the training objects and on the held-out objects of fold 0."""
    train, heldout = split_triplets(world.triplets, len(world.objects), folds=3)
    return world.triplets.select(train), world.triplets.select(heldout)


@pytest.fixture(scope="module")
def fits(world, split):
    """The three arms, fitted on the training objects."""
    return {
        method: fit_arm(
            world.objects,
            split[0],
            local_features=world.local if method == "glocal" else None,
            method=method,
            **options,
        )
        for method, options in ARMS.items()
    }


def heldout_score(transform, world, split):
    return odd_one_out(transform.apply(world.objects.matrix), split[1], interval=False)


def kept(transform, world):
    """Neighbours kept among the local images."""
    X = world.objects.standardization(world.local.matrix, "float64")
    return neighbours_kept(X, transform.apply(world.local.matrix).astype(np.float64))


def objective_by_hand(world, triplets, transform, method, options):
    """The objective of the paper at a fitted transform, in float64, on the original columns."""
    scalars = world.objects.standardization
    X = torch.from_numpy(scalars(world.objects.matrix, "float64"))
    W = torch.from_numpy(transform.weights.astype(np.float64))
    alpha = options.get("alpha", 0.0)
    kind = "squared-norm" if method == "naive" else "scaled-identity"
    terms = [(1 - alpha, ChoiceLoss(X, triplets.answers, triplets.weights)), (options["lmbda"], Penalty(kind))]
    if alpha:
        local = scalars(world.local.matrix, "float64")
        blocks = [torch.from_numpy(local[rows]) for rows in local_blocks(len(local))]
        terms.append((alpha, LocalLoss(blocks, 0.25)))
    return Objective(tuple(terms))(W)


# what a fit is for


@pytest.mark.parametrize("method", ARMS)
def test_every_arm_agrees_better_on_objects_it_has_not_seen(world, split, fits, method):
    """Held-out odd-one-out accuracy rises clearly above that of the original features, for every arm."""
    original = odd_one_out(world.objects.standardization(world.objects.matrix), split[1], interval=False)
    assert heldout_score(fits[method].transform, world, split).accuracy > original.accuracy + 0.15


def test_glocal_keeps_more_neighbours_than_global(world, fits):
    """At the same λ the local term keeps more of each image's neighbours, and naive keeps fewest."""
    neighbours = {method: kept(fit.transform, world) for method, fit in fits.items()}
    assert neighbours["glocal"] > neighbours["global"] + 0.03
    assert neighbours["global"] > neighbours["naive"]


def test_more_alpha_keeps_more_neighbours(world, split, fits):
    """A larger share of the local term keeps more neighbours and pays for it in the global loss."""
    more = fit_arm(world.objects, split[0], local_features=world.local, alpha=0.8, lmbda=0.1)
    assert kept(more.transform, world) > kept(fits["glocal"].transform, world)
    assert more.record.parts["global"] > fits["glocal"].record.parts["global"]


def test_people_simulated_by_a_known_map_are_understood(world, fits):
    """The fitted map raises the directions by which the simulated people answer: similarities follow their mind."""
    Z = fits["global"].transform.apply(world.objects.matrix).astype(np.float64)
    X = world.objects.standardization(world.objects.matrix, "float64")
    upper = np.triu_indices(len(Z), 1)
    wanted = (world.mind @ world.mind.T)[upper]
    before, after = (np.corrcoef((E @ E.T)[upper], wanted)[0, 1] for E in (X, Z))
    assert after > before + 0.2


# what it says of itself


@pytest.mark.parametrize("method", ARMS)
def test_the_objective_on_record_is_that_of_the_saved_weights(world, split, fits, method):
    """Objective and parts, computed in principal axes, are those of W on the original columns; the gradient is 0."""
    record, options = fits[method].record, ARMS[method]
    at = objective_by_hand(world, split[0], fits[method].transform, method, options)
    assert record.objective == pytest.approx(at.value, rel=1e-5)
    for name, part in at.parts.items():
        assert record.parts[name] == pytest.approx(part, rel=1e-3)
    weights = {"global": 1 - options.get("alpha", 0.0), "local": options.get("alpha", 0.0), "penalty": options["lmbda"]}
    assert record.objective == pytest.approx(sum(weights[k] * v for k, v in record.parts.items()), rel=1e-5)


@pytest.mark.parametrize("method", ARMS)
def test_a_fit_is_an_optimum(world, split, fits, method):
    """No small symmetric change of the fitted W lowers the objective beyond the tolerance."""
    transform, options = fits[method].transform, ARMS[method]
    best = objective_by_hand(world, split[0], transform, method, options).value
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 1e-1):
        E = rng.normal(size=transform.weights.shape)
        moved = dataclasses.replace(transform, weights=(transform.weights + size * (E + E.T) / 16).astype(np.float32))
        assert objective_by_hand(world, split[0], moved, method, options).value > best * (1 - 1e-5)


def test_the_record_says_how_the_fit_came_about(world, split, fits):
    """Settings, counts, convergence, certificate, hashes and seed are on record and in the transform's meta."""
    for method, fit in fits.items():
        record = fit.record
        glocal = method == "glocal"
        assert (record.method, record.status, record.converged) == (method, "converged", True)
        assert (record.alpha, record.tau, record.block_size) == ((0.3, 0.25, 1024) if glocal else (None, None, None))
        assert (record.n_triplets, record.n_local) == (len(split[0]), 300 if glocal else 0)
        assert record.n_objects == len(split[0].named()) == 160
        assert record.tol == 1e-5
        assert 0 <= record.gap <= record.tol * record.objective
        assert set(record.parts) == {"global", "penalty", *(["local"] if glocal else [])}
        assert (record.lambda_max is None) == (method != "naive")
        hashes = {"features": array_sha256(world.objects.matrix), "triplets": array_sha256(split[0].answers)}
        if glocal:
            hashes["local_features"] = array_sha256(world.local.matrix)
        assert record.provenance.data == hashes
        assert record.provenance.seed == 42
        assert fit.transform.meta["fit"]["objective"] == record.objective
        assert json.loads(json.dumps(fit.transform.meta)) == fit.transform.meta
    assert fits["naive"].record.certificate == "global optimum: duality gap"
    assert fits["global"].record.certificate == "global optimum: duality gap"
    assert fits["glocal"].record.certificate == "none: the local term is not convex"


@pytest.mark.parametrize("method", ARMS)
def test_float64_ends_at_the_same_optimum(world, split, fits, method):
    """The float64 optimum is that of float32 within the tolerance of the latter."""
    local = world.local if method == "glocal" else None
    double = fit_arm(world.objects, split[0], local_features=local, method=method, dtype="float64", **ARMS[method])
    single = fits[method].record.objective
    assert double.record.objective <= single * (1 + 1e-6)
    assert single == pytest.approx(double.record.objective, rel=3e-5)
    assert (double.record.dtype, double.record.tol) == ("float64", 1e-7)


def test_a_fit_is_deterministic(world, split, fits):
    """The same data and settings give the same transform."""
    again = fit_arm(world.objects, split[0], local_features=world.local, **ARMS["glocal"])
    np.testing.assert_allclose(again.transform.weights, fits["glocal"].transform.weights, atol=1e-6)


def test_the_method_follows_the_local_features(world, split):
    """Without a method local features mean `glocal` and none mean `global`."""
    assert fit_arm(world.objects, split[0]).record.method == "global"
    assert fit_arm(world.objects, split[0], local_features=world.local).record.method == "glocal"
    assert fit_arm(world.objects, split[0], local_features=world.local, method="global").record.n_local == 0


def test_the_unit_of_the_features_does_not_matter(world, split, fits):
    """Features scaled and shifted as a whole are standardized to the same ones."""
    moved = Features(world.objects.matrix.astype(np.float64) * 37 - 5)
    fit = fit_arm(moved, split[0], method="global", lmbda=0.1)
    assert fit.record.objective == pytest.approx(fits["global"].record.objective, rel=1e-5)
    np.testing.assert_allclose(
        fit.transform.apply(moved.matrix), fits["global"].transform.apply(world.objects.matrix), atol=0.05
    )


def test_objects_without_answers_do_not_enter_the_loss(world, split, fits):
    """Rows that no answer names count for the two scalars alone: relabelling the rest changes nothing."""
    order = np.random.default_rng(0).permutation(len(world.objects))
    shuffled = Features(world.objects.matrix[np.argsort(order)])
    triplets, _ = split[0].relabel(order)
    fit = fit_arm(shuffled, triplets, method="global", lmbda=0.1)
    assert fit.record.objective == pytest.approx(fits["global"].record.objective, rel=1e-5)
    assert fit.record.n_objects == 160


def test_blocks_change_the_local_term(world, split):
    """Each block size is an objective of its own: its local part at W is L_local over blocks of that size."""
    whole, small = (
        fit_arm(world.objects, split[0], local_features=world.local, alpha=0.5, block_size=size, dtype="float64")
        for size in (300, 64)
    )
    assert (whole.record.block_size, small.record.block_size) == (300, 64)
    images = torch.as_tensor(world.objects.standardization(world.local.matrix, "float64"))
    for fit, size in ((whole, 300), (small, 64)):
        blocks = [images[block] for block in local_blocks(len(images), size, 42)]
        by_hand = LocalLoss(blocks, 0.25)(torch.as_tensor(fit.transform.weights, dtype=torch.float64))[0]
        assert fit.record.parts["local"] == pytest.approx(float(by_hand), rel=1e-6)
    assert whole.record.objective > small.record.objective + 0.1  # a block of m images has about log(m - 1) nats


def test_alpha_0_is_global(world, split, fits):
    """`glocal` with α = 0 is `global`, its certificate included."""
    fit = fit_arm(world.objects, split[0], local_features=world.local, alpha=0.0, lmbda=0.1)
    assert fit.record.objective == pytest.approx(fits["global"].record.objective, rel=1e-6)
    assert fit.record.certificate.startswith("global optimum")


def test_a_bias_lowers_the_objective(world, split, fits):
    """With a bias the objective is lower, the bias is in the transform, and there is a gap but no certificate."""
    fit = fit_arm(world.objects, split[0], method="global", lmbda=0.1, bias=True)
    assert fit.record.objective < fits["global"].record.objective
    assert fit.transform.bias.shape == (32,)
    assert fit.record.gap <= 1e-5 * fit.record.objective
    assert fit.record.certificate.startswith("none: with a bias")
    assert fits["global"].transform.bias is None


def test_the_unsquared_norm_is_the_authors_penalty(world, split):
    """`naive` with squared=False penalises ‖W‖ and claims no certificate."""
    fit = fit_arm(world.objects, split[0], method="naive", lmbda=0.05, squared=False)
    assert fit.record.parts["penalty"] == pytest.approx(np.linalg.norm(fit.transform.weights), rel=1e-4)
    assert fit.record.certificate == "none: the unsquared norm is not convex in W Wᵀ"


def test_progress_is_reported(world, split):
    """`on_step` is called after every step with the evaluations so far."""
    seen = []
    fit = fit_arm(world.objects, split[0], method="global", on_step=lambda evaluations, at: seen.append(evaluations))
    assert seen == sorted(seen)
    assert seen[-1] == fit.record.evaluations


# weights and starts


@pytest.mark.parametrize("method", ["naive", "global"])
def test_integer_weights_equal_copies(world, split, method):
    """A fit with integer weights is the fit with that many copies of each answer."""
    answers = split[0].answers[:1500]
    weights = np.random.default_rng(0).integers(0, 3, len(answers))
    options = {"method": method, "dtype": "float64", "lmbda": 0.05}
    weighted = fit_arm(world.objects, Answers.from_array(answers, weights=weights), **options)
    copied = fit_arm(world.objects, Answers.from_array(np.repeat(answers, weights, axis=0)), **options)
    assert weighted.record.objective == pytest.approx(copied.record.objective, rel=1e-6)
    M, N = (fit.transform.weights @ fit.transform.weights.T for fit in (weighted, copied))
    np.testing.assert_allclose(M, N, atol=2e-2 * np.abs(N).max())
    assert "weights" in weighted.record.provenance.data
    assert "weights" not in copied.record.provenance.data


@pytest.mark.parametrize("method", ARMS)
def test_a_fit_starts_from_a_transform(world, split, fits, method):
    """Started from its own result a fit ends at once, at the same objective."""
    local = world.local if method == "glocal" else None
    fit = fit_arm(
        world.objects, split[0], local_features=local, method=method, start=fits[method].transform, tol=1e-4,
        **ARMS[method],
    )  # fmt: skip
    assert fit.record.evaluations <= 3
    assert fit.record.objective == pytest.approx(fits[method].record.objective, rel=1e-4)


def test_a_start_may_be_asymmetric_and_have_a_bias(world, split, fits):
    """Any transform is a start: W is rotated to a symmetric one and a bias is dropped where none is learned."""
    rng = np.random.default_rng(0)
    start = LinearTransform(
        rng.normal(size=(32, 32)).astype(np.float32) / 16, rng.normal(size=32).astype(np.float32), 0.0, 1.0
    )
    for bias in (False, True):
        fit = fit_arm(world.objects, split[0], method="global", lmbda=0.1, start=start, bias=bias, max_evaluations=3000)
        assert (fit.transform.bias is None) == (not bias)
        if not bias:
            assert fit.record.objective == pytest.approx(fits["global"].record.objective, rel=3e-5)
        np.testing.assert_allclose(fit.transform.weights, fit.transform.weights.T, atol=1e-6)


# holdout


def test_holdout_scores_objects_that_a_fit_has_not_seen(world, split, fits):
    """`holdout` fits without fold 0 and reports both sides; the transform itself is fitted on all answers."""
    fit = fit_arm(world.objects, world.triplets, method="global", lmbda=0.1, holdout=3)
    scores = fit.record.holdout
    seen, unseen = (heldout_score(fits["global"].transform, world, (None, part)) for part in split)
    assert (scores["folds"], scores["seed"], scores["converged"]) == (3, 42, True)
    assert (scores["fitted"]["n"], scores["heldout"]["n"]) == (len(split[0]), len(split[1]))
    for name, wanted in (("fitted", seen), ("heldout", unseen)):
        assert scores[name]["accuracy_cosine"] == pytest.approx(wanted.accuracy, abs=3e-3)
        assert scores[name]["loss"] == pytest.approx(wanted.loss, abs=3e-3)
        assert scores[name]["accuracy_cosine"] > scores[name]["original_accuracy_cosine"]
        assert scores[name]["low"] < scores[name]["accuracy_cosine"] < scores[name]["high"]
    assert fit.record.n_triplets == len(world.triplets)
    assert fits["global"].record.holdout is None


def test_overfitting_is_warned_of(world):
    """Few answers and hardly a penalty predict held-out answers worse than scaled features do, and that is said."""
    few = world.triplets.select(np.arange(len(world.triplets)) < 1500)
    with pytest.warns(OverfitWarning, match=r"held-out loss .* is above .*Raise lmbda"):
        fit = fit_arm(world.objects, few, method="global", lmbda=1e-4, holdout=3, tol=1e-2)
    assert fit.record.holdout["heldout"]["loss"] > fit.record.holdout["heldout"]["original_loss"]
    assert fit.record.holdout["fitted"]["loss"] < fit.record.holdout["fitted"]["original_loss"]


def test_a_holdout_without_answers_is_refused(world):
    """Where no answer lies inside the fold, nothing can be held out."""
    with pytest.raises(DataError, match="inside fold 0 of 60"):
        fit_arm(world.objects, world.triplets.select(np.arange(len(world.triplets)) < 500), holdout=60)


# what is refused and warned of


def test_an_unfinished_fit_always_says_so(world, split):
    """A spent budget warns, and record and transform file say that the fit is not converged."""
    with pytest.warns(NotConvergedWarning, match=r"not converged \(budget\).*raise max_evaluations"):
        fit = fit_arm(world.objects, split[0], method="global", max_evaluations=2)
    assert (fit.record.converged, fit.record.status, fit.record.evaluations) == (False, "budget", 2)
    assert fit.transform.meta["fit"]["converged"] is False
    assert fit.record.certificate == "none: not converged"


@pytest.mark.parametrize("method", ARMS)
def test_every_arm_keeps_to_its_budget(world, split, method):
    """No arm spends more evaluations than it was given, and none claims convergence then."""
    local = world.local if method == "glocal" else None
    with pytest.warns(NotConvergedWarning):
        fit = fit_arm(
            world.objects, split[0], local_features=local, method=method, max_evaluations=4, tol=1e-9, **ARMS[method]
        )
    assert fit.record.evaluations <= 4
    assert not fit.record.converged


@pytest.mark.parametrize("factor", [1.0, 1.01, 100.0])
def test_naive_refuses_a_lambda_whose_optimum_is_0(world, split, fits, factor):
    """From λ_max on the optimum of naive is W = 0; the error says λ_max instead of returning a collapsed map."""
    largest = fits["naive"].record.lambda_max
    with pytest.raises(TrivialOptimumError, match=r"at or above lambda_max = .*Choose lmbda below"):
        fit_arm(world.objects, split[0], method="naive", lmbda=factor * largest)


def test_naive_just_below_lambda_max_is_not_0(world, split, fits):
    """Below λ_max the optimum is better than chance."""
    fit = fit_arm(world.objects, split[0], method="naive", lmbda=0.9 * fits["naive"].record.lambda_max)
    assert fit.record.converged
    assert fit.record.parts["global"] < math.log(3) - 1e-3
    assert fit.record.objective < math.log(3)


def test_a_collapse_is_warned_of(world):
    """Answers that contradict each other evenly leave the loss of chance, and that is said."""
    rng = np.random.default_rng(0)
    triples = np.array([rng.permutation(240)[:3] for _ in range(300)])
    evenly = np.concatenate([triples, triples[:, [0, 2, 1]], triples[:, [1, 2, 0]]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        with pytest.warns(CollapseWarning, match="that of chance"):
            fit_arm(world.objects, Answers.from_array(evenly), method="global", lmbda=10.0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "local"}, "method is 'local'; allowed are naive, global, glocal"),
        ({"method": "glocal"}, "method glocal needs local features"),
        ({"alpha": -0.1}, "alpha is -0.1"),
        ({"alpha": 1.1}, "alpha is 1.1"),
        ({"alpha": math.nan}, "alpha is nan"),
        ({"lmbda": -1.0}, "lmbda is -1.0"),
        ({"lmbda": math.inf}, "lmbda is inf"),
        ({"lmbda": math.nan}, "lmbda is nan"),
        ({"tau": 0.0}, "tau is 0.0"),
        ({"mix": 0.0}, "mix is 0.0; allowed is above 0, at most 1 .0 is method naive."),
        ({"mix": -0.1}, "mix is -0.1; allowed is above 0, at most 1"),
        ({"mix": 1.1}, "mix is 1.1; allowed"),
        ({"mix": math.nan}, "mix is nan; allowed"),
        ({"mix": 0.5, "method": "naive"}, "mix is 0.5 with method naive, whose penalty has no scaled identity"),
        ({"tau": math.inf}, "tau is inf"),
        ({"dtype": "float16"}, "dtype is 'float16'; allowed are float32 and float64"),
        ({"tol": 0.0}, "tol is 0.0"),
        ({"tol": math.inf}, "tol is inf"),
        ({"max_evaluations": 0}, "max_evaluations is 0"),
        ({"device": "abacus"}, "device 'abacus' cannot be used here"),
        ({"holdout": 1}, "folds is 1"),
        ({"holdout": 81}, "folds is 81 but 240 objects allow 2 to 80"),
        ({"seed": -1, "holdout": 3}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(world, options, sentence):
    """Every setting outside its range is refused with what is allowed."""
    with pytest.raises(ParameterError, match=sentence):
        fit_arm(world.objects, world.triplets, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"alpha": 1.0}, "alpha is 1: without the global term every scaled identity is optimal"),
        ({"block_size": 2}, "block_size is 2"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_local_settings_out_of_range_are_refused(world, options, sentence):
    """Settings of the local term are refused where it is used."""
    with pytest.raises(ParameterError, match=sentence):
        fit_arm(world.objects, world.triplets, local_features=world.local, **options)


def test_an_arm_is_checked_alone():
    """What is minimised can be checked before any data are read."""
    assert Arm("glocal").alpha == 0.1
    with pytest.raises(ParameterError):
        Arm("glocal", alpha=1.0)
    assert Arm("global", alpha=1.0).share == 0


def test_fit_takes_data_arm_and_solver(world, split):
    """`fit_arm` is `fit` with the options of the three as keywords: the same weights and record."""
    data = FitData(world.objects, split[0], world.local, block_size=150)
    found = aligner.fit(data, Arm("glocal", alpha=0.3, lmbda=0.2), Exact(tol=1e-4))
    again = fit_arm(world.objects, split[0], local_features=world.local, block_size=150, alpha=0.3, lmbda=0.2, tol=1e-4)
    np.testing.assert_array_equal(found.transform.weights, again.transform.weights)
    assert replace(found.record, seconds=0.0) == replace(again.record, seconds=0.0)
    with pytest.raises(ParameterError, match="alhpa is not an option of a fit"):
        fit_arm(world.objects, split[0], alhpa=0.3)


def test_data_that_do_not_belong_together_are_refused(world):
    """Features, answers, local features and start must fit each other and be finite."""
    X, answers = world.objects.matrix, world.triplets
    bad = X.copy()
    bad[3, 2] = np.nan
    cases = [
        ((Features(X[:2]), Answers.from_array([[0, 1, 2]])), {}, "has 2 objects; odd-one-out answers need at least 3"),
        ((Features(X[:100]), answers), {}, "has 100 rows"),
        ((world.objects, Answers.from_array(np.empty((0, 3), dtype=int))), {}, "there is no triplet to fit"),
        ((Features(bad), answers), {}, "holds nan at row 3, column 2"),
        ((Features(np.ones((240, 4))), answers), {}, "is constant"),
        (
            (world.objects, answers),
            {"local_features": Features(X[:, :8])},
            "local features have 8 columns but .* have 32",
        ),
        ((world.objects, answers), {"local_features": Features(bad)}, "holds nan at row 3, column 2"),
        ((world.objects, answers), {"local_features": Features(X[:1])}, "there is 1 local image"),
        (
            (world.objects, answers),
            {"start": LinearTransform(np.eye(3, dtype=np.float32), None, 0.0, 1.0)},
            "start transform maps 3 dimensions to 3 but the features have 32",
        ),
    ]
    for data, options, sentence in cases:
        with pytest.raises((DataError, ParameterError), match=sentence):
            fit_arm(*data, **options)


def test_constant_columns_are_warned_of_and_fitted(world, split):
    """Columns that tell nothing apart are said, and the fit works."""
    X = world.objects.matrix.copy()
    X[:, 5] = 1.0
    with pytest.warns(DataWarning, match="1 constant columns of 32"):
        fit = fit_arm(Features(X), split[0], method="global")
    assert fit.record.converged


@pytest.mark.filterwarnings("ignore:triplets. the features agree:glocal.errors.DataWarning")
def test_more_dimensions_than_objects_are_fitted(world):
    """With p > n the fit converges and leaves directions that no object spans at the scaled identity."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 50)).astype(np.float32)
    answers = np.array([rng.permutation(30)[:3] for _ in range(2000)])
    fit = fit_arm(Features(X), Answers.from_array(answers), method="global", lmbda=0.1)
    assert fit.record.converged
    scalars = Features(X).standardization
    _, _, Vt = np.linalg.svd(scalars(X, "float64"), full_matrices=True)
    off = Vt[30:]
    inside = off @ fit.transform.weights.astype(np.float64) @ off.T
    c = np.trace(fit.transform.weights.astype(np.float64)) / 50
    np.testing.assert_allclose(inside, c * np.eye(20), atol=0.02 * abs(c))
