"""Whole commands on random small problems beside `oracle`, which is loops and scipy: checks name what disagrees."""

import contextlib
import csv
import io
import json
import os
import warnings
from dataclasses import dataclass, replace

import numpy as np
import oracle
import pytest


@dataclass
class Problem:
    """What `oracle.objective` is about, standardized, and the files that hold it."""

    X: np.ndarray
    answers: np.ndarray
    weights: np.ndarray
    kind: str
    files: dict
    local: np.ndarray | None = None
    blocks: tuple = ()
    method: str = "global"
    alpha: float = 0.1
    lmbda: float = 0.1
    tau: float = 0.25
    mix: float = 1.0


def run(*arguments):
    """Exit code, the JSON object on standard output, and the message of a command."""
    from glocal.cli.app import execute

    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.simplefilter("ignore")
        code = execute([*map(str, arguments), "--json"])
    return code, json.loads(out.getvalue()) if code == 0 else None, err.getvalue()


def differ(found, expected, what, close=1e-6):
    """A sentence where two numbers, or arrays, are farther apart than the tolerance."""
    apart = np.max(np.abs(np.asarray(found, dtype=np.float64) - np.asarray(expected, dtype=np.float64)), initial=0.0)
    return [] if apart <= close else [f"{what} is {found}, but {expected} by the oracle"]


# --- random data -----------------------------------------------------------------------------------------------------


