"""Class names beside examples, for `make evidence`.

The categories of unseen THINGS objects and the classes of CIFAR-10 that have a word in images.toml,
by nearest class means of 0, 1, 2 or 5 examples a class, by names, and by both. Animals and vehicles
are told apart by the class with the best name. Arms are compared on the draws of the examples.
"""

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import arms
import numpy as np
import pandas as pd
import tasks
from tasks import Row
from workbench import ROOT, data_of, kept

from glocal import Features, LinearTransform, few_shot
from glocal.evaluation.class_names import name_scores
from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import balanced_values
from glocal.evaluation.intervals import ItemValues
from glocal.evaluation.probes import shared_credit
from glocal.files import array_sha256

NETWORK = tasks.IMAGE_TEXT
ARMS = ("original", "centred", "keep-0.9", "global", "centred-keep-0.9")
BY_NAME = "class-names"
SHOTS = (1, 2, 5)
ANIMALS = ROOT / "benchmarks/superclasses/animals.csv"
Images = tuple[np.ndarray, np.ndarray, Features]
"""Rows, their classes, and the texts of the classes."""


def image_sets() -> dict[str, dict[str, Images]]:
    """The images of each set by the part of the transforms that is applied to them."""
    X = data_of(NETWORK).features.matrix
    folds = enumerate(tasks.objects(NETWORK))
    sets = {
        "named-things": {str(k): (X[rows], y) for k, (rows, y) in folds},
        "named-cifar10": {"all": arms.images(NETWORK)["cifar10"]},
    }
    return {
        name: {part: with_words(*images, arms.IMAGES["words"][name]) for part, images in of.items()}
        for name, of in sets.items()
    }


def with_words(X: np.ndarray, y: np.ndarray, words: dict[str, str]) -> Images:
    """The images of the classes that have a word, and the features of these words."""
    texts = tasks.texts()
    rows = [(texts.names or ()).index(word) for word in words.values()]
    has_word = np.isin(y, [*words])
    return X[has_word], y[has_word], Features(texts.matrix[rows], tuple(words))


def measure() -> list[Row]:
    """The rows of all sets."""
    rows: list[Row] = []
    for name, parts in image_sets().items():
        images = [(array_sha256(X), y.tolist()) for X, y, _ in parts.values()]
        inputs = [images, arms.IMAGES["words"], [arms.hashes(NETWORK, arm) for arm in ARMS]]
        file = arms.FOLDER / "names" / f"{name}.json"
        rows += kept(file, inputs, partial(set_rows, name, parts))
    return rows


def set_rows(name: str, parts: dict[str, Images]) -> list[Row]:
    """The rows of a set: by names, by examples of each arm, and by both."""
    loaded = {arm: arms.transforms(NETWORK, arm) for arm in ARMS}
    alone = [by_name(*images) for images in parts.values()]
    rows = task_rows(f"{name} 0", {BY_NAME: alone}, BY_NAME)
    if name == "named-cifar10":
        animals = [animal_or_vehicle(*images) for images in parts.values()]
        rows += task_rows("named-animals 0", {BY_NAME: animals}, BY_NAME)
    for shots, has_names in itertools.product(SHOTS, (False, True)):
        results = {
            arm: [by_examples(transforms[part], *parts[part], shots, has_names) for part in parts]
            for arm, transforms in loaded.items()
        }
        pairs = zip(alone, results["original"], strict=True)
        named = {BY_NAME: [on_the_images_of(*pair) for pair in pairs]}
        task = f"{name} {shots}{' named' * has_names}"
        rows += task_rows(task, results, "original")
        rows += task_rows(task, named | results, BY_NAME)
    return rows


def by_name(X: np.ndarray, y: np.ndarray, texts: Features) -> Result:
    """The classes of images by their names alone."""
    return few_shot(X, y, shots=0, texts=texts, originals=X)


def by_examples(
    transform: LinearTransform,
    X: np.ndarray,
    y: np.ndarray,
    texts: Features,
    shots: int,
    has_names: bool,
) -> Result:
    """The classes of images by examples, alone or with names."""
    options: dict[str, Any] = {"texts": texts, "originals": X} if has_names else {}
    return few_shot(transform(X), y, shots=shots, probe="ncm", **options)


def animal_or_vehicle(X: np.ndarray, y: np.ndarray, texts: Features) -> Result:
    """The superclasses of images by the names of their classes."""
    superclass_of = pd.read_csv(ANIMALS, dtype=str).set_index("class")["superclass"]
    classes, codes = np.unique(y, return_inverse=True)
    names = name_scores(texts, classes, X, X, shots=0)
    superclasses = superclass_of[classes].to_numpy()
    kin = superclasses[:, None] == superclasses
    credits = shared_credit(names.scores, codes, names.tolerance, kin)
    units = ItemValues(values=balanced_values(credits, codes))
    return replace(by_name(X, y, texts), units=units)


def on_the_images_of(alone: Result, examples: Result) -> Result:
    """The scores by names, on the images that each draw of examples tests."""
    is_tested = ~np.isnan(examples.units.values)
    units = replace(examples.units, values=np.where(is_tested, alone.by_image, np.nan))
    return replace(examples, units=units)


def task_rows(task: str, results: dict[str, list[Result]], base: str) -> list[Row]:
    """The rows of all arms of a task less a base, pooled over folds."""
    pooled = {arm: tasks.pooled(folds) for arm, folds in results.items()}
    pairs = [(arm, base) for arm in pooled]
    return [{"task": task, **row} for row in tasks.paired_rows(pooled, pairs)]
