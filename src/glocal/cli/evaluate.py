"""``glocal evaluate``: score features with a transform and with baselines, in one table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import typer
from pydantic import Field
from typer import Option

from glocal.cli.options import FORCE, SCORES_OUT, FeaturesPath, ObjectFiles, flat
from glocal.cli.output import metric_lines, print_message, print_result, progress_bar
from glocal.data.seen import Seen, SeenFields
from glocal.errors import ParameterError
from glocal.evaluation.ceiling import ceiling_in_words
from glocal.evaluation.comparison import Result, compared
from glocal.files import array_sha256
from glocal.options import Options
from glocal.scores import ORIGINAL, Score, check_scores_target, save_scores
from glocal.suite.labelled import AnomalyTask, FewShotTask, RetrievalTask
from glocal.suite.sources import Network, Shared, Sources, shared_objects
from glocal.suite.table import UNIT_ROWS
from glocal.suite.tasks import OddOneOutTask, RSATask, StructureTask, Task
from glocal.transform.checks import row_differences
from glocal.transform.formats import holds_transform
from glocal.transform.record import network_of
from glocal.transform.reduction import BASELINES

app = typer.Typer(
    help="Score features with and without a transform.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
_LABELS = ("test_labels", "query_labels", "train_labels")
"""Options with the labels of the scored rows; the first that was passed has them."""


class Scoring(Options):
    """The options of every command: the arms to score on the same data, and the output."""

    transform: str | None = Field(
        None, description="Transform file, or a name that glocal transforms pull lists."
    )
    baseline: list[str] | None = Field(
        None,
        description="Also score this baseline and the paired difference from it; repeatable. One "
        "of original, centred (mean subtracted), pca (100 axes), or a transform. For odd-one-out "
        "and rsa also features of another network.",
    )
    force: bool = Field(False, description=FORCE)
    out: Path | None = Field(None, description=SCORES_OUT)

    @property
    def arms(self) -> list[str]:
        """The transform, or the original, and then the baselines, each once."""
        first = self.transform or ORIGINAL
        baselines = self.baseline or []
        different = dict.fromkeys([first, *baselines])
        return [*different]

    def show(
        self, task: Task, features: Path, shared: Shared | None = None, means: Path | None = None
    ) -> None:
        """Score the transform, or the original, and all baselines; print a table or JSON object.

        `features` give the scale of all features, and the column means of the baselines unless
        `means` does. The output is checked before any work.
        """
        if self.out is not None:
            check_scores_target(self.out)
        arms = self.arms
        networks = self._networks(task, features, shared or Shared(), means)
        sources = networks.scored
        scores = _scored(task, networks, arms)
        first = scores[arms[0]]
        rows = _rows(task, networks, scores)
        if self.out is not None:
            save_scores(self.out, rows, networks.hashes)
        values = first.result.record()
        record: dict[str, object] = {**values}
        if task.scored_answers(sources) is not None:
            record.update(first.shares)
        record["rows"] = [row.row() for row in rows]
        record["row_differences"] = _row_differences(sources, features)
        sentences = _sentences(first.result, rows)
        if sources.settings:
            sentences.append(UNIT_ROWS)
        table = metric_lines(rows)
        print_result(record, *sentences, table=table)

    def _networks(
        self, task: Task, features: Path, shared: Shared, means: Path | None
    ) -> _Networks:
        """The data of the network with these features, and of the networks among the baselines."""
        arms = self.arms
        baselines = [*filter(_is_network, arms[1:])]
        not_pretrained = {ORIGINAL, *BASELINES, *baselines}
        sources = Sources(
            shared,
            Network(features=features),
            pretrained=[name for name in arms if name not in not_pretrained],
            means=means,
            force=self.force,
        )
        if not baselines:
            return _Networks(sources, {})
        if not isinstance(task, OddOneOutTask | RSATask):
            raise ParameterError(
                f"--baseline {baselines[0]} is no transform, and features of another network are "
                "compared by odd-one-out and rsa alone."
            )
        networks = [sources]
        for name in baselines:
            network = Network(features=Path(name))
            baseline = Sources(shared, network, force=self.force)
            networks.append(baseline)
        scored, *others = _on_shared_objects(networks)
        by_name = zip(baselines, others, strict=True)
        return _Networks(scored, dict(by_name))


@dataclass(frozen=True)
class _Networks:
    """The data of the network that is scored, and of each other network that is a baseline."""

    scored: Sources
    baselines: Mapping[str, Sources]

    def sources(self, arm: str) -> Sources:
        """The data of an arm, which is a baseline of another network or of the scored network."""
        return self.baselines.get(arm, self.scored)

    @property
    def hashes(self) -> dict[str, str]:
        """The hash of the scored features of each network, by their path."""
        networks = [self.scored, *self.baselines.values()]
        hashes = {}
        for sources in networks:
            path = sources.network.features
            features = sources.files.features(path)
            hashes[str(path)] = array_sha256(features.matrix)
        return hashes


class _ArmScores(NamedTuple):
    """The result of an arm, and what it saw of the answers; None if that is not known."""

    result: Result
    seen: Seen | None = None

    @property
    def shares(self) -> SeenFields:
        """The fields of a `Score` for the shares of questions and objects that the arm saw."""
        seen = self.seen or Seen(questions=None, objects=None)
        return seen.fields


def _is_network(baseline: str) -> bool:
    """Whether a baseline is the features of another network: a file that is no transform."""
    if baseline in (ORIGINAL, *BASELINES):
        return False
    is_path = os.path.exists(baseline)
    return is_path and not holds_transform(baseline)


def _on_shared_objects(networks: list[Sources]) -> list[Sources]:
    """The data of networks on the objects that each of them has; the first one names these."""
    files = []
    features = []
    for sources in networks:
        file = sources.network.features
        files.append(str(file))
        features.append(sources.files.features(file))
    title = " or ".join(files)
    listed = features[0].names
    reduced = []
    for sources, objects in zip(networks, shared_objects(features), strict=True):
        titled = replace(objects, source=title)
        reduced.append(replace(sources, shared_objects=titled, listed=listed))
    return reduced


def _scored(task: Task, networks: _Networks, arms: list[str]) -> dict[str, _ArmScores]:
    """The scores of each arm. Prints a warning about an arm that was fitted to these answers."""
    scores: dict[str, _ArmScores] = {}
    scored = networks.scored
    pretrained = {name: scored.files.transform(name) for name in scored.pretrained}
    with progress_bar("scoring", len(arms), unit="arms") as progress:
        for name in arms:
            progress(len(scores), doing=name)
            transform = pretrained.get(name)
            seen = task.seen(scored, transform)
            warning = None if seen is None else seen.warning()
            if warning is not None:
                print_message(f"warning: {name}: {warning}")
            if name in BASELINES:
                transform = scored.baseline(name)
            sources = networks.sources(name)
            embed = sources.embedding(transform)
            result = task.score(sources, embed)
            scores[name] = _ArmScores(result, seen)
    return scores


def _rows(task: Task, networks: _Networks, scores: Mapping[str, _ArmScores]) -> list[Score]:
    """The scores of all arms, and the differences of the first arm from the others."""
    first, *baselines = scores
    pairs = [(first, baseline) for baseline in baselines]
    results = {name: arm.result for name, arm in scores.items()}
    rows = []
    for score in compared(results, pairs):
        row = _row(score, task, networks)
        if score.transform in scores:
            arm = scores[score.transform]
            row = replace(row, **arm.shares)
        rows.append(row)
    return rows


def _row(score: Score, task: Task, networks: _Networks) -> Score:
    """A row with its data; the arm or baseline of another network is its original features."""
    sources = networks.sources(score.transform)
    baseline = networks.baselines.get(score.baseline or "")
    settings = {**score.settings, **networks.scored.settings}
    row = replace(
        score,
        split=_split_name(task),
        features=str(sources.network.features),
        network=_network_name(sources),
    )
    if score.transform in networks.baselines:
        row = replace(row, transform=ORIGINAL)
    if baseline is not None:
        settings["baseline"] = ORIGINAL
        name = _network_name(baseline)
        row = replace(row, baseline_network=name)
    return replace(row, settings=settings)


def _sentences(result: Result, rows: list[Score]) -> list[str]:
    """The ceiling and chance, if the first arm and the rows have them."""
    sentences = []
    ceiling = ceiling_in_words(rows)
    if ceiling:
        sentences.append(ceiling)
    chance = result.values.get("chance")
    if chance is not None:
        sentences.append(f"chance {chance:.3f}")
    return sentences


def _row_differences(sources: Sources, file: Path) -> list[str]:
    """How the features differ from the rows that each transform was fitted to, as sentences."""
    features = sources.files.features(file)
    sentences = []
    for name in sources.pretrained:
        transform = sources.files.transform(name)
        differences = row_differences(transform, features)
        sentences += [f"{name}: {difference.sentence}" for difference in differences]
    return sentences


def _split_name(task: Task) -> str:
    """The file of the scored data, and the file of their labels if there is one."""
    options = dict(task)
    label_files = filter(None, map(options.get, _LABELS))
    labels = next(label_files, None)
    files = [task.split, labels]
    names = [file.name for file in files if file is not None]
    return ", ".join(names)


def _network_name(sources: Sources) -> str:
    """The name of a network in rows."""
    file = sources.network.features
    return network_of(sources.objects, file)


@app.command("odd-one-out")
@flat
def odd_one_out_command(scoring: Scoring, files: ObjectFiles, task: OddOneOutTask) -> None:
    """Agreement with people with interval, loss in nats, tie rate, and the human ceiling.

    Ignore the loss without a transform: the scale of the features is arbitrary. If questions were
    repeated, the ceiling is a range. Its lower end is the share of answers that equal the majority
    of the others, and its upper end the share of the most frequent answer.

    Example: glocal evaluate odd-one-out --features features.npy --answers heldout.npy
    --transform transform.npz --baseline original
    """
    shared = Shared(object_ids=files.object_ids)
    task = task.replace(answers=files.answers)
    scoring.show(task, files.features, shared)


@app.command("rsa")
@flat
def rsa_command(
    scoring: Scoring,
    features: FeaturesPath,
    task: RSATask,
) -> None:
    """Rank correlation with people's dissimilarities, with interval over objects and noise ceiling.

    Example: glocal evaluate rsa --features features.npy --rdm rdm.npy --transform transform.npz
    """
    scoring.show(task, features)


@app.command("few-shot")
@flat
def few_shot_command(
    scoring: Scoring,
    task: FewShotTask,
    seed: int = Option(42, min=0, help="Seed of the draws; arms share them."),
) -> None:
    """Accuracy of a probe fitted on a few images of each class, balanced over classes.

    Without --test, each draw is tested on the training images that it did not draw.

    Example: glocal evaluate few-shot --train train.npy --train-labels train_labels.npy
    --test test.npy --test-labels test_labels.npy --shots 5 --probe logistic
    --transform transform.npz
    """
    shared = Shared(seed=seed)
    scoring.show(task, task.train, shared)


@app.command("anomaly")
@flat
def anomaly_command(
    scoring: Scoring,
    task: AnomalyTask,
    means: Path | None = Option(
        None,
        help="Features of a broad collection, whose column means the baselines centred and pca "
        "subtract. [default: --train]",
    ),
) -> None:
    """Anomaly detection by the nearest training images: AUROC with interval, AUPR and FPR95.

    All scores are averaged over classes.

    Example: glocal evaluate anomaly --train train.npy --train-labels train_labels.npy
    --test test.npy --test-labels test_labels.npy --transform transform.npz
    """
    baselines = scoring.baseline or []
    needs_means = not {*BASELINES}.isdisjoint(baselines)
    if means is not None and not needs_means:
        raise ParameterError("`means` goes with --baseline centred or pca alone; leave it out.")
    if means is None and needs_means:
        print_message(
            "warning: the column means are those of --train; means of normal images alone hide "
            "anomalies. Name a broad collection: --means FILE."
        )
    scoring.show(task, task.train, means=means)


@app.command("structure")
@flat
def structure_command(scoring: Scoring, task: StructureTask) -> None:
    """Structure that a transform keeps: neighbours, and CKA of all pairs of images.

    The reference is the original features, so that the baseline original keeps everything.

    Example: glocal evaluate structure --features local.npy --transform transform.npz
    --baseline pca
    """
    scoring.show(task, task.features)


@app.command("retrieval")
@flat
def retrieval_command(scoring: Scoring, task: RetrievalTask) -> None:
    """Retrieval by cosine: mAP, recall at 1, 5 and 10, and precision at 10, with intervals.

    A gallery row is relevant if it has the label of the query. The same transform, with its
    scalars, maps queries and gallery. Without a gallery, each query searches the other queries.

    Example: glocal evaluate retrieval --queries test.npy --query-labels test_labels.npy
    --gallery train.npy --gallery-labels train_labels.npy --transform transform.npz
    """
    features = task.gallery or task.queries
    scoring.show(task, features)
