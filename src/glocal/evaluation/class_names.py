"""Class names: images are compared with the texts of their classes, alone or beside examples.

A transform has no part in it: texts meet the original image rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.data.features import Features
from glocal.data.labels import class_names
from glocal.data.names import positions_of
from glocal.errors import DataError, ParameterError
from glocal.evaluation.sides import leave_out, matching_rows
from glocal.similarity import Choices, Labels, tie_tolerance, unit_rows

EXAMPLES_IN_A_NAME = 2
"""A class name counts as so many examples.

Of 1 and 2, this has the higher mean accuracy beside 1, 2 and 5 examples (docs/log.md).
"""
_PARTS = ("texts", "original rows of training images", "original rows of test images")


class NameScores(NamedTuple):
    """The scores of images by the names of the classes, and the largest rounding difference.

    The scores are centred over the classes.
    """

    scores: Float[np.ndarray, "m c"]
    tolerance: float

    def beside(self, examples: Choices, images: np.ndarray, tolerance: float) -> NameScores:
        """Add the scores of some images by examples, scaled to a root mean square of 1."""
        scaled = _scaled(examples, tolerance)
        return NameScores(
            scores=scaled.scores + self.scores[images],
            tolerance=scaled.tolerance + self.tolerance,
        )


def name_scores(
    texts: Features,
    class_labels: Labels,
    originals: np.ndarray,
    tested: np.ndarray,
    shots: int,
) -> NameScores:
    """Score images by the cosine with the text of each class, to be added to so many `shots`.

    Texts (of length 1) less the mean of the texts of the classes are compared with image rows (of
    length 1) less the mean of all `originals`. The root mean square of the scores is
    `EXAMPLES_IN_A_NAME` / `shots`, or 1 without shots.

    Parameters
    ----------
    texts : Features
        Embeddings by the text side of the network, named like the classes.
    class_labels : (c,) labels
    originals, tested : (n, p) and (m, p) real arrays
        The original rows of the training images and of the tested ones.

    Raises
    ------
    DataError
        If a class has no text, or the widths differ.
    """
    text_rows = _texts_of(texts, class_labels)
    text_rows, originals, tested = matching_rows(
        _PARTS,
        text_rows,
        originals,
        tested,
    )
    T = unit_rows(text_rows)
    X = unit_rows(originals)
    Y = unit_rows(tested)
    centred_texts = unit_rows(T - T.mean(axis=0))
    centred_images = unit_rows(Y - X.mean(axis=0))
    cosines = centred_images @ centred_texts.T
    scaled = _scaled(cosines, tie_tolerance(T.shape[1]))
    weight = EXAMPLES_IN_A_NAME / shots if shots else 1.0
    return NameScores(
        scores=weight * scaled.scores,
        tolerance=weight * scaled.tolerance,
    )


def checked_originals(
    originals: np.ndarray | None,
    originals_test: np.ndarray | None,
    X_train: np.ndarray,
    X_test: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The original rows of training and test images; raises an error if one of them is missing."""
    if X_test is None and originals_test is None:
        X_test = X_train
        originals_test = originals
    if originals is None or originals_test is None or X_test is None:
        raise ParameterError(
            "texts are compared with images before any transform: give `originals`, and "
            "`originals_test` exactly if there are test images."
        )
    for rows, X in ((originals, X_train), (originals_test, X_test)):
        if len(rows) != len(X):
            raise DataError(
                f"there are {len(rows)} original rows of {len(X)} images; give a row for each."
            )
    return originals, originals_test


def _texts_of(texts: Features, classes: Labels) -> np.ndarray:
    """The text of each class; a DataWarning counts the others."""
    if texts.names is None:
        raise DataError(
            "the texts have no names; name each row like its class, in file_names.txt beside them."
        )
    names = [str(name) for name in classes.tolist()]
    row_of = positions_of(names, class_names(texts.names), "texts")
    lacking = [name for name in names if name not in row_of]
    n_other_texts = len(texts) - len(names)
    if lacking:
        raise DataError(
            f"{len(lacking)} of the {len(names)} classes have no text, the first of them "
            f"{lacking[0]}; the texts have names such as {texts.names[0]}. Add its text."
        )
    leave_out(n_other_texts, len(texts), "texts name no class")
    rows = [row_of[name] for name in names]
    return texts.matrix[rows]


def _scaled(scores: Choices, tolerance: float) -> NameScores:
    """Scores less their mean over classes, divided by the root mean square of all; 0/0 is 0."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    root_mean_square = float(np.square(centred).mean() ** 0.5)
    if root_mean_square <= tolerance:
        return NameScores(np.zeros_like(centred), 0.0)
    return NameScores(
        scores=centred / root_mean_square,
        tolerance=tolerance / root_mean_square,
    )
