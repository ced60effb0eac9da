"""Coverage on simulated worlds: how often the 95 % interval holds the truth, and its width.

agreement  a fixed transform on new objects and answers of one population; `independent` counts the
           answers as independent. With people, each of whom weighs the dimensions in another way,
           the people are new too.
few-shot   nearest class means on new pools of shots and new test images of the same classes, of 5,
           10 and 40 draws
anomaly    new test images, for the given training images
retrieval  new images of the same classes, in one set or with a gallery apart

The second estimand is the paired difference of a transform from none. All scores are unbiased, so
that the truth is their mean over the worlds; the error in brackets is that of the coverage. `width`
is the mean standard error that is stated, over the standard deviation of the scores.

Run: python benchmarks/interval_coverage.py [--n 1000] [agreement] [few-shot] [anomaly] [retrieval]
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from glocal.aligner import Arm, FitData, fit
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.world import simulated_answers, simulated_world
from glocal.evaluation.agreement import answer_credit, credit_units
from glocal.evaluation.anomaly import MODES, anomaly
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import Estimate, Result, Units
from glocal.evaluation.retrieval import retrieval

N_FITTED = 300  # objects
AGREEMENT = (  # objects, answers and people; 0 people: one mind
    (60, 3000, 0),  # the objects decide
    (200, 5000, 0),
    (1000, 3000, 0),  # the answers decide
    (200, 4000, 10),  # the people decide
    (60, 4000, 40),  # objects and people
)
CLASSES = (2, 4, 10, 30)
POOLS = ((15, 1), (60, 1), (60, 5), (15, 5))  # images of a class, and shots; the last is rough
DRAWS = (5, 10, 40)
DIMENSIONS = 16
STRETCH = np.repeat([1.5, 0.5], DIMENSIONS // 2)  # a transform
Images = tuple[np.ndarray, np.ndarray]
"""Rows and their labels."""
Sample = Callable[[np.random.Generator, int], Images]


def report(design: str, worlds: list[dict[str, Estimate]]) -> None:
    """Print the coverage of each estimand."""
    for estimand in worlds[0]:
        estimates = [world[estimand] for world in worlds]
        means = np.array([estimate.mean for estimate in estimates])
        halves = np.array([estimate.half for estimate in estimates])
        errors = [estimate.error or 0.0 for estimate in estimates]
        coverage = float(np.mean(np.abs(means - means.mean()) <= halves))
        error = (coverage * (1 - coverage) / len(worlds)) ** 0.5
        print(
            f"{design:34s} {estimand:24s} {coverage:.3f} ({error:.3f})"
            f"  half {halves.mean():.4f}  width {np.mean(errors) / means.std():.2f}",
            flush=True,
        )


def agreement(n_worlds: int) -> None:
    """The coverage of agreement with answers of one mind, and of people who differ."""
    population = simulated_world(
        n_superordinate=20, n_category=10, n_object=50, n_local=1, n_triplets=1, dimensions=32,
        seed=7,
    )  # fmt: skip
    fitted, rest = np.split(
        np.random.default_rng(0).permutation(len(population.objects)), [N_FITTED]
    )
    features = Features(population.objects.matrix[fitted])
    answers = simulated_answers(population.mind[fitted], 20_000, seed=1)
    transform = fit(FitData(features, answers), Arm(method="global", lmbda=0.1)).transform
    X = population.objects.standardization(population.objects.matrix, "float64")
    Z = transform.apply(np.asarray(population.objects.matrix, dtype=np.float64))
    for n_objects, n_answers, n_people in AGREEMENT:
        worlds = []
        for seed in range(n_worlds):
            rng = np.random.default_rng(1000 + seed)
            rows = rng.choice(rest, n_objects, replace=False)
            answers = answers_of(population.mind[rows], n_answers, n_people, seed)
            after = credit_units(answer_credit(Z[rows], answers), answers)
            before = credit_units(answer_credit(X[rows], answers), answers)
            worlds.append(
                {
                    "accuracy": after.estimate(),
                    "difference": after.minus(before),
                    "accuracy, independent": Units(values=after.values).estimate(),
                }
            )
        report(f"agreement {n_objects} {n_answers} {n_people} people", worlds)


def answers_of(mind: np.ndarray, n: int, n_people: int, seed: int) -> Answers:
    """Answers of one mind, or of people of whom each weighs the dimensions in another way."""
    if not n_people:
        return simulated_answers(mind, n, seed=seed)
    rng = np.random.default_rng(seed)
    parts = []
    for person in range(n_people):
        own = mind * np.exp(0.5 * rng.standard_normal(mind.shape[1]))
        parts.append(simulated_answers(own, n // n_people, seed=[seed, person]).objects)
    return Answers(
        np.concatenate(parts), person=np.repeat(np.arange(n_people), n // n_people).astype(str)
    )


def images_of(n_classes: int, rng: np.random.Generator) -> Sample:
    """The function that draws images of Gaussian classes around fixed means."""
    means = 1 + 0.55 * rng.standard_normal((n_classes, DIMENSIONS))

    def sample(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(n_classes), n)
        return means[labels] + rng.standard_normal((len(labels), DIMENSIONS)), labels

    return sample


def scaled(evaluate: Callable[[np.ndarray], Result]) -> dict[str, Estimate]:
    """The score of the transform, and its difference from none; `evaluate` takes the scales."""
    after = evaluate(STRETCH).units
    before = evaluate(np.ones(DIMENSIONS)).units
    return {"score": after.estimate(), "difference": after.minus(before)}


def anomaly_world(
    X: np.ndarray, y: np.ndarray, T: np.ndarray, truth: np.ndarray, mode: str
) -> dict[str, Estimate]:
    return scaled(lambda scale: anomaly(X * scale, y, T * scale, truth, mode=mode))


def retrieval_world(queries: Images, gallery: Images | None) -> dict[str, Estimate]:
    Q, labels = queries
    if gallery is None:
        return scaled(lambda scale: retrieval(Q * scale, labels))
    G, names = gallery
    return scaled(lambda scale: retrieval(Q * scale, labels, G * scale, names))


def few_shot_worlds(n_worlds: int) -> None:
    """The coverage of few-shot accuracy by classes, pools, shots, sets and draws."""
    for is_one_set, n_classes, (pool, shots) in itertools.product((True, False), CLASSES, POOLS):
        sample = images_of(n_classes, np.random.default_rng(100 * n_classes + pool + shots))
        worlds: dict[int, list[dict[str, Estimate]]] = {draws: [] for draws in DRAWS}
        for seed in range(n_worlds):
            rng = np.random.default_rng(seed)
            X, y = sample(rng, pool)
            T, truth = (X, y) if is_one_set else sample(rng, 40)
            options = {"shots": shots, "draws": max(DRAWS), "probe": "ncm", "seed": seed}
            after, before = (
                few_shot(
                    X * scale, y, T * scale, truth, leave_out_shots=is_one_set, **options
                ).units
                for scale in (STRETCH, np.ones(DIMENSIONS))
            )
            for draws in DRAWS:
                first = replace(after, values=after.values[:draws])
                base = replace(before, values=before.values[:draws])
                worlds[draws].append({"score": first.estimate(), "difference": first.minus(base)})
        for draws in DRAWS:
            design = f"few-shot {1 if is_one_set else 2} sets C {n_classes} n {pool} k {shots}"
            report(f"{design} D {draws}", worlds[draws])


def anomaly_worlds(n_worlds: int) -> None:
    """The coverage of the mean AUROC by modes, classes and test images."""
    for mode, n_classes, n_test in itertools.product(MODES[:2], CLASSES[1:], (10, 40)):
        sample = images_of(n_classes, np.random.default_rng(n_classes))
        X, y = sample(np.random.default_rng(n_test), 30)
        worlds = []
        for seed in range(n_worlds):
            T, truth = sample(np.random.default_rng(seed), n_test)
            worlds.append(anomaly_world(X, y, T, truth, mode))
        report(f"anomaly {mode} C {n_classes} test {n_test}", worlds)


def retrieval_worlds(n_worlds: int) -> None:
    """The coverage of mAP by sets, classes and images of a class."""
    for is_one_set, n_classes, n_images in itertools.product((True, False), CLASSES[1:], (10, 30)):
        sample = images_of(n_classes, np.random.default_rng(n_classes))
        worlds = []
        for seed in range(n_worlds):
            rng = np.random.default_rng(seed)
            queries = sample(rng, n_images)
            gallery = None if is_one_set else sample(rng, n_images)
            worlds.append(retrieval_world(queries, gallery))
        report(f"retrieval {1 if is_one_set else 2} sets C {n_classes} n {n_images}", worlds)


PARTS: dict[str, Callable[[int], None]] = {
    "agreement": agreement,
    "few-shot": few_shot_worlds,
    "anomaly": anomaly_worlds,
    "retrieval": retrieval_worlds,
}


def main(parts: Iterable[str], n_worlds: int) -> None:
    warnings.simplefilter("ignore")
    for part in parts:
        PARTS[part](n_worlds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--n", type=int, default=1000, help="worlds of each design")
    options = parser.parse_args()
    main(options.parts or PARTS, options.n)
