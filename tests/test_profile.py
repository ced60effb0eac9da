"""Profiles: what the paper's procedure does differently is named, applied once, and readable as a difference."""

import dataclasses
import inspect
import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from glocal import Aligner
from glocal.aligner import Validation, fit_arm
from glocal.aligner.profile import MODERN, NEURIPS2023, Profile, profile_of
from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.splits import object_folds
from glocal.errors import DataError, GLocalError, NotConvergedWarning, ParameterError
from glocal.objective import ChoiceLoss, LocalLoss, Penalty
from glocal.solver.minibatch import Engine, Training

pytestmark = [pytest.mark.nightly, pytest.mark.filterwarnings("ignore::glocal.errors.NotConvergedWarning")]
QUICK = {"max_epochs": 3, "min_epochs": 3, "min_epochs_global": 3}
AUTHORS = replace(NEURIPS2023, **QUICK)


@pytest.fixture(scope="module")
def world(world):
    """The small world with 3,000 of its answers, which name all objects: an epoch of the loop has few steps."""
    return replace(world, triplets=world.triplets.select(np.arange(3000)))


def test_every_setting_is_documented():
    """The parameters of the docstring are the settings of a profile."""
    names = re.findall(
        r"^(\w[\w, \n]*?)(?: :|\n {4})", inspect.getdoc(Profile).split("----------\n")[1].split("References")[0], re.M
    )
    documented = [name.strip() for line in names for name in line.split(",")]
    assert sorted(documented) == sorted(field.name for field in dataclasses.fields(Profile))


def test_the_loop_of_the_authors():
    """For each arm the profile expands to the loop of the script that fits it."""
    shared = {
        "eta": 0.01, "optimiser": "sgd", "momentum": 0.9, "batch_size": 256, "clip": 1.0, "warmup_epochs": 100,
        "warmup_from": 1 / 3, "decay": "none", "max_epochs": 100, "min_delta": 1e-4, "kept": "last", "reshuffled": True,

    }  # fmt: skip

    def loop(method):
        profile = NEURIPS2023.of(method)
        return Training(**{field.name: getattr(profile, field.name) for field in dataclasses.fields(Training)})

    assert loop("glocal") == Training(**shared, min_epochs=20, patience=15)
    for method in ("global", "naive"):
        assert loop(method) == Training(**shared, min_epochs=15, patience=10)


def test_a_profile_is_the_sum_of_its_settings(world, as_a_user):
    """The name decides nothing: modern with every differing setting changed gives the very same transform."""
    changed = {name: theirs for name, (_, theirs) in MODERN.differences(AUTHORS).items() if name != "name"}
    options = {"local_features": world.local, "bias": True}
    named = fit_arm(world.objects, world.triplets, profile=AUTHORS, **options).transform
    summed = fit_arm(world.objects, world.triplets, profile=replace(MODERN, **changed), **options).transform
    np.testing.assert_array_equal(named.weights, summed.weights)
    np.testing.assert_array_equal(named.bias, summed.bias)


@pytest.mark.parametrize("method", ["glocal", "global", "naive"])
def test_the_recorded_objective_is_that_of_the_profile(world, method):
    """Raw local images, the unsquared norm and the first fold: the record's parts, computed by hand from W."""
    options = {"local_features": world.local} if method == "glocal" else {}
    fit = fit_arm(world.objects, world.triplets, method=method, lmbda=1e-4, profile=AUTHORS, **options)
    n = len(world.objects)
    inside = np.isin(world.triplets.answers, object_folds(n, 4)[0])
    assert (len(world.triplets.named()), fit.record.n_fitted) == (n, int((~inside.any(axis=1)).sum()))
    X = torch.from_numpy(world.objects.standardization(world.objects.matrix, "float64"))
    W = torch.from_numpy(fit.transform.weights.astype(np.float64))
    parts = {"global": ChoiceLoss(X, world.triplets.answers[~inside.any(axis=1)])(W)[0]}
    parts["penalty"] = Penalty("norm" if method == "naive" else "scaled-identity")(W)[0]
    if method == "glocal":
        rest = np.setdiff1d(np.arange(300), object_folds(300, 4)[0])
        parts["local"] = LocalLoss([torch.from_numpy(world.local.matrix[rest].astype(np.float64))], 0.25)(W)[0]
    assert fit.record.parts == pytest.approx(parts, rel=1e-5)
    watched = fit.record.watched
    assert (watched["n"], watched["ties"]) == (int(inside.all(axis=1).sum()), "wrong")
    heldout = ChoiceLoss(X, world.triplets.answers[inside.all(axis=1)])(W)[0]
    assert watched["parts"]["global"] == pytest.approx(heldout, rel=1e-5)


