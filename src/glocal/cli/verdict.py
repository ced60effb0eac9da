"""``glocal try``."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from glocal.advice import MAKE, NO_TRANSFORM, SituationChoice, SituationRow, save_situations
from glocal.cli.options import SCORES_OUT, Force, flat
from glocal.cli.output import print_result, progress_bar
from glocal.data.features import Features
from glocal.data.labels import class_names, load_labels, load_superclasses, split_column
from glocal.errors import ParameterError
from glocal.files import array_sha256, ending
from glocal.scores import Score, check_scores_target, save_scores
from glocal.screen import COLUMNS, screen_width, wrapped
from glocal.transform import LinearTransform
from glocal.transform.catalogue import bundled
from glocal.transform.record import network_of
from glocal.verdict.choice import Situation
from glocal.verdict.decision import KEPT, Verdict
from glocal.verdict.decision import verdict as find_verdict
from glocal.verdict.sentences import (
    Commands,
    application,
    command_lines,
    commands,
    has_own_origin,
    sentences,
)

UNNAMED = "labels"
"""The key of labels that are no column of a table."""
_ONE_COLUMN = (
    "--superclasses, --normal, --class-texts and --test are about one column of labels; name one."
)


@flat
def verdict(
    features: Annotated[Path, Argument(help="Feature file or folder, not standardized.")],
    labels: Annotated[
        Path,
        Option(
            metavar="LABELS[:COLUMN[,COLUMN]]",
            help="Class of each row: .npy, one per line, or columns of a table, which are joined "
            "by name if the features have names. Rows without a label are left out. Each column is "
            "decided by itself.",
        ),
    ],
    test: Path | None = Option(
        None, help="Features of other images, to be classified and to search with."
    ),
    test_labels: Path | None = Option(
        None, metavar="LABELS[:COLUMN]", help="Class of each row of --test."
    ),
    superclasses: Path | None = Option(
        None, help="Table of the superclass of each class; adds the situation that needs only it."
    ),
    class_texts: Path | None = Option(
        None,
        help="Embeddings of the class names by the text side of the network, named like the "
        "classes. Adds what names do, alone and beside labels.",
    ),
    normal: str | None = Option(
        None, metavar="CLASS[,CLASS]", help="Also find what is of none of these classes."
    ),
    means: Path | None = Option(
        None,
        help="With --normal: features of a broad collection of images, of which the mean is "
        "subtracted. Without it the mean is of the normal images and 5 % others.",
    ),
    transform: list[str] | None = Option(
        None, help="Also try this transform, a file or a name; repeatable."
    ),
    show_all: bool = Option(False, "--all", help="Also print the scores of all arms."),
    out: Path | None = Option(None, help=SCORES_OUT),
    force: Force = False,
) -> None:
    """Find out whether a transform helps on your labelled images.

    The command compares your original features, the same with their mean subtracted, and each
    transform that fits them: those of the package for CLIP ViT-B/32, and --transform. It fits
    nothing.

    Example: glocal try features.npy --labels labels.csv:kind
    """
    if out is not None:
        check_scores_target(out)
    columns = dict(_columns(labels))
    if len(columns) > 1 and (superclasses or normal or class_texts or test):
        raise ParameterError(_ONE_COLUMN)
    options = {
        **_loaded_options(transform, superclasses, class_texts, normal, means),
        **_tested(test, test_labels),
        "force": force,
    }
    loaded = Features.load(features)
    verdicts = {column: _verdict(loaded, path, options) for column, path in columns.items()}
    to_apply = commands(_situations(verdicts.values()), str(features), means)
    rows = {column: _rows(each, column, loaded, features) for column, each in verdicts.items()}
    if out is not None:
        scores = [row for of_column in rows.values() for row in of_column]
        _save(out, scores, _situation_rows(verdicts, to_apply, scores[0]), loaded)
    record = {"columns": _records(verdicts, rows, to_apply)}
    print_result(record, table=_lines(verdicts, to_apply, show_all))


def _loaded_options(
    transforms: list[str] | None,
    superclasses: Path | None,
    class_texts: Path | None,
    normal: str | None,
    means: Path | None,
) -> dict[str, Any]:
    """The arguments of a verdict that options name."""
    return {
        "transforms": {name: LinearTransform.from_pretrained(name) for name in transforms or ()},
        "superclasses": None if superclasses is None else load_superclasses(superclasses),
        "class_texts": None if class_texts is None else Features.load(class_texts),
        "normal": [] if normal is None else class_names(next(csv.reader([normal]))),
        "means": None if means is None else Features.load(means),
    }


def _situations(verdicts: Iterable[Verdict]) -> list[Situation]:
    """The situations of all verdicts."""
    return [situation for result in verdicts for situation in result.situations]


def _records(
    verdicts: Mapping[str | None, Verdict],
    rows: Mapping[str | None, list[Score]],
    to_apply: Commands,
) -> dict[str, Any]:
    """The verdicts in JSON, by column."""
    return {
        column or UNNAMED: _record(result, rows[column], to_apply)
        for column, result in verdicts.items()
    }


def _record(result: Verdict, rows: list[Score], to_apply: Commands) -> dict[str, Any]:
    """A verdict in JSON, with the command of each recommended arm."""
    return {
        "situations": [
            {**vars(each), "command": to_apply.get(application(each), "")}
            for each in result.situations
        ],
        "scores": [row.row() for row in rows],
        "left_out": result.left_out,
    }


def _verdict(features: Features, labels: Path, options: Mapping[str, Any]) -> Verdict:
    """The verdict about one column of labels."""
    with progress_bar("trying", unit="situations") as progress:
        rows, classes = load_labels(labels, features)
        return find_verdict(rows, classes, progress=progress, **options)


def _rows(result: Verdict, column: str | None, features: Features, file: Path) -> list[Score]:
    """The rows of scores about a column, which is their split."""
    network = network_of(features, file)
    return [
        replace(score, split=column or "all", features=str(file), network=network)
        for score in result.scores
    ]


def _save(
    path: Path, scores: list[Score], situations: Iterable[SituationRow], features: Features
) -> None:
    """Append scores and, unless the file is a table, what is said of each situation."""
    hashes = {str(scores[0].features): array_sha256(features.matrix)}
    save_scores(path, scores, hashes)
    if ending(path) != ".csv":
        save_situations(path, [*situations], hashes)


def _situation_rows(
    verdicts: Mapping[str | None, Verdict], to_apply: Commands, score: Score
) -> Iterator[SituationRow]:
    """Yield what is said of each situation, about the features and the network of a score."""
    for column, result in verdicts.items():
        for situation in result.situations:
            is_recommended = situation.choice == SituationChoice.RECOMMEND
            kept = None
            if is_recommended and not has_own_origin(situation):
                kept = result.scores.score("", KEPT, str(situation.arm))
            yield SituationRow(
                situation.name,
                situation.head.strip(),
                situation.choice,
                tuple(sentences(situation, len(result.left_out[situation.name]))),
                arm=situation.arm,
                command=to_apply.get(application(situation), ""),
                neighbours_kept=None if kept is None else kept.value,
                split=column or "all",
                features=score.features,
                network=score.network,
            )


def _lines(
    verdicts: Mapping[str | None, Verdict], to_apply: Commands, show_all: bool
) -> Iterator[str]:
    """Yield the lines of the verdict about each column of labels, with the commands."""
    width = min(screen_width(), COLUMNS)
    for column, result in verdicts.items():
        if len(verdicts) > 1:
            yield f"{column}:"
        yield from result.text_lines(width)
        yield from command_lines(result.situations, to_apply, width)
        if not {*bundled()} & {score.transform for score in result.scores}:
            yield from ("", *wrapped(NO_TRANSFORM, width), *MAKE)
        if show_all:
            yield from result.score_lines(screen_width())


def _tested(test: Path | None, labels: Path | None) -> dict[str, Any]:
    """The test images and their labels as arguments of a verdict, which needs both or neither."""
    if test is None or labels is None:
        return {"test": test, "test_labels": labels}
    side = load_labels(labels, Features.load(test))
    return {"test": side.features, "test_labels": side.labels}


def _columns(labels: Path) -> Iterator[tuple[str | None, Path]]:
    """Yield each column of ``FILE:COLUMN,COLUMN`` with its own path, as `load_labels` reads it."""
    file, columns = split_column(labels)
    if columns is None:
        yield None, labels
        return
    if not columns:
        raise ParameterError(f"`labels` {labels} names no column after the colon; name one.")
    for column in next(csv.reader([columns])):
        yield column, Path(f"{file}:{column}")
