"""``glocal evaluate anomaly``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from glocal.cli.command import changed, takes
from glocal.cli.evaluate.breeds import Breeds
from glocal.cli.evaluate.common import Scored, record
from glocal.cli.output import interval, progress_bar, put_table, say
from glocal.data.features import Features
from glocal.data.labels import load_labels
from glocal.errors import ParameterError
from glocal.evaluation.anomaly import anomaly, anomaly_against

_MOST_SHOWN = 30


@takes(anomaly)
def anomaly_command(
    given: Scored,
    task: Breeds,
    train: Annotated[Path, typer.Option("--train", help="Feature file of the training images.")],
    test: Annotated[Path, typer.Option("--test", help="Feature file of the test images.")],
    train_labels: Annotated[Path | None, typer.Option("--train-labels", help="One class a training image.")] = None,
    test_labels: Annotated[Path | None, typer.Option("--test-labels", help="One class a test image.")] = None,
    train_subclasses: Annotated[
        Path | None, typer.Option("--train-subclasses", help="For shift: one subclass a training image.")
    ] = None,
    test_subclasses: Annotated[
        Path | None, typer.Option("--test-subclasses", help="For shift: one subclass a test image.")
    ] = None,
    anomalies: Annotated[
        Path | None,
        typer.Option("--anomalies", help="Feature file of another data set: its images against the test images."),
    ] = None,
    **options: Any,
) -> None:
    """Anomaly detection by the nearest training images: AUROC with interval, AUPR and FPR95, averaged over classes.

    Labels are needed except with --anomalies, which trains on all training images and needs none. Without a transform
    all files are standardized by the two scalars of the training features. With --breeds the classes are the
    superclasses of that task, and the normal test images are of other subclasses than the training images.

    Example: glocal evaluate anomaly --train train.npy --train-labels train_labels.npy --test test.npy
    --test-labels test_labels.npy --transform transform.npz
    """
    if anomalies is not None and (
        "mode" in changed(anomaly_command, options) or train_labels or test_labels or task.breeds
    ):
        raise ParameterError("--anomalies is a task of its own, without labels and mode; leave those out.")
    task.check(train_subclasses, test_subclasses)
    labels = () if anomalies is not None else _needed(train_labels, test_labels)
    shown, seen = given.load(train), given.load(test)
    scalars = None if given.transform else shown.standardization

    def rows(features: Features) -> np.ndarray:
        features.check_finite()
        return given.embedded(features, scalars, "float32")  # half the memory

    with progress_bar("comparing", len(shown), unit="images") as progress:
        if anomalies is not None:
            others = rows(given.load(anomalies))
            result = anomaly_against(rows(shown), rows(seen), others, k=options["k"], progress=progress)
        else:
            y_train, y_test = (
                load_labels(path, len(images)) for path, images in zip(labels, (shown, seen), strict=True)
            )
            shown, y_train, seen, y_test = task.sides(shown, y_train, seen, y_test)
            result = anomaly(
                rows(shown), y_train, rows(seen), y_test, progress=progress, **options,
                train_subclasses=None if train_subclasses is None else load_labels(train_subclasses, len(shown)),
                test_subclasses=None if test_subclasses is None else load_labels(test_subclasses, len(seen)),
            )  # fmt: skip
    lines = (
        f"AUROC ({result.mode}, k = {result.k})  {interval(result.auroc, result.low, result.high)}   chance 0.5",
        f"AUPR  {result.aupr:.3f}   FPR95  {result.fpr95:.3f}   test images {result.n}",
    )
    per_class = result.per_class()
    given.put(result.scores, lines, {**record(result), "per_class": per_class}, split=test.name)
    if not given.as_json and 1 < len(per_class) <= _MOST_SHOWN:
        put_table(
            list(per_class[0]),
            [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row.values()] for row in per_class],
        )


def _needed(train_labels: Path | None, test_labels: Path | None) -> tuple[Path, Path]:
    """Both label files, or the error of a command line that lacks one."""
    if train_labels is None or test_labels is None:
        missing = "--test-labels" if train_labels else "--train-labels"
        say(f"error: Missing option '{missing}'; only --anomalies does without. See glocal evaluate anomaly --help.")
        raise typer.Exit(2)
    return train_labels, test_labels
