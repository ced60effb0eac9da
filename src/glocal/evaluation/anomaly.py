"""Anomaly detection: far from the nearest training images means anomalous."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from jaxtyping import Float, Shaped

from glocal.data.labels import check_columns, check_sides
from glocal.errors import CollapseWarning, DataWarning, ParameterError
from glocal.evaluation.detection import ANOMALOUS, NORMAL, Detection, detection
from glocal.evaluation.normality import (
    Comparison,
    Progress,
    Task,
    class_codes,
    compare,
    leave_one_out,
    one_vs_rest,
    shift,
    trained_half,
)
from glocal.evaluation.result import Units
from glocal.results import Score

MODES = ("one-vs-rest", "leave-one-out", "shift")
AGAINST = "against"
_SIDES = ("training images", "test images")


@dataclass(frozen=True, eq=False, kw_only=True)
class Anomaly:
    """Anomaly detection of one embedding.

    `auroc`, `aupr` and `fpr95` are means over classes (fractions), `low` and `high` the 95 % interval of `auroc` over
    classes and test images, `classes` the labels in the order of the arrays of `by_class`, `n` the number of test
    images and `n_train` that of training images.
    """

    auroc: float
    aupr: float
    fpr95: float
    low: float | None
    high: float | None
    mode: str
    k: int
    n: int
    n_train: int
    classes: tuple[int | str, ...] = field(repr=False)
    by_class: Detection = field(repr=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The three means over classes."""
        settings, n = {"mode": self.mode, "k": self.k}, self.n
        return (
            Score("anomaly", "auroc", self.auroc, self.low, self.high, n, settings=settings),
            Score("anomaly", "aupr", self.aupr, n=n, settings=settings),
            Score("anomaly", "fpr95", self.fpr95, n=n, settings=settings),
        )

    @property
    def units(self) -> Units:
        """The AUROC of each class."""
        return Units(values=self.by_class.auroc)

    def per_class(self) -> list[dict[str, int | float | str]]:
        """One row a class: class, auroc, aupr, fpr95, normal, anomalous."""
        names = ("auroc", "aupr", "fpr95", "normal", "anomalous")
        columns = [getattr(self.by_class, name).tolist() for name in names]
        rows = zip(self.classes, *columns, strict=True)
        return [dict(zip(("class", *names), row, strict=True)) for row in rows]


def anomaly(
    train: Float[np.ndarray, "n p"],
    train_labels: Shaped[np.ndarray, " n"],
    test: Float[np.ndarray, "m p"],
    test_labels: Shaped[np.ndarray, " m"],
    *,
    mode: Annotated[str, "one-vs-rest, leave-one-out, or shift (labels are superclasses)."] = "one-vs-rest",
    k: Annotated[int, "Nearest training images that the score averages."] = 5,
    train_subclasses: Shaped[np.ndarray, " n"] | None = None,
    test_subclasses: Shaped[np.ndarray, " m"] | None = None,
    progress: Progress = None,
) -> Anomaly:
    """Detect test images of other classes than the training images shown, one task for each class.

        score(z) = - mean of the k largest cos(z, t) over the training images t of the task       (higher: anomalous)

    ============== ============================== ============================ =====================================
    mode, class c  training images                normal test images           anomalies
    ============== ============================== ============================ =====================================
    one-vs-rest    those of c                     those of c                   all others
    leave-one-out  those of all classes but c     of training classes but c    all others, among them those of c
    shift          of the trained half of c       of the unseen half of c      of all other superclasses
    ============== ============================== ============================ =====================================

    In `shift` labels are superclasses: the first half (rounded up) of the subclasses that a superclass has in training,
    in sorted order, is trained on; test images of these are left out; that is CIFAR-100-shift with 3 of 5 subclasses.
    Files that already hold other subclasses in training than in testing (BREEDS) need no `shift` but `one-vs-rest`.
    All classes are scored in one pass over test × training products; scores that differ by no more than rounding
    (`tie_tolerance`) are ties.

    Parameters
    ----------
    train, test : (n, p) and (m, p) real arrays
        Embeddings, standardized by the same two scalars.
    train_labels, test_labels : (n,) and (m,) integers or names
    mode : {"one-vs-rest", "leave-one-out", "shift"}
    k : int
        Neighbours, at least 1 and at most the training images of a task.
    train_subclasses, test_subclasses : (n,) and (m,) integers or names, or None
        Only for `shift`.
    progress : function or None
        Called with the number of training images compared so far.

    Returns
    -------
    Anomaly

    Raises
    ------
    DataError
        A task with fewer than k training images, labels of two kinds or of another number than rows, no class with both
        normal and anomalous test images.
    ParameterError
        An unknown mode, k below 1, subclasses missing or not asked for.

    Warns
    -----
    DataWarning
        A class without normal or without anomalous test images is left out; labels that only test images have.
    CollapseWarning
        All rows are one point: every score is a tie.

    References
    ----------
    Muttenthaler et al. 2023, section 4.3; Bergman, Cohen & Hoshen (2020), arXiv 2002.10445.

    Examples
    --------
    >>> train = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
    >>> labels = np.array(["cat", "cat", "dog", "dog"])
    >>> anomaly(train, labels, train[::-1].copy(), labels[::-1].copy(), k=1).auroc
    1.0
    """
    if mode not in MODES:
        raise ParameterError(f"mode is {mode!r}; allowed are {', '.join(MODES)}.")
    if mode != "shift" and (train_subclasses is not None or test_subclasses is not None):
        raise ParameterError(f"subclasses were given but mode is {mode}; only shift uses them.")
    _check_k(k)
    train_labels, test_labels = check_sides(train, train_labels, test, test_labels, _SIDES)
    classes, groups = np.unique(train_labels, return_inverse=True)
    codes = class_codes(classes, test_labels)
    if mode == "one-vs-rest":
        tasks = one_vs_rest(_compared(train, groups, test), classes, codes, k, progress)
    elif mode == "leave-one-out":
        tasks = leave_one_out(_compared(train, groups, test), classes, codes, k, progress)
    else:
        if train_subclasses is None or test_subclasses is None:
            raise ParameterError("mode shift needs the subclasses of both training and test images; give both.")
        subclasses, unseen = check_sides(train, train_subclasses, test, test_subclasses, _SIDES)
        seen = trained_half(classes, groups, subclasses)
        shown = np.where(np.isin(subclasses, seen), groups, -1)
        tasks = shift(_compared(train, shown, test), classes, codes, np.isin(unseen, seen), k, progress)
    return _score(tasks, classes, mode, k, len(train), len(test))


