"""A verdict: which transform, if any, serves the labelled images of a user, in each situation."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from glocal.data.features import Features
from glocal.data.labels import Superclasses, row_labels
from glocal.data.seen import seen_rows
from glocal.errors import DataError, DataWarning, ParameterError, warn
from glocal.evaluation.comparison import compared
from glocal.evaluation.structure import kept_neighbours, neighbourhoods
from glocal.objective import single_threaded_blas
from glocal.scores import MAX_SHARE_SEEN, ORIGINAL, Score, Scores
from glocal.similarity import Labels, repeated_rows
from glocal.suite.advice import KEPT, Situation, Verdict
from glocal.suite.situations import (
    LEVEL,
    NAMES,
    NAMES_ALONE,
    ONE_LABEL,
    Arms,
    Gains,
    ImageLabels,
    Question,
    Rows,
    choose,
    differences,
    questions,
    sample_rows,
)
from glocal.suite.tasks import warn_at_chance
from glocal.transform import LinearTransform
from glocal.transform.catalogue import bundled
from glocal.transform.checks import row_differences, table_rows

CENTRED = "centred"
RECENTRED = ", recentred"
MAX_ROWS = 20_000
"""Of more rows, a sample is scored."""
SAMPLE_ROWS = 4000
"""The approximate size of the sample; the rankings of mAP take time in proportion to its square."""
_K = 10  # neighbours

Progress = Callable[[int, int, str], None]


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
    gain over the present arm and over the original features, paired, each with p < 0.05 after
    Holm's correction for all pairs of arms.

    Parameters
    ----------
    X : Features, (n, p) array, tensor, list or data frame
        Raw (not standardized) rows. Features of `glocal extract` record their network; other rows
        are compared with the statistics of the transforms (see `glocal.transform.check_rows`).
    labels : (n,) integers or names
        The class of each row. Classes with fewer than 12 different images are left out, with one
        label and in a search those with fewer than 6. Of more than 20,000 rows a sample of about
        4,000 is scored, which a DataWarning says; the column means are those of all rows.
    test, test_labels : as `X` and `labels`, or None
        Images to be classified, and to search with, in place of the others; the labels and means
        that are used stay those of `X`.
    transforms : mapping or None
        Further transforms, by name.
    superclasses : mapping or None
        The superclass of each class: with one label a class, a class of the true superclass is
        right.
    class_texts : Features or None
        Embeddings of the class names by the text side of the network; see `few_shot`.
    normal : sequence of labels
        Classes: find what is of none of them.
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
        If one of `transforms` has the name of another arm, or `normal` names no class.

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
    sides = [select_rows(X, labels)]
    if test is not None:
        sides.append(select_rows(test, test_labels))
    rows = [np.asarray(side.features.matrix) for side in sides]
    _warn_of_equal_rows(rows)
    arms = _arms(sides, transforms or {}, force)
    images = ImageLabels.of(rows, [side.labels for side in sides], sides[0].all_labels)
    _warn_of_unknown_classes(images)
    if len(images.sizes) < 2:
        raise DataError("all labels name one class, so that there is nothing to decide.")
    situations = [*questions(images, superclasses=superclasses, normal=normal, texts=class_texts)]
    return _decided(situations, arms, sides[0].features.source, progress)


class Selection(NamedTuple):
    """The rows of one side to score and their labels, and all rows with theirs."""

    features: Features
    labels: Labels
    whole: Features
    all_labels: Labels


def select_rows(X: Any, labels: Labels | None) -> Selection:
    """Check rows and labels; of more than `MAX_ROWS` draw a sample, which a DataWarning says."""
    features = X if isinstance(X, Features) else Features(X)
    rows, labels = row_labels(labels, len(features))
    if len(rows) < len(features):
        features = replace(features, matrix=features.matrix[rows], names=None)
    features.check_finite()
    whole = replace(features, names=None)
    if len(labels) <= MAX_ROWS:
        return Selection(whole, labels, whole, labels)
    rows = sample_rows(labels, SAMPLE_ROWS)
    warn(
        f"{len(rows)} of {len(labels)} rows are scored, in proportion to the classes; the column "
        "means are those of all rows.",
        DataWarning,
    )
    return Selection(replace(whole, matrix=whole.matrix[rows]), labels[rows], whole, labels)


def _warn_of_equal_rows(rows: Rows) -> None:
    """Count the rows that equal an earlier one, on either side, in a DataWarning."""
    is_equal = repeated_rows(np.concatenate(rows))
    if n_equal := np.count_nonzero(is_equal):
        warn(
            f"{n_equal} of {len(is_equal)} rows equal an earlier row: images that are in "
            "the set twice make differences look more certain than they are.",
            DataWarning,
        )


def _warn_of_unknown_classes(images: ImageLabels) -> None:
    """Count the test images of classes that no label of the first side names, in a DataWarning."""
    tested = images.labels[-1]
    is_unknown = ~np.isin(tested, images.labels[0])
    if is_unknown.any():
        warn(
            f"{np.count_nonzero(is_unknown)} of {len(tested)} test images are of a class that "
            f"`labels` lacks (e.g. {tested[is_unknown][0]}). They are left out; only `normal` "
            "counts them, as others.",
            DataWarning,
        )


def _arms(
    sides: Sequence[Selection], transforms: Mapping[str, LinearTransform], force: bool
) -> dict[str, Rows]:
    """The rows of each arm, by its name; all arms begin from rows of the same scale.

    Column means, and those that a transform is recentred on, are those of the first side.
    """
    first = sides[0]
    box = bundled()
    for name in transforms:
        if name.removesuffix(RECENTRED) in {"", ORIGINAL, CENTRED, NAMES_ALONE, *box}:
            raise ParameterError(
                f"a transform is called {name!r}, as is an arm that is tried anyway. Give it "
                "another name, or leave it out."
            )
    arms: dict[str, LinearTransform] = {}
    for name, file in box.items():
        transform = LinearTransform.load(file)
        if row_differences(transform, first.features):
            continue
        arms[name] = transform
        if transform.bias is not None:
            arms[f"{name}{RECENTRED}"] = transform.recentred(first.whole)
    arms |= transforms
    _warn_of_seen(arms, sides[-1].features)
    tables = [table_rows(arms, side.features, force=force) for side in sides]
    centring = LinearTransform.centring(first.whole, normalize=tables[0].is_unit)
    matrices = [table.matrix.astype(np.float64) for table in tables]
    rows: dict[str, Rows] = {
        ORIGINAL: [tables[0].scaling(matrix, "float64") for matrix in matrices]
    }
    for name, transform in {CENTRED: centring, **arms}.items():
        rows[name] = [transform.map_rows(matrix) for matrix in matrices]
    return rows


def _warn_of_seen(arms: Mapping[str, LinearTransform], features: Features) -> None:
    """Warn of transforms that were fitted to many of the images that are scored."""
    for name, transform in arms.items():
        share = 0.0 if name.endswith(RECENTRED) else seen_rows(transform.meta, features)
        if (share or 0) > MAX_SHARE_SEEN:
            warn(
                f"{name} was fitted to answers about {share:.0%} of these images; its gains on "
                "other images may be smaller.",
                DataWarning,
            )


def _decided(
    situations: Sequence[Question], arms: Arms, source: str, progress: Progress
) -> Verdict:
    """Decide all situations, and count the neighbours that the arms keep."""
    scores: list[Score] = []
    decided: list[tuple[Situation, Gains]] = []
    with single_threaded_blas():
        for number, question in enumerate(situations):
            progress(number, len(situations) + 1, question.name)
            situation, gains, rows = decide(question, arms)
            decided.append((situation, gains))
            scores += rows
        progress(len(situations), len(situations) + 1, KEPT)
        scores += _neighbours(arms)
    recommended = dict.fromkeys(str(situation.arm) for situation, _ in decided)
    applicable = [
        replace(
            situation,
            reason=situation.reason or _losses(situation.arm, recommended, gains),
            **_application(situation.arm, source),
        )
        for situation, gains in decided
    ]
    scores.sort(key=lambda score: NAMES in score.task)  # a page begins with what has a baseline
    left_out = {question.name: question.left_out for question in situations}
    return Verdict(tuple(applicable), Scores(scores), left_out)


def decide(question: Question, arms: Arms) -> tuple[Situation, Gains, list[Score]]:
    """Choose an arm; return the choice, all differences, and the rows of scores."""
    situation = Situation(question.name, question.head, reason=question.reason)
    if question.reason:
        return situation, {}, []
    results = question.score(arms)
    first, *others = results
    if question.name == ONE_LABEL:
        warn_at_chance(results[first], results[first].chance)
    gains = differences(results, question.level)
    arm = choose([*results], gains, question.level)
    score = results[arm].scores[0]
    main = gains.get((arm, first), score)
    situation = replace(
        situation,
        arm=arm,
        value=score.value,
        gain=None if arm == first else main.value,
        low=main.low,
        high=main.high,
        rough=question.level < LEVEL,
    )
    rows = compared(results, ())
    rows += [gains[name, first] for name in others]
    return situation, gains, [replace(row, task=question.name) for row in rows]


def _neighbours(arms: Arms) -> list[Score]:
    """The share of their nearest neighbours that images keep in each arm."""
    X, *_ = arms[ORIGINAL]
    if len(X) <= _K:
        return []
    before = neighbourhoods(X, _K)
    results = {arm: kept_neighbours(X, Z, k=_K, before=before) for arm, (Z, *_) in arms.items()}
    return [replace(result.scores[0], transform=arm, task=KEPT) for arm, result in results.items()]


def _losses(arm: str | None, recommended: Iterable[str], gains: Gains) -> str:
    """The recommended arms that are certainly worse here than the original features."""
    losses = {name: gains.get((name, ORIGINAL)) for name in recommended if name != arm}
    return "; ".join(
        f"{name} loses here: {gain.text()}"
        for name, gain in losses.items()
        if gain is not None and (gain.high or 0) < 0
    )


def _application(arm: str | None, source: str) -> dict[str, Any]:
    """How `glocal apply` applies an arm: the transform, whether it recentres, and the command."""
    if arm in (None, ORIGINAL, NAMES_ALONE):
        return {}
    transform = str(arm).removesuffix(RECENTRED)
    is_recentred = transform != arm
    words = ["glocal", "apply", transform, source]
    if is_recentred:
        words += ["--recentre", source]
    if is_recentred or arm == CENTRED:
        words += ["--save-transform", "mine.npz"]
    command = shlex.join([*words, "--out", "aligned.npy"])
    return {"transform": transform, "recentred": is_recentred, "command": command}