def test_what_is_watched_is_unweighted_or_weighted(world, monkeypatch):
    """L_global + L_local without penalty in neurips2023, the weights of the objective where they are asked for."""
    seen = {}

    def spy(sampled, start, training, *, watched, **options):
        seen["weights"] = [weight for weight, _ in watched.terms]
        raise ParameterError("seen")

    monkeypatch.setattr("glocal.aligner.loop.minimise_by_batches", spy)
    for profile, weights in ((AUTHORS, [1, 1, 0]), (replace(AUTHORS, weighted_watch=True), [0.9, 0.1, 0.2])):
        with pytest.raises(ParameterError, match="seen"):
            fit_arm(world.objects, world.triplets, local_features=world.local, lmbda=0.2, profile=profile)
        assert seen["weights"] == pytest.approx(weights)


def test_given_answers_can_be_watched(world):
    """A validation set in place of the first fold: the fit sees all its answers, the rule the others."""
    half = np.arange(len(world.triplets)) < 1500
    train, other = world.triplets.select(half), world.triplets.select(~half)
    fit = fit_arm(world.objects, train, method="global", profile=AUTHORS, validation=Validation(other))
    assert (fit.record.n_fitted, fit.record.watched["n"]) == (1500, 1500)
    with pytest.raises(DataError, match="needs some there"):
        fit_arm(world.objects, train, local_features=world.local, profile=AUTHORS, validation=Validation(other))


@pytest.mark.filterwarnings("ignore::glocal.errors.OverfitWarning")
def test_the_watched_fold_lies_within_the_training_objects(world):
    """With --holdout the fold of the stopping rule is cut from what is left, so that neither side is empty."""
    fit = fit_arm(world.objects, world.triplets, method="global", profile=replace(AUTHORS, start_scale=0.2), holdout=3)
    assert fit.record.holdout["heldout"]["n"] > 0


def test_too_few_answers_for_a_fold_is_a_sentence():
    """Where no answer lies within the first fold, the stopping rule has nothing to watch."""
    X = np.random.default_rng(0).normal(size=(12, 3))
    with pytest.raises(DataError, match="stopping rule"):
        fit_arm(
            Features(X, None, "X"), Answers.from_array(np.arange(12).reshape(4, 3)), method="global", profile=AUTHORS
        )


@pytest.mark.parametrize("start_bias", [1e-3, 0.0])
def test_the_start_is_that_of_the_profile(world, monkeypatch, start_bias):
    """W0 = 1e-3 I and b0 = 1e-3, or the best scaled identity."""
    seen = {}

    def spy(sampled, start, *_, **__):
        seen["start"] = start
        raise ParameterError("seen")

    monkeypatch.setattr("glocal.aligner.loop.minimise_by_batches", spy)
    profile = AUTHORS if start_bias else replace(MODERN, solver="minibatch")
    with pytest.raises(ParameterError, match="seen"):
        fit_arm(world.objects, world.triplets, method="global", bias=True, profile=profile)
    W, b = seen["start"]
    assert torch.equal(W, W[0, 0] * torch.eye(len(W)))
    assert float(W[0, 0]) == pytest.approx(1e-3) if start_bias else float(W[0, 0]) > 0.1
    assert b.tolist() == pytest.approx([start_bias] * len(b))


# what is refused


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"profile": "icml"}, "allowed are modern and neurips2023"),
        ({"eta": 0.1}, "eta is given but solver lbfgs has none"),
        ({"optimiser": "adam"}, "optimiser is given but solver lbfgs has none"),
        ({"solver": "newton"}, "allowed are lbfgs and minibatch"),
        ({"solver": "minibatch", "eta": -1.0}, "eta is -1.0"),
        ({"engine": Engine(precision="bf16-mixed")}, "validation and engine belong to solver minibatch"),
    ],
)
def test_contradictions_are_refused(world, options, sentence):
    """Settings of the loop for the exact solver, and the other way round, are sentences."""
    with pytest.raises(ParameterError, match=sentence) as caught:
        fit_arm(world.objects, world.triplets, method="global", **options)
    assert "\n" not in str(caught.value)


def test_bad_profiles_are_refused():
    """A profile checks itself when it is made."""
    for change in ({"ties": "right"}, {"start_scale": 0.0}, {"validation_folds": 1}, {"decay": "step"}):
        with pytest.raises(GLocalError):
            replace(MODERN, **change)
    assert profile_of("neurips2023", solver="lbfgs").solver == "lbfgs"
    assert profile_of(MODERN, squared=None) == MODERN


def test_the_exact_solver_takes_the_objective_of_a_profile(world):
    """neurips2023 with lbfgs minimises the paper's objective, and gets below the loop on it."""
    options = {"local_features": world.local, "profile": replace(AUTHORS, validation_folds=None)}
    exact = fit_arm(world.objects, world.triplets, solver="lbfgs", **options).record
    loop = fit_arm(world.objects, world.triplets, **options).record
    assert exact.converged
    assert (exact.solver, exact.profile, exact.local_standardized) == ("lbfgs", "neurips2023", False)
    assert exact.objective <= loop.objective


