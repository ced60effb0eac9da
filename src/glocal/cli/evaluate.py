"""``glocal evaluate``: score features with a transform and with baselines, in one table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import typer
from pydantic import Field
from typer import Option

from glocal.cli.inputs import FORCE, AnswersFile, FeaturesPath, network_of
from glocal.cli.options import flat
from glocal.cli.output import print_message, print_result, progress_bar, score_lines
from glocal.data.seen import Seen
from glocal.errors import ParameterError
from glocal.evaluation.agreement import ceiling_in_words
from glocal.evaluation.comparison import Result, compared
from glocal.options import Options
from glocal.scores import ORIGINAL, Score, append_scores, check_scores_target
from glocal.suite.networks import shared_objects
from glocal.suite.sources import Embed, Network, Shared, Sources
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
from glocal.transform.formats import holds_transform
from glocal.transform.reduction import BASELINES

app = typer.Typer(
    help="Score features with and without a transform.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
_BASELINES = (ORIGINAL, *BASELINES)


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
    out: Path | None = Field(
        None, description="File that the scores are appended to (.jsonl, .csv)."
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
        about: dict[str, Any] = {
            "split": "" if task.split is None else task.split.name,
            "features": str(sources.network.features),
            "network": network_of(sources.objects, sources.network.features),
        }
        rows = []
        for row in compared(results, [(first, baseline) for baseline in baselines]):
            settings = {**row.settings, **sources.settings}
            about_arm = {**about, **shares.get(row.transform, {})}
            rows.append(_of_network(replace(row, settings=settings, **about_arm), others))
        if self.out is not None:
            append_scores(self.out, rows)
        sentences = [ceiling_in_words(rows)]
        if (chance := results[first].values.get("chance")) is not None:
            sentences.append(f"chance {chance:.3f}")
        if sources.settings:
            sentences.append(UNIT_ROWS)
        record = {**results[first].record(), **shares.get(first, {})}
        record["rows"] = [row.row() for row in rows]
        print_result(record, *filter(None, sentences), table=score_lines(rows))

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
            each.shared_objects = replace(shared, source=title)
            each.listed = features[0].names
        return others

    def _seen(self, task: Task, sources: Sources) -> dict[str, dict[str, Any]]:
        """The shares of questions and objects that each arm was fitted to; may print a warning."""
        if task.scored_answers(sources) is None:
            return {}
        fields = {}
        for name in self._arms:
            is_fitted = name not in (*_BASELINES, *self._networks)
            shares = task.seen(sources, sources.transform(name) if is_fitted else None)
            fields[name] = (shares or Seen(None, None)).fields
            if shares is not None and (sentence := shares.warning()) is not None:
                print_message(f"warning: {name}: {sentence}")
        return fields

    @property
    def _arms(self) -> list[str]:
        """The names of the arms: the transform, or the original features, then the baselines."""
        return [*dict.fromkeys((self.transform or ORIGINAL, *(self.baseline or ())))]

    def _results(
        self, task: Task, sources: Sources, others: Mapping[str, Sources]
    ) -> dict[str, Result]:
        """The result of each arm."""
        embeds = {name: _embed(name, sources, others) for name in self._arms}
        results: dict[str, Result] = {}
        with progress_bar("scoring", len(embeds), unit="arms") as progress:
            for name, embed in embeds.items():
                progress(len(results), doing=name)
                results[name] = task.score(others.get(name, sources), embed)
        return results


def _of_network(row: Score, others: Mapping[str, Sources]) -> Score:
    """A row whose arm or baseline is another network: its original features."""
    for name in (row.transform, row.baseline or ""):
        if name in others:
            file = others[name].network.features
            network = network_of(others[name].objects, file)
            if name == row.transform:
                return replace(row, transform=ORIGINAL, network=network, features=str(file))
            settings = {**row.settings, "baseline": ORIGINAL}
            return replace(row, baseline_network=network, settings=settings)
    return row


def _embed(name: str, sources: Sources, others: Mapping[str, Sources]) -> Embed:
    """The embedding of an arm by its name, which may be that of another network."""
    if name in (ORIGINAL, *others):
        return others.get(name, sources).embedding(None)
    is_baseline = name in BASELINES
    return sources.embedding(sources.baseline(name) if is_baseline else sources.transform(name))


@app.command("odd-one-out")
@flat
def odd_one_out_command(
    scoring: Scoring, features: FeaturesPath, file: AnswersFile, task: OddOneOutTask
) -> None:
    """Agreement with people with interval, loss in nats, tie rate, and the human ceiling.

    Ignore the loss without a transform: the scale of the features is arbitrary. If questions were
    repeated, the ceiling is a range. Its lower end is the share of answers that equal the majority
    of the others, and its upper end the share of the most frequent answer.

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
    """Structure that a transform keeps: neighbours, and CKA of all pairs of images.

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
