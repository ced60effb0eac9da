"""The verdict: which transform, if any, serves the labelled images of a user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from glocal.advice import SituationChoice, neighbours_sentence
from glocal.data.features import Features
from glocal.data.labels import Superclasses
from glocal.errors import DataError, ParameterError, did_you_mean
from glocal.evaluation.structure import kept_neighbours, neighbourhoods
from glocal.objective import single_threaded_blas
from glocal.scores import ORIGINAL, Score, Scores
from glocal.screen import COLUMNS, Printable, wrapped
from glocal.similarity import Labels
from glocal.suite.table import score_lines
from glocal.transform import LinearTransform
from glocal.verdict.arms import (
    SHARE_OF_OTHERS,
    TransformedArms,
    fitting_transforms,
    fixed_arms_first,
    transformed_arms,
    warn_of_seen,
    with_rare_others,
)
from glocal.verdict.choice import Decision, Situation, decide
from glocal.verdict.examples import NAMES, NAMES_ALONE, Task
from glocal.verdict.images import Arms, LabelledImages, select_rows, warn_of_equal_rows
from glocal.verdict.names import has_baseline_names
from glocal.verdict.sentences import has_own_origin, loss_sentence, situation_lines
from glocal.verdict.situations import Anomalies, tasks

if TYPE_CHECKING:
    import pandas as pd

KEPT = "neighbours kept"
_K = 10  # neighbours

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, repr=False)
class Verdict(Printable):
    """The choice in each situation.

    Parameters
    ----------
    situations : tuple of Situation
        What to use, by situation.
    scores : Scores
        The scores of all arms, with the situations as tasks, and their differences from the first
        arm and from `centred`, with `p_corrected`.
    left_out : mapping
        By situation, the classes that have too few images to enter, with their number of images.
    transforms : mapping
        By situation, the transform of each arm that has one.
    """

    situations: tuple[Situation, ...]
    scores: Scores
    left_out: Mapping[str, Mapping[Any, int]]
    transforms: Mapping[str, Mapping[str, LinearTransform]] = field(default_factory=dict)

    def transform(self, situation: str) -> LinearTransform | None:
        """Return the transform to use in a situation, or None if it recommends none.

        Raises a ParameterError if there is no situation of this name.
        """
        arms = {each.name: each.arm for each in self.situations}
        if situation not in arms:
            names = ", ".join(arms)
            raise ParameterError(
                f"there is no situation {situation!r}; there are {names}."
                + did_you_mean(situation, arms)
            )
        arm = str(arms[situation])
        transforms = self.transforms[situation]
        return transforms.get(arm)

    def summary(self) -> str:
        """Say what to use in each situation."""
        choices = [
            f"{situation.head.strip()}: {situation.arm or situation.reason}"
            for situation in self.situations
        ]
        sentence = "; ".join(choices)
        return f"{sentence}."

    def table(self) -> pd.DataFrame:
        """Return the situations as a data frame."""
        import pandas as pd

        return pd.DataFrame(map(vars, self.situations))

    def text_lines(self, width: int = COLUMNS) -> list[str]:
        """What to use in each situation, and what it keeps."""
        lines: list[str] = []
        for situation in self.situations:
            left_out = self.left_out[situation.name]
            n_left_out = len(left_out)
            lines += situation_lines(situation, n_left_out, width)
        return lines + self._kept_lines(width)

    def score_lines(self, width: int = COLUMNS) -> list[str]:
        """The scores of all arms by situation, with gains over the first, below a blank line."""
        widest = min(width, COLUMNS)
        scores: dict[str, list[Score]] = {ORIGINAL: [], NAMES_ALONE: []}
        for score in self.scores:
            has_names = has_baseline_names(score.task)
            baseline = NAMES_ALONE if has_names else ORIGINAL
            scores[baseline].append(score)
        lines: list[str] = []
        for baseline, scores_over_it in scores.items():
            if scores_over_it:
                table = Scores(scores_over_it)
                lines.append("")
                lines += score_lines(table, baseline, widest)
        return lines

    def _kept_lines(self, width: int) -> list[str]:
        """The share of its neighbours that an image keeps in each recommended arm."""
        shares: dict[str, float] = {}
        for situation in self.situations:
            if situation.choice != SituationChoice.RECOMMEND or has_own_origin(situation):
                continue
            arm = str(situation.arm)
            score = self.scores.score("", KEPT, arm)
            if score is not None:
                shares[arm] = score.value
        sentence = neighbours_sentence(shares)
        if not sentence:
            return []
        lines = wrapped(sentence, width)
        return ["", *lines]


def verdict(
    X: Any,
    labels: Labels,
    *,
    test: Any = None,
    test_labels: Shaped[np.ndarray, " m"] | None = None,
    transforms: Mapping[str, LinearTransform] | None = None,
    superclasses: Superclasses | None = None,
    class_texts: Features | None = None,
    normal: Sequence[Any] = (),
    means: Any = None,
    force: bool = False,
    progress: Progress = lambda count, total, task: None,
) -> Verdict:
    """Decide which transform, if any, to use for labelled images of one's own, in each situation.

    The arms are the original features, the features less their column means, the transforms in
    the box if they were fitted on features of the same network (those with a bias also recentred on
    these rows), and `transforms`. Nothing is fitted to answers.

    The situations are one label a class and five (nearest class means), all labels (logistic
    regression), and a search by class (mean average precision); the options add others. In each,
    the choice begins with the original features and steps to each later arm that has a positive
    gain over the present arm, over the original features and, if it is a transform, over the
    features less their means: paired, each with p < 0.05 after Holm's correction for all pairs.

    Parameters
    ----------
    X : Features, (n, p) array, tensor, list or data frame
        Raw (not standardized) rows. Features of `glocal extract` record their network; other rows
        are compared with the statistics of the transforms (see `glocal.transform.check_rows`).
    labels : (n,) integers or names
        The class of each row. Classes with fewer than 12 different images are left out, with one
        label and in a search those with fewer than 6. Of more than 20,000 rows a sample of about
        4,000 is scored, which a DataWarning says; the column means are of all rows.
    test, test_labels : as `X` and `labels`, or None
        Images to be classified, and to search with, in place of the others; the labels and means
        that are used still come from `X`.
    transforms : mapping or None
        Further transforms, by name.
    superclasses : mapping or None
        The superclass of each class: with one label a class, a class of the true superclass is
        right.
    class_texts : Features or None
        Embeddings of the class names by the text side of the network; see `few_shot`.
    normal : sequence of labels
        Classes: find what is of none of them. Here the features less their means, and transforms
        that are recentred, take the mean of a collection with 5 % other images, since a mean of
        many anomalies finds them too well. The choice steps to transforms that need no mean first.
    means : Features, (l, p) array, tensor, list or data frame, or None
        With `normal`: rows of a collection of images, of which the mean is taken instead.
    force : bool
        Go on, with a warning, if rows do not belong to one of `transforms`.
    progress : function
        Called with the number of decided situations, the number of all, and the present one.

    Raises
    ------
    DataError
        If the labels name one class alone, rows do not belong to one of `transforms`, labels and
        rows differ in number, a class has no text, or a value is NaN or infinite.
    ParameterError
        If one of `transforms` has the name of another arm, `normal` names no class, or `means`
        stands without it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 20)
    >>> clarity = np.exp(rng.normal(size=(40, 1)))
    >>> X = 9 + clarity * (np.eye(8)[y] + 0.3 * rng.normal(size=(40, 8)))
    >>> [situation.arm for situation in verdict(X, y).situations][0]
    'centred'
    """
    if (test is None) != (test_labels is None):
        raise ParameterError("`test` and `test_labels` go together: give both, or neither.")
    if means is not None and not normal:
        raise ParameterError("`means` is for finding what is not of a class. Give `normal` too.")
    first_side = select_rows(X, labels)
    sides = [first_side]
    if test is not None:
        test_side = select_rows(test, test_labels)
        sides.append(test_side)
    rows = [np.asarray(side.features.matrix) for side in sides]
    warn_of_equal_rows(rows)
    own_transforms = transforms or {}
    candidates = fitting_transforms(first_side.features, own_transforms)
    last_side = sides[-1]
    warn_of_seen(candidates, last_side.features)
    arms_of_means = partial(transformed_arms, sides, candidates, force=force)
    arms = arms_of_means(first_side.whole)
    labels_of_sides = [side.labels for side in sides]
    images = LabelledImages.from_rows(rows, labels_of_sides, first_side.all_labels)
    images.warn_of_unknown_classes()
    if len(images.sizes) < 2:
        raise DataError("all labels name one class, so that there is nothing to decide.")
    situations = tasks(images, superclasses=superclasses, normal=normal, texts=class_texts)
    collection = None
    if means is not None:
        rows_of_collection = _collection(means)
        collection = arms_of_means(rows_of_collection)
    return _decided([*situations], arms, collection, progress)


def _collection(means: Any) -> Features:
    """The rows of a collection of images, without names."""
    features = means if isinstance(means, Features) else Features(means)
    features.check_finite()
    return replace(features, names=None)


def _arms_of_anomalies(
    task: Anomalies, arms: TransformedArms, collection: TransformedArms | None
) -> TransformedArms:
    """The arms that find anomalies, with the means of a collection or of mostly normal images."""
    if collection is not None:
        return fixed_arms_first(collection)
    if task.reason:
        return fixed_arms_first(arms)
    is_normal = task.is_normal[0]
    return fixed_arms_first(with_rare_others(arms, is_normal))


def _decided(
    situations: Sequence[Task],
    arms: TransformedArms,
    collection: TransformedArms | None,
    progress: Progress,
) -> Verdict:
    """Decide all situations, and count the neighbours that the arms keep.

    If there is a `collection`, its means are subtracted to find anomalies.
    """
    decisions: list[Decision] = []
    scores: list[Score] = []
    n_steps = len(situations) + 1
    with single_threaded_blas():
        for number, task in enumerate(situations):
            progress(number, n_steps, task.name)
            if isinstance(task, Anomalies):
                arms_of_anomalies = _arms_of_anomalies(task, arms, collection)
                share_of_others = SHARE_OF_OTHERS if collection is None else None
                decision = decide(task, arms_of_anomalies, share_of_others)
            else:
                decision = decide(task, arms)
            decisions.append(decision)
            scores += decision.scores
        progress(len(situations), n_steps, KEPT)
        scores += _neighbours(arms.rows)
    # a page begins with what has a baseline
    scores.sort(key=lambda score: NAMES in score.task)
    return Verdict(
        situations=_with_losses(decisions),
        scores=Scores(scores),
        left_out={task.name: task.left_out for task in situations},
        transforms={decision.situation.name: decision.transforms for decision in decisions},
    )


def _with_losses(decisions: Sequence[Decision]) -> tuple[Situation, ...]:
    """The situations, each with the arms that are recommended elsewhere and lose there."""
    arms = [str(decision.situation.arm) for decision in decisions]
    recommended = dict.fromkeys(arms)
    situations: list[Situation] = []
    for decision in decisions:
        losses = _losses(decision, recommended)
        situation = replace(decision.situation, losses=losses)
        situations.append(situation)
    return tuple(situations)


def _neighbours(arms: Arms) -> list[Score]:
    """The share of their nearest neighbours that images keep in each arm."""
    X, *_ = arms[ORIGINAL]
    if len(X) <= _K:
        return []
    before = neighbourhoods(X, _K)
    scores: list[Score] = []
    for arm, (Z, *_) in arms.items():
        result = kept_neighbours(X, Z, k=_K, before=before)
        score = result.scores[0]
        score_of_arm = replace(score, transform=arm, task=KEPT)
        scores.append(score_of_arm)
    return scores


def _losses(decision: Decision, recommended: Iterable[str]) -> tuple[str, ...]:
    """The recommended arms that are certainly worse here than the original features."""
    situation = decision.situation
    if situation.reason:
        return ()
    sentences: list[str] = []
    for arm in recommended:
        gain = decision.gains.get((arm, ORIGINAL))
        if gain is None or arm == situation.arm:
            continue
        is_loss = gain.high is not None and gain.high < 0
        if is_loss:
            sentence = loss_sentence(arm, gain)
            sentences.append(sentence)
    return tuple(sentences)
