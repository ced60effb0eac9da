"""Faults that are planted in correct data, each with the name of the check that must find it."""

from collections import namedtuple
from dataclasses import replace

import numpy as np

from glocal import Answers, Features

# a change of the data, the check that must name it, and words of the message of the check
Fault = namedtuple("Fault", "plant check words")


def in_matrix(change, *named, role="features"):
    """A fault in the values of the features or of the local features."""

    def plant(case, rng):
        features = getattr(case, role)
        matrix = change(np.array(features.matrix), rng)
        return replace(case, **{role: Features(matrix, features.names, features.source)})

    return Fault(plant, *named)


def in_objects(change, *named):
    """A fault in the indices of the answers."""

    def plant(case, rng):
        objects = change(case.answers.objects.copy(), rng)
        return replace(case, answers=Answers(objects, kind=case.answers.kind))

    return Fault(plant, *named)


def _rows(factor, added=0.0):
    def change(X, rng):
        rows = rng.permutation(len(X))[:3]
        X[rows] = X[rows] * factor + added
        return X

    return change


def _half(X, rng):
    X[:, 7] = 70_000 * np.sign(X[:, 7]) + X[:, 7]
    with np.errstate(over="ignore"):
        return X.astype(np.float16)


FEATURES = {
    "rows of NaN": in_matrix(_rows(0, np.nan), "features", "nan at row"),
    "a column beyond half precision": in_matrix(_half, "features", "column 7.*65504"),
    "constant columns": in_matrix(
        lambda X, rng: np.append(X, np.full((len(X), 3), 5, X.dtype), axis=1),
        "constant", "3 of .* columns are constant",
    ),
    "rows of 0": in_matrix(_rows(0), "zero", "3 of .* rows are 0 everywhere"),
    "columns centred": in_matrix(
        lambda X, rng: X - X.mean(axis=0), "standardized", "every column"
    ),
    "the last batch twice": in_matrix(
        lambda X, rng: np.append(X[:-32], X[-64:-32], axis=0),
        "duplicates", "32 of .* rows repeat",
    ),
}  # fmt: skip


def _images_twice(case, rng):
    X, names = case.features.matrix, case.features.names
    return replace(case, features=Features(np.append(X, X[:12] + 1, axis=0), names + names[:12]))


NAMES = {
    "images twice under one name": Fault(_images_twice, "answers", "twice"),
    "rows in an order of their own": in_matrix(
        lambda X, rng: rng.permutation(X), "chance", "which is chance"
    ),
}


def _all_alternatives(objects, rng):
    third = objects[rng.permutation(len(objects))[: len(objects) // 3]]
    return np.concatenate([objects, third[:, [0, 2, 1]], third[:, [1, 2, 0]]])


def _counted_from_1_first_kept(case, rng):
    """Count from 1 and never name the last object, so that no index is out of range."""
    objects = case.answers.objects
    n = len(case.object_ids or case.features)
    return replace(case, answers=Answers(objects[(objects < n - 1).all(axis=1)] + 1))


ANSWERS = {
    "weights that are times": Fault(
        lambda case, rng: replace(
            case, answers=replace(case.answers, weights=rng.gamma(2.0, 2.0, len(case.answers)) + 1)
        ),
        "votes", "neither whole votes",
    ),
    "counted from 1": in_objects(lambda o, rng: o + 1, "answers", "1-based.*--base 1"),
    "counted from 1, none out of range": Fault(_counted_from_1_first_kept, "base", "count from 1"),
    "base 1 stated for nothing": in_objects(
        lambda o, rng: o[(o > 0).all(axis=1)] - 1, "order", "count from 0"
    ),
    "the list backwards": in_objects(lambda o, rng: o.max() - o, "order", "runs backwards"),
    "the odd one first": in_objects(
        lambda o, rng: o[:, [2, 0, 1]], "columns", "column 0 is odd"
    ),
    "all alternatives listed": in_objects(
        _all_alternatives, "contradictions", "chance is 0.333"
    ),
    "trained on the test": Fault(
        lambda case, rng: replace(
            case, heldout=case.answers.select(rng.permutation(len(case.answers))[:500])
        ),
        "leakage", "500 of 500 repeat questions",
    ),
}  # fmt: skip


def _rotated(X, rng):
    W = np.linalg.qr(rng.normal(size=(X.shape[1],) * 2))[0]
    return (X - X.mean()) @ W + X.mean()


LOCAL = {
    name: in_matrix(*fault, role="local")
    for name, *fault in [
        ("local rows of length 1",
         lambda X, rng: X / np.linalg.norm(X, axis=1, keepdims=True),
         "local", "the rows have length 1,"),
        ("local features transformed", _rotated, "local", "columns that stand out"),
        ("local columns in another order",
         lambda X, rng: X[:, rng.permutation(X.shape[1])], "local", "columns that stand out"),
        ("local features of another layer", lambda X, rng: X[:, :-5], "shape", "local features"),
    ]
}  # fmt: skip
