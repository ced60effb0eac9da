"""``glocal try``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from glocal.cli.inputs import Force, network_of
from glocal.cli.options import flat
from glocal.cli.output import AsJson, print_commands, print_json, print_lines, progress_bar
from glocal.data.features import Features
from glocal.data.labels import load_labels, load_superclasses
from glocal.scores import ORIGINAL, append_scores, check_scores_target
from glocal.screen import screen_width
from glocal.suite.verdict import Verdict
from glocal.suite.verdict import verdict as find_verdict
from glocal.transform import LinearTransform


@flat
def verdict(
    features: Annotated[Path, Argument(help="Feature file or folder, not standardized.")],
    labels: Annotated[
        Path,
        Option(
            metavar="LABELS[:COLUMN]",
            help="Class of each row: .npy, one per line, or a column of a table, which is joined "
            "by name if the features have names. Rows without a label are left out.",
        ),
    ],
    superclasses: Path | None = Option(
        None,
        help="Table of the superclass of each class; adds tasks that learn superclasses and test "
        "them on classes that gave no images.",
    ),
    transform: list[str] | None = Option(
        None, help="Also try this transform, a file or a name; repeatable."
    ),
    out: Path | None = Option(None, help="File that the scores are appended to (.jsonl, .csv)."),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Should I use it on mine? Score your labelled images with and without transforms.

    Compared are the features as they are, less their column means, with the transforms that come
    with glocal if they are of the same network, and with --transform. Nothing is fitted.

    Example: glocal try features.npy --labels labels.csv:kind
    """
    if out is not None:
        check_scores_target(out)
    with progress_bar("trying", unit="tasks") as progress:
        rows, classes = load_labels(labels, Features.load(features))
        result = find_verdict(
            rows,
            classes,
            transforms={name: LinearTransform.from_pretrained(name) for name in transform or ()},
            superclasses=None if superclasses is None else load_superclasses(superclasses),
            force=force,
            progress=progress,
        )
    network = network_of(rows, features)
    scores = [replace(score, features=str(features), network=network) for score in result.scores]
    if out is not None:
        append_scores(out, scores)
    if as_json:
        print_json({**vars(result), "scores": [score.row() for score in scores]})
    else:
        print_verdict(result)


def print_verdict(result: Verdict) -> None:
    """Print a line for each arm, with its gains over the features as they are, and the sentence."""
    print_commands(*result.text_lines(screen_width()))
    print_lines(
        "",
        f"gains over {ORIGINAL} [95 % intervals for other images of these classes]; accuracies are "
        "balanced over classes",
        "",
        result.sentence,
    )
