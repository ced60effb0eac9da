"""``glocal evaluate``: score features with a transform and with baselines, in one table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import typer
from pydantic import Field
from typer import Option

from glocal.cli.inputs import FORCE, AnswersFile, FeaturesPath, network_of
from glocal.cli.options import flat
from glocal.cli.output import print_json, print_lines, print_message, print_scores, progress_bar
from glocal.data.seen import Seen, seen
from glocal.errors import ParameterError
from glocal.evaluation.agreement import ceiling_in_words
from glocal.evaluation.comparison import Result, compared
from glocal.options import Options
from glocal.scores import DIFFERENCE, Score, append_scores, check_scores_target
from glocal.suite.networks import shared_objects
from glocal.suite.sources import Network, Shared, SharedObjects, Sources
from glocal.suite.table import UNIT_ROWS
from glocal.suite.tasks import (
    AnomalyTask,
    FewShotTask,
    OddOneOutTask,
    RetrievalTask,
    RSATask,
    StructureTask,
    Task,
)
from glocal.transform import LinearTransform
from glocal.transform.formats import holds_transform
from glocal.transform.reduction import BASELINES

app = typer.Typer(
    help="Score features with and without a transform.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
_ORIGINAL = "original"
_BASELINES = (_ORIGINAL, *BASELINES)


class Scoring(Options):
    """The options of every command: the arms to score on the same data, and the output."""

    transform: str | None = Field(
        None, description="Transform file, or a name that glocal transforms pull lists."
    )
    baseline: list[str] | None = Field(
        None,
        description="Also score this baseline and the paired difference from it: original, "
        "centred (columns minus their means), pca (100 axes), a transform, or for odd-one-out and "
        "rsa features of another network; repeatable.",
    )
    force: bool = Field(False, description=FORCE)
    out: Path | None = Field(
        None, description="File that the scores are appended to (.jsonl, .csv)."
    )
    as_json: bool = Field(
        False,
        description="Print one JSON object on standard output.",
        json_schema_extra={"flags": "--json"},
    )

    def sources(self, features: Path, shared: Shared | None = None, **arguments: Any) -> Sources:
        """The data of a command, whose scale and baselines are those of `features`.

        `arguments` are those of `Sources`. The output is checked before any work.
        """
        if self.out is not None:
            check_scores_target(self.out)
        pretrained = [name for name in self._arms if name not in (*_BASELINES, *self._networks)]
        return Sources(
            shared or Shared(),
            Network(features=features),
            pretrained=pretrained,
            force=self.force,
            **arguments,
        )

    @cached_property
    def _networks(self) -> list[str]:
        """The baselines that are features of other networks."""
        names = [name for name in self.baseline or () if name not in _BASELINES]
        return [name for name in names if os.path.exists(name) and not holds_transform(name)]

    def show(self, task: Task, sources: Sources) -> None:
        """Score the transform, or the original, and all baselines; print a table or JSON object."""
        others = self._others(task, sources)
        shares = self._seen(task, sources)
        results = self._results(task, sources, others)
        first, *baselines = results
        pairs = [(first, baseline) for baseline in baselines]
        about: dict[str, Any] = {
            "split": "" if task.split is None else task.split.name,
            "features": str(sources.network.features),
            "network": network_of(sources.objects, sources.network.features),
        }
        rows = [
            replace(
                row,
                **about,
                settings={**row.settings, **sources.settings},
                **shares.get(row.transform, {}),
            )
            for row in compared(results, pairs)
        ]
        record = {**_record(results, rows), **shares.get(first, {})}
        rows = [_of_network(row, others) for row in rows]
        if self.out is not None:
            append_scores(self.out, rows)
        if self.as_json:
            print_json(record)
            return
        print_scores(rows)
        print_lines(*filter(None, [ceiling_in_words(rows)]))
        if (chance := results[first].values.get("chance")) is not None:
            print_lines(f"chance {chance:.3f}")
        if sources.settings:
            print_lines(UNIT_ROWS)

    def _others(self, task: Task, sources: Sources) -> dict[str, Sources]:
        """The data of the other networks, on the objects that all networks have."""
        if not self._networks:
            return {}
        if not isinstance(task, OddOneOutTask | RSATask):
            raise ParameterError(
                f"--baseline {self._networks[0]} is no transform, and features of another network "
                "are compared by odd-one-out and rsa alone."
            )
        others = {
            name: Sources(sources.shared, Network(features=Path(name)), force=self.force)
            for name in self._networks
        }
        networks = [sources, *others.values()]
        features = [each.features(each.network.features) for each in networks]
        title = " or ".join(str(each.network.features) for each in networks)
        for each, shared in zip(networks, shared_objects(features), strict=True):
            each.shared_objects = SharedObjects(shared, features[0].names, title)
        return others

    def _seen(self, task: Task, sources: Sources) -> dict[str, dict[str, Any]]:
        """The shares of questions and objects that each arm was fitted to; may print a warning."""
        answers = task.scored_answers(sources)
        if answers is None:
            return {}
        fields: dict[str, dict[str, Any]] = {}
        for name in self._arms:
            shares: Seen | None = Seen(0.0, 0.0)
            if name not in (*_BASELINES, *self._networks):
                shares = seen(sources.transform(name).meta, sources.objects, answers)
            fields[name] = Seen(None, None).fields if shares is None else shares.fields
            if shares is not None and (sentence := shares.warning()) is not None:
                print_message(f"warning: {name}: {sentence}")
        return fields

    @property
    def _arms(self) -> list[str]:
        """The names of the arms: the transform, or the original features, then the baselines."""
        return [*dict.fromkeys((self.transform or _ORIGINAL, *(self.baseline or ())))]

    def _results(
        self, task: Task, sources: Sources, others: Mapping[str, Sources]
    ) -> dict[str, Result]:
        """The result of each arm: the transform, or the original features, then the baselines."""
        results: dict[str, Result] = {}
        with progress_bar("scoring", len(self._arms), unit="arms") as progress:
            transforms = {
                name: None if name in others else _transform(name, sources) for name in self._arms
            }
            for name, transform in transforms.items():
                progress(len(results), doing=name)
                network = others.get(name, sources)
                results[name] = task.score(network, network.embedding(transform))
        return results


def _of_network(row: Score, others: Mapping[str, Sources]) -> Score:
    """A row whose arm or baseline is another network: its original features."""
    name = row.transform if row.transform in others else row.baseline
    if name not in others:
        return row
    features = others[str(name)].network.features
    network = network_of(others[str(name)].objects, features)
    if name == row.transform:
        return replace(row, transform=_ORIGINAL, network=network, features=str(features))
    settings = {**row.settings, "baseline": _ORIGINAL}
    return replace(row, baseline_network=network, settings=settings)


def _transform(name: str, sources: Sources) -> LinearTransform | None:
    """An arm by its name; None for the original features."""
    if name not in _BASELINES:
        return sources.transform(name)
    return None if name == _ORIGINAL else sources.baseline(name)


def _record(results: Mapping[str, Result], rows: Sequence[Score]) -> dict[str, Any]:
    """The result of the first arm, the results of the baselines, and the differences from them."""
    differences = {
        row.settings["baseline"]: {
            name: getattr(row, name) for name in ("value", "low", "high", "p")
        }
        for row in rows
        if row.metric.endswith(DIFFERENCE)
    }
    (_, first), *baselines = results.items()
    others = [
        {"transform": name, **result.record(), "difference": differences.get(name)}
        for name, result in baselines
    ]
    return {**first.record(), "baselines": others}


@app.command("odd-one-out")
@flat
def odd_one_out_command(
    scoring: Scoring, features: FeaturesPath, file: AnswersFile, task: OddOneOutTask
) -> None:
    """Agreement with people with interval, loss in nats, tie rate, and the human ceiling.

    Without a transform, the scale of the features and therefore the loss are arbitrary. If
    questions were repeated, the ceiling is a range: from the share of answers that equal the
    majority of the others (leave-one-out) to the share of the most frequent answer (majority).

    Example: glocal evaluate odd-one-out --features features.npy --answers heldout.npy
    --transform transform.npz --baseline original
    """
    shared = Shared(object_ids=file.object_ids)
    scoring.show(task.replace(answers=file.answers), scoring.sources(features, shared))


@app.command("rsa")
@flat
def rsa_command(
    scoring: Scoring,
    features: FeaturesPath,
    task: RSATask,
    object_ids: Path | None = Option(
        None, help="Names of the objects that the RDM indexes, one per line."
    ),
) -> None:
    """Rank correlation with people's dissimilarities, with interval over objects and noise ceiling.

    Example: glocal evaluate rsa --features features.npy --rdm rdm.npy --transform transform.npz
    """
    scoring.show(task, scoring.sources(features, Shared(object_ids=object_ids)))


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
    scoring.show(task, scoring.sources(task.train, Shared(seed=seed)))


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
    scoring.show(task, scoring.sources(task.train, means=means))


@app.command("structure")
@flat
def structure_command(scoring: Scoring, task: StructureTask) -> None:
    """Structure that a transform keeps: neighbours, CKA, rank correlation of dissimilarities.

    The reference is the original features, so that the baseline original keeps everything.

    Example: glocal evaluate structure --features local.npy --transform transform.npz
    --baseline pca
    """
    scoring.show(task, scoring.sources(task.features))


@app.command("retrieval")
@flat
def retrieval_command(scoring: Scoring, task: RetrievalTask) -> None:
    """Retrieval by cosine: mean average precision and recall at 1, 5, 10, with intervals.

    A gallery row is relevant if it has the label of the query. The same transform, with its
    scalars, maps queries and gallery. Without a gallery, each query searches the other queries.

    Example: glocal evaluate retrieval --queries test.npy --query-labels test_labels.npy
    --gallery train.npy --gallery-labels train_labels.npy --transform transform.npz
    """
    scoring.show(task, scoring.sources(task.gallery or task.queries))
