"""The four BREEDS tasks: superclasses of ImageNet whose training and test subclasses differ.

``breeds.json`` lists, for each task and superclass, the ImageNet classes that train and those that
test: the "rand" split of the release (seed 2). NOTE the numbers were computed with the authors'
code from their hierarchy of classes, whose repository (MadryLab/BREEDS-Benchmarks) states no
licence; the names of superclasses are WordNet's.

References
----------
Santurkar, Tsipras & Madry (2021), BREEDS: Benchmarks for Subpopulation Shift, ICLR, section 4 and
table 1.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from glocal.data.features import Features
from glocal.data.labels import superclass_rows
from glocal.errors import DataError, ParameterError
from glocal.files import read_object


@cache
def breeds() -> dict[str, dict[str, list[list[int]]]]:
    """Task → superclass → the class numbers that train, and those that test."""
    return read_object(Path(__file__).with_name("breeds.json"), what="table")


def breeds_sides(
    task: str, train: Features, train_labels: np.ndarray, test: Features, test_labels: np.ndarray
) -> tuple[Features, np.ndarray, Features, np.ndarray]:
    """The images of `train` that train and those of `test` that test, with their superclasses.

    Labels are the ImageNet classes of all images: numbers, 0 to 999 in the order of the WordNet
    ids; or these ids, where the images are of all thousand classes. A DataError where they are not,
    or where no image is of the part. `train` and `test` may be the same images.
    """
    if task not in breeds():
        raise ParameterError(f"the BREEDS task is {task!r}; allowed are {', '.join(breeds())}.")
    return (
        *_side(task, train, train_labels, "training"),
        *_side(task, test, test_labels, "test"),
    )


def _side(
    task: str, features: Features, classes: Shaped[np.ndarray, " n"], part: str
) -> tuple[Features, Shaped[np.ndarray, " k"]]:
    """The images of one part, and the superclass of each by name."""
    names, numbers = np.unique(classes, return_inverse=True)
    if classes.dtype.kind in "iu":
        numbers = classes
    elif len(names) != 1000:
        raise DataError(
            f"{task} needs the ImageNet class of each image: numbers from 0 to 999, or the WordNet "
            f"ids of all 1000 classes; {len(names)} names are given, {str(names[0])!r} the first."
        )
    superclass: dict[int, str] = {}
    for name, (training_numbers, test_numbers) in breeds()[task].items():
        superclass |= dict.fromkeys(test_numbers if part == "test" else training_numbers, name)
    rows, superclasses = superclass_rows(numbers, superclass, part)
    return Features(features.matrix[rows], None, features.source), superclasses
