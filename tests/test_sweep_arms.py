"""All arms on one front: the default grid, --method, lmbda of each arm, points without a fit, and the exchange."""

import json

import numpy as np
import pandas as pd
import pytest

from glocal.cli.app import execute
from glocal.data.world import simulated_world
from glocal.errors import ParameterError
from glocal.results import read_rows
from glocal.sweep import Grid, Sweep
from glocal.sweep.selection import EXCHANGE, STRAIGHT, choose
from glocal.transform import LinearTransform

ARMS = {"naive", "global", "glocal"}


@pytest.fixture(scope="module")
def world():
    return simulated_world(n_triplets=10_000, n_local=120)


@pytest.fixture(scope="module")
def files(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("arms")
    np.save(folder / "x.npy", world.objects.matrix)
    np.save(folder / "t.npy", world.triplets.answers)
    np.save(folder / "l.npy", world.local.matrix)
    (folder / "grid.toml").write_text("alpha = [0.5]\nlmbda = [0.1]\ntau = [0.1]\n")
    return folder


def arguments(files, out, *more, local=True):
    names = {"--features": "x.npy", "--triplets": "t.npy"} | ({"--local-features": "l.npy"} if local else {})
    paths = [part for option, name in names.items() for part in (option, str(files / name))]
    return ["sweep", *paths, "--folds", "2", "--tol", "1e-3", "--out", str(out), *map(str, more)]


def table_of(points):
    """A table of means: alpha, agreement and neighbours kept of `glocal`."""
    table = pd.DataFrame(points, columns=["alpha", "accuracy_cosine", "neighbours_kept"])
    return table.assign(method="glocal", bias=False, lmbda=0.1, tau=0.25, loss=1.0)


def test_the_default_grid_walks_all_arms_in_few_points(files, tmp_path):
    """Without --grid every arm is swept, in 15 to 25 points a fold; the tables name the arm, and one is refitted."""
    out = tmp_path / "s"
    assert execute(arguments(files, out)) == 0
    rows = read_rows(out / "points.jsonl")
    assert {row["method"] for row in rows} == ARMS
    assert len(rows) == 2 * sum(point.fold == 0 for path in Grid.arms().paths(2) for point in path)
    assert 2 * 15 <= len(rows) <= 2 * 25
    for name in ("means.csv", "front.csv"):
        assert set(pd.read_csv(out / name)["method"]) <= ARMS | {"original"}
    meta = LinearTransform.load(out / "transform.npz").meta
    assert meta["fit"]["method"] == meta["sweep"]["best"]["method"]
    assert meta["fit"]["lmbda"] == meta["sweep"]["best"]["lmbda"]


def test_the_grid_of_the_mini_batch_solver_stays_the_papers():
    """Without a grid solver minibatch walks the paper's, glocal alone with four learning rates."""
    grid = Sweep(profile="neurips2023")._grid("minibatch", local=True)
    assert grid == Grid.paper("minibatch")
    assert Sweep()._grid("lbfgs", local=True) == Grid.arms()
    assert Sweep("paper")._grid("lbfgs", local=True) == Grid.paper()


@pytest.mark.parametrize(
    ("given", "methods"),
    [
        (["--method", "global"], {"global"}),
        (["--method", "naive", "--method", "glocal"], {"naive", "glocal"}),
        (["--method", "all"], ARMS),
        ([], {"glocal"}),
    ],
)
def test_method_says_which_arms_walk_a_grid(files, tmp_path, given, methods):
    """--method restricts a grid to arms or extends it to others; all names every arm."""
    out = tmp_path / "s"
    assert execute(arguments(files, out, "--grid", files / "grid.toml", *given)) == 0
    assert {row["method"] for row in read_rows(out / "points.jsonl")} == methods


def test_an_arm_that_there_is_not_is_refused(files, tmp_path, capsys):
    """Another method is one sentence before any fit."""
    assert execute(arguments(files, tmp_path / "s", "--method", "best")) == 1
    assert "the grid has method = 'best'; allowed" in capsys.readouterr().err


def test_without_local_features_the_others_are_swept(files, world, tmp_path, capsys):
    """The default is then naive and global, judged by the neighbours of held-out objects; glocal is refused."""
    out = tmp_path / "s"
    assert execute(arguments(files, out, local=False)) == 0
    rows = read_rows(out / "points.jsonl")
    assert {row["method"] for row in rows} == ARMS - {"glocal"}
    assert {row["n_images"] for row in rows if row["accuracy_cosine"] is not None} == {len(world.objects) // 2}
    capsys.readouterr()
    assert execute(arguments(files, tmp_path / "p", "--grid", "paper", local=False)) == 1
    assert "glocal, which needs local features" in capsys.readouterr().err


def test_lmbda_of_each_arm(tmp_path):
    """lmbda may be a table of arms: they are the arms of the grid, each with its own values; a lacking arm is said."""
    (tmp_path / "g.toml").write_text("alpha = [0.5]\ntau = [0.1]\n[lmbda]\nglobal = [1, 3]\nglocal = 0.3\n")
    grid = Grid.load(tmp_path / "g.toml")
    walked = [(point.method, point.lmbda) for path in grid.paths(2) for point in path if point.fold == 0]
    assert walked == [("global", 3.0), ("global", 1.0), ("glocal", 0.3)]
    assert grid.of_methods(["global"]).lmbda == {"global": (1.0, 3.0)}
    with pytest.raises(ParameterError, match="the grid gives no lmbda for naive"):
        grid.of_methods(["global", "naive"])
    with pytest.raises(ParameterError, match="method = 'best'"):
        Grid.of({"lmbda": {"best": [1]}})
    with pytest.raises(ParameterError, match="lmbda = -1"):
        Grid.of({"lmbda": {"global": [-1]}})
    with pytest.raises(ParameterError, match="a value of lmbda for global twice"):
        Grid.of({"lmbda": {"global": [1, 1.0]}})


def test_points_from_lambda_max_on_are_said_and_not_fitted(files, tmp_path, capsys):
    """They have rows without scores or transforms, no mean, and one sentence; a sweep of nothing else says so."""
    (tmp_path / "g.toml").write_text("[lmbda]\nnaive = [0.02, 100]\n")
    out = tmp_path / "s"
    assert execute(arguments(files, out, "--grid", tmp_path / "g.toml")) == 0
    said = capsys.readouterr().err
    assert "naive at λ 100 is not fitted on every fold: from λ_max = " in said
    rows = {(row["fold"], row["lmbda"]): row for row in read_rows(out / "points.jsonl")}
    for fold in (0, 1):
        row = rows[fold, 100]
        assert (row["status"], row["evaluations"], row["accuracy_cosine"]) == ("trivial", 0, None)
        assert 0.02 < row["lambda_max"] < 100
        assert row["objective"] == pytest.approx(np.log(3), rel=1e-6)
    assert pd.read_csv(out / "means.csv")["lmbda"].tolist() == [0.02]
    assert {path.stem for path in (out / "transforms").iterdir()} == {f"fold{fold}-naive-lmbda0.02" for fold in (0, 1)}
    assert execute(arguments(files, out, "--grid", tmp_path / "g.toml", "--resume")) == 0
    assert len(read_rows(out / "points.jsonl")) == 4
    (tmp_path / "g.toml").write_text("[lmbda]\nnaive = 100\n")
    assert execute(arguments(files, tmp_path / "t", "--grid", tmp_path / "g.toml")) == 1
    assert "W = 0, lower lmbda" in capsys.readouterr().err


def test_a_folder_of_an_earlier_sweep_is_gone_on_with(files, tmp_path):
    """A grid of one list of lmbda is recorded as it always was, so that a folder from before resumes."""
    out = tmp_path / "s"
    given = arguments(files, out, "--grid", files / "grid.toml")
    assert execute(given) == 0
    held = json.loads((out / "sweep.json").read_text())
    assert (held["method"], held["lmbda"], held["alpha"], held["tau"]) == (["glocal"], [0.1], [0.5], [0.1])
    assert set(held) == {
        "alpha", "lmbda", "tau", "method", "bias", "folds", "seed", "dtype", "block_size", "data", "local",
        "local_blocks", "local_standardized", "mean", "std", "version", "tol", "max_evaluations",
    }  # fmt: skip
    before = (out / "points.jsonl").read_bytes()
    assert execute([*given, "--resume"]) == 0
    assert (out / "points.jsonl").read_bytes() == before


def test_a_straight_front_is_said_and_an_exchange_chooses(files, tmp_path, capsys):
    """Where no setting lies more than 0.1 above the chord the knee is arbitrary: the reason says so, 0.3 chooses."""
    straight = table_of([(0.9, 0.4, 1.0), (0.5, 0.5, 0.81), (0.1, 0.6, 0.6)])
    choice = choose(straight, "front-knee")
    assert choice.rule == "exchange 0.3"
    assert choice.setting["alpha"] == 0.1  # 0.6 + 0.3 * 0.6 against 0.4 + 0.3 and 0.5 + 0.3 * 0.81
    assert "the front is nearly straight" in choice.reason
    assert "a tenth of the neighbours is worth 0.03 of agreement" in choice.reason
    bent = table_of([(0.9, 0.4, 1.0), (0.5, 0.5, 0.81 + 2 * STRAIGHT * np.sqrt(2) * 0.4), (0.1, 0.6, 0.6)])
    assert choose(bent, "front-knee").rule == "front-knee"
    (tmp_path / "g.toml").write_text("[lmbda]\nglobal = [1, 3]\n")  # a front of two settings at most
    assert execute(arguments(files, tmp_path / "s", "--grid", tmp_path / "g.toml")) == 0
    said = capsys.readouterr()
    record = LinearTransform.load(tmp_path / "s" / "transform.npz").meta["sweep"]
    assert record["rule"] == f"exchange {EXCHANGE:g}"
    assert record["reason"] in said.err
    assert record["reason"].startswith("the front is nearly straight")


def test_the_exchange_on_paper():
    """The largest agreement + exchange × neighbours kept is chosen, whatever the knee; the original is compared."""
    table = table_of([(0.9, 0.40, 1.0), (0.5, 0.55, 0.9), (0.1, 0.60, 0.2)])
    assert choose(table, "front-knee").setting["alpha"] == 0.5
    assert choose(table, "front-knee", 0.05).setting["alpha"] == 0.1  # a tenth of the neighbours for 0.005
    assert choose(table, "front-knee", 0.3).setting["alpha"] == 0.5
    assert choose(table, "front-knee", 2.0).setting["alpha"] == 0.9
    original = {"accuracy_cosine": 0.41, "neighbours_kept": 1.0}
    dear = choose(table, "front-knee", 2.0, original)
    assert dear.rule == "exchange 2"
    assert "worth less than the original features (2.410)" in dear.reason
    assert "worth more than the original features (0.710)" in choose(table, "front-knee", 0.3, original).reason


@pytest.mark.parametrize(
    ("rule", "exchange", "sentence"),
    [
        ("val-loss", 0.3, "select is 'val-loss' and an exchange is given too"),
        ("neighbours_kept>=0.9", 0.3, "leave one of them out"),
        ("front-knee", -1.0, "exchange is -1.0; allowed is a finite number above 0"),
        ("front-knee", 0.0, "exchange is 0.0; allowed"),
        ("front-knee", float("nan"), "exchange is nan"),
    ],
)
def test_what_is_no_exchange_is_refused_before_any_fit(world, rule, exchange, sentence):
    """An exchange beside another rule, or one that is not positive, is one sentence."""
    with pytest.raises(ParameterError, match=sentence):
        Sweep(select=rule, exchange=exchange).fit(world.objects, world.triplets, local_features=world.local)
