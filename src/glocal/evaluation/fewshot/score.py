"""Few-shot accuracy of features: fit a probe on each draw of the shots, score it on the test images."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import numpy as np
from jaxtyping import Float

from glocal.data.labels import check_sides, positions
from glocal.errors import DataError, ParameterError
from glocal.evaluation.fewshot.episodes import draw_episodes, superclass_split
from glocal.evaluation.fewshot.probes import Scorer, probe_named, shared_credit
from glocal.evaluation.result import Units
from glocal.evaluation.statistics import two_way_estimate
from glocal.results import Score

Result = TypeVar("Result")
_CHUNK = 4096


@dataclass(frozen=True, eq=False, kw_only=True)
class FewShot:
    """Few-shot accuracy of one set of features.

    `accuracy` is the fraction of test images that are right (ties shared), averaged over draws; `low` and `high` its
    95 % interval over draws and classes (None for a single draw of a single class, or where all are equal); `per_draw`
    the accuracy of each draw; `cells` (draws, classes) the accuracy of each class in each draw, in the order of
    `classes`, NaN for a class without test image, and `counts` the test images of each: the differences of two arms are
    paired in them, weighted by `counts`. `n` is the number of test images of a draw, `chance` one over the number of
    training classes.
    """

    accuracy: float
    low: float | None
    high: float | None
    per_draw: tuple[float, ...]
    per_class: dict[str, float]
    cells: Float[np.ndarray, "draws k"] = field(repr=False)
    counts: tuple[int, ...] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    n: int
    chance: float
    probe: str
    shots: int
    draws: int
    seed: int

    @property
    def scores(self) -> tuple[Score, ...]:
        """The accuracy."""
        settings = {"shots": self.shots, "draws": self.draws, "seed": self.seed}
        metric = f"accuracy_{self.probe}"
        return (Score("few-shot", metric, self.accuracy, self.low, self.high, self.n, settings=settings),)

    @property
    def units(self) -> Units:
        """The accuracy of each tested class in each draw."""
        counts = np.array(self.counts, dtype=np.float64)
        return Units(values=self.cells[:, counts > 0], weights=counts[counts > 0])


def few_shot(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    *,
    shots: Annotated[int, "Training images of each class."] = 5,
    draws: Annotated[int, "How often the shots are drawn."] = 5,
    probe: Annotated[str, "logistic, ridge, ncm or 1nn."] = "logistic",
    seed: Annotated[int, "Seed of the draws; arms with one seed share them."] = 42,
    train_subclasses: np.ndarray | None = None,
    test_subclasses: np.ndarray | None = None,
    leave_out_shots: bool = False,
    progress: Callable[[int], None] | None = None,
) -> FewShot:
    """Classify test images from `shots` training images of each class, in several draws.

    Parameters
    ----------
    X_train, X_test : (n, p) and (m, p) real arrays
        Standardized features, transformed or not; both with the same scalars and transform.
    y_train, y_test : (n,) and (m,) int or str arrays
        Classes. One that only the test images have is an error; one that only the training images have takes part as a
        wrong answer.
    shots, draws, seed : int
        See `draw_episodes`; the draws depend on the labels alone, not on features or probe.
    probe : {"logistic", "ridge", "ncm", "1nn"}
    train_subclasses, test_subclasses : (n,) and (m,) int or str arrays, or None
        With both, the classes are superclasses and subclasses that train never test: if the two share a subclass, each
        superclass is halved by `superclass_split` with the seed, and the other rows are left out.
    leave_out_shots : bool
        Training and test rows are the same images: each draw is tested on those it did not draw.
    progress : function or None
        Called with the number of draws that are scored.

    Returns
    -------
    FewShot

    Raises
    ------
    DataError
        Labels and rows that do not fit, fewer than two classes, a class with fewer images than shots, a test class
        without training image, NaN or infinity, no test image left.
    ParameterError
        An unknown probe, shots or draws below 1, or subclasses that do not fit the other settings.

    References
    ----------
    Muttenthaler et al. (2023), section 5 and appendix: 5-shot logistic regression.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1, 2], 20)
    >>> X = np.eye(3)[y] + 0.1 * rng.normal(size=(60, 3))
    >>> few_shot(X, y, X, y, probe="ncm", leave_out_shots=True).accuracy
    1.0
    """
    fit = probe_named(probe)
    train, test, classes, codes, all_truth = _task(
        X_train, y_train, X_test, y_test, train_subclasses, test_subclasses, leave_out_shots, seed
    )
    k = len(classes)

    def score(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The test images of each class, and how many of them are right."""
        rows = train[drawn]
        scorer = fit(_finite(X_train[rows]), codes[drawn], k)
        kept = ~np.isin(test, rows) if leave_out_shots else np.ones(len(test), dtype=bool)
        truth = all_truth[kept]
        return np.bincount(truth, minlength=k), _earned(scorer, X_test, test[kept], truth, k)

    results = _side_by_side(score, draw_episodes(classes[codes], shots, draws, seed), progress)
    counts, earned = results[0][0], np.stack([right for _, right in results])
    n, tested = int(counts.sum()), counts > 0
    if n == 0:
        raise DataError(f"no test image is left beside the {shots} shots of each class. Ask for fewer shots.")
    cells = earned / np.where(tested, counts, np.nan)
    low, high = two_way_estimate(cells[:, tested], counts[tested].astype(np.float64)).interval(fraction=True)
    per_draw = earned.sum(axis=1) / n
    names = tuple(map(str, classes))
    return FewShot(
        accuracy=float(per_draw.mean()), low=low, high=high, per_draw=tuple(per_draw.tolist()),
        per_class=dict(zip(names, cells.mean(axis=0).tolist(), strict=True)), cells=cells,
        counts=tuple(counts.tolist()), classes=names, n=n, chance=1 / k, probe=probe, shots=shots, draws=draws,
        seed=seed,
    )  # fmt: skip


