"""``glocal try``."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

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

Loaded = TypeVar("Loaded")
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
    decide = _decision(transform, superclasses, class_texts, normal, means)
    decide = _with_test_images(decide, test, test_labels)
    loaded = Features.load(features)
    verdicts = [*_verdicts(loaded, features, columns, partial(decide, force=force))]
    situations = [situation for each in verdicts for situation in each.result.situations]
    apply_commands = commands(situations, str(features), means)
    if out is not None:
        hashes = {str(features): array_sha256(loaded.matrix)}
        _save(out, verdicts, apply_commands, hashes)
    records = {each.column or UNNAMED: each.record(apply_commands) for each in verdicts}
    print_result({"columns": records}, table=_lines(verdicts, apply_commands, show_all))


def _verdicts(
    features: Features,
    file: Path,
    columns: Mapping[str | None, Path],
    decide: Callable[..., Verdict],
) -> Iterator[_ColumnVerdict]:
    """Yield the verdict about each column of labels."""
    network = network_of(features, file)
    for column, path in columns.items():
        with progress_bar("trying", unit="situations") as progress:
            rows, classes = load_labels(path, features)
            result = decide(rows, classes, progress=progress)
        yield _ColumnVerdict(column, result, str(file), network)


def _decision(
    transforms: list[str] | None,
    superclasses: Path | None,
    class_texts: Path | None,
    normal: str | None,
    means: Path | None,
) -> Callable[..., Verdict]:
    """The function that finds a verdict, with what these options name."""
    return partial(
        find_verdict,
        transforms={name: LinearTransform.from_pretrained(name) for name in transforms or ()},
        superclasses=_loaded(superclasses, load_superclasses),
        class_texts=_loaded(class_texts, Features.load),
        normal=_classes(normal),
        means=_loaded(means, Features.load),
    )


def _with_test_images(
    decide: Callable[..., Verdict], test: Path | None, labels: Path | None
) -> Callable[..., Verdict]:
    """The function with the test images and their labels; it refuses one without the other."""
    if test is None or labels is None:
        return partial(decide, test=test, test_labels=labels)
    side = load_labels(labels, Features.load(test))
    return partial(decide, test=side.features, test_labels=side.labels)


@dataclass(frozen=True)
class _ColumnVerdict:
    """The verdict about one column of labels, None if the labels are no column of a table."""

    column: str | None
    result: Verdict
    features: str
    network: str

    @property
    def split(self) -> str:
        """The column, as scores record it."""
        return self.column or "all"

    def scores(self) -> list[Score]:
        """The scores, about these features and this column."""
        about = partial(replace, split=self.split, features=self.features, network=self.network)
        return [about(score) for score in self.result.scores]

    def record(self, apply_commands: Commands) -> dict[str, object]:
        """The verdict in JSON, with the command of each recommended arm."""
        situations = []
        for situation in self.result.situations:
            command = apply_commands.get(application(situation), "")
            situations.append({**vars(situation), "command": command})
        return {
            "situations": situations,
            "scores": [score.row() for score in self.scores()],
            "left_out": self.result.left_out,
        }

    def situation_rows(self, apply_commands: Commands) -> list[SituationRow]:
        """What is said of each situation, as rows of a file."""
        return [self._row(situation, apply_commands) for situation in self.result.situations]

    def _row(self, situation: Situation, apply_commands: Commands) -> SituationRow:
        """What is said of a situation."""
        n_left_out = len(self.result.left_out[situation.name])
        return SituationRow(
            situation.name,
            situation.head.strip(),
            situation.choice,
            tuple(sentences(situation, n_left_out)),
            arm=situation.arm,
            command=apply_commands.get(application(situation), ""),
            neighbours_kept=self._neighbours_kept(situation),
            split=self.split,
            features=self.features,
            network=self.network,
        )

    def _neighbours_kept(self, situation: Situation) -> float | None:
        """The share of neighbours that the recommended arm keeps; None without one."""
        is_recommended = situation.choice == SituationChoice.RECOMMEND
        if not is_recommended or has_own_origin(situation):
            return None
        kept = self.result.scores.score("", KEPT, str(situation.arm))
        return None if kept is None else kept.value


def _loaded(path: Path | None, load: Callable[[Path], Loaded]) -> Loaded | None:
    """What a file has, None without a file."""
    return None if path is None else load(path)


def _classes(names: str | None) -> list[str]:
    """The classes of ``CLASS,CLASS``, quoted as in a table."""
    return [] if names is None else class_names(next(csv.reader([names])))


def _save(
    path: Path,
    verdicts: Sequence[_ColumnVerdict],
    apply_commands: Commands,
    hashes: Mapping[str, str],
) -> None:
    """Append the scores and, unless the file is a table, what is said of each situation."""
    scores = []
    situation_rows = []
    for each in verdicts:
        scores += each.scores()
        situation_rows += each.situation_rows(apply_commands)
    save_scores(path, scores, hashes)
    if ending(path) != ".csv":
        save_situations(path, situation_rows, hashes)


def _lines(
    verdicts: Sequence[_ColumnVerdict], apply_commands: Commands, show_all: bool
) -> Iterator[str]:
    """Yield the lines of the verdict about each column of labels, with the commands."""
    width = min(screen_width(), COLUMNS)
    for each in verdicts:
        result = each.result
        if len(verdicts) > 1:
            yield f"{each.column}:"
        yield from result.text_lines(width)
        yield from command_lines(result.situations, apply_commands, width)
        arms = {score.transform for score in result.scores}
        if arms.isdisjoint(bundled()):
            yield ""
            yield from wrapped(NO_TRANSFORM, width)
            yield from MAKE
        if show_all:
            yield from result.score_lines(screen_width())


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
