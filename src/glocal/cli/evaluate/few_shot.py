"""``glocal evaluate few-shot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.cli.command import takes
from glocal.cli.evaluate.breeds import Breeds
from glocal.cli.evaluate.common import Scored, record
from glocal.cli.output import interval, progress_bar, say
from glocal.data.labels import load_labels
from glocal.evaluation.fewshot import few_shot

Subclasses = Annotated[
    Path | None, typer.Option(help="Subclass of each row; with both, tested subclasses never train.")
]


@takes(few_shot)
def few_shot_command(
    given: Scored,
    task: Breeds,
    train: Annotated[Path, typer.Option("--train", help="Features that the shots are drawn from.")],
    train_labels: Annotated[Path, typer.Option("--train-labels", help="Class of each row, .npy or one a line.")],
    test: Annotated[Path, typer.Option("--test", help="Features to classify; the training file leaves shots out.")],
    test_labels: Annotated[Path, typer.Option("--test-labels", help="Class of each row, .npy or one a line.")],
    train_subclasses: Subclasses = None,
    test_subclasses: Subclasses = None,
    **options: Any,
) -> None:
    """Accuracy of a probe fitted on a few images of each class, with interval over draws and classes.

    Features are standardized with the two scalars of the transform, or without one of the training features. If both
    name one file, each draw is tested on the rows it did not draw. Where subclasses are given, labels are superclasses:
    the subclasses that both files share are split at random within each superclass, one half for training and the other
    for testing. With --breeds the shots are drawn from the training classes of each superclass of that task, and the
    images of its test classes are told apart.

    Example: glocal evaluate few-shot --train train.npy --train-labels train_labels.npy --test test.npy
    --test-labels test_labels.npy --shots 5 --probe logistic --transform transform.npz
    """
    task.check(train_subclasses, test_subclasses)
    shot_rows, test_rows = (given.load(path) for path in (train, test))
    one_file = shot_rows.source == test_rows.source or Path(shot_rows.source).samefile(test_rows.source)
    same = one_file and task.breeds is None  # no image is of a training and of a test class
    if same:
        say("train and test are one file: each draw is tested on the rows it did not draw.")
    scalars = shot_rows.standardization if given.transform is None else None
    shot_rows, y_train, test_rows, y_test = task.sides(
        shot_rows, load_labels(train_labels, len(shot_rows)), test_rows, load_labels(test_labels, len(test_rows))
    )
    with progress_bar("few-shot", options["draws"], unit="draws") as progress:
        result = few_shot(
            given.embedded(shot_rows, scalars), y_train, given.embedded(test_rows, scalars), y_test,
            leave_out_shots=same,
            train_subclasses=None if train_subclasses is None else load_labels(train_subclasses, len(shot_rows)),
            test_subclasses=None if test_subclasses is None else load_labels(test_subclasses, len(test_rows)),
            progress=progress, **options,
        )  # fmt: skip
    lines = (
        f"accuracy ({result.probe}, {result.shots} shots)  {interval(result.accuracy, result.low, result.high)}"
        f"   chance {result.chance:.3f}",
        f"each draw  {'  '.join(f'{value:.3f}' for value in result.per_draw)}",
        f"{result.n} test images, {len(result.classes)} classes, seed {result.seed}",
    )
    given.put(result.scores, lines, {**record(result), "n_classes": len(result.classes)}, split=str(test))