def _task(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    train_subclasses: np.ndarray | None,
    test_subclasses: np.ndarray | None,
    same: bool,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The rows that may train and that test, the classes of the first, and the class of each row of both."""
    for X in (X_train, X_test):
        if X.ndim != 2:
            raise DataError(f"features have shape {X.shape}; they must be (n, p): one row an image.")
    sides = ("training features", "test features")
    y_train, y_test = check_sides(X_train, np.asarray(y_train), X_test, np.asarray(y_test), sides)
    if same and not np.array_equal(y_train, y_test):
        raise DataError("training and test rows are the same images but their labels differ. Give both the same file.")
    train, test = np.arange(len(y_train)), np.arange(len(y_test))
    if (train_subclasses is None) != (test_subclasses is None):
        raise ParameterError("subclasses of one side alone change nothing; give train_subclasses and test_subclasses.")
    if train_subclasses is not None and test_subclasses is not None:
        seen, unseen = check_sides(X_train, np.asarray(train_subclasses), X_test, np.asarray(test_subclasses), sides)
        if np.isin(unseen, seen).any():
            both = np.concatenate([y_train, y_test]), np.concatenate([seen, unseen])
            source, target = superclass_split(*both, seed)
            train, test = train[np.isin(seen, source)], test[np.isin(unseen, target)]
    classes, codes = np.unique(y_train[train], return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"the training labels name {len(classes)} class; at least 2 are needed to tell apart.")
    y = y_test[test]
    truth = positions(classes, y)
    unknown = np.flatnonzero(truth < 0)
    if len(unknown):
        raise DataError(
            f"test row {unknown[0]} is of class {y[unknown[0]]}, of which there is no training image "
            f"({len(unknown)} such rows). Leave them out, or add training images."
        )
    return train, test, classes, codes, truth


def _earned(scorer: Scorer, X: np.ndarray, rows: np.ndarray, truth: np.ndarray, k: int) -> np.ndarray:
    """The credit of all test images of each class, read a chunk of rows at a time."""
    total = np.zeros(k)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        credit = shared_credit(scorer(_finite(X[rows[part]])), truth[part])
        total += np.bincount(truth[part], credit, minlength=k)
    return total


def _side_by_side(
    task: Callable[[np.ndarray], Result], draws: np.ndarray, progress: Callable[[int], None] | None
) -> list[Result]:
    """Run a task on each draw, one thread a core and one core a draw.

    The products of a draw are small: threads inside them mostly wait for each other, several times longer than the
    product takes where the machine is busy.
    """
    from threadpoolctl import threadpool_limits

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(min(cores, len(draws))) as pool:
        results = []
        for result in pool.map(task, draws):
            results.append(result)
            if progress is not None:
                progress(len(results))
        return results


def _finite(rows: np.ndarray) -> np.ndarray:
    """Float64 rows without NaN or infinity."""
    rows = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(rows).all():
        raise DataError("features hold NaN or infinity. Remove or recompute those images' features.")
    return rows
