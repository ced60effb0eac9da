"""Coverage on simulated worlds: how often the 95 % interval holds the truth, and its width.

The estimand is the accuracy of a fixed transform on a new draw of objects and answers. One large
population of objects is drawn, and one transform is fitted to some of them. Each world draws other
objects from the population, and answers about them. The truth is the expected accuracy over all
sets of three objects of the population, by the probabilities of the simulated people (from two
million random sets; its standard error is printed). Coverage is reported for the accuracy of the
transform, and for its paired difference from the untransformed features. Finally, the answers are
permuted (the odd one is drawn at random): intervals should then hold 1/3 equally often.

Run: python benchmarks/interval_coverage.py [--worlds 200].
"""

from __future__ import annotations

import argparse
import warnings

import workbench  # isort: skip  before torch

import numpy as np

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.world import World, simulated_answers, simulated_world
from glocal.evaluation.agreement import answer_credit, odd_one_out
from glocal.evaluation.intervals import answer_estimate
from glocal.transform import LinearTransform

N_FITTED = 300  # objects
N_SETS = 2_000_000  # of three objects
DESIGNS = (  # objects and answers
    (60, 3000),  # the objects decide
    (200, 5000),
    (1000, 3000),  # the answers decide
)


def expected_credit(Z: np.ndarray, mind: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """The expected credit of each set of three objects, over the answers that people may give."""
    expected = np.zeros(len(sets))
    a, b, c = sets.T
    dots = np.stack([np.einsum("ij,ij->i", mind[i], mind[j]) for i, j in ((a, b), (a, c), (b, c))])
    share = np.exp(dots - dots.max(axis=0))
    share /= share.sum(axis=0)
    for probability, order in zip(share, ([0, 1, 2], [0, 2, 1], [1, 2, 0]), strict=True):
        expected += probability * answer_credit(Z, Answers(sets[:, order]))
    return expected


def fitted_transform(population: World, rows: np.ndarray) -> LinearTransform:
    """The transform that is fitted to 20,000 answers about some of the objects."""
    answers = simulated_answers(population.mind[rows], 20_000, seed=1)
    features = Features(population.objects.matrix[rows])
    return workbench.fitted(features, answers, method="global", lmbda=0.1).transform


def true_values(
    Z: np.ndarray, X: np.ndarray, mind: np.ndarray, objects: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """The values that the intervals should hold; prints the standard error of the first."""
    sets = rng.integers(0, len(objects), size=(N_SETS, 3))
    a, b, c = sets.T
    sets = objects[sets[(a != b) & (a != c) & (b != c)]]
    aligned = expected_credit(Z, mind, sets)
    difference = (aligned - expected_credit(X, mind, sets)).mean()
    error = aligned.std() / np.sqrt(len(sets))  # the population has no other objects
    print(f"truth: accuracy {aligned.mean():.5f} ± {error:.5f}, difference {difference:.5f}")
    return {"accuracy": aligned.mean(), "difference": difference, "permuted": 1 / 3}


def intervals(
    Z: np.ndarray, X: np.ndarray, answers: Answers, rng: np.random.Generator
) -> dict[tuple[str, str], tuple[float, float]]:
    """The intervals of each estimand: that of the package, and one for independent answers."""
    credit = answer_credit(Z, answers)
    permuted = Answers(rng.permuted(answers.objects, axis=1))
    values = {
        "accuracy": credit,
        "difference": credit - answer_credit(X, answers),
        "permuted": answer_credit(Z, permuted),
    }
    ends = {}
    for name, value in values.items():
        ends[name, "analytic"] = answer_estimate(value, answers.objects).interval()
        half = 1.959964 * value.std() / np.sqrt(len(value))
        ends[name, "independent"] = value.mean() - half, value.mean() + half
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=200)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    population = simulated_world(
        n_superordinate=20,
        n_category=10,
        n_object=50,
        n_local=1,
        n_triplets=1,
        dimensions=32,
        seed=7,
    )
    rng = np.random.default_rng(0)
    fitted, rest = np.split(rng.permutation(len(population.objects)), [N_FITTED])
    X = population.objects.standardization(population.objects.matrix, "float64")
    transform = fitted_transform(population, fitted)
    Z = transform.apply(np.asarray(population.objects.matrix, dtype=np.float64))
    truths = true_values(Z, X, population.mind, rest, rng)
    print("objects  answers  estimand     interval       coverage  mean width")
    for n_objects, n_answers in DESIGNS:
        worlds = []
        for world in range(options.worlds):
            rng = np.random.default_rng(1000 + world)
            rows = rng.choice(rest, n_objects, replace=False)
            answers = simulated_answers(population.mind[rows], n_answers, seed=world)
            worlds.append(intervals(Z[rows], X[rows], answers, rng))
            if world == 0:
                score = odd_one_out(Z[rows], answers)
                assert np.allclose((score.low, score.high), worlds[0]["accuracy", "analytic"])
        for estimand, label in worlds[0]:
            low, high = np.array([ends[estimand, label] for ends in worlds]).T
            coverage = np.mean((low <= truths[estimand]) & (truths[estimand] <= high))
            print(
                f"{n_objects:7d}  {n_answers:7d}  {estimand:11s}  {label:12s}  {coverage:8.3f}"
                f"  {np.mean(high - low):10.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
