"""Scoring 4.7 M answers beside the authors' loop, taking turns in one run.

Their loop is re-implemented: for each triplet three features are stacked, three distances and three dot products are
taken one by one, the smallest distance decides, and a softmax is stored. It is timed on 2000 answers and its seconds
are scaled to all of them, which favours neither: it is linear in the answers.
Answers are simulated from a published SPoSE embedding where GLOCAL_DATA_DIR has it, else from a random one of the same
size; features are random, 1854 × 768. Run: python benchmarks/scoring.py [--quick].
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import workbench  # isort: skip  before torch

import numpy as np
import torch
from torch.nn import functional

from glocal.data.answers import Answers
from glocal.data.world import simulated_answers
from glocal.evaluation.agreement import odd_one_out

N, P, SUBSET = 1854, 768, 2000


def authors_loop(X: np.ndarray, answers: np.ndarray) -> float:
    """Accuracy by their loop over triplets."""
    features = torch.from_numpy(X)
    pairs = list(itertools.combinations(range(3), r=2))
    choices, probabilities = torch.zeros(len(answers)), torch.zeros(len(answers), 3)
    for row, (i, j, k) in enumerate(answers):
        three = torch.stack([features[i], features[j], features[k]])
        distances = torch.tensor([1 - functional.cosine_similarity(three[u], three[v], dim=0) for u, v in pairs])
        dots = torch.tensor([three[u] @ three[v] for u, v in pairs])
        if torch.unique(distances).shape[0] == 1:
            choices[row] = -1
        else:
            choices[row] = ({0, 1, 2} - set(pairs[int(torch.argmin(distances))])).pop()
        probabilities[row] = functional.softmax(dots, dim=0)
    return float((choices == 2).float().mean())


def seconds(task: Callable[[], object]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the answers, one round")
    options = parser.parse_args()
    count, rounds = (470_000, 1) if options.quick else (4_700_000, 5)
    rng = np.random.default_rng(0)
    triplets = simulated_answers(workbench.embedding(rng, N), count)
    X = rng.standard_normal((N, P), dtype=np.float32)
    few = Answers(triplets.objects[:SUBSET])
    theirs, ours = authors_loop(X, few.objects), odd_one_out(X, few, interval=False).accuracy
    print(f"accuracy on {SUBSET} answers: loop {theirs:.4f}, here {ours:.4f}")
    tasks = {
        "score": lambda: odd_one_out(X, triplets, interval=False),
        "score and interval": lambda: odd_one_out(X, triplets),
    }
    ratios: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            loop = seconds(lambda: authors_loop(X, few.objects)) * count / SUBSET
            own = seconds(task)
            ratios[name].append(loop / own)
            print(f"  {name}: {own:.2f} s, loop {loop:.0f} s (scaled from {SUBSET} answers)", flush=True)
    for name, values in ratios.items():
        print(f"{count} answers, {name}: {statistics.median(values):.0f} times the loop's speed (at least 200)")


if __name__ == "__main__":
    main()
