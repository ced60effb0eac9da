"""Which questions teach most? *Informative* against *random*, by replay of real answers and by simulated people.

    GLOCAL_DATA_DIR=... python benchmarks/replay.py pool --network clip-vit-b32 --rows replay.jsonl
    GLOCAL_DATA_DIR=... python benchmarks/replay.py free      # any triplet may be asked: simulated people (SPoSE)
    GLOCAL_DATA_DIR=... python benchmarks/replay.py eggs      # samplers that asked real people, scored on another one

`pool` starts from 500 random answers of the training objects of one fold of three (some 43,000) and doubles them in
each round; the fit of the answers so far says which are taken. Seed s holds out fold s and draws its own start. `free`
draws 12 triplets for each that is asked, and a simulated person answers; agreement is with 40,000 answers of that
person about held-out objects. Features are the 128 leading principal axes of the network. Agreement is that of the best
λ of three, for each size and way alike.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd
import torch
from glocal.collect.curve import path, rotated
from glocal.collect.informative import (
    fisher,
    greedy,
    information,
    pair_products,
    posterior,
    principal,
    probabilities,
    random_questions,
)

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.importing import import_answers
from glocal.data.join import feature_rows, join
from glocal.data.splits import object_folds, split_answers
from glocal.evaluation.agreement import odd_one_out
from glocal.files import read_lines
from glocal.results import append_rows, read_rows
from glocal.similarity import candidate_pairs

SIZES = (500, 1000, 2000, 4000, 8000)
LAMBDAS = (1.0, 0.3, 0.1)
WAYS = ("random", "entropy", "seldom", "information", "relevance", "design")
_EGGS = (1.0, 0.3, 0.1, 0.03, 0.01)  # λ: no fold of objects is held out
_SELECTING = 0.3  # λ of the fit that says what is taken
_CANDIDATES = 12
_SCORED = 40_000

Worth = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class World:
    """Features, the answers to choose from, those that are scored, and the objects that may be asked about."""

    features: Features
    train: Answers
    heldout: Answers
    objects: np.ndarray
    answer: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None

    @classmethod
    def things(cls, network: str, fold: int, *, simulated: bool) -> World:
        """THINGS without one fold of objects; with simulated people, whose choices are those of SPoSE-49."""
        folder = workbench.real_data() / "things"
        found = Features.load(folder / "features" / network)
        ids = read_lines(folder / "unique_id.txt", what="object ids")
        answers = join(found, Answers.load(folder / "triplets.npy"), ids).answers
        train, heldout = (answers.select(part) for part in split_answers(answers, len(found), fold=fold))
        X = found.standardization(np.asarray(found.matrix, np.float64), "float64")
        features = Features(principal(X), None, network)
        inside = object_folds(len(found), 3)[fold]
        outside = np.setdiff1d(np.arange(len(found)), inside)
        if not simulated:
            return cls(features, train, heldout, outside)
        rows, spose = feature_rows(found, ids), np.load(folder / "spose_49d.npy")
        mind = np.zeros((len(found), spose.shape[1]))
        mind[rows[rows >= 0]] = spose[rows >= 0]

        def answer(asked: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            p = probabilities(mind, asked, candidate_pairs("odd-one-out"))
            choice = (p.cumsum(axis=1) > rng.random((len(p), 1))).argmax(axis=1)
            return np.take_along_axis(asked, np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]])[choice], axis=1)

        rng = np.random.default_rng(9)
        told = Answers(answer(inside[random_questions(rng, len(inside), _SCORED)], rng))
        return cls(features, train, told, outside, answer)


def worth(way: str, X: np.ndarray, Z: np.ndarray, asked: np.ndarray) -> Worth:
    """What a question is worth where its objects were asked about so often.

    `entropy` of the model's choice; `seldom` the entropy over the root of the counts of its objects; `information`
    about M as in `glocal.collect.informative`; `design` the same before any answer, with p = 1/3; `relevance` the fall
    of the variance of the logits of all pairs.
    """
    pairs = candidate_pairs("odd-one-out")
    p = probabilities(Z, asked, pairs)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=1)
    if way == "entropy":
        return lambda counts: entropy
    if way == "seldom":
        return lambda counts: entropy * (1 / np.sqrt(counts + 1))[asked].mean(axis=1)
    if way == "information":
        return lambda counts: information(posterior(X, counts), asked, pairs, p)
    if way == "design":
        return lambda counts: information(posterior(X, counts), asked, pairs, np.full_like(p, 1 / 3))

    def relevance(counts: np.ndarray) -> np.ndarray:
        K, F = posterior(X, counts), fisher(p)
        inner = np.linalg.inv(np.eye(3) + 10 * F @ pair_products(K, asked, pairs))
        return np.einsum("tab,tba->t", inner, F @ pair_products(K @ K / len(K), asked, pairs))

    return relevance


def rounds(world: World, way: str, share: float, seed: int) -> Iterator[dict[str, Any]]:
    """The scores of one way at each size; `share` is what is asked at random all the same."""
    rng = np.random.default_rng(seed)
    X = world.features.standardization(world.features.matrix, "float64")
    pool = world.train.objects
    if world.answer is None:
        taken = rng.permutation(len(pool))[: SIZES[0]]
        given = pool[taken]
    else:
        given = world.answer(world.objects[random_questions(rng, len(world.objects), SIZES[0])], rng)
    for size, following in zip(SIZES, (*SIZES[1:], None), strict=True):
        fitted = path(X, Answers(given), LAMBDAS)
        for lmbda, Z in zip(LAMBDAS, fitted, strict=True):
            score = odd_one_out(Z, world.heldout, interval=False)
            yield {"n": size, "lmbda": lmbda, "accuracy": score.accuracy, "loss": score.loss}
        if following is None:
            return
        counts = np.bincount(given.ravel(), minlength=len(X)).astype(float)
        if world.answer is None:
            rest = np.setdiff1d(np.arange(len(pool)), taken)
        else:
            rest = np.arange(_CANDIDATES * (following - size))
            pool = world.objects[random_questions(rng, len(world.objects), len(rest))]
        rest = rng.permutation(rest)
        n = following - size
        by_chance = n if way == "random" else round(share * n)
        first, rest = rest[:by_chance], rest[by_chance:]
        if n > by_chance:
            score_of = worth(way, X, fitted[LAMBDAS.index(_SELECTING)], pool[rest])
            first = np.concatenate([first, rest[greedy(score_of, pool[rest], counts, n - by_chance)]])
        if world.answer is None:
            taken, given = np.concatenate([taken, first]), np.concatenate([given, pool[first]])
        else:
            given = np.concatenate([given, world.answer(pool[first], rng)])


def eggs(seed: int) -> Iterator[dict[str, Any]]:
    """The first answers about 30 drawings of each sampler, without a third of the persons, scored on those of Test."""
    sys.path.insert(0, str(Path(__file__).parent))
    import kinds

    features, _ = kinds.eggs(workbench.real_data())
    file = workbench.real_data() / "anchors" / "alien_eggs" / "answers.csv"
    X = rotated(features.standardization(features.matrix, "float64"))
    heldout = import_answers(file, where={"sampler": "Test"}).answers
    for sampler in ("RandomSampling", "UncertaintySampling", "CrowdKernel", "STE"):
        given = import_answers(file, where={"sampler": sampler}).answers
        assert given.person is not None
        given = given.select(given.person % 3 != seed)  # in the order of time, as the sampler asked
        for size in (125, 250, 500, 1000, 2000):
            fitted = path(X, given.select(np.arange(size)), _EGGS)
            for lmbda, Z in zip(_EGGS, fitted, strict=True):
                score = odd_one_out(Z, heldout, interval=False)
                yield {"way": sampler, "n": size, "lmbda": lmbda, "accuracy": score.accuracy, "loss": score.loss}


def _way(row: dict) -> str:
    return "eggs" if row["mode"] == "eggs" else row["way"]  # a draw of the eggs has all samplers


def table(rows: pd.DataFrame) -> None:
    """Agreement of each way and size, what it has over the first way in the same seeds, the share of its answers."""
    for (mode, network), part in rows.groupby(["mode", "network"], sort=False):
        best = {}
        for (way, n), at in part.groupby(["way", "n"], sort=False):
            lmbda = at.groupby("lmbda")["accuracy"].mean().idxmax()
            best[way, n] = at[at["lmbda"] == lmbda].set_index("seed")["accuracy"]
        ways, sizes = list(dict.fromkeys(way for way, _ in best)), sorted({n for _, n in best})
        print(f"\n{mode} {network}, answers {', '.join(map(str, sizes))}")
        for way in ways:
            found = [best[way, n] for n in sizes]
            same = [best[ways[0], n].reindex(one.index) for n, one in zip(sizes, found, strict=True)]
            print(f"{way:20s} ({len(found[0])})" + "".join(f"   {spread(one, '.4f')}" for one in found))
            if way == ways[0]:
                continue
            gained = [one - other for one, other in zip(found, same, strict=True)]
            print(f"{'  over it':24s}" + "".join(f"  {spread(one, '+.4f')}" for one in gained))
            curve = pd.Series([one.mean() for one in same], sizes)
            shares = [n / equal(curve, one.mean()) for n, one in zip(sizes, found, strict=True)]
            print(f"{'  share of its answers':24s}" + "".join(f"  {share:8.2f}        " for share in shares))


def spread(values: pd.Series, form: str) -> str:
    """Mean ± standard error over seeds; no error where there is one."""
    error = f" ± {values.sem():.4f}" if len(values) > 1 else " " * 9
    return f"{values.mean():{form}}{error}"


def equal(curve: pd.Series, value: float) -> float:
    """The number of answers at which a curve, monotone and linear in log n, has a value; carried on at its end."""
    rising = np.maximum.accumulate(curve.to_numpy()) + 1e-9 * np.arange(len(curve))
    logs = np.log(curve.index.to_numpy(dtype=float))
    if value >= rising[-1]:
        slope = (rising[-1] - rising[0]) / (logs[-1] - logs[0])
        return float(np.exp(logs[-1] + (value - rising[-1]) / slope))
    return float(np.exp(np.interp(value, rising, logs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("pool", "free", "eggs", "table"))
    parser.add_argument("--network", default="clip-vit-b32")
    parser.add_argument("--ways", nargs="+", default=WAYS, help="a share asked at random after @: information@0.3")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--rows", type=Path, default=Path("replay.jsonl"), help="where the rows are kept")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = read_rows(options.rows) if options.rows.exists() else []
    done = {(row["mode"], row["network"], _way(row), row["seed"]) for row in rows}
    for seed in options.seeds if options.mode != "table" else ():
        for name in options.ways if options.mode != "eggs" else ("eggs",):
            if (options.mode, options.network, name, seed) in done:
                continue
            began = time.perf_counter()
            way, _, share = name.partition("@")
            if options.mode == "eggs":
                new = list(eggs(seed))
            else:
                world = World.things(options.network, seed, simulated=options.mode == "free")
                new = list(rounds(world, way, float(share or 0), seed))
            told = {"mode": options.mode, "network": options.network, "way": name, "seed": seed}
            append_rows(options.rows, [{**told, **row} for row in new])
            print(json.dumps(told), f"{time.perf_counter() - began:.0f} s", flush=True)
    table(pd.DataFrame(read_rows(options.rows)))


if __name__ == "__main__":
    main()