def anomaly_against(
    train: Float[np.ndarray, "n p"],
    test: Float[np.ndarray, "m p"],
    anomalies: Float[np.ndarray, "l p"],
    *,
    k: int = 5,
    progress: Progress = None,
) -> Anomaly:
    """Detect the images of another data set, after training on all images of one (CIFAR-10 vs CIFAR-100).

    The test images of the first data set are normal. Score, errors and result are those of `anomaly`; there is one
    task, named "all", and the interval is DeLong's.
    """
    _check_k(k)
    check_columns(train, test, _SIDES)
    check_columns(train, anomalies, ("training images", "anomalies"))
    both = np.concatenate([test, anomalies])
    codes = np.repeat([0, -1], [len(test), len(anomalies)])
    classes = np.array(["all"])
    comparison = _compared(train, np.zeros(len(train), dtype=np.int64), both)
    return _score(one_vs_rest(comparison, classes, codes, k, progress), classes, AGAINST, k, len(train), len(both))


def _score(tasks: Iterator[Task], classes: np.ndarray, mode: str, k: int, n_train: int, n: int) -> Anomaly:
    done: list[int] = []
    left: list[int] = []

    def usable() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for c, similarity, kind in tasks:
            whole = NORMAL in kind and ANOMALOUS in kind
            (done if whole else left).append(c)
            if whole:
                yield -similarity, kind

    by_class = detection(usable())
    if left:
        warnings.warn(
            f"{len(left)} of {len(classes)} classes (e.g. {classes[left[0]]}) lack normal or anomalous test images; "
            "they are left out of the average.",
            DataWarning,
            stacklevel=3,
        )
    return Anomaly(
        auroc=float(by_class.auroc.mean()),
        aupr=float(by_class.aupr.mean()),
        fpr95=float(by_class.fpr95.mean()),
        low=by_class.low,
        high=by_class.high,
        mode=mode,
        k=k,
        n=n,
        n_train=n_train,
        classes=tuple(classes[done].tolist()),
        by_class=by_class,
    )


def _compared(train: np.ndarray, groups: np.ndarray, test: np.ndarray) -> Comparison:
    comparison = compare(train, groups, test)
    if comparison.collapsed:
        warnings.warn(
            "collapse: all training and test images are one point; no anomaly can be detected, every AUROC is 0.5.",
            CollapseWarning,
            stacklevel=3,
        )
    return comparison


def _check_k(k: int) -> None:
    if k < 1:
        raise ParameterError(f"k is {k}; at least 1 neighbour is needed.")
