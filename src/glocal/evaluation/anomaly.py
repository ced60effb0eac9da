"""Anomaly detection: far from the nearest training images means anomalous."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glocal.data.labels import check_columns, check_sides, positions
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.intervals import Units
from glocal.results import Score
from glocal.similarity import joined, tie_tolerance, unit_rows, unless_collapsed

METRICS = ("auroc", "aupr", "fpr95")
MODES = ("one-vs-rest", "leave-one-out", "shift")
_SIDES = ("training images", "test images")


@dataclass(frozen=True, eq=False, kw_only=True)
class Anomaly:
    """Anomaly detection of one embedding among `n` test images: means over classes of what `detection` gives.

    `low` and `high` are the 95 % interval of `auroc` over classes, None for a single one; `per_class` has one row a
    class: class, auroc, aupr, fpr95, normal, anomalous (numbers of test images). `units` hold the AUROC of each class.
    """

    auroc: float
    aupr: float
    fpr95: float
    low: float | None
    high: float | None
    mode: str
    k: int
    n: int
    per_class: list[dict[str, int | float | str]]
    units: Units = field(repr=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The three means over classes."""
        settings, n = {"mode": self.mode, "k": self.k}, self.n
        return (
            Score("anomaly", "auroc", self.auroc, self.low, self.high, n, settings=settings),
            Score("anomaly", "aupr", self.aupr, n=n, settings=settings),
            Score("anomaly", "fpr95", self.fpr95, n=n, settings=settings),
        )


