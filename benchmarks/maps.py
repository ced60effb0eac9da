"""Linear maps that need no answers about similarity, beside the arms of `make evidence`.

Each subtracts the column means of the fitted objects first, and is fitted without each of three
folds of the objects, and to all of them. With Σ their covariance, whose eigenvalues are shrunk a
tenth of the way towards their mean,

whitened-eighth, -quarter, -half   Σ^-⅛, Σ^-¼ and Σ^-½
without-1, without-3               all but the first one or three principal components (Mu &
                                   Viswanath 2018)
first-64                           the first 64 principal components alone
within-class                       Σ^-¼ with Σ the covariance within the categories of the objects
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import arms
import numpy as np
import tasks
import workbench
from workbench import data_of, kept

from glocal.aligner.folds import fit_folds
from glocal.aligner.heldout import FoldScorer
from glocal.files import make_folder

SHRINKAGE = 0.1
MAPS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "whitened-eighth": lambda X, y: power(np.cov(X.T), -1 / 8),
    "whitened-quarter": lambda X, y: power(np.cov(X.T), -1 / 4),
    "whitened-half": lambda X, y: power(np.cov(X.T), -1 / 2),
    "without-1": lambda X, y: np.eye(X.shape[1]) - leading(X, 1),
    "without-3": lambda X, y: np.eye(X.shape[1]) - leading(X, 3),
    "first-64": lambda X, y: leading(X, 64),
    "within-class": lambda X, y: power(within_classes(X[y != ""], y[y != ""]), -1 / 4),
}
"""The symmetric matrix of each map, from the rows and categories of the fitted objects."""
BESIDE = ("original", "centred", "keep-0.9", "global", "centred-keep-0.9", "centred-global")
"""The arms of arms.py with which the maps are compared."""
TASKS = ("things 1", "animals 1")


def power(covariance: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a covariance with shrunk eigenvalues."""
    variances, V = np.linalg.eigh(covariance)
    shrunk = (1 - SHRINKAGE) * np.maximum(variances, 0) + SHRINKAGE * variances.mean()
    return (V * shrunk**exponent) @ V.T


def leading(X: np.ndarray, n: int) -> np.ndarray:
    """The projection on the first n principal components."""
    V = np.linalg.eigh(np.cov(X.T))[1][:, -n:]
    return V @ V.T


def within_classes(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The covariance of rows about the mean of their class."""
    classes, codes = np.unique(y, return_inverse=True)
    means = np.stack([X[codes == code].mean(axis=0) for code in range(len(classes))])
    deviations = X - means[codes]
    return deviations.T @ deviations / len(X)


def make(network: str) -> None:
    """Write the transforms of all maps."""
    make_folder(arms.DATA / network / "transforms")
    data = replace(data_of(network), centre=1)
    folds = fit_folds(data, arms.FOLDS, "objects")
    heldout = [workbench.heldout_objects(data, fold) for fold in folds]
    categories = workbench.categories(network)
    objects = data.answers.named_objects()
    fitted = [np.setdiff1d(objects, rows) for rows in heldout] + [objects]
    for name, matrix_of in MAPS.items():
        weights = []
        for rows in fitted:
            X = data.scalars(data.features.rows(rows), "float64")
            weights.append(matrix_of(X, categories[rows]))
        arms.save(network, name, data, weights)


def measure(network: str) -> list[dict[str, Any]]:
    """Agreement, neighbours and the tasks of each map, and of the arms beside them."""
    inputs = data_of(network).hashes(local=True)
    arms.write_data(network)
    kept(arms.FOLDER / "maps" / network / "made.json", [inputs, [*MAPS]], partial(make, network))
    names = [name for name in (*BESIDE, *MAPS) if arms.path(network, name, "all").exists()]
    contents = {name: arms.hashes(network, name) for name in names}
    file = arms.FOLDER / "maps" / network / "scores.json"
    rows: list[dict[str, Any]] = kept(file, [inputs, contents], partial(scores, network, names))
    return rows


def scores(network: str, names: list[str]) -> list[dict[str, Any]]:
    """A row for each map and measure; tasks have the paired difference from the original."""
    data = data_of(network)
    folds = fit_folds(data, arms.FOLDS, "objects")
    loaded = {name: arms.transforms(network, name) for name in names}
    rows = []
    for name, parts in loaded.items():
        of_folds = [parts[str(number)] for number in range(arms.FOLDS)]
        heldout = FoldScorer(folds).scores(of_folds)
        for measure_name, value, low, high in (
            ("agreement", heldout.agreement, heldout.low, heldout.high),
            (
                "neighbours",
                heldout.neighbours_kept,
                heldout.neighbours_kept_low,
                heldout.neighbours_kept_high,
            ),
        ):
            row = {"value": value, "low": low, "high": high}
            rows.append({"network": network, "task": measure_name, "arm": name, **row})
    for task, (_, score) in tasks.tasks(network).items():
        if task in TASKS:
            of_task = [row for row in tasks.task_rows(loaded, score) if row["base"] == "original"]
            rows += [{"network": network, "task": task, **row} for row in of_task]
    return rows
