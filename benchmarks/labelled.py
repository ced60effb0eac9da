"""What one would do anyway beside the arms of `glocal try`, on three sets, for `make evidence`.

Each arm is scored with one label a class and five, by nearest class means and by logistic
regression, and in a search. Then the first candidates of a search among the original rows are
sorted again by the cosine of the arm.
"""

from typing import Any, NamedTuple

import numpy as np
from workbench import real_data

import glocal
from glocal.data.features import Features
from glocal.data.labels import load_labels
from glocal.scores import ORIGINAL, Scores
from glocal.verdict.arms import TransformedArms, transformed_arms
from glocal.verdict.examples import FIVE_LABELS, MIN_ROUGH_IMAGES, ONE_LABEL, SEARCH
from glocal.verdict.images import Selection, select_rows

SETS = {
    "CIFAR-10": ("cifar10-500", "labels.npy"),
    "garments": ("fashion2000", "labels.csv:articleType"),
    "damaged cars": ("car-damage-666", "labels.npy"),
}
"""Photographs with features of CLIP ViT-B/32: the folder of each set, and its labels."""
TRANSFORMS = ("clip-vit-b-32", "clip-vit-b-32-centred")
CANDIDATES = (30, 100, 300, None)
"""How many candidates are sorted again; None is all."""
FIRST = 10
COLUMNS = {
    "ncm_1": (ONE_LABEL, "accuracy_ncm"),
    "logistic_1": (ONE_LABEL, "accuracy_logistic"),
    "ncm_5": (FIVE_LABELS, "accuracy_ncm"),
    "logistic_5": (FIVE_LABELS, "accuracy_logistic"),
    "map": (SEARCH, "map"),
    "precision_1": (SEARCH, "recall_1"),  # the same among the first one
    "precision_10": (SEARCH, "precision_10"),
}
"""The columns of an arm: the situation and metric of `glocal try`."""
Row = dict[str, Any]


class Ranking(NamedTuple):
    """The mean average precision of a search, and the share of right images among the first ten."""

    map: float
    precision_10: float


def measure() -> list[Row]:
    """The rows of all sets, a row for each arm."""
    return [{"set": name, **row} for name, files in SETS.items() for row in of_set(*files)]


def of_set(folder: str, labels: str) -> list[Row]:
    """The rows of a set."""
    source = real_data() / "downstream" / "clip-vit-b32" / folder
    features = Features.load(source / "features.npy")
    images = select_rows(*load_labels(source / labels, features))
    scores = glocal.verdict(images.features, images.labels).scores
    loaded = {name: glocal.pretrained(name) for name in TRANSFORMS}
    arms = transformed_arms([images], loaded, images.whole, force=False)
    return [
        {**scores_of(arm, scores), "reranked": reranked(arm, arms, images)} for arm in arms.rows
    ]


def scores_of(arm: str, scores: Scores) -> Row:
    """The scores of an arm by column; None where the situation is not decided."""
    row: Row = {"arm": arm}
    for column, (task, metric) in COLUMNS.items():
        score = scores.score("", task, arm, metric)
        row[column] = None if score is None else score.value
    return row


def reranked(arm: str, arms: TransformedArms, images: Selection) -> list[Row]:
    """The rankings with each number of candidates, among the classes that a search has."""
    names, counts = np.unique(images.labels, return_counts=True)
    is_used = np.isin(images.labels, names[counts >= MIN_ROUGH_IMAGES])
    labels = images.labels[is_used]
    before, after = (cosines(arms.rows[name][0][is_used]) for name in (ORIGINAL, arm))
    return [
        {"candidates": n, **ranking(reordered(before, after, n), labels)._asdict()}
        for n in CANDIDATES
    ]


def cosines(rows: np.ndarray) -> np.ndarray:
    """The cosines of all pairs of rows, with an image never among its own results."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return similarity


def reordered(before: np.ndarray, after: np.ndarray, candidates: int | None) -> np.ndarray:
    """The results of each query: the first candidates in the order of `after`, then the others."""
    order = np.argsort(-before, axis=1, kind="stable")
    first = order[:, :candidates]
    rest = order[:, first.shape[1] :]
    by_arm = np.argsort(-np.take_along_axis(after, first, axis=1), axis=1, kind="stable")
    return np.hstack([np.take_along_axis(first, by_arm, axis=1), rest])


def ranking(order: np.ndarray, labels: np.ndarray) -> Ranking:
    """The means over queries, each of which is the last of its own results."""
    is_right = labels[order[:, :-1]] == labels[:, None]
    precision = np.cumsum(is_right, axis=1) / np.arange(1, is_right.shape[1] + 1)
    average = (precision * is_right).sum(axis=1) / is_right.sum(axis=1)
    return Ranking(float(average.mean()), float(is_right[:, :FIRST].mean()))
