"""Few-shot classification: a probe is fitted on each draw of a few images of each class."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from glocal.data.labels import Members, check_sides, positions
from glocal.data.splits import check_seed
from glocal.errors import DataError, ParameterError
from glocal.evaluation.intervals import FRACTION, Units
from glocal.results import Score
from glocal.similarity import finite, unit_rows

STRENGTHS = np.logspace(-4, 6, 11)
_MAX_FOLDS = 5
_TIE = 1e-9  # relative: float32 rows that have collapsed to one point differ by rounding alone
_CHUNK = 4096  # test images
_SIDES = ("training images", "test images")

Scorer = Callable[[np.ndarray], np.ndarray]
"""(m, p) rows to (m, k) scores, the highest of which is the prediction."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FewShot:
    """Few-shot accuracy of one set of features, ties shared.

    `per_draw` has the accuracy of each draw, on `n` test images each (with superclasses their mean
    number). `low` and `high` are the 95 % interval over draws and classes (None where nothing
    varies), `chance` is one over the number of training classes. `units` hold the accuracy of each
    tested class in each draw, weighted by its images.
    """

    accuracy: float
    low: float | None
    high: float | None
    per_draw: tuple[float, ...]
    chance: float
    n: int
    probe: str
    shots: int
    draws: int
    seed: int
    units: Units = field(repr=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The accuracy."""
        settings = {"shots": self.shots, "draws": self.draws, "seed": self.seed}
        metric = f"accuracy_{self.probe}"
        score = Score(
            "few-shot", metric, self.accuracy, self.low, self.high, self.n, settings=settings
        )
        return (score,)


def few_shot(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    *,
    shots: int = 5,
    draws: int = 5,
    probe: str = "logistic",
    seed: int = 42,
    leave_out_shots: bool = False,
    superclasses: Mapping[Any, str] | None = None,
) -> FewShot:
    """Classify test images from `shots` training images of each class, in several draws.

    With `superclasses` the probe learns these in place of the classes. Each draw takes all shots of
    a superclass from one of its classes, drawn anew, and is tested on images of the classes that
    gave no shots: what is scored is whether members of a new kind are recognised.

    Parameters
    ----------
    X_train, X_test : (n, p) and (m, p) real arrays
        Standardized features, transformed or not; both with the same scalars and transform.
    y_train, y_test : (n,) and (m,) int or str arrays
        Classes. One that only the training images have takes part as a wrong answer.
    shots, draws, seed : int
        See `draw_episodes`.
    probe : {"logistic", "ncm", "1nn"}
        One of `PROBES`.
    leave_out_shots : bool
        Training and test rows are the same images: each draw is tested on those it did not draw.
    superclasses : mapping or None
        The superclass of each class. Images of other classes are left out, with a DataWarning.

    Raises
    ------
    DataError
        Labels of another number than rows, fewer than two classes, a class with fewer images than
        shots, a test class without training image, NaN or infinity, no test image left;
        `leave_out_shots` for different images; a superclass whose only test class gives shots.
    ParameterError
        An unknown probe, shots or draws below 1, a seed out of range.

    References
    ----------
    Muttenthaler et al. (2023), section 5 and appendix: 5-shot logistic regression, superclasses.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1, 2], 20)
    >>> X = np.eye(3)[y] + 0.1 * rng.normal(size=(60, 3))
    >>> few_shot(X, y, X, y, probe="ncm", leave_out_shots=True).accuracy
    1.0
    """
    if probe not in PROBES:
        raise ParameterError(f"`probe` is {probe!r}; allowed are {', '.join(PROBES)}.")
    X_train = finite(X_train, _SIDES[0])
    X_test = finite(X_test, _SIDES[1])
    y_train, y_test = check_sides(X_train, y_train, X_test, y_test, _SIDES)
    if leave_out_shots:
        _check_same(X_train, y_train, X_test, y_test)
    if superclasses is None:
        # images of a group that gives a shot are not tested: each image is a group, or none is
        train_groups = np.arange(len(y_train)) if leave_out_shots else np.full(len(y_train), -1)
        test_groups = np.arange(len(y_test))
        episodes = draw_episodes(y_train, shots, draws, seed)
    else:
        X_train, y_train, train_groups = Members.of(X_train, y_train, superclasses, "training")
        X_test, y_test, test_groups = Members.of(X_test, y_test, superclasses, "test")
        _check_groups(train_groups, test_groups, y_test)
        episodes = draw_superclass_episodes(train_groups, y_train, shots, draws, seed)
    classes, codes = np.unique(y_train, return_inverse=True)
    truth = _truth(classes, y_test)
    n_right = np.zeros((draws, len(classes)))
    n_tested = np.zeros((draws, len(classes)))  # images of each class
    for draw, rows in enumerate(episodes):
        scorer = PROBES[probe](X_train[rows], codes[rows], len(classes))
        tested = np.flatnonzero(~np.isin(test_groups, train_groups[rows]))
        n_tested[draw] = np.bincount(truth[tested], minlength=len(classes))
        n_right[draw] = _right_by_class(scorer, X_test, truth, tested, len(classes))
    return _result(n_right, n_tested, probe=probe, shots=shots, draws=draws, seed=seed)


def _result(
    n_right: Float[np.ndarray, "draws k"], n_tested: Float[np.ndarray, "draws k"], **settings: Any
) -> FewShot:
    """The accuracies of draws and classes, from the numbers of images."""
    if not n_tested.any():
        raise DataError(
            f"no test image is left beside the {settings['shots']} shots of each class. Ask for "
            "fewer shots."
        )
    is_tested = n_tested.all(axis=0)  # a class is tested in all draws, or in none
    weights = n_tested.mean(axis=0)[is_tested]
    values = n_right[:, is_tested] / n_tested[:, is_tested]
    units = Units(values=values, weights=weights)
    per_draw = values @ weights / weights.sum()
    low, high = units.estimate().interval(FRACTION)
    return FewShot(
        accuracy=float(per_draw.mean()),
        low=low,
        high=high,
        per_draw=tuple(per_draw.tolist()),
        chance=1 / n_tested.shape[1],
        n=round(weights.sum()),
        units=units,
        **settings,
    )


def _check_same(
    X_train: np.ndarray, y_train: np.ndarray, X_test: np.ndarray, y_test: np.ndarray
) -> None:
    if not (np.array_equal(y_train, y_test) and np.array_equal(X_train, X_test)):
        raise DataError(
            "`leave_out_shots` is for training and test images that are the same, but their rows "
            "or labels differ. Leave it out, or give one side twice."
        )


def _check_groups(
    train_classes: np.ndarray, test_classes: np.ndarray, test_superclasses: np.ndarray
) -> None:
    """Raise a DataError where the only test class of a superclass may give the shots."""
    for superclass in np.unique(test_superclasses).tolist():
        classes = np.unique(test_classes[test_superclasses == superclass])
        if len(classes) == 1 and classes[0] in train_classes:
            raise DataError(
                f"superclass {superclass} has the one test class {classes[0]}, which also gives "
                "shots; it must have two. Are classes and superclasses exchanged?"
            )


def _truth(classes: np.ndarray, y_test: np.ndarray) -> Int[np.ndarray, " m"]:
    """The class of each test image, as a position among the training classes."""
    if len(classes) < 2:
        raise DataError(
            f"the training labels name {len(classes)} class; at least 2 are needed to tell apart."
        )
    truth = positions(classes, y_test)
    unknown = y_test[truth < 0]
    if len(unknown):
        raise DataError(
            f"{len(unknown)} test images are of a class without a training image "
            f"(e.g. {unknown[0]}). Leave them out, or add training images."
        )
    return truth


def _right_by_class(
    scorer: Scorer,
    X_test: np.ndarray,
    truth: Int[np.ndarray, " m"],
    tested: Int[np.ndarray, " t"],
    k: int,
) -> Float[np.ndarray, " k"]:
    """How many of the tested images of each class are predicted rightly, ties shared."""
    n_right = np.zeros(k)
    for start in range(0, len(tested), _CHUNK):
        rows = tested[start : start + _CHUNK]
        credit = shared_credit(scorer(X_test[rows]), truth[rows])
        n_right += np.bincount(truth[rows], credit, k)
    return n_right


def draw_episodes(
    labels: np.ndarray, shots: int, draws: int = 5, seed: int = 42
) -> Int[np.ndarray, "draws n"]:
    """Draw `shots` images of every class, `draws` times: row numbers, grouped by class.

    Fully determined by the arguments: all arms that score the same rows share the draws, so that
    their differences are paired. Draw d permutes the rows of each class, in the order of the sorted
    classes, with RandomState((seed, d)), whose stream never changes, and takes the first: a draw
    does not depend on how many others are requested, and fewer shots are a part of more.
    """
    check_seed(seed)
    for name, number in (("shots", shots), ("draws", draws)):
        if number < 1:
            raise ParameterError(
                f"`{name}={number}` is not allowed: it must be an integer of at least 1."
            )
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < shots:
        rarest = int(counts.argmin())
        raise DataError(
            f"class {classes[rarest]} has {counts[rarest]} training images but `shots` is {shots}. "
            f"Ask for at most {counts[rarest]} shots, or leave that class out."
        )
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    episodes = []
    for draw in range(draws):
        rng = np.random.RandomState((seed, draw))
        episodes.append(np.concatenate([rng.permutation(rows)[:shots] for rows in members]))
    return np.stack(episodes)


def draw_superclass_episodes(
    classes: np.ndarray, superclasses: np.ndarray, shots: int, draws: int = 5, seed: int = 42
) -> Int[np.ndarray, "draws n"]:
    """Draw `shots` images of one class of every superclass, `draws` times: row numbers.

    Draw d takes those of `draw_episodes` of a class that RandomState((seed, d, 1)) picks among the
    classes of the superclass: arms share the draws, and fewer shots are a part of more.
    """
    names, first = np.unique(classes, return_index=True)
    of_class = superclasses[first]  # the superclass of each class
    by_class = draw_episodes(classes, shots, draws, seed).reshape(draws, len(names), shots)
    episodes = []
    for draw, shots_of in enumerate(by_class):
        rng = np.random.RandomState((seed, draw, 1))
        picked = [rng.choice(np.flatnonzero(of_class == name)) for name in np.unique(of_class)]
        episodes.append(shots_of[picked].reshape(-1))
    return np.stack(episodes)


def logistic(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int) -> Scorer:
    """Multinomial logistic regression, C chosen by cross-validated accuracy within the shots.

    min C Σ_i -log p_i,y_i + ½‖W‖², C of 10⁻⁴ … 10⁶, intercept unpenalised (scikit-learn). The
    penalty keeps the weights in the span of the shots, so that the solver gets their coordinates in
    it: n columns in place of p. Member j of each class is in fold j mod min(5, images of the rarest
    class); among equally accurate C the smallest wins. One shot cannot be cross-validated: C is
    then 1. Muttenthaler et al. (2023), section 5, take as many folds as shots.
    """
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import PredefinedSplit

    mean = X.mean(axis=0)
    _, s, Vt = np.linalg.svd(X - mean, full_matrices=False)
    V = Vt[s >= 1e-10 * s.max()].T  # (p, rank): the span of the shots
    settings: dict[str, Any] = {"solver": "newton-cg", "tol": 1e-3, "max_iter": 200}
    fold = _stratified_folds(y)
    if fold.max() == 0:
        model = LogisticRegression(**settings)
    else:
        cv = PredefinedSplit(fold)
        model = LogisticRegressionCV(Cs=STRENGTHS, cv=cv, scoring="accuracy", **settings)
    with warnings.catch_warnings():
        # few images of many classes are the task; later versions change defaults that are not used
        warnings.filterwarnings("ignore", message="The number of unique classes")
        warnings.simplefilter("ignore", FutureWarning)
        model.fit((X - mean) @ V, y)

    def scores(Z: np.ndarray) -> Float[np.ndarray, "m k"]:
        decisions: np.ndarray = model.decision_function((Z - mean) @ V)
        if k > 2:
            return decisions
        return np.stack(
            [-decisions, decisions], axis=1
        )  # of two classes the second alone is scored

    return scores


def _stratified_folds(y: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The fold of each row: member j of each class is in fold j mod the number of folds."""
    counts = np.bincount(y)
    folds = min(_MAX_FOLDS, int(counts.min()))
    fold = np.empty(len(y), dtype=np.int64)
    fold[np.argsort(y, kind="stable")] = np.concatenate(
        [np.arange(count) % folds for count in counts]
    )
    return fold


