"""A verdict: which transform, if any, serves the labelled images of a user."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from glocal.data.features import Features
from glocal.data.labels import Superclasses, check_labels, superclass_rows
from glocal.data.seen import seen_rows
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.comparison import Result, compared
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.sides import leave_out
from glocal.evaluation.structure import kept_neighbours, neighbourhoods
from glocal.finding import SIGNIFICANCE
from glocal.objective import single_threaded_blas
from glocal.scores import DIFFERENCE, MAX_SHARE_SEEN, ORIGINAL, Score, Scores
from glocal.screen import COLUMNS, Printable
from glocal.similarity import Embedding, Labels, Mask
from glocal.suite.selection import MAX_LISTED, MIN_IMAGES, Selection, select_rows
from glocal.suite.table import corrected, score_lines, score_table
from glocal.suite.tasks import warn_at_chance
from glocal.transform import LinearTransform
from glocal.transform.checks import row_differences, table_rows
from glocal.transform.sharing import bundled

if TYPE_CHECKING:
    import pandas as pd

MIN_KEPT = 0.9
"""If images keep a smaller share of their nearest neighbours, another arm is named too."""
CENTRED = "centred"
_RECENTRED = ", recentred"
ONE_IMAGE = "1 image a class"
FIVE_IMAGES = "5 images a class"
RETRIEVAL = "mAP"
KEPT = "neighbours kept"
_SHOTS = {ONE_IMAGE: 1, FIVE_IMAGES: 5}
_DRAWS = {"ncm": 40, "logistic": 10}
_K = 10  # neighbours
_IN_WORDS = {
    ORIGINAL: "the features as they are",
    CENTRED: "subtracting the column means",
    FIVE_IMAGES: "with five images a class",
    RETRIEVAL: "in mAP",
}

Progress = Callable[[int, int, str], None]
Tasks = dict[str, Callable[[np.ndarray], Result]]
"""The function that scores the rows of an arm, by task."""


@dataclass(frozen=True, repr=False)
class Verdict(Printable):
    """The arm to use, and why.

    Parameters
    ----------
    arm : str
        The name of the arm: ``"original"`` leaves the features as they are, ``"centred"`` subtracts
        their column means, and all others are transforms.
    sentence : str
        The arm, its gains and the neighbours that it keeps, in words.
    scores : Scores
        The scores of all arms, by task, and their paired differences from the features as they
        are. Those of the task ``"1 image a class"`` have `p_corrected`.
    left_out : mapping
        The classes that have too few images to enter, with their number of images.
    """

    arm: str
    sentence: str
    scores: Scores
    left_out: Mapping[Any, int]

    def summary(self) -> str:
        """Return the sentence."""
        return self.sentence

    def table(self) -> pd.DataFrame:
        """Return the gains over the features as they are, a line an arm and a column a task."""
        return score_table(self.scores, ORIGINAL, _gain_text)

    def text_lines(self, width: int = COLUMNS) -> list[str]:
        """The table as lines of text, which are blocks if it is wider than the screen."""
        return score_lines(self.scores, ORIGINAL, width, _gain_text)


def _gain_text(scores: Scores, network: str, task: str, arm: str, baseline: str) -> str:
    """The text of a gain, or of the score if there is none."""
    score = scores.gain(network, task, arm, baseline) or scores.of(network, task, arm)
    return "-" if score is None else score.text()


def verdict(
    X: Any,
    labels: Labels,
    *,
    transforms: Mapping[str, LinearTransform] | None = None,
    superclasses: Superclasses | None = None,
    force: bool = False,
    progress: Progress = lambda count, total, task: None,
) -> Verdict:
    """Decide which transform, if any, to use for labelled images of one's own.

    The arms are the features as they are, the features less their column means, the transforms in
    the box if they were fitted on features of the same network (those with a bias also recentred on
    these rows), and `transforms`. Nothing is fitted to answers.

    The verdict begins with the features as they are and goes through the arms in this order. It
    moves to an arm whose accuracy with one image a class (nearest class mean) is certainly better
    than that of the arm where it stands: paired, p < 0.05 after Holm's correction for all pairs of
    arms. It does not move if the arm is certainly worse than the features as they are, with five
    images a class or in mAP: the 95 % interval of the paired difference lies below 0.

    Parameters
    ----------
    X : Features, (n, p) array, tensor, list or data frame
        Raw (not standardized) rows. Features of `glocal extract` record their network; other rows
        are compared with the statistics of the transforms (see `glocal.transform.check_rows`).
    labels : (n,) integers or names
        The class of each row. Classes with fewer than 12 images are left out, with a DataWarning;
        equal rows count as one image, and are warned of. Of more than 20,000 rows a sample of
        about 4,000 is scored, which a DataWarning says; the column means are those of all rows.
    transforms : mapping or None
        Further transforms, by name.
    superclasses : mapping or None
        The superclass of each class. Superclasses are then learned too, and tested on images of
        classes that gave no shots.
    force : bool
        Go on, with a warning, if rows do not belong to one of `transforms`.
    progress : function
        Called with the number of finished tasks, the number of all tasks, and the present one.

    Raises
    ------
    DataError
        If fewer than two classes have 12 images, rows do not belong to one of `transforms`, labels
        and rows differ in number, or a value is NaN or infinite.
    ParameterError
        If one of `transforms` has the name of another arm.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 20)
    >>> clarity = np.exp(rng.normal(size=(40, 1)))
    >>> X = 9 + clarity * (np.eye(8)[y] + 0.3 * rng.normal(size=(40, 8)))
    >>> verdict(X, y).arm
    'centred'
    """
    features = X if isinstance(X, Features) else Features(X)
    labels = check_labels(labels, len(features))
    features.check_finite()
    _check_names(transforms or {})
    selection = select_rows(features, labels)
    y = selection.labels
    arms = _embeddings(selection, transforms or {}, force)
    scores: list[Score] = []
    with single_threaded_blas():
        tasks = _tasks(y, arms[ORIGINAL], superclasses)
        for number, (task, score) in enumerate(tasks.items()):
            progress(number, len(tasks), task)
            results = {arm: score(Z) for arm, Z in arms.items()}
            if task == ONE_IMAGE:
                warn_at_chance(results[ORIGINAL], results[ORIGINAL].chance)
            scores += _compared(task, results)
    all_scores = Scores(scores)
    arm, objections = choice([*arms], all_scores)
    shown = Scores(score for score in scores if score.baseline in (None, ORIGINAL))
    return Verdict(arm, sentence([*arms], arm, objections, all_scores), shown, selection.left_out)


def _check_names(transforms: Mapping[str, LinearTransform]) -> None:
    """Raise a ParameterError if a transform has the name of an arm that is tried anyway."""
    reserved = {"", ORIGINAL, CENTRED}
    for name in bundled():
        reserved |= {name, f"{name}{_RECENTRED}"}
    for name in reserved.intersection(transforms):
        raise ParameterError(
            f"a transform is called {name!r}, as is an arm that is tried anyway. Give it another "
            "name, or leave it out."
        )


def _embeddings(
    selection: Selection, transforms: Mapping[str, LinearTransform], force: bool
) -> dict[str, Float[np.ndarray, "n _"]]:
    """The scored rows of each arm, by its name; all arms begin from rows of the same scale."""
    arms: dict[str, LinearTransform] = {}
    for name, file in bundled().items():
        transform = LinearTransform.load(file)
        if row_differences(transform, selection.features):
            continue
        arms[name] = transform
        if transform.bias is not None:
            arms[f"{name}{_RECENTRED}"] = transform.recentred(selection.whole)
    arms |= transforms
    _warn_of_seen(arms, selection.features)
    features = table_rows(arms, selection.features, force=force)
    X = features.matrix.astype(np.float64)
    original = features.scaling(X, "float64")
    centring = LinearTransform.centring(selection.whole, normalize=features.is_unit)
    arms = {CENTRED: centring, **arms}
    return {ORIGINAL: original} | {name: arm.map_rows(X) for name, arm in arms.items()}


def _warn_of_seen(arms: Mapping[str, LinearTransform], features: Features) -> None:
    """Warn of transforms that were fitted to many of the labelled images."""
    for name, transform in arms.items():
        share = 0.0 if name.endswith(_RECENTRED) else seen_rows(transform.meta, features)
        if (share or 0) > MAX_SHARE_SEEN:
            warnings.warn(
                f"{name} was fitted to answers about {share:.0%} of these images; its gains on "
                "other images may be smaller.",
                DataWarning,
                stacklevel=4,
            )


def _tasks(
    y: Labels,
    X: Embedding,
    superclasses: Superclasses | None,
) -> Tasks:
    """The function that scores the rows of an arm in each task; X are the features as they are."""
    levels: dict[str, Superclasses | None] = {"": None}
    if superclasses is not None:
        levels[", superclasses"] = _testable(y, superclasses)
    tasks: Tasks = {}
    for (level, groups), probe, name in product(levels.items(), _DRAWS, _SHOTS):
        task = name + level if probe == "ncm" else f"{name}{level}, {probe}"
        tasks[task] = partial(
            _few_shot,
            y=y,
            rows=np.isin(y, [*(groups or y)]),
            shots=_SHOTS[name],
            draws=_DRAWS[probe],
            probe=probe,
            superclasses=groups,
        )
    tasks[RETRIEVAL] = partial(retrieval, query_labels=y)
    tasks[KEPT] = partial(kept_neighbours, X, k=_K, before=neighbourhoods(X, _K))
    return tasks


def _few_shot(Z: Embedding, y: Labels, rows: Mask, **settings: Any) -> Result:
    """Score these rows by `few_shot`."""
    return few_shot(Z[rows], y[rows], **settings)


def _testable(y: Labels, superclass_of: Superclasses) -> dict[Any, str]:
    """The superclass of each class, for superclasses of at least two classes.

    A DataWarning counts the classes without a superclass, and names superclasses of one class.
    """
    classes = np.unique(y)
    rows, superclasses = superclass_rows(classes, superclass_of)
    leave_out(len(classes) - len(rows), len(classes), "classes have no superclass")
    sizes = Counter(superclasses.tolist())
    groups = dict(zip(classes[rows].tolist(), superclasses.tolist(), strict=True))
    testable = {name: group for name, group in groups.items() if sizes[group] > 1}
    if len({*testable.values()}) < 2:
        raise DataError(
            f"fewer than two superclasses have two classes of at least {MIN_IMAGES} images; one "
            "class gives the shots and the others are tested."
        )
    single = [group for group, size in sizes.items() if size == 1]
    leave_out(
        len(single),
        len(sizes),
        f"superclasses have one class ({', '.join(single[:MAX_LISTED])}), and need two to be "
        "tested",
    )
    return testable


def _compared(task: str, results: Mapping[str, Result]) -> list[Score]:
    """The scores of a task, and the differences of all pairs of arms; those from original last."""
    pairs = [(arm, baseline) for baseline, arm in combinations(results, 2) if task != KEPT]
    scores = [replace(score, task=task) for score in compared(results, reversed(pairs))]
    return corrected(scores) if task == ONE_IMAGE else scores


def _gain(scores: Scores, task: str, arm: str, baseline: str = ORIGINAL) -> Score:
    """The difference of an arm from a baseline; an undefined one is no gain."""
    gain = scores.gain("", task, arm, baseline)
    return gain or Score(task, DIFFERENCE, math.nan, settings={"baseline": baseline})


def _kept(scores: Scores, arm: str) -> float:
    """The share of the neighbours that an arm keeps."""
    score = scores.of("", KEPT, arm)
    return math.nan if score is None else score.value


def choice(arms: Sequence[str], scores: Scores) -> tuple[str, dict[str, Score]]:
    """The arm that the rule of `verdict` ends at, and what speaks against each arm that it passed.

    That is the certain loss of the arm, or else its uncertain difference from the arm before.
    """
    arm = arms[0]
    objections = {}
    for candidate in arms[1:]:
        step = _gain(scores, ONE_IMAGE, candidate, arm)
        losses = [_gain(scores, task, candidate) for task in (FIVE_IMAGES, RETRIEVAL)]
        certain = [loss for loss in losses if (loss.high or 0) < 0]
        is_better = (step.low or 0) > 0 and (step.p_corrected or 0) < SIGNIFICANCE
        if is_better and not certain:
            arm = candidate
        else:
            objections[candidate] = next(iter(certain), step)
    return arm, objections


def sentence(arms: Sequence[str], arm: str, objections: Mapping[str, Score], scores: Scores) -> str:
    """The verdict in words."""
    gains = {name: _gain(scores, ONE_IMAGE, name) for name in arms[1:]}
    parts = [
        "Leave the features as they are: with one image a class, nothing is certainly better "
        "without being certainly worse elsewhere."
    ]
    gain = 0.0
    if arm != ORIGINAL:
        gain = gains[arm].value
        parts = [_recommendation(arm, scores), *_closer_arm(arm, gains, scores)]
    parts += [
        f"{name} gains {score.text()}, but {_objection(objections[name])}."
        for name, score in gains.items()
        if name in objections and round(score.value - gain, 3) > 0
    ]
    return " ".join(parts)


def _recommendation(arm: str, scores: Scores) -> str:
    """The arm to use, its gains, and the neighbours that it keeps."""
    advice = "Subtracting the column means is enough" if arm == CENTRED else f"Use {arm}"
    gain = " and ".join(
        f"{_gain(scores, ONE_IMAGE, arm, baseline).text()} over {_IN_WORDS[baseline]}"
        for baseline in (ORIGINAL, CENTRED)
        if baseline != arm
    )
    return (
        f"{advice}: with one image a class the gain in accuracy is {gain}. Images keep "
        f"{_kept(scores, arm):.3f} of their {_K} nearest neighbours."
    )


def _closer_arm(arm: str, gains: Mapping[str, Score], scores: Scores) -> list[str]:
    """The best arm that keeps enough neighbours, if the recommended one does not."""
    keepers = [
        name for name, gain in gains.items() if gain.value > 0 and _kept(scores, name) >= MIN_KEPT
    ]
    if arm in keepers:
        return []
    if not keepers:
        return [f"No arm that gains keeps {MIN_KEPT} of them."]
    best = max(keepers, key=lambda name: gains[name].value)
    return [f"Of the arms that keep {MIN_KEPT} of them, {best} gains most: {gains[best].text()}."]


def _objection(score: Score) -> str:
    """What speaks against an arm: a certain loss, or an uncertain difference."""
    if score.task in _IN_WORDS:
        return f"is certainly worse {_IN_WORDS[score.task]}: {score.text()}"
    baseline = score.settings["baseline"]
    difference = "" if baseline == ORIGINAL else f": {score.text()}"
    return f"is not certainly better than {_IN_WORDS.get(baseline, baseline)}{difference}"
