"""``glocal evaluate few-shot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.evaluate.common import ScoresOut, check_scores_out, embedded, put_result, record
from glocal.cli.features import LayerName, ModelName, load_features
from glocal.cli.options import AsJson, TransformPath
from glocal.cli.output import interval, progress_bar, say
from glocal.data.labels import load_labels
from glocal.evaluation.fewshot import few_shot

Subclasses = Annotated[
    Path | None, typer.Option(help="Subclass of each row; with both, tested subclasses never train.")
]


def few_shot_command(
    train: Annotated[Path, typer.Option("--train", help="Features that the shots are drawn from.")],
    train_labels: Annotated[Path, typer.Option("--train-labels", help="Class of each row, .npy or one a line.")],
    test: Annotated[Path, typer.Option("--test", help="Features to classify; the training file leaves shots out.")],
    test_labels: Annotated[Path, typer.Option("--test-labels", help="Class of each row, .npy or one a line.")],
    shots: Annotated[int, typer.Option("--shots", help="Training images of each class.")] = 5,
    draws: Annotated[int, typer.Option("--draws", help="How often the shots are drawn.")] = 5,
    probe: Annotated[str, typer.Option("--probe", help="logistic, ridge, ncm or 1nn.")] = "logistic",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draws; arms with one seed share them.")] = 42,
    train_subclasses: Subclasses = None,
    test_subclasses: Subclasses = None,
    shots_per: Annotated[str, typer.Option("--shots-per", help="class, or subclass: what the shots are of.")] = "class",
    transform: TransformPath = None,
    model: ModelName = None,
    layer: LayerName = None,
    out: ScoresOut = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of a probe fitted on a few images of each class, with interval over draws and classes.

    Features are standardized with the two scalars of the transform, or without one of the training features. If both
    name one file, each draw is tested on the rows it did not draw. Labels are superclasses where subclasses are given:
    those shared by both files are halved at random within each superclass, one half trains, the other tests.

    Example: glocal evaluate few-shot --train train.npy --train-labels train_labels.npy --test test.npy
    --test-labels test_labels.npy --shots 5 --probe logistic --transform transform.npz
    """
    check_scores_out(out)
    shot_rows, test_rows = (load_features(path, model, layer) for path in (train, test))
    same = shot_rows.source == test_rows.source or Path(shot_rows.source).samefile(test_rows.source)
    if same:
        say("train and test are one file: each draw is tested on the rows it did not draw.")
    scalars = shot_rows.standardization if transform is None else None
    with progress_bar("few-shot", draws, unit="draws") as progress:
        result = few_shot(
            embedded(shot_rows, transform, scalars), load_labels(train_labels, len(shot_rows)),
            embedded(test_rows, transform, scalars), load_labels(test_labels, len(test_rows)),
            shots=shots, draws=draws, probe=probe, seed=seed, shots_per=shots_per, leave_out_shots=same,
            train_subclasses=None if train_subclasses is None else load_labels(train_subclasses, len(shot_rows)),
            test_subclasses=None if test_subclasses is None else load_labels(test_subclasses, len(test_rows)),
            progress=progress,
        )  # fmt: skip
    lines = (
        f"accuracy ({probe}, {shots} shots)  {interval(result.accuracy, result.low, result.high)}"
        f"   chance {result.chance:.3f}",
        f"each draw  {'  '.join(f'{value:.3f}' for value in result.per_draw)}",
        f"{result.n} test images, {len(result.classes)} classes, seed {seed}",
    )
    put_result(
        result.scores, lines, {**record(result), "n_classes": len(result.classes)},
        out=out, as_json=as_json, transform=transform, split=str(test),
    )  # fmt: skip
