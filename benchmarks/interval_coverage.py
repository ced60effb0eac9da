"""Coverage on simulated worlds: how often the 95 % interval holds the truth, and its width.

agreement  the features of people instead of those of a network, on new objects and answers of one
           population. With people, each of whom weighs the dimensions in another way, the people
           are new too.
few-shot   nearest class means on new pools of shots and new test images of the same classes, of 5,
           10 and 40 draws, in one set or with test images apart. A pool below four images of a
           class for each shot is rough.
anomaly    new test images of the same classes, for the given training images, in three modes
retrieval  new images of the same classes, in one set or with a gallery apart
all labels new images of the same classes, each classified by all others

The second estimand is the paired difference of a transform from none, or of the two features. All
scores are unbiased, so that the truth is their mean over the worlds; the error in brackets is that
of the coverage. `width` is the mean standard error that is stated, over the standard deviation of
the scores.

`choices` counts how often `glocal try` recommends one of five arms that have the same class means
and independent noise, so that none is better: of 200 sets of each design, by situation.

Worlds are made in chunks of 100, in two processes, and kept in bench-out/coverage.

Run: python benchmarks/interval_coverage.py [--n 1000] [agreement] … [all-labels] [choices]
"""

import itertools
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import workbench
from workbench import OUT, kept

from glocal.advice import SituationChoice
from glocal.data.answers import Answers
from glocal.data.world import simulated_answers, simulated_world
from glocal.evaluation.agreement import answer_credit, credit_units
from glocal.evaluation.anomaly import anomaly
from glocal.evaluation.comparison import Result
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import Units
from glocal.evaluation.retrieval import retrieval
from glocal.scores import ORIGINAL
from glocal.verdict.arms import TransformedArms
from glocal.verdict.choice import decide
from glocal.verdict.images import LabelledImages
from glocal.verdict.situations import tasks

