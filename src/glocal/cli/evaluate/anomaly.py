"""``glocal evaluate anomaly``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.cli.evaluate.common import ScoresOut, check_scores_out, embedded_single, put_scores
from glocal.cli.features import LayerName, ModelName, load_features
from glocal.cli.options import AsJson, TransformPath
from glocal.cli.output import interval, progress_bar, put, put_json, put_table, say
from glocal.data.features import Features
from glocal.data.labels import load_labels
from glocal.errors import ParameterError
from glocal.evaluation.anomaly import Anomaly, anomaly, anomaly_against

_MOST_SHOWN = 30


def anomaly_command(
    train: Annotated[Path, typer.Option("--train", help="Feature file of the training images.")],
    test: Annotated[Path, typer.Option("--test", help="Feature file of the test images.")],
    train_labels: Annotated[Path | None, typer.Option("--train-labels", help="One class a training image.")] = None,
    test_labels: Annotated[Path | None, typer.Option("--test-labels", help="One class a test image.")] = None,
    mode: Annotated[
        str, typer.Option("--mode", help="one-vs-rest, leave-one-out, or shift (labels are superclasses).")
    ] = "one-vs-rest",
    k: Annotated[int, typer.Option("--k", help="Nearest training images that the score averages.")] = 5,
    transform: TransformPath = None,
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
    model: ModelName = None,
    layer: LayerName = None,
    out: ScoresOut = None,
    as_json: AsJson = False,
) -> None:
    """Anomaly detection by the nearest training images: AUROC with interval, AUPR and FPR95, averaged over classes.

    Labels are needed except with --anomalies, which trains on all training images and needs none. Without a transform
    all files are standardized by the two scalars of the training features.

    Example: glocal evaluate anomaly --train train.npy --train-labels train_labels.npy --test test.npy
    --test-labels test_labels.npy --transform transform.npz
    """
    check_scores_out(out)
    if anomalies is not None and (mode != "one-vs-rest" or train_labels or test_labels):
        raise ParameterError("--anomalies is a task of its own, without labels and mode; leave those out.")
    if anomalies is None and (train_labels is None or test_labels is None):
        missing = "--test-labels" if train_labels else "--train-labels"
        say(f"error: Missing option '{missing}'; only --anomalies does without. See glocal evaluate anomaly --help.")
        raise typer.Exit(2)
    files = {
        name: load_features(path, model, layer)
        for name, path in (("train", train), ("test", test), ("other", anomalies))
        if path
    }
    labels = {
        name: None if path is None else load_labels(path, len(files[side]))
        for name, side, path in (
            ("train_labels", "train", train_labels),
            ("test_labels", "test", test_labels),
            ("train_subclasses", "train", train_subclasses),
            ("test_subclasses", "test", test_subclasses),
        )
    }
    rows = {name: _embedded(features, files["train"], transform) for name, features in files.items()}
    with progress_bar("comparing", len(files["train"]), unit="images") as progress:
        if anomalies is not None:
            result = anomaly_against(rows["train"], rows["test"], rows["other"], k=k, progress=progress)
        else:
            result = anomaly(**rows, **labels, mode=mode, k=k, progress=progress)  # type: ignore[arg-type]
    means = {name: getattr(result, name) for name in ("auroc", "aupr", "fpr95", "low", "high")}
    ends = {"auroc": (result.low, result.high)}
    put_scores(
        out,
        transform,
        [
            ("anomaly", f"{name}_{result.mode}", means[name], *ends.get(name, (None, None)), result.n, test.name)
            for name in ("auroc", "aupr", "fpr95")
        ],
    )
    if as_json:
        rest = {name: getattr(result, name) for name in ("mode", "k", "n", "n_train")}
        put_json({**means, "per_class": result.per_class(), **rest})
        return
    _show(result)


def _embedded(features: Features, train: Features, transform: Path | None) -> np.ndarray:
    features.check_finite()
    return embedded_single(features, transform, None if transform else train.standardization)


def _show(result: Anomaly) -> None:
    put(f"AUROC ({result.mode}, k = {result.k})  {interval(result.auroc, result.low, result.high)}   chance 0.5")
    put(f"AUPR  {result.aupr:.3f}   FPR95  {result.fpr95:.3f}   test images {result.n}")
    rows = result.per_class()
    if 1 < len(rows) <= _MOST_SHOWN:
        numbers = ("auroc", "aupr", "fpr95")
        put_table(
            ("class", *numbers, "normal", "anomalous"),
            [
                (
                    str(row["class"]),
                    *(f"{row[name]:.3f}" for name in numbers),
                    str(row["normal"]),
                    str(row["anomalous"]),
                )
                for row in rows
            ],
        )
