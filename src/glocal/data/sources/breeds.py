"""The four BREEDS tasks: superclasses of ImageNet whose training and test subclasses differ.

``breeds.json`` lists the training and the test classes of ImageNet for each task and superclass.
They are the "rand" split of the release (seed 2). NOTE The numbers were computed with the authors'
code from their hierarchy of classes. The repository of both (MadryLab/BREEDS-Benchmarks) states no
licence. The names of superclasses come from WordNet.

References
----------
Santurkar, Tsipras & Madry (2021), BREEDS: Benchmarks for Subpopulation Shift, ICLR, section 4 and
table 1.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Shaped

from glocal.data.features import Features
from glocal.data.labels import superclass_rows
from glocal.errors import DataError
from glocal.files import read_object
from glocal.similarity import Labels

Part = Literal["training", "test"]


@cache
def breeds() -> dict[str, dict[str, dict[Part, list[int]]]]:
    """Return the class numbers of each part of each superclass of each task."""
    return read_object(Path(__file__).with_name("breeds.json"), what="table")


def breeds_side(
    task: str, features: Features, classes: Labels, part: Part
) -> tuple[Features, Shaped[np.ndarray, " k"]]:
    """The ``training`` or ``test`` images of a task, and the name of the superclass of each.

    `classes` are the ImageNet classes of the images: numbers, 0 to 999 in the order of the WordNet
    ids, or the ids themselves if the images are of all thousand classes. Raises a DataError if they
    are not, or if no image belongs to the part.
    """
    numbers = classes
    if classes.dtype.kind not in "iu":
        names, numbers = np.unique(classes, return_inverse=True)
        if len(names) != 1000:
            raise DataError(
                f"{task} needs the ImageNet class of each image: numbers from 0 to 999, or the "
                f"WordNet ids of all 1000 classes; the labels are {len(names)} names (first "
                f"{str(names[0])!r})."
            )
    superclass: dict[int, str] = {}
    for name, parts in breeds()[task].items():
        for number in parts[part]:
            superclass[number] = name
    rows, superclasses = superclass_rows(numbers, superclass, f"{part} images")
    return Features(features.matrix[rows], None, features.source), superclasses