DRAWS = (5, 10, 40)
DIMENSIONS = 16
STRETCH = np.repeat([1.5, 0.5], DIMENSIONS // 2)  # a transform
CHUNK = 100
SETS = 200
CHOICES = ((4, 10), (6, 12, 50))
"""The numbers of classes, and of images of each, of the sets of `choices`."""
Images = tuple[np.ndarray, np.ndarray]
"""Rows and their labels."""
World = dict[str, tuple[float, float, float]]
"""The mean, the half of the interval, and the error of each estimand."""


def compared(sides: Iterable[Units], prefix: str = "") -> World:
    """The score of the transform, and its difference from none."""
    after, before = sides
    estimates = {"score": after.estimate(), "difference": after.minus(before)}
    world = {}
    for name, estimate in estimates.items():
        highest = estimate.interval()[1]
        half = 0.0 if highest is None else highest - estimate.mean
        world[prefix + name] = (estimate.mean, half, estimate.error or 0.0)
    return world


def scaled(evaluate: Callable[..., Result], *sides: np.ndarray, **options: Any) -> list[Units]:
    """The units of a transform, which scales the columns of matrices, and of none."""
    return [
        evaluate(*(side * scale if side.ndim == 2 else side for side in sides), **options).units
        for scale in (STRETCH, 1)
    ]


@cache
def population() -> tuple[np.ndarray, np.ndarray]:
    """The features of all objects by people, and by a network."""
    world = simulated_world(
        n_superordinate=20, n_category=10, n_object=50, n_local=1, n_answers=1, dimensions=32,
        seed=7,
    )  # fmt: skip
    return world.mind, world.objects.scaling(world.objects.matrix, "float64")


def agreement_world(size: tuple[int, int, int], seed: int) -> World:
    """New objects and answers of one mind, or of people who weigh the dimensions differently."""
    n_objects, n_answers, n_people = size
    minds, X = population()
    rng = np.random.default_rng(1000 + seed)
    rows = rng.choice(len(minds), n_objects, replace=False)
    people = max(n_people, 1)
    parts = []
    for person in range(people):
        weights = np.exp(0.5 * rng.standard_normal(minds.shape[1])) if n_people else 1
        number = n_answers // people
        parts.append(simulated_answers(minds[rows] * weights, number, seed=1000 * seed + person))
    persons = np.repeat(np.arange(people), n_answers // people).astype(str)
    objects = np.concatenate([part.objects for part in parts])
    answers = Answers(objects, person=persons if n_people else None)
    return compared(credit_units(answer_credit(E[rows], answers), answers) for E in (minds, X))


def sample(n_classes: int, n: int, rng: np.random.Generator) -> Images:
    """Images of Gaussian classes, whose means are always the same."""
    fixed = np.random.default_rng(n_classes)
    means = 1 + 0.55 * fixed.standard_normal((n_classes, DIMENSIONS))
    labels = np.repeat(np.arange(n_classes), n)
    return means[labels] + rng.standard_normal((len(labels), DIMENSIONS)), labels


def few_shot_world(n_sets: int, n_classes: int, pool: tuple[int, int], seed: int) -> World:
    """A new pool and new test images; fewer draws are the first of the most."""
    rng = np.random.default_rng(seed)
    n_images, shots = pool
    X, y = sample(n_classes, n_images, rng)
    test = sample(n_classes, 40, rng) if n_sets == 2 else ()
    options: dict[str, Any] = {"shots": shots, "draws": max(DRAWS), "seed": seed}
    units = scaled(few_shot, X, y, *test, probe="ncm", **options)
    world: World = {}
    for draws in DRAWS:
        first = (replace(part, values=part.values[:draws]) for part in units)
        world |= compared(first, f"{draws} draws, ")
    return world


def anomaly_world(mode: str, n_classes: int, n_test: int, seed: int) -> World:
    """New test images; in a shift, a superclass has two classes, one of which is trained."""
    X, y = sample(n_classes, 30, np.random.default_rng(n_test))
    T, truth = sample(n_classes, n_test, np.random.default_rng(1000 + seed))
    options: dict[str, Any] = {"mode": mode}
    if mode == "shift":
        options["superclasses"] = {name: f"s{name // 2}" for name in range(n_classes)}
    return compared(scaled(anomaly, X, y, T, truth, **options))


def retrieval_world(n_sets: int, n_classes: int, n_images: int, seed: int) -> World:
    """New images, in one set or with a gallery apart."""
    rng = np.random.default_rng(seed)
    sides = [part for _ in range(n_sets) for part in sample(n_classes, n_images, rng)]
    return compared(scaled(retrieval, *sides))


def all_labels_world(n_classes: int, n_images: int, seed: int) -> World:
    """New images of fixed classes."""
    X, y = sample(n_classes, n_images, np.random.default_rng(seed))
    return compared(scaled(few_shot, X, y, shots=None))


def arms_alike(n_classes: int, n_images: int, seed: int) -> tuple[TransformedArms, np.ndarray]:
    """Five arms whose images have the same class means, and noise of their own; their labels."""
    rng = np.random.default_rng(seed)
    sets = [sample(n_classes, n_images, rng) for _ in range(5)]
    names = (ORIGINAL, *(f"arm {k}" for k in range(1, 5)))
    rows = {name: [X] for name, (X, _) in zip(names, sets, strict=True)}
    return TransformedArms(rows, {}), sets[0][1]


def choices(n_classes: int, n_images: int, seed: int) -> list[str]:
    """The situations in which one of five arms that are alike is recommended."""
    arms, y = arms_alike(n_classes, n_images, seed)
    images = LabelledImages.from_rows(arms.rows[ORIGINAL], [y])
    decided = [decide(task, arms).situation for task in tasks(images, normal=[y[0]])]
    return [
        situation.name for situation in decided if situation.choice == SituationChoice.RECOMMEND
    ]


PARTS: dict[str, Callable[..., World]] = {
    "agreement": agreement_world,
    "few-shot": few_shot_world,
    "anomaly": anomaly_world,
    "retrieval": retrieval_world,
    "all-labels": all_labels_world,
}
DESIGNS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def chunk(part: str, design: tuple[Any, ...], first: int) -> list[World]:
    """The worlds of some seeds."""
    warnings.simplefilter("ignore")
    make = partial(PARTS[part], *design)
    name = "-".join(map(str, design))
    file = OUT / "coverage" / f"{part}-{name}-{first}.json"
    worlds: list[World] = kept(
        file, CHUNK, lambda: [make(seed) for seed in range(first, first + CHUNK)]
    )
    return worlds


def report(design: str, worlds: list[World]) -> None:
    """Print the coverage of each estimand."""
    for estimand in worlds[0]:
        means, halves, errors = np.array([world[estimand] for world in worlds]).T
        coverage = float(np.mean(np.abs(means - means.mean()) <= halves))
        error = (coverage * (1 - coverage) / len(worlds)) ** 0.5
        width = errors.mean() / means.std()
        print(
            f"{design:32s} {estimand:22s} {coverage:.3f} ({error:.3f})"
            f"  half {halves.mean():.4f}  width {width:.2f}",
            flush=True,
        )


def report_choices(n: int) -> None:
    """Print how many of n sets get a recommendation, by design and situation."""
    for n_classes, n_images in itertools.product(*CHOICES):
        file = OUT / "coverage" / f"choices-{n_classes}-{n_images}-{n}.json"
        make = partial(choices, n_classes, n_images)
        sets = kept(file, n, partial(list, map(make, range(n))))
        counted = Counter(itertools.chain.from_iterable(sets))
        counts = ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
        print(
            f"{n_classes} classes of {n_images} images, of {n} sets: {counts or 'none'}", flush=True
        )


def main() -> None:
    """Make the worlds, and print a line for each design and estimand."""
    parser = workbench.parser(__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join([*PARTS, "choices"]))
    parser.add_argument("--n", type=int, default=1000, help="worlds of each design, in hundreds")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if not options.parts or "choices" in options.parts:
        report_choices(SETS)
    with ProcessPoolExecutor(2) as pool:
        for part in [part for part in options.parts or PARTS if part in PARTS]:
            for design in itertools.product(*DESIGNS[part]):
                make = partial(chunk, part, design)
                chunks = pool.map(make, range(0, options.n, CHUNK))
                worlds = [world for each in chunks for world in each]
                report(f"{part} {' '.join(map(str, design))}", worlds)


if __name__ == "__main__":
    main()
