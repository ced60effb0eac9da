"""Coverage of the intervals on simulated worlds: how often the nominal 95 % interval holds the truth, and its width.

The estimand is the accuracy of a fixed transform on a new draw of objects and answers. One large population of objects
is drawn; a transform is fitted on some of them and never again; each world draws other objects from the population,
and answers about them. The truth is the expected accuracy over all sets of three objects of the population, by the
probabilities of the simulated people (two million random sets; its own standard error is printed).
Two things are covered: the accuracy of the transform, and its paired difference to the untransformed features.
Last, the answers are permuted (the odd one drawn at random): intervals should hold 1/3 as often.
Run: python benchmarks/interval_coverage.py [--worlds 200].
"""

from __future__ import annotations

import argparse
import warnings

import workbench  # isort: skip  before torch

import numpy as np

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.world import simulated_answers, simulated_world
from glocal.evaluation.agreement import answer_credit, odd_one_out
from glocal.evaluation.intervals import answer_estimate

FITTED, SETS = 300, 2_000_000
DESIGNS = ((60, 3000), (200, 5000), (1000, 3000))  # objects, answers: objects decide; between; answers decide


def expected_credit(Z: np.ndarray, mind: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """The credit that each set of three objects earns on average over the answers people may give."""
    expected = np.zeros(len(sets))
    a, b, c = sets.T
    dots = np.stack([np.einsum("ij,ij->i", mind[i], mind[j]) for i, j in ((a, b), (a, c), (b, c))])
    share = np.exp(dots - dots.max(axis=0))
    share /= share.sum(axis=0)
    for probability, order in zip(share, ([0, 1, 2], [0, 2, 1], [1, 2, 0]), strict=True):
        expected += probability * answer_credit(Z, Answers(sets[:, order]))
    return expected


def permuted(answers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same sets with the odd one drawn at random."""
    return rng.permuted(answers, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=200)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    population = simulated_world(
        n_superordinate=20, n_category=10, n_object=50, n_local=1, n_triplets=1, dimensions=32, seed=7
    )
    rng = np.random.default_rng(0)
    order = rng.permutation(len(population.objects))
    fitted, rest = order[:FITTED], order[FITTED:]
    X = population.objects.standardization(population.objects.matrix, "float64")
    learnt = simulated_answers(population.mind[fitted], 20_000, seed=1)
    transform = workbench.fitted(
        Features(population.objects.matrix[fitted]), learnt, method="global", lmbda=0.1
    ).transform
    Z = transform.apply(np.asarray(population.objects.matrix, dtype=np.float64))
    sets = rng.integers(0, len(rest), size=(SETS, 3))
    sets = rest[sets[(sets[:, 0] != sets[:, 1]) & (sets[:, 0] != sets[:, 2]) & (sets[:, 1] != sets[:, 2])]]
    aligned, original = (expected_credit(E, population.mind, sets) for E in (Z, X))
    truths = {"accuracy": aligned.mean(), "difference": (aligned - original).mean(), "permuted": 1 / 3}
    error = aligned.std() / np.sqrt(len(sets))  # of the population at hand, whose objects are all there are
    print(f"truth: accuracy {truths['accuracy']:.5f} ± {error:.5f}, difference {truths['difference']:.5f}")
    print("objects  answers  estimand     interval       coverage  mean width")
    for objects, n_answers in DESIGNS:
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for world in range(options.worlds):
            rng = np.random.default_rng(1000 + world)
            drawn = rng.choice(rest, objects, replace=False)
            answers = simulated_answers(population.mind[drawn], n_answers, seed=world)
            chance = Answers(permuted(answers.objects, rng))
            values = {
                "accuracy": (credit := answer_credit(Z[drawn], answers)),
                "difference": credit - answer_credit(X[drawn], answers),
                "permuted": answer_credit(Z[drawn], chance),
            }
            for name, value in values.items():
                found.setdefault((name, "analytic"), []).append(answer_estimate(value, answers.objects).interval())
                half = 1.959964 * value.std() / np.sqrt(len(value))
                found.setdefault((name, "independent"), []).append((value.mean() - half, value.mean() + half))
            if world == 0:
                told = odd_one_out(Z[drawn], answers)
                assert np.allclose((told.low, told.high), found["accuracy", "analytic"][0])
        for (name, label), ends in found.items():
            low, high = np.array(ends).T
            held = np.mean((low <= truths[name]) & (truths[name] <= high))
            print(
                f"{objects:7d}  {n_answers:7d}  {name:11s}  {label:12s}  {held:8.3f}  {np.mean(high - low):10.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