def ncm(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int) -> Scorer:
    """Nearest class mean: the cosine with the mean of each class's rows of length 1."""
    means = np.zeros((k, X.shape[1]))
    np.add.at(means, y, unit_rows(X))
    return lambda Z: unit_rows(Z) @ unit_rows(means).T


def nearest(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int) -> Scorer:
    """Nearest neighbour: the largest cosine with a training row of each class."""
    rows = unit_rows(X)[np.argsort(y, kind="stable")]  # grouped by class
    counts = np.bincount(y)
    starts = np.cumsum(counts) - counts
    return lambda Z: np.maximum.reduceat(unit_rows(Z) @ rows.T, starts, axis=1)


PROBES: dict[str, Callable[[np.ndarray, np.ndarray, int], Scorer]] = {
    "logistic": logistic,
    "ncm": ncm,
    "1nn": nearest,
}


def shared_credit(
    scores: Float[np.ndarray, "m k"], y: Int[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    """How right each prediction is: 1/t if the true class is one of t tied for the highest score.

    It is 0 otherwise. So features that have collapsed to one point score exactly chance in every
    class, whatever their order.
    """
    tolerance = _TIE * np.abs(scores).max(axis=1, keepdims=True)
    is_highest = scores >= scores.max(axis=1, keepdims=True) - tolerance
    return is_highest[np.arange(len(y)), y] / is_highest.sum(axis=1)
