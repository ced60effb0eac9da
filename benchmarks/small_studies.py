"""Small studies: the default fit compared with the best λ in hindsight, λ 0.1 and no fit.

CLIP, EfficientNet  n THINGS objects and t answers of simulated people, who choose by the softmax of
                    the SPoSE-49 similarities. Scores are expectations over such people on 6,000
                    triplets of the same objects ("same") and 6,000 of 500 other objects ("new").
material, videos    t real answers about two thirds of the objects, one answer per question for
                    material. Scores are on all answers to other questions about these objects
                    ("same") and about the remaining objects ("new").
null                features whose scaled identity is the way people answer, so that there is
                    nothing to gain.

Each draw is fitted by the default, by λ 0.1, by no fit, and at every λ of a grid. Its rows are
appended to bench-out/small_studies, and a draw that exists is not repeated.

Run: python benchmarks/small_studies.py [run|table] [--sets CLIP ...] [--draws 5]
     [--first-draw 0] [--quick]
Needs GLOCAL_DATA_DIR.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd

from glocal.aligner import Arm, Exact, FitData, fit
from glocal.aligner.exact import scaled_identity
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import feature_rows
from glocal.data.people import questions
from glocal.data.world import simulated_answers
from glocal.evaluation.agreement import odd_one_out
from glocal.files import make_folder, read_lines
from glocal.results import FitRecord, append_rows, read_rows
from glocal.similarity import candidate_pairs
from glocal.transform import LinearTransform

OUT = Path("bench-out") / "small_studies"
OBJECTS = (30, 60, 100, 200, 500)
ANSWERS = (200, 500, 1000, 2000, 5000)
SETS = {
    "material": (67,),
    "videos": (167,),
    "null": (60, 200),
    "CLIP": OBJECTS,
    "EfficientNet": OBJECTS,
}
"""The number of objects of the studies of each set."""
NEW_OBJECTS = 500
TRIPLETS = 6000
"""The triplets on which simulated people are compared with a transform, of each kind of objects."""
GRID = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
MIN_OBJECTS_FOR_LEADING_AXES = 500
LEADING_AXES = 256
MIN_ANSWERS_TO_GAIN = 500
"""From so many answers on, the default must lower the loss on new answers."""
HINDSIGHT = "λ in hindsight"
EXPECTED = {
    "no fit": {
        "CLIP": "74 / 37",
        "EfficientNet": "89 / 16",
        "material": "23 / 19",
        "videos": "52 / 46",
        "null": "0 / 0",
    },
    "λ 0.1": {
        "CLIP": "24 / 20",
        "EfficientNet": "18 / 9",
        "material": "56 / 50",
        "videos": "4 / 4",
        "null": "42 / 39",
    },
    "default": {
        "CLIP": "4 / 2",
        "EfficientNet": "2 / 1",
        "material": "3 / 3",
        "videos": "11 / 9",
        "null": "0 / 0",
    },
}
"""Regret, thousandths, of the prototype of this default, on the same and on new objects."""


@dataclass(frozen=True, eq=False)
class Side:
    """Answers that no fit has seen, as rows of the features of their objects."""

    features: np.ndarray
    answers: Answers


@dataclass(frozen=True, eq=False)
class Study:
    """The data of a fit, and the answers about the same and about new objects that score it."""

    data: FitData
    same: Side
    new: Side


# the sets


@cache
def objects_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The features of the THINGS objects by a network, and by people: SPoSE."""
    things = workbench.real_data() / "things"
    mind = np.load(things / "spose_49d.npy")
    if name == "null":
        return np.concatenate([mind, -mind], axis=1).astype(np.float32), mind
    if name == "CLIP":
        features = workbench.unit_features(things / "features" / "clip-vit-b32")
    else:
        features = Features.load(things / "features" / "efficientnet-lite0")
    rows = feature_rows(features, read_lines(things / "unique_id.txt", what="object ids"))
    return np.asarray(features.matrix)[rows[rows >= 0]], mind[rows >= 0]


def simulated(name: str, n_objects: int, n_answers: int, draw: int) -> Study:
    """Objects drawn from THINGS, and answers of simulated people."""
    X, mind = objects_of(name)
    rng = np.random.default_rng((draw, n_objects, n_answers))
    order = rng.permutation(len(X))
    fitted = order[:n_objects]
    new = order[n_objects : n_objects + NEW_OBJECTS]
    answers = simulated_answers(mind[fitted], n_answers, seed=int(rng.integers(2**31)))
    same_side = Side(X[fitted], expected_answers(mind[fitted], rng))
    new_side = Side(X[new], expected_answers(mind[new], rng))
    return Study(FitData(Features(X[fitted], None, name), answers), same_side, new_side)


