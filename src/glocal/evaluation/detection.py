"""How well a score finds anomalies: AUROC, AUPR and FPR95 of tasks, and the mean of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypedDict

import numpy as np

from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import FRACTION, ItemValues
from glocal.evaluation.sides import leave_out
from glocal.scores import Score
from glocal.similarity import Labels, Mask, Values, snap_ties, tie_tolerance


class Detection(NamedTuple):
    """AUROC, AUPR, and FPR95, the share of normal images flagged when 95 % of the anomalies are."""

    auroc: float
    aupr: float
    fpr95: float


class DetectionSettings(TypedDict):
    """The settings in the rows of scores."""

    mode: str
    k: int


class DetectionTask(NamedTuple):
    """The test images of a task: their similarity to its training images, and what they are.

    An image that is neither normal nor anomalous has no part in the task.
    """

    name: int | str
    similarity: Values
    normal: Mask
    anomalous: Mask

    @property
    def is_complete(self) -> bool:
        """Whether there are both normal and anomalous test images."""
        has_normal = bool(self.normal.any())
        has_anomalous = bool(self.anomalous.any())
        return has_normal and has_anomalous

    @property
    def is_used(self) -> Mask:
        """Which test images have a part in the task."""
        return self.normal | self.anomalous


def detection(anomalous: Mask, score: Values) -> Detection:
    """How well a score finds the anomalies.

    A lower FPR95 is better. Tied images pass a threshold together, but for FPR95 they are flagged
    in random order (the ROC curve is linear within a tie). If all scores are equal, the three
    values are 1/2, the share of anomalies, and 0.95.
    """
    from sklearn.metrics import auc, average_precision_score, roc_curve

    false_rate, true_rate, _ = roc_curve(anomalous, score, drop_intermediate=False)
    auroc = auc(false_rate, true_rate)
    aupr = average_precision_score(anomalous, score)
    just_below = 0.95 - 1e-12  # lowest rate of a flat part
    fpr95 = np.interp(just_below, true_rate, false_rate)
    return Detection(float(auroc), float(aupr), float(fpr95))


def result_of_tasks(
    tasks: Sequence[DetectionTask], n_columns: int, classes: Labels, settings: DetectionSettings
) -> Result:
    """Average the metrics of the tasks; the interval is over other test images of the `classes`."""
    tolerance = tie_tolerance(n_columns)
    complete = [task for task in tasks if task.is_complete]
    n_tasks = len(tasks)
    n_incomplete = n_tasks - len(complete)
    leave_out(n_incomplete, n_tasks, "classes lack normal or anomalous test images")
    n_images = len(classes)
    detections, influence = _detections(complete, n_images, tolerance)
    auroc, *others = _mean_scores(detections, n_images, settings)
    deviations = _within_classes(influence, classes)
    units = ItemValues(values=auroc.value + deviations)
    estimate = units.estimate()
    low, high = estimate.interval(FRACTION)
    auroc = replace(auroc, low=low, high=high)
    scores = [auroc, *others]
    rows = list(map(_row, complete, detections))
    return Result.from_scores(scores, units, per_class=rows)


def _detections(
    tasks: Sequence[DetectionTask], n_images: int, tolerance: float
) -> tuple[list[Detection], Values]:
    """The metrics of each task, and the mean influence of each image on the AUROC of the tasks."""
    influence = np.zeros(n_images)
    detections = []
    for task in tasks:
        anomalous, score = _scores_of_used(task, tolerance)
        task_influence = _influence(anomalous, score)
        influence[task.is_used] += task_influence / len(tasks)
        metrics = detection(anomalous, score)
        detections.append(metrics)
    return detections, influence


def _scores_of_used(task: DetectionTask, tolerance: float) -> tuple[Mask, Values]:
    """The used images of a task: which are anomalies, and their scores, ties made equal."""
    is_used = task.is_used
    similarity = task.similarity[is_used]
    anomalous = task.anomalous[is_used]
    score = -snap_ties(similarity, tolerance)
    return anomalous, score


def _mean_scores(
    detections: Sequence[Detection],
    n: int,
    settings: DetectionSettings,
) -> list[Score]:
    """A row for the mean of each metric over tasks, without an interval."""
    scores = []
    columns = zip(*detections, strict=True)
    for metric, values in zip(Detection._fields, columns, strict=True):
        mean = float(np.mean(values))
        score = Score("anomaly", metric, mean, n=n, settings=settings)
        scores.append(score)
    return scores


def _row(task: DetectionTask, metrics: Detection) -> dict[str, int | float | str]:
    """The metrics of a task, and its numbers of test images."""
    n_normal = np.count_nonzero(task.normal)
    n_anomalous = np.count_nonzero(task.anomalous)
    return {
        "class": task.name,
        **metrics._asdict(),
        "normal": int(n_normal),
        "anomalous": int(n_anomalous),
    }


def _influence(anomalous: Mask, score: Values) -> Values:
    """The share of each image in the error of an AUROC.

    The placement value of a normal image is the share of anomalies with a higher score. For an
    anomaly it is the share of normal images with a lower score. Ties count half. The AUROC is the
    mean of either kind, and an image moves it by the deviation of its placement value from this
    mean, divided by the number of its kind.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837.
    """
    from scipy.stats import rankdata

    placement = rankdata(score)
    for is_of_kind in (anomalous, ~anomalous):
        ranks_in_kind = rankdata(score[is_of_kind])
        placement[is_of_kind] -= ranks_in_kind  # images of the other kind with a lower score
    n_anomalous = np.count_nonzero(anomalous)
    n_normal = len(anomalous) - n_anomalous
    share_of_normal = placement / n_normal
    share_of_anomalous = 1 - placement / n_anomalous
    shares = np.where(anomalous, share_of_normal, share_of_anomalous)
    auroc = shares[anomalous].mean()
    numbers = np.where(anomalous, n_anomalous, n_normal)
    return (shares - auroc) / numbers


def _within_classes(influence: Values, classes: Labels) -> Values:
    """Values of mean 0, whose independent error is that of images within these classes."""
    _, codes, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    class_sums = np.bincount(codes, influence)
    class_means = class_sums / sizes
    within = influence - class_means[codes]
    n = len(influence)
    n_classes = len(sizes)
    freedom = max(n - n_classes, 1)
    inflation = (n - 1) / freedom
    return n * within * inflation**0.5