# the faces


@pytest.fixture
def files(world, tmp_path):
    np.save(tmp_path / "x.npy", world.objects.matrix)
    np.save(tmp_path / "t.npy", world.triplets.answers[:250])  # one step an epoch
    return ["fit", "--features", str(tmp_path / "x.npy"), "--triplets", str(tmp_path / "t.npy")]


def test_the_command_line(files, tmp_path, capsys, as_a_user):
    """--solver, --eta, --optimiser, --checkpoints and --start: one JSON object with the keys of the contract."""
    out = tmp_path / "t.npz"
    loop = ["--solver", "minibatch", "--eta", "0.02", "--optimiser", "adam", "--checkpoints", str(tmp_path / "kept")]
    assert execute([*files, *loop, "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["solver"], record["eta"], record["optimiser"]) == ("minibatch", 0.02, "adam")
    assert record["converged"] is False
    assert record["status"] in ("budget", "stalled")
    assert {"objective", "parts", "gap", "evaluations", "epochs", "steps", "seconds", "out"} <= set(record)
    assert execute([*files, "--start", str(out), "--out", str(out), "--json"]) == 0
    exact = json.loads(capsys.readouterr().out)
    assert exact["converged"]
    assert exact["objective"] <= record["objective"]


def test_the_command_line_profile(files, tmp_path, capsys, as_a_user):
    """--profile neurips2023 runs the loop, and its summary says what the stopping rule watched."""
    assert execute([*files, "--profile", "neurips2023", "--eta", "0.1", "--out", str(tmp_path / "t.npz")]) == 0
    shown = capsys.readouterr().out
    assert "the stopping rule watched" in shown
    assert "ties wrong" in shown
    assert execute([*files, "--eta", "0.1", "--out", str(tmp_path / "t.npz")]) == 1
    assert "solver lbfgs has none" in capsys.readouterr().err


def test_the_command_line_says_that_rows_are_gathered(tmp_path, capsys):
    """Above the limit of the Gram matrix the command says how it goes on."""
    X = np.random.default_rng(0).normal(size=(20_001, 3)).astype(np.float32)
    answers = np.concatenate([np.random.default_rng(seed).permutation(20_001).reshape(-1, 3) for seed in range(2)])
    a, b, c = X[answers].transpose(1, 0, 2)
    most = np.argmax([(a * b).sum(1), (a * c).sum(1), (b * c).sum(1)], axis=0)
    chosen = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]])[most]
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", np.take_along_axis(answers, chosen, axis=1))
    command = ["fit", "--features", str(tmp_path / "x.npy"), "--triplets", str(tmp_path / "t.npy")]
    with pytest.warns(NotConvergedWarning):
        assert execute([*command, "--max-evaluations", "1", "--out", str(tmp_path / "t.npz"), "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["gathered"] is True
    assert "their rows are gathered" in streams.err


def test_the_estimator(world, as_a_user):
    """Aligner takes the same names, and its record says what they did."""
    aligner = Aligner("global", solver="minibatch", eta=0.05, optimiser="sgd")
    with pytest.warns(NotConvergedWarning):
        aligner.fit(world.objects.matrix, world.triplets.answers[:250])
    assert (aligner.record_.solver, aligner.record_.eta) == ("minibatch", 0.05)
    assert aligner.get_params()["profile"] == "modern"


def test_every_test_that_the_fidelity_page_names_exists():
    """docs/fidelity.md points at tests, and each of them is there."""
    folder = Path(__file__).parent
    page = (folder.parent / "docs" / "fidelity.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 20
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (folder / file).read_text()]
    assert missing == []


def test_the_fidelity_page_has_every_difference():
    """Each setting in which the profiles differ stands on the page with both values; other settings too."""
    page = (Path(__file__).parent.parent / "docs" / "fidelity.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|[^|]*\| (`[a-z_`, ]+`) \| ([^|]*) \| ([^|]*) \|", page, re.M)
    named = {}
    for names, *cells in rows:
        values = [[one.strip() for one in cell.partition(":")[0].split(",")] for cell in cells]
        named |= dict(zip(re.findall("[a-z_]+", names), zip(*values, strict=True), strict=True))
    assert {*MODERN.differences(NEURIPS2023)} - {"name"} <= {*named}
    words = {"yes": True, "no": False, "best scaled identity": None, "none": None}
    for name, told in named.items():
        if hasattr(MODERN, name):
            for word, profile in zip(told, (NEURIPS2023, MODERN), strict=True):
                value = getattr(profile, name)
                if isinstance(value, str):
                    assert word == value, name
                else:
                    assert (words[word] if word in words else float(Fraction(word))) == value, name
