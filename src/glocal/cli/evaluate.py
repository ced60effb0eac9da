"""``glocal evaluate``: score features under a transform and under baselines, one table for every evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from pydantic import Field

from glocal.cli.forms import flat
from glocal.cli.inputs import AnswersFile, FeaturesPath, LayerName, ModelName, load_features, names_of
from glocal.cli.output import AsJson, progress_bar, put, put_json, put_scores, put_table, say
from glocal.data.features import Features
from glocal.data.labels import load_labels
from glocal.data.rdm import join_rdms, load_index, load_rdms
from glocal.data.sources import breeds_sides
from glocal.errors import ParameterError
from glocal.evaluation.agreement import ceiling, odd_one_out
from glocal.evaluation.anomaly import anomaly, anomaly_against
from glocal.evaluation.baselines import BASELINES, baseline
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import EvaluationResult, difference_score
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.files import writable_target
from glocal.options import Options
from glocal.results import PEOPLE, Score, append_rows
from glocal.transform import LinearTransform, check_rows

app = typer.Typer(help="Score features, transformed or not.", no_args_is_help=True, rich_markup_mode="rich")

Embed = Callable[[Features], np.ndarray]
_MOST_SHOWN = 30  # classes
_LEAST = 0.1  # of the answers are to questions asked again: fewer are by accident


class Scoring(Options):
    """The options of every command, and what it does with them: score each arm on the same data, show the rows."""

    transform: str | None = Field(None, description="Transform file, or a name that glocal transforms pull lists.")
    baseline: list[str] | None = Field(
        None,
        description="Also score this baseline and the paired difference from it: original, centred (columns minus "
        "their means), pca (100 axes), or a transform; repeatable.",
    )
    out: Path | None = Field(None, description="JSON-lines file that the scores are appended to.")
    as_json: AsJson = False
    model: ModelName = None
    layer: LayerName = None

    def load(self, path: Path) -> Features:
        """The features of a file, or of images by the network that was named."""
        if self.out is not None:  # said before any work
            writable_target(self.out, what="--out", endings=(".jsonl", ".ndjson", ".json", ".txt", ""))
        return load_features(path, self.model, self.layer)

    def show(self, score: Callable[[Embed], EvaluationResult], reference: Features, split: str, **more: Any) -> None:
        """Score the transform and every baseline, append the rows to --out, and print one table or one JSON object.

        Without a transform features are standardized by the two scalars of the `reference`, from which centred and pca
        are computed too. `more` goes into the JSON; scores in it are people's and go into the table.
        """
        arms = {name: _embed(name, reference) for name in (self.transform or "original", *(self.baseline or ()))}
        results: dict[str, EvaluationResult] = {}
        with progress_bar("scoring", len(arms), unit="arms") as progress:
            for name, embed in arms.items():
                progress(len(results), doing=name)
                results[name] = score(embed)
        arm, *others = results
        first = results[arm]
        rows = [_placed(row, split, name) for name, result in results.items() for row in result.scores]
        compared = []
        for name in others:
            other = results[name]
            values = {"transform": name, **record(other)}
            if first.units is not None and other.units is not None:
                difference = difference_score(first.scores[0], first.units.less(other.units), name)
                rows.append(_placed(difference, split, arm))
                values["difference"] = {key: getattr(difference, key) for key in ("value", "low", "high", "p")}
            compared.append(values)
        rows += [_placed(row, split, arm) for row in more.pop("of_people", ())]
        if self.out is not None:
            append_rows(self.out, [row.row() for row in rows])
        if self.as_json:
            put_json(record(first) | more | ({"baselines": compared} if compared else {}))
            return
        put_scores(rows)
        if (chance := getattr(first, "chance", None)) is not None:
            put(f"chance {chance:.3f}")
        classes: list[dict[str, Any]] = getattr(first, "per_class", [])
        if 1 < len(classes) <= _MOST_SHOWN:
            cells = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in line.values()] for line in classes]
            put_table(list(classes[0]), cells)


def _embed(name: str, reference: Features) -> Embed:
    """Features → standardized rows in float64, or what an arm makes of them."""
    if name == "original":
        return lambda features: reference.standardization(_finite(features), "float64")
    arm = baseline(name, reference) if name in BASELINES else LinearTransform.from_pretrained(name)

    def embed(features: Features) -> np.ndarray:
        rows = _finite(features)
        check_rows(arm, features)
        return arm(np.asarray(rows, dtype=np.float64))

    return embed


def _finite(features: Features) -> np.ndarray:
    features.check_finite()
    return features.matrix


def record(result: Any) -> dict[str, Any]:
    """The fields of a result but for the arrays behind them, which its repr leaves out too."""
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result) if field.repr}


class Sides(Options):
    """Training and test images with their classes."""

    train: Path = Field(description="Feature file of the training images.")
    train_labels: Path | None = Field(None, description="Class of each training image, .npy or one per line.")
    test: Path = Field(description="Feature file of the test images.")
    test_labels: Path | None = Field(None, description="Class of each test image, .npy or one per line.")
    breeds: Literal["entity13", "entity30", "living17", "nonliving26"] | None = Field(
        None,
        description="A BREEDS task: labels are ImageNet classes; the probe learns superclasses from some of their "
        "classes and is tested on others.",
    )

    def load(self, given: Scoring) -> tuple[Features, Features, np.ndarray, Features, np.ndarray]:
        """The training file, whose scalars count, and both sides, as they are or as a BREEDS task selects them."""
        if self.train_labels is None or self.test_labels is None:
            raise ParameterError("--train-labels and --test-labels are both needed.")
        sides = *_labelled(given, self.train, self.train_labels), *_labelled(given, self.test, self.test_labels)
        return sides[0], *(sides if self.breeds is None else breeds_sides(self.breeds, *sides))


def _labelled(given: Scoring, features: Path, labels: Path) -> tuple[Features, np.ndarray]:
    loaded = given.load(features)
    return loaded, load_labels(labels, len(loaded))


@app.command("odd-one-out")
@flat
def odd_one_out_command(
    given: Scoring,
    features: FeaturesPath,
    file: AnswersFile,
    similarity: Annotated[Literal["cosine", "dot"], typer.Option(help="Similarity of a pair.")] = "cosine",
) -> None:
    """Agreement with people: accuracy with interval, loss in nats, tie rate; where people were asked again, their own.

    Without a transform the scale of the features, and with it the loss, is arbitrary. The ceilings, of questions that
    were answered several times, are the share of their most frequent answer (optimistic) and how often an answer equals
    the majority of the others (cautious).

    Example: glocal evaluate odd-one-out --features features.npy --answers heldout.npy --transform transform.npz
    --baseline original
    """
    loaded = given.load(features)
    asked, joined = file.joined(loaded)
    _say_dropped(joined.n_dropped, len(asked), "answers name an object without features")
    bound = ceiling(joined.answers, least=_LEAST)
    given.show(
        lambda embed: odd_one_out(embed(loaded), joined.answers, similarity=similarity), loaded, file.answers.name,
        n_dropped=joined.n_dropped, ceiling=None if bound is None else record(bound),
        of_people=() if bound is None else bound.scores,
    )  # fmt: skip


@app.command("rsa")
@flat
def rsa_command(
    given: Scoring,
    features: FeaturesPath,
    rdm: Annotated[Path, typer.Option(help="Human dissimilarities, (n, n) or (people, n, n); NaN for a missing pair.")],
    rdm_index: Annotated[Path | None, typer.Option(help="Objects of the RDM: one index per row, .npy or text.")] = None,
    object_ids: Annotated[
        Path | None, typer.Option(help="Names of the objects that the RDM indexes, one per line.")
    ] = None,
    kernel: Annotated[Literal["cosine", "correlation", "dot"], typer.Option(help="Similarity of a pair.")] = "cosine",
) -> None:
    """Agreement with people: rank correlation with their dissimilarities, interval over objects, noise ceiling.

    Example: glocal evaluate rsa --features features.npy --rdm rdm.npy --transform transform.npz
    """
    loaded = given.load(features)
    index, ids = None if rdm_index is None else load_index(rdm_index), names_of(object_ids)
    joined = join_rdms(loaded, load_rdms(rdm), index, ids)
    _say_dropped(joined.n_dropped, joined.n_dropped + len(joined.rows), "objects of the RDM have no features")
    given.show(
        lambda embed: rsa(embed(loaded)[joined.rows], joined.rdms, kernel=kernel), loaded, rdm.name,
        n_dropped=joined.n_dropped,
    )  # fmt: skip


@app.command("few-shot")
@flat
def few_shot_command(
    given: Scoring,
    sides: Sides,
    shots: Annotated[int, typer.Option(min=1, help="Training images of each class.")] = 5,
    draws: Annotated[int, typer.Option(min=1, help="Number of draws of the shots.")] = 5,
    probe: Annotated[
        Literal["logistic", "ncm", "1nn"],
        typer.Option(help="Logistic regression, nearest class mean, or nearest neighbour."),
    ] = "logistic",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws; arms share them.")] = 42,
) -> None:
    """Accuracy of a probe fitted on a few images of each class, with interval over draws and classes.

    If --train and --test name one file, each draw is tested on the rows it did not draw.

    Example: glocal evaluate few-shot --train train.npy --train-labels train_labels.npy --test test.npy
    --test-labels test_labels.npy --shots 5 --probe logistic --transform transform.npz
    """
    whole, X, y, Q, z = sides.load(given)
    options: dict[str, Any] = {"shots": shots, "draws": draws, "probe": probe, "seed": seed}
    options["leave_out_shots"] = sides.breeds is None and sides.train.samefile(sides.test)
    given.show(lambda embed: few_shot(embed(X), y, embed(Q), z, **options), whole, sides.test.name)


@app.command("anomaly")
@flat
def anomaly_command(
    given: Scoring,
    sides: Sides,
    anomalies: Annotated[
        Path | None, typer.Option(help="Features of another data set, told from the test images.")
    ] = None,
    mode: Annotated[
        Literal["one-vs-rest", "leave-one-out", "shift"],
        typer.Option(help="Which classes are normal; for shift, labels are superclasses."),
    ] = "one-vs-rest",
    k: Annotated[int, typer.Option(min=1, help="Nearest training images that the score averages.")] = 5,
    train_subclasses: Annotated[Path | None, typer.Option(help="For shift: subclass of each training image.")] = None,
    test_subclasses: Annotated[Path | None, typer.Option(help="For shift: subclass of each test image.")] = None,
) -> None:
    """Anomaly detection by the nearest training images: AUROC with interval, AUPR and FPR95, averaged over classes.

    Example: glocal evaluate anomaly --train train.npy --train-labels train_labels.npy --test test.npy
    --test-labels test_labels.npy --transform transform.npz
    """
    if anomalies is not None:
        if sides.model_fields_set > {"train", "test"}:
            raise ParameterError("--anomalies is a task of its own, without labels; leave those out.")
        X, *others = (given.load(path) for path in (sides.train, sides.test, anomalies))
        given.show(lambda embed: anomaly_against(embed(X), *map(embed, others), k=k), X, anomalies.name)
        return
    whole, X, y, Q, z = sides.load(given)
    paths = {"train_subclasses": (train_subclasses, X), "test_subclasses": (test_subclasses, Q)}
    inner = {name: load_labels(path, len(rows)) for name, (path, rows) in paths.items() if path is not None}
    given.show(lambda embed: anomaly(embed(X), y, embed(Q), z, mode=mode, k=k, **inner), whole, sides.test.name)


@app.command("structure")
@flat
def structure_command(
    given: Scoring,
    features: FeaturesPath,
    k: Annotated[int, typer.Option(min=1, help="Neighbours of each image.")] = 10,
) -> None:
    """What a transform does to structure: neighbours kept, CKA, and the rank correlation of dissimilarities.

    Before is the features standardized by the two scalars of the transform; original, as a baseline, keeps everything.

    Example: glocal evaluate structure --features local.npy --transform transform.npz --baseline pca
    """
    if given.transform is None:
        raise ParameterError("--transform is needed: the transform whose effect is measured.")
    loaded = given.load(features)
    X = LinearTransform.from_pretrained(given.transform).standardization(loaded.matrix, "float64")
    given.show(lambda embed: structure(X, embed(loaded), k=k), loaded, features.name)


@app.command("retrieval")
@flat
def retrieval_command(
    given: Scoring,
    queries: Annotated[Path, typer.Option(help="Feature file of the queries.")],
    query_labels: Annotated[Path, typer.Option(help="One label per query.")],
    gallery: Annotated[Path, typer.Option(help="Feature file searched in; of the same file all but the query.")],
    gallery_labels: Annotated[Path, typer.Option(help="One label a row: its class, or the image of a caption.")],
) -> None:
    """Retrieval by cosine: mean average precision and recall at 1, 5 and 10, with intervals over queries.

    A gallery row is relevant if it has the label of the query. One transform, with its scalars, maps both sides.

    Example: glocal evaluate retrieval --queries test.npy --query-labels test_labels.npy --gallery train.npy
    --gallery-labels train_labels.npy --transform transform.npz
    """
    (G, others), (Q, labels) = _labelled(given, gallery, gallery_labels), _labelled(given, queries, query_labels)
    alone = queries.samefile(gallery)
    if alone and not np.array_equal(labels, others):
        raise ParameterError("queries and gallery are one file but their labels differ; give one label file twice.")
    given.show(lambda embed: retrieval(embed(Q), labels, *(() if alone else (embed(G), others))), G, queries.name)


def _placed(row: Score, split: str, arm: str) -> Score:
    return dataclasses.replace(row, split=split, transform=PEOPLE if row.transform == PEOPLE else arm)


def _say_dropped(dropped: int, total: int, why: str) -> None:
    if dropped:
        say(f"{dropped} of {total} {why} and are left out.")