def features(rng, n, p, *, ties=False):
    """(n, p): any scale, offset and precision; duplicates, constant columns and whole numbers at times."""
    X = rng.integers(-2, 3, size=(n, p)).astype(float) if ties else rng.normal(size=(n, p))
    X[:, : max(1, p // 3)] *= rng.choice([0.1, 1, 5])
    if p > 1 and rng.random() < 0.2:
        X[:, -1] = 0.5
    if n > 4 and rng.random() < 0.2:
        X[-2:] = X[0]
    dtype = rng.choice([np.float64, np.float32, np.float16])
    if ties:
        X *= 2.0 ** rng.integers(-10, 11) if dtype == np.float16 else 2.0 ** rng.integers(-26, 27)
    else:
        X *= 10 ** (rng.uniform(-2, 2) if dtype == np.float16 else rng.uniform(-8, 8))
        X += rng.choice([0, 0, 3]) * X.std()
    X = X.astype(dtype)
    if not X.astype(np.float64).std():  # one constant column alone, or a single value
        X[0, 0] += X.dtype.type(1)
    return X


def random_answers(rng, mind, kind, t):
    """(t, m) answers that follow the similarities of a mind, with noise."""
    n, rows = len(mind), []
    S = mind @ mind.T * rng.choice([0, 1, 10])
    while len(rows) < t:
        m = 3 if kind != "nearest-of-n" else min(4, n)
        objects = list(rng.permutation(n)[:m])
        pairs = oracle.candidates(kind, objects)
        c = int(np.argmax([S[objects[i], objects[j]] + rng.gumbel() for i, j in pairs]))
        chosen = pairs[c]
        rows.append([*(objects[i] for i in chosen), *(x for i, x in enumerate(objects) if i not in chosen)])
    return np.array(rows[:t])


def random_problem(rng, folder, *, least=3):
    n = int(rng.choice([size for size in (3, 4, 6, 9, 14, 24) if size >= least]))
    p = int(rng.choice([1, 2, 3, 5, 8]))
    X = features(rng, n, p)
    kind = str(rng.choice(["odd-one-out", "odd-one-out", "anchor", "nearest-of-n"]))
    mind = oracle.standardized(X, X)[:, -2:]
    given = random_answers(rng, mind, kind, int(rng.choice([1, 4, 40, 200])))
    weights = [np.ones(len(given)), rng.uniform(0, 3, len(given)), rng.integers(0, 3, len(given)) * 1.0]
    w = weights[rng.integers(3)]
    w[0] = max(w[0], 1.0)
    files = {"features": folder / "features.npy", "answers": folder / "answers.npz"}
    np.save(files["features"], X)
    np.savez(files["answers"], answers=given, kind=kind, weights=w)
    return Problem(oracle.standardized(X, X), given, w, kind, files)


def random_arm(rng, problem, folder):
    """The same problem with an arm, and its options."""
    method = str(rng.choice(["global", "glocal", "naive"]))
    lmbda = float(10 ** rng.uniform(-2.5, 1))
    mix = float(rng.choice([1, 1, 0.5])) if method != "naive" else 1.0
    arm = replace(problem, method=method, lmbda=lmbda, mix=mix)
    options = ["--method", method, "--lmbda", lmbda, "--dtype", rng.choice(["float32", "float64"])]
    if method != "naive":
        options += ["--mix", mix]
    if method == "glocal":
        alpha, tau, size = float(rng.choice([0.1, 0.5])), float(rng.choice([0.1, 0.5])), int(rng.choice([5, 1024]))
        X = np.load(problem.files["features"])
        images = X[rng.integers(0, len(X), size=15)].astype(np.float64)
        images += 0.5 * X.astype(np.float64).std() * rng.normal(size=images.shape)
        np.save(folder / "local.npy", images)
        local, blocks = oracle.standardized(images, X), oracle.blocks(len(images), size)
        arm = replace(arm, local=local, blocks=tuple(blocks), alpha=alpha, tau=tau)
        options += ["--local-features", folder / "local.npy", "--alpha", alpha, "--tau", tau, "--block-size", size]
    return arm, options


def random_transform(rng, X, path, *, plain=False):
    """A transform file as the authors write it, and its map in float64."""
    p, scalars = X.shape[1], X.astype(np.float64)
    W = np.eye(p) if plain else rng.normal(size=(p, p))
    W = (W * 2.0 ** rng.integers(-3, 4)).astype(np.float32)
    given = {"weights": W, "mean": scalars.mean(), "std": scalars.std()}
    if not plain and rng.random() < 0.3:
        given["bias"] = rng.normal(size=p).astype(np.float32)
    np.savez(path, **given)
    return lambda A: oracle.standardized(A, X) @ W.astype(np.float64) + given.get("bias", 0.0)


# --- checks: each takes a generator and a folder, and returns what differs -------------------------------------------


def fit(rng, folder):
    """The record of a fit is that of its file; what says converged is at the optimum; λ_max refuses the right λ."""
    problem, options = random_arm(rng, random_problem(rng, folder), folder)
    given = ["--features", problem.files["features"], "--answers", problem.files["answers"], *options]
    code, record, message = run("fit", *given, "--out", folder / "fit.npz")
    highest = oracle.lambda_max(problem.X, problem.answers, problem.weights, problem.kind)
    trivial = problem.method == "naive" and problem.lmbda >= highest * (1 + 1e-6)
    if code:
        explained = trivial or ("lambda_max" in message or "λ_max" in message or "optimum is W = 0" in message)
        wrong = problem.method == "naive" and problem.lmbda < highest * (1 - 1e-6)
        return [f"refused: {message}"] if wrong or not explained else []
    found = [f"λ {problem.lmbda} is above λ_max {highest} and was fitted"] if trivial else []
    with np.load(folder / "fit.npz") as file:
        W, b = file["weights"].astype(np.float64), file["bias"].astype(np.float64) if "bias" in file else None
    f, parts = oracle.objective(problem, W, b)
    Z = problem.X @ W + (0 if b is None else b)
    rounding = 2e-5 * (1 + np.max(Z * Z) * Z.shape[1] + problem.lmbda * np.sum(W * W))
    if not _jumps(problem, W, b):
        for name, value in parts.items():
            if value is not None:
                found += differ(record["parts"][name], value, f"parts.{name}", rounding / min(1.0, problem.lmbda))
        found += differ(record["objective"], f, "objective", rounding)
    found += differ(record["n_answers"], len(problem.answers), "n_answers")
    if record["converged"]:
        above = (f - oracle.lowest(problem, _starts(rng, W, b))) / (record["tol"] * max(abs(f), 1e-7))
        if above > 10:
            found += [f"{record['status']} {above:.3g} tolerances above what scipy finds; {options}"]
    return found


def _jumps(problem, W, b):
    """Whether a local image lies at 0 but for the rounding of the file: its cosines may be those of another side."""
    if problem.local is None:
        return False
    lengths = np.linalg.norm(problem.local @ W + (0 if b is None else b), axis=1)
    return lengths.min() < 1e-6 * lengths.max()


def _starts(rng, W, b):
    p = len(W)
    some = [W, 0.3 * np.eye(p), rng.normal(size=(p, p)) * 0.5 / np.sqrt(p), 0.02 * rng.normal(size=(p, p))]
    bias = np.zeros(0 if b is None else p)
    return [np.concatenate([start.ravel(), b if at == 0 and b is not None else bias]) for at, start in enumerate(some)]


def agreement(rng, folder):
    """Accuracy, tie rate and loss of any features under any transform, and apply."""
    problem = random_problem(rng, folder)
    ties = bool(rng.random() < 0.5)
    X = features(rng, len(problem.X), int(rng.integers(1, 7)), ties=ties)
    np.save(folder / "features.npy", X)
    mapped = random_transform(rng, X, folder / "t.npz", plain=ties)
    similarity = str(rng.choice(["cosine", "dot"]))
    given = ["--features", folder / "features.npy", "--answers", problem.files["answers"], "--similarity", similarity]
    given += ["--transform", folder / "t.npz"] if (moved := rng.random() < 0.7) else []
    Z = mapped(X) if moved else oracle.standardized(X, X)
    code, found, message = run("evaluate", "odd-one-out", *given)
    if code:
        return [f"refused: {message}"]
    accuracy, tied = oracle.agreement(Z, problem.answers, problem.weights, problem.kind, similarity)
    loss = oracle.global_loss(Z, problem.answers, problem.weights, problem.kind)
    wrong = differ(found["accuracy"], accuracy, "accuracy") + differ(found["tie_rate"], tied, "tie_rate")
    wrong += differ(found["loss"], loss, "loss", 1e-6 * max(1.0, loss))
    options = ["--normalize"] if (unit := rng.random() < 0.5) else []
    code, _, message = run("apply", folder / "t.npz", folder / "features.npy", "--out", folder / "Z.npy", *options)
    lengths = np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    expected = mapped(X / np.where(lengths > 0, lengths, 1) if unit else X)
    if code:
        return [*wrong, f"apply: {message}"]
    return wrong + differ(
        np.load(folder / "Z.npy"), expected, "apply", (2e-3 if X.dtype == np.float16 else 1e-5) * np.abs(expected).max()
    )


def sweep(rng, folder):
    """Every point of a sweep: scores on what its fold holds out, its objective and optimum; means, front and choice."""
    problem = random_problem(rng, folder, least=14)
    X = np.load(problem.files["features"])
    images = X[rng.integers(0, len(X), size=26)].astype(np.float64)
    images += 0.5 * X.astype(np.float64).std() * rng.normal(size=images.shape)
    np.save(folder / "local.npy", images)
    lmbda = float(rng.choice([0.03, 0.1, 0.3]))
    grid = {"method": ["glocal", "global", "naive"], "alpha": [0.3], "tau": [0.2], "lmbda": [lmbda]}
    (folder / "grid.toml").write_text("\n".join(f"{key} = {value}" for key, value in grid.items()))
    given = ["--features", problem.files["features"], "--answers", problem.files["answers"], "--folds", 2]
    given += ["--local-features", folder / "local.npy", "--grid", folder / "grid.toml"]
    code, found, message = run("sweep", *given, "--dtype", "float64", "--tol", 1e-8, "--out", folder / "sweep")
    if code:
        thin = any(len(_parts_of(problem, fold)[side]) == 0 for fold in (0, 1) for side in (0, 1))
        chosen = "lambda_max" in message  # λ is above that of all answers, though below that of each fold
        return [] if thin or chosen or "weights are 0" in message else [f"refused: {message}"]
    rows = [json.loads(line) for line in (folder / "sweep/points.jsonl").read_text().splitlines()]
    points = [row for row in rows if row["method"] != "original"]
    wrong = [line for point in points for line in _of_point(rng, problem, X, images, point, folder / "sweep")]
    return wrong + _of_front(points, [row for row in rows if row not in points], folder / "sweep", found)


def _parts_of(problem, fold):
    inside = np.zeros(len(problem.X) + 1, dtype=bool)
    inside[oracle.folds(len(problem.X), 2)[fold]] = True
    train = [i for i, a in enumerate(problem.answers) if not any(inside[x] for x in a if x >= 0)]
    held = [i for i, a in enumerate(problem.answers) if all(inside[x] for x in a if x >= 0)]
    return train, held


def _of_point(rng, problem, X, images, point, folder):
    train, held = _parts_of(problem, point["fold"])
    parts = oracle.folds(len(images), 2)
    unseen, seen = parts[point["fold"]], np.sort(np.concatenate([parts[1 - point["fold"]]]))
    name = "-".join(
        f"{key}{point[key]:g}" if key != "method" else point["method"]
        for key in ("method", "lmbda", "alpha", "tau")
        if point[key] is not None
    )
    arm = replace(
        problem, answers=problem.answers[train], weights=problem.weights[train],
        method=point["method"], lmbda=point["lmbda"], alpha=point["alpha"] or 0.0, tau=point["tau"] or 0.25,
    )  # fmt: skip
    if arm.method == "glocal":
        arm = replace(arm, local=oracle.standardized(images[seen], X), blocks=tuple(oracle.blocks(len(seen))))
    if point["status"] == "trivial":
        highest = oracle.lambda_max(arm.X, arm.answers, arm.weights, arm.kind)
        return [] if arm.lmbda >= highest * (1 - 1e-6) else [f"{name}: λ is below λ_max {highest}, but trivial"]
    W = _refitted(problem, arm, images[seen], train, folder)
    Z, before, wrong = arm.X @ W, oracle.standardized(images[unseen], X), []
    answers, weights = problem.answers[held], problem.weights[held]
    line = len(W) > 1 and np.divide(*np.linalg.svd(W)[1][1::-1]) < 1e-6  # of rank one: cosines of ±1 tie by rounding
    if not line:
        accuracy = oracle.agreement(Z, answers, weights, problem.kind, "cosine")[0]
        wrong += differ(point["accuracy_cosine"], accuracy, f"{name}: cosine")
        k = min(10, len(unseen) - 1)
        wrong += differ(point["neighbours_kept"], oracle.neighbours_kept(before, before @ W, k), f"{name}: kept", 2e-3)
    wrong += differ(point["loss"], oracle.global_loss(Z, answers, weights, problem.kind), f"{name}: loss", 1e-4)
    f, _ = oracle.objective(arm, W)
    wrong += differ(point["objective"], f, f"{name}: objective", 1e-5 * max(1.0, abs(f)))
    if point["status"] == "converged":
        above = (f - oracle.lowest(arm, _starts(rng, W, None)[::2], 100)) / (1e-4 * max(abs(f), 1e-7))
        if above > 10:
            wrong += [f"{name}: converged {above:.3g} tolerances above what scipy finds"]
    return wrong


def _refitted(problem, arm, images, train, folder):
    """What `glocal fit` finds on the part of the data outside a fold: the first fit of each path is the same one."""
    np.save(folder / "part.npy", images)
    np.savez(folder / "part.npz", answers=problem.answers[train], kind=problem.kind, weights=problem.weights[train])
    given = ["--features", problem.files["features"], "--answers", folder / "part.npz", "--out", folder / "part_W.npz"]
    given += ["--method", arm.method, "--lmbda", arm.lmbda, "--dtype", "float64", "--tol", 1e-8]
    if arm.method == "glocal":
        given += ["--local-features", folder / "part.npy", "--alpha", arm.alpha, "--tau", arm.tau]
    code, _, message = run("fit", *given)
    assert code == 0, message
    with np.load(folder / "part_W.npz") as file:
        return file["weights"].astype(np.float64)


def _of_front(points, original, folder, found):
    """Means over folds, the settings no other beats, and that the chosen one is among them."""
    settings = {}
    for point in points:
        key = (point["method"], point["lmbda"], point["alpha"], point["tau"])
        settings.setdefault(key, []).append(point)
    means = {
        key: np.mean([[p["accuracy_cosine"], p["neighbours_kept"]] for p in given], axis=0)
        for key, given in settings.items()
        if len(given) == 2 and all(p["accuracy_cosine"] is not None for p in given)
    }
    with open(folder / "front.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] != "original"]
    shown = {tuple(float(row[x]) for x in ("accuracy_cosine", "neighbours_kept")) for row in rows}
    best = {
        tuple(m) for m in means.values()
        if not any((o >= m).all() and (o > m).any() for o in means.values())
    }  # fmt: skip
    untouched = np.mean([[p["accuracy_cosine"], p["neighbours_kept"]] for p in original], axis=0)
    best = {m for m in best if not ((untouched >= m).all() and (untouched > m).any())} | shown & best
    wrong = [] if {_rounded(m) for m in shown} == {_rounded(m) for m in best} else [f"front {shown}, not {best}"]
    chosen = (found["best"]["accuracy_cosine"], found["best"]["neighbours_kept"])
    return wrong + (
        [] if _rounded(chosen) in {_rounded(m) for m in shown} else [f"chosen {chosen} is not on the front"]
    )


def _rounded(values):
    return tuple(round(float(value), 9) for value in values)


CHECKS = {"fit": (fit, (0, 1, 3, 4, 5)), "agreement": (agreement, (0, 1, 2)), "sweep": (sweep, (6,))}  # and quick seeds


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name, (_, seeds) in CHECKS.items() for seed in seeds])
def test_a_command_agrees_with_the_oracle(name, seed, tmp_path):
    """What a command prints and writes is what plain loops and scipy find on the same files."""
    assert CHECKS[name][0](np.random.default_rng(seed), tmp_path) == []


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", CHECKS)
def test_many_commands_agree_with_the_oracle(name, tmp_path):
    """So they do on other problems: with GLOCAL_TRIES=1, 150 of each."""
    tries = int(float(os.environ.get("GLOCAL_TRIES", "0.05")) * 150)
    for seed in range(1000, 1000 + tries):
        folder = tmp_path / str(seed)
        folder.mkdir()
        assert CHECKS[name][0](np.random.default_rng(seed), folder) == [], seed
