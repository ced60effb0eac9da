"""``glocal evaluate``: score features with a transform and with baselines, in one table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from pydantic import Field
from typer import Option

from glocal.cli.options import FORCE, SCORES_OUT, FeaturesPath, ObjectFiles, flat
from glocal.cli.output import metric_lines, print_message, print_result, progress_bar
from glocal.data.seen import Seen, SeenFields
from glocal.errors import ParameterError
from glocal.evaluation.agreement import ceiling_in_words
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

    def show(
        self, task: Task, features: Path, shared: Shared | None = None, means: Path | None = None
    ) -> None:
        """Score the transform, or the original, and all baselines; print a table or JSON object.

        `features` give the scale of all features, and the column means of the baselines unless
        `means` does. The output is checked before any work.
        """
        if self.out is not None:
            check_scores_target(self.out)
        arms = [*dict.fromkeys((self.transform or ORIGINAL, *(self.baseline or ())))]
        networks = [name for name in arms[1:] if _is_network(name)]
        sources = Sources(
            shared or Shared(),
            Network(features=features),
            pretrained=[name for name in arms if name not in (ORIGINAL, *BASELINES, *networks)],
            means=means,
            force=self.force,
        )
        others: dict[str, Sources] = {}
        if networks:
            sources, others = _on_shared_objects(task, sources, networks)
        results, shares = _scored(task, sources, others, arms)
        first, *baselines = arms
        rows = [
            _row(row, task, sources, others, shares.get(row.transform, {}))
            for row in compared(results, [(first, baseline) for baseline in baselines])
        ]
        if self.out is not None:
            save_scores(self.out, rows, _hashes([sources, *others.values()]))
        sentences = [ceiling_in_words(rows)]
        if (chance := results[first].values.get("chance")) is not None:
            sentences.append(f"chance {chance:.3f}")
        if sources.settings:
            sentences.append(UNIT_ROWS)
        record = {**results[first].record(), **shares.get(first, {})}
        record["rows"] = [row.row() for row in rows]
        record["row_differences"] = [
            f"{name}: {other.sentence}"
            for name in sources.pretrained
            for other in row_differences(sources.transform(name), sources.features(features))
        ]
        print_result(record, *filter(None, sentences), table=metric_lines(rows))


def _hashes(networks: Iterable[Sources]) -> dict[str, str]:
    """The hash of the scored features of each network, by their path."""
    paths = [(sources, sources.network.features) for sources in networks]
    return {str(path): array_sha256(sources.features(path).matrix) for sources, path in paths}


def _is_network(baseline: str) -> bool:
    """Whether a baseline is the features of another network: a file that is no transform."""
    if baseline in (ORIGINAL, *BASELINES):
        return False
    return os.path.exists(baseline) and not holds_transform(baseline)


def _on_shared_objects(
    task: Task, sources: Sources, names: list[str]
) -> tuple[Sources, dict[str, Sources]]:
    """The data of a network and of others by name, on the objects that each of them has."""
    if not isinstance(task, OddOneOutTask | RSATask):
        raise ParameterError(
            f"--baseline {names[0]} is no transform, and features of another network are compared "
            "by odd-one-out and rsa alone."
        )
    others = [
        Sources(sources.shared, Network(features=Path(name)), force=sources.force) for name in names
    ]
    networks = [sources, *others]
    features = [each.features(each.network.features) for each in networks]
    title = " or ".join(str(each.network.features) for each in networks)
    first, *others = [
        replace(each, shared_objects=replace(shared, source=title), listed=features[0].names)
        for each, shared in zip(networks, shared_objects(features), strict=True)
    ]
    return first, dict(zip(names, others, strict=True))


def _scored(
    task: Task, sources: Sources, others: Mapping[str, Sources], arms: list[str]
) -> tuple[dict[str, Result], dict[str, SeenFields]]:
    """The result of each arm, and the shares of questions and objects that it was fitted to.

    Prints a warning if these are large.
    """
    results: dict[str, Result] = {}
    shares: dict[str, SeenFields] = {}
    fitted_of = {name: sources.transform(name) for name in arms if name in sources.pretrained}
    with progress_bar("scoring", len(arms), unit="arms") as progress:
        for name in arms:
            progress(len(results), doing=name)
            data = others.get(name, sources)
            fitted = fitted_of.get(name)
            if task.scored_answers(sources) is not None:
                seen = task.seen(sources, fitted)
                shares[name] = (seen or Seen(None, None)).fields
                if seen is not None and (sentence := seen.warning()) is not None:
                    print_message(f"warning: {name}: {sentence}")
            transform = sources.baseline(name) if name in BASELINES else fitted
            results[name] = task.score(data, data.embedding(transform))
    return results, shares


def _row(
    row: Score,
    task: Task,
    sources: Sources,
    others: Mapping[str, Sources],
    shares: Mapping[str, Any],
) -> Score:
    """A row with its data; the arm or baseline of another network is its original features."""
    settings = {**row.settings, **sources.settings}
    fields: dict[str, Any] = {"split": _split_name(task), **shares}
    if row.transform in others:
        fields["transform"] = ORIGINAL
    if row.baseline is not None and row.baseline in others:
        settings["baseline"] = ORIGINAL
        fields["baseline_network"] = _network_name(others[row.baseline])
    data = others.get(row.transform, sources)
    fields |= {"features": str(data.network.features), "network": _network_name(data)}
    return replace(row, settings=settings, **fields)


def _split_name(task: Task) -> str:
    """The file of the scored data, and the file of their labels if there is one."""
    options = dict(task)
    labels = next((options[name] for name in _LABELS if options.get(name)), None)
    return ", ".join(file.name for file in (task.split, labels) if file is not None)


def _network_name(sources: Sources) -> str:
    """The name of a network in rows."""
    return network_of(sources.objects, sources.network.features)


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
    scoring.show(task.replace(answers=files.answers), files.features, shared)


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
    scoring.show(task, task.train, Shared(seed=seed))


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
    needs_means = not {*BASELINES}.isdisjoint(scoring.baseline or ())
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
    scoring.show(task, task.gallery or task.queries)