def anomaly(
    train: Float[np.ndarray, "n p"],
    train_labels: Shaped[np.ndarray, " n"],
    test: Float[np.ndarray, "m p"],
    test_labels: Shaped[np.ndarray, " m"],
    *,
    mode: str = "one-vs-rest",
    k: int = 5,
    train_subclasses: Shaped[np.ndarray, " n"] | None = None,
    test_subclasses: Shaped[np.ndarray, " m"] | None = None,
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
    Scores that differ by no more than rounding (`tie_tolerance`) are ties; test images of a class without training
    image are anomalies in every task. Classes without normal or without anomalous test images are left out, with a
    DataWarning; where all rows are one point every score is a tie, with a CollapseWarning.

    Parameters
    ----------
    train, test : (n, p) and (m, p) real arrays
        Embeddings, standardized by the same two scalars.
    train_labels, test_labels, train_subclasses, test_subclasses : (n,) and (m,) integers or names
        Subclasses are for `shift`.
    k : int
        Neighbours, at most the images of the smallest class shown.

    Raises
    ------
    DataError
        A class with fewer than k training images, labels of two kinds or of another number than rows, no class with
        both normal and anomalous test images, a superclass of one subclass.

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
        raise ParameterError(f"`mode` is {mode!r}; allowed are {', '.join(MODES)}.")
    train_labels, test_labels = check_sides(train, train_labels, test, test_labels, _SIDES)
    classes, own = np.unique(train_labels, return_inverse=True)
    code, used = positions(classes, test_labels), np.ones(len(test), dtype=bool)
    if mode == "shift":
        if train_subclasses is None or test_subclasses is None:
            raise ParameterError("mode shift needs the subclasses of both training and test images; give both.")
        subclasses, unseen = check_sides(train, train_subclasses, test, test_subclasses, _SIDES)
        seen = np.concatenate([_first_half(name, subclasses[own == c]) for c, name in enumerate(classes)])
        shown, used = np.isin(subclasses, seen), ~np.isin(unseen, seen)
        train, own = train[shown], own[shown]
    near = _nearest(train, own, classes, test, k)
    flat = near.reshape(len(test), -1)
    if mode == "leave-one-out":  # the k nearest of all classes but one are among the 2k nearest of all
        best = np.argpartition(-flat, min(2 * k, flat.shape[1]) - 1, axis=1)[:, : 2 * k]
    tasks = []
    for c, name in enumerate(classes.tolist()):
        if mode == "leave-one-out":
            others = np.where(best // k == c, -np.inf, np.take_along_axis(flat, best, axis=1))
            similar, anomalous = np.sort(others, axis=1)[:, -k:], (code == c) | (code < 0)
        else:
            similar, anomalous = near[:, c], code != c
        tasks.append((name, similar[used | anomalous], anomalous[used | anomalous]))
    return _scored(tasks, mode, k, len(test), train.shape[1])


def anomaly_against(
    train: Float[np.ndarray, "n p"], test: Float[np.ndarray, "m p"], anomalies: Float[np.ndarray, "l p"], *, k: int = 5
) -> Anomaly:
    """Detect the images of another data set, after training on all images of one (CIFAR-10 vs CIFAR-100).

    The test images of the first data set are normal. Score, errors and result are those of `anomaly`; there is one
    task, named "all", without an interval.
    """
    check_columns(train, test, _SIDES)
    check_columns(train, anomalies, ("training images", "anomalies"))
    both, anomalous = np.concatenate([test, anomalies]), np.repeat([False, True], [len(test), len(anomalies)])
    near = _nearest(train, np.zeros(len(train), dtype=np.int64), np.array(["all"]), both, k)
    return _scored([("all", near[:, 0], anomalous)], "against", k, len(both), train.shape[1])


def detection(anomalous: Bool[np.ndarray, " m"], score: Float[np.ndarray, " m"]) -> tuple[float, float, float]:
    """AUROC, AUPR and the share of normal images flagged where 95 % of the anomalies are (FPR95; lower is better).

    Tied images pass a threshold together; in FPR95 flags fall at random among them (the ROC curve is linear there).
    Equal scores give 1/2, the share of anomalies, and 0.95.
    """
    from sklearn.metrics import auc, roc_curve

    false, true, _ = roc_curve(anomalous, score, drop_intermediate=False)
    found = true * anomalous.sum()
    precision = found[1:] / (found + false * (~anomalous).sum())[1:]
    fpr95 = np.interp(0.95 - 1e-12, true, false)  # the least rate where the curve is flat
    return float(auc(false, true)), float(np.diff(true) @ precision), float(fpr95)


def _nearest(
    train: np.ndarray, own: Int[np.ndarray, " n"], classes: np.ndarray, test: np.ndarray, k: int
) -> Float[np.ndarray, "m c k"]:
    """The k largest cosines of every test image with the training images of each class."""
    from sklearn.neighbors import NearestNeighbors

    sizes = np.bincount(own)
    if sizes.min() < k:
        raise DataError(
            f"class {classes[sizes.argmin()]} has {sizes.min()} training images, fewer than k = {k}. Lower `k`, add "
            "images, or leave that class out."
        )
    rows, asked = map(unit_rows, unless_collapsed(train, test))
    searches = (NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows[own == c]) for c in range(len(sizes)))
    return np.stack([1 - search.kneighbors(asked)[0] ** 2 / 2 for search in searches], axis=1)


def _first_half(superclass: object, subclasses: np.ndarray) -> np.ndarray:
    names = np.unique(subclasses)
    if len(names) < 2:
        raise DataError(
            f"superclass {superclass} has the one subclass {names[0]} in training; shift needs two. "
            "Are labels and subclasses exchanged?"
        )
    return names[: -(-len(names) // 2)]


def _scored(tasks: list[tuple[int | str, np.ndarray, np.ndarray]], mode: str, k: int, n: int, p: int) -> Anomaly:
    """Of (class, the k largest cosines of its test images, which are anomalies) those with images of both kinds."""
    rows: list[dict[str, int | float | str]] = []
    for name, similar, anomalous in tasks:
        if anomalous.any() and not anomalous.all():
            found = detection(anomalous, -joined(similar.mean(axis=1), tie_tolerance(p)))
            counts = {"normal": int((~anomalous).sum()), "anomalous": int(anomalous.sum())}
            rows.append({"class": name, **dict(zip(METRICS, found, strict=True)), **counts})
    if not rows:
        raise DataError("no class has both normal and anomalous test images; there is nothing to detect.")
    if len(rows) < len(tasks):
        warnings.warn(
            f"{len(tasks) - len(rows)} of {len(tasks)} classes lack normal or anomalous test images; they are left out "
            "of the average.",
            DataWarning,
            stacklevel=3,
        )
    means = {name: float(np.mean([row[name] for row in rows])) for name in METRICS}
    units = Units(values=np.array([row["auroc"] for row in rows]))
    low, high = units.estimate().interval(fraction=True)
    return Anomaly(**means, low=low, high=high, mode=mode, k=k, n=n, per_class=rows, units=units)