def expected_answers(mind: np.ndarray, rng: np.random.Generator) -> Answers:
    """Triplets with the probability of each answer as its weight."""
    triplets = np.stack([rng.choice(len(mind), 3, replace=False) for _ in range(TRIPLETS)])
    gram = mind @ mind.T
    pairs = candidate_pairs("odd-one-out")
    S = np.stack([gram[triplets[:, i], triplets[:, j]] for i, j in pairs], axis=1)
    probabilities = np.exp(S - S.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Answers.from_array(triplets, counts=probabilities)


@cache
def material() -> tuple[np.ndarray, Answers, np.ndarray]:
    """Rendered materials by a network, and every vote, weighted, with its question."""
    folder = workbench.real_data() / "anchors" / "material"
    features = Features.load(folder / "features" / "efficientnet-lite0")
    arrays = np.load(folder / "train.npz")
    votes = Answers.from_array(arrays["answers"], kind="anchor", counts=arrays["counts"])
    return np.asarray(features.matrix), votes, question_numbers(votes)


@cache
def videos() -> tuple[np.ndarray, Answers, np.ndarray]:
    """Mean ratings of short videos, and every answer that is no catch trial, with its question."""
    folder = workbench.real_data() / "videos"
    trials = pd.read_csv(folder / "answers.csv")
    objects = trials[["a", "b", "c"]].to_numpy()
    odd = trials["odd"].to_numpy()
    is_question = (objects[:, 0] != objects[:, 1]) & (objects[:, 1] != objects[:, 2])
    is_question &= objects[:, 0] != objects[:, 2]
    objects = objects[is_question]
    odd = odd[is_question]
    pair = objects[objects != odd[:, None]].reshape(-1, 2)
    person = trials["person"].to_numpy()[is_question]
    answers = Answers(np.column_stack([pair, odd]), person=person)
    ratings = np.load(folder / "ratings.npy").astype(np.float32)
    return ratings, answers, question_numbers(answers)


def question_numbers(answers: Answers) -> np.ndarray:
    """The number of the question of each answer."""
    sets, _ = questions(answers)
    numbers: np.ndarray = np.unique(sets, axis=0, return_inverse=True)[1].reshape(-1)
    return numbers


def real(name: str, n_objects: int, n_answers: int, draw: int) -> Study:
    """Some answers about two thirds of the objects; answers to other questions score the fit."""
    X, answers, numbers = material() if name == "material" else videos()
    rng = np.random.default_rng((draw, n_answers))
    order = rng.permutation(len(X))
    fitted = order[:n_objects]
    new = order[n_objects:]
    is_about_fitted = np.isin(answers.objects, fitted).all(axis=1)
    candidates = rng.permutation(np.flatnonzero(is_about_fitted))
    if answers.weights is not None:
        candidates = one_vote_a_question(candidates, answers.weights, numbers, rng)
    chosen = candidates[:n_answers]
    sample = side_of(X, answers.select(chosen), fitted)
    single = Answers(sample.answers.objects, kind=answers.kind, person=sample.answers.person)
    is_other = ~np.isin(numbers, numbers[chosen])
    is_about_new = np.isin(answers.objects, new).all(axis=1)
    return Study(
        FitData(Features(sample.features, None, name), single),
        side_of(X, answers.select(is_about_fitted & is_other), fitted),
        side_of(X, answers.select(is_about_new), new),
    )


def one_vote_a_question(
    candidates: np.ndarray, weights: np.ndarray, numbers: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One answer to each question, drawn in proportion to its votes, in random order."""
    waits = rng.exponential(size=len(candidates)) / weights[candidates]
    candidates = candidates[np.argsort(waits)]
    _, first = np.unique(numbers[candidates], return_index=True)
    drawn: np.ndarray = rng.permutation(candidates[first])
    return drawn


def side_of(X: np.ndarray, answers: Answers, objects: np.ndarray) -> Side:
    """Answers as rows of the features of some objects."""
    row = np.full(len(X), -1)
    row[objects] = np.arange(len(objects))
    return Side(X[objects], answers.relabel(row))


# the arms


def scores(study: Study, transform: LinearTransform) -> dict[str, float]:
    """Agreement and loss on answers about the same and about new objects."""
    row = {}
    for name, side in (("same", study.same), ("new", study.new)):
        result = odd_one_out(transform(side.features), side.answers, interval=False)
        row[f"agreement_{name}"] = result.accuracy
        row[f"loss_{name}"] = result.loss
    return row


def arm_rows(study: Study) -> Iterator[dict[str, Any]]:
    """A row for each arm; the λ of the grid come last."""
    yield {"arm": "no fit", **scores(study, scaled_identity(study.data))}
    row, record = fitted_row(study, None)
    choice = record.keep
    assert choice is not None
    promised = record.heldout
    assert promised is not None
    yield {
        "arm": "default",
        **row,
        "lmbda": record.lmbda,
        "fitted": bool(choice["fits"]),
        "scale": choice["scale"],
        "promised_gain": promised.gain,
        "promised_low": promised.gain_low,
        "losses": choice["losses"],
    }
    row, _ = fitted_row(study, Arm("global", lmbda=0.1))
    yield {"arm": "λ 0.1", **row, "lmbda": 0.1}
    yield from grid_rows(study)


def fitted_row(study: Study, what: Arm | None) -> tuple[dict[str, Any], FitRecord]:
    """The scores and processor seconds of a fit, and its record."""
    began = time.process_time()
    result = fit(study.data, what)
    seconds = time.process_time() - began
    record = result.record
    return {
        **scores(study, result.transform),
        "evaluations": record.evaluations,
        "converged": record.converged,
        "seconds": seconds,
    }, record


def grid_rows(study: Study) -> Iterator[dict[str, Any]]:
    """A row for each λ of the grid; each fit starts from the previous one."""
    solver = Exact(tol=1e-4)
    axes = solver.axes(study.data)
    if len(study.data.features) >= MIN_OBJECTS_FOR_LEADING_AXES:
        axes = axes.leading(LEADING_AXES)
    problem = solver.problem(study.data, local=False, axes=axes)
    start = None
    for lmbda in GRID:
        arm = Arm("global", lmbda=lmbda)
        solution = solver.minimise(problem, arm, start, certified=False)
        start = solution.warm
        yield {"arm": HINDSIGHT, "lmbda": lmbda, **scores(study, solution.transform)}


# the runs


def measure(sets: list[str], draws: range, sizes: list[int], counts: list[int]) -> None:
    """Append the rows of every draw that does not exist yet, the small studies first."""
    path = make_folder(OUT) / "rows.jsonl"
    measured = set()
    if path.exists():
        measured = {(row["set"], row["n"], row["t"], row["draw"]) for row in read_rows(path)}
    cells = [(n, t, name) for name in sets for n in SETS[name] for t in counts if n in sizes]
    cells.sort(key=lambda cell: cell[:2])
    for draw, (n, t, name) in itertools.product(draws, cells):
        if (name, n, t, draw) in measured:
            continue
        make: Callable[..., Study] = real if name in ("material", "videos") else simulated
        study = make(name, n, t, draw)
        cell = {"set": name, "n": n, "t": t, "draw": draw}
        rows = [{**cell, **row} for row in arm_rows(study)]
        append_rows(path, rows)
        gains = [row["agreement_same"] - rows[0]["agreement_same"] for row in rows]
        best = max(0.0, *gains)
        print(f"{name} n {n} t {t} draw {draw}: gain {gains[1]:+.3f} of {best:+.3f}", flush=True)


# the tables


def draws_table() -> pd.DataFrame:
    """A row for each draw: the change of each arm from no fit, and its regret."""
    rows = pd.DataFrame(read_rows(OUT / "rows.jsonl"))
    cell = ["set", "n", "t", "draw"]
    names = ["agreement_same", "agreement_new", "loss_same", "loss_new"]
    rows = rows.drop_duplicates([*cell, "arm", "lmbda"], keep="last").set_index(cell)
    original = rows.loc[rows["arm"] == "no fit", names]
    in_hindsight = rows.loc[rows["arm"].isin([HINDSIGHT, "no fit"]), names]
    best = in_hindsight.groupby(level=cell).max()
    parts = [original.assign(arm="no fit")]
    parts += [rows.loc[rows["arm"] == arm] for arm in ("λ 0.1", "default")]
    arms = pd.concat(parts)
    for name in names:
        arms[f"{name}_change"] = arms[name] - original[name].reindex(arms.index)
    for name in names[:2]:
        arms[f"{name}_regret"] = best[name].reindex(arms.index) - arms[name]
    return arms.reset_index()


def mean_error(values: pd.Series) -> str:
    """The mean with its standard error over draws."""
    if len(values) < 2:
        return f"{values.mean():+.3f}"
    return f"{values.mean():+.3f} ± {values.sem():.3f}"


def regret_table(draws: pd.DataFrame) -> None:
    """Print the regret of each arm in each set, and of the prototype."""
    sets = [name for name in SETS if name in set(draws["set"])]
    counts = draws[draws["arm"] == "default"]["set"].value_counts()
    print("Regret in agreement, thousandths, same / new objects (± SE); L: change of the loss.\n")
    print("| arm | " + " | ".join(f"{name}, {counts[name]} draws" for name in sets) + " |")
    print("|---" * (len(sets) + 1) + "|")
    for arm, expected in EXPECTED.items():
        texts = []
        for name in sets:
            part = draws[(draws["arm"] == arm) & (draws["set"] == name)]
            regrets = [1000 * part[f"agreement_{side}_regret"] for side in ("same", "new")]
            text = " / ".join(f"{regret.mean():.1f} ± {regret.sem():.1f}" for regret in regrets)
            losses = [part[f"loss_{side}_change"].mean() for side in ("same", "new")]
            if arm != "no fit":
                text += f", L {losses[0]:+.2f} / {losses[1]:+.2f}"
            texts.append(text)
        print(f"| {arm} | " + " | ".join(texts) + " |")
        print(f"| prototype's {arm} | " + " | ".join(expected[name] for name in sets) + " |")


def cells_table(draws: pd.DataFrame) -> None:
    """Print the changes by the default and by λ 0.1 in each cell, and the cells where they lose."""
    columns = ["set", "n", "t", "draws", "fitted", "agreement same / new", "loss same / new"]
    columns += ["regret", "s", "λ 0.1: agreement", "loss", "s"]
    print("\n| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    failures: dict[str, list[str]] = {"same": [], "new": []}
    ordered = draws.assign(set=pd.Categorical(draws["set"], list(SETS)))
    for (name, n, t), cell in ordered.groupby(["set", "n", "t"], observed=True):
        default = cell[cell["arm"] == "default"]
        small = cell[cell["arm"] == "λ 0.1"]
        regrets = [1000 * default[f"agreement_{side}_regret"].mean() for side in ("same", "new")]
        texts = [name, str(n), f"{t:,}", str(len(default)), f"{default['fitted'].mean():.2f}"]
        texts += [*changes(default), f"{regrets[0]:.0f} / {regrets[1]:.0f}"]
        texts += [f"{default['seconds'].median():.1f}"]
        texts += [*changes(small), f"{small['seconds'].median():.1f}"]
        print("| " + " | ".join(texts) + " |")
        for side, cells in failures.items():
            loss = default[f"loss_{side}_change"].mean()
            if name != "null" and t >= MIN_ANSWERS_TO_GAIN and loss >= 0:
                cells.append(f"{name} n {n} t {t:,} ({loss:+.4f})")
    print(
        f"\nCells of {MIN_ANSWERS_TO_GAIN} answers or more, but of null, whose loss does not fall:"
    )
    for side, cells in failures.items():
        print(f"- {side} objects: {', '.join(cells) or 'none'}.")


def changes(draws: pd.DataFrame) -> list[str]:
    """Mean changes of agreement and loss over draws, about the same and about new objects."""
    texts = []
    for score in ("agreement", "loss"):
        sides = [mean_error(draws[f"{score}_{side}_change"]) for side in ("same", "new")]
        texts.append(" / ".join(sides))
    return texts


def main() -> None:
    """Measure, or print the measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("section", nargs="?", choices=("run", "table"), default="run")
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=list(SETS))
    parser.add_argument(
        "--objects", nargs="+", type=int, help="numbers of objects; all if not given"
    )
    parser.add_argument("--answers", nargs="+", type=int, default=list(ANSWERS))
    parser.add_argument("--draws", type=int, default=5, help="draws a cell")
    parser.add_argument(
        "--first-draw", type=int, default=0, help="the number, and so the seed, of the first draw"
    )
    parser.add_argument("--quick", action="store_true", help="one draw a cell")
    options = parser.parse_args()
    if options.section == "run":
        warnings.simplefilter("ignore")
        sizes = options.objects or [n for counts in SETS.values() for n in counts]
        count = 1 if options.quick else options.draws
        draws = range(options.first_draw, options.first_draw + count)
        measure(options.sets, draws, sizes, options.answers)
    table = draws_table()
    regret_table(table)
    cells_table(table)


if __name__ == "__main__":
    main()
