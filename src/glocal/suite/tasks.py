"""The kinds of tasks: which files and options each takes, in a suite and in ``glocal evaluate``, and what it scores."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from glocal.data.features import Features
from glocal.data.rdm import JoinedRDMs, join_rdms, load_index, load_rdms
from glocal.data.sources import breeds_sides
from glocal.errors import DataWarning, ParameterError
from glocal.evaluation.agreement import ceiling, odd_one_out
from glocal.evaluation.anomaly import anomaly, anomaly_against
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import EvaluationResult
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.options import Options
from glocal.suite.sources import Embed, File, MaybeFile, Sources

_LEVEL = 0.05  # of the p-value of a correlation
_LEAST = 0.1  # of the answers are to questions asked again: fewer are by accident


class Task(Options):
    """One evaluation: the files that it reads, and the options of its function."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it names."""
        return tuple(value for _, value in self if isinstance(value, Path))

    @property
    def split(self) -> Path | None:
        """The file that is scored: of anomalies, of test images, or the first; None are the held-out answers."""
        named = dict(self)
        return named.get("anomalies") or named.get("test") or next(iter(self.files), None)

    @abstractmethod
    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """Score one embedding."""


class OddOneOutTask(Task):
    """Agreement with people, on answers about held-out objects or on those of a file."""

    kind: Literal["odd-one-out"] = "odd-one-out"
    answers: MaybeFile = None
    similarity: Literal["cosine", "dot"] = Field("cosine", description="Similarity of a pair.")

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `odd_one_out`, with the `ceiling` of questions that were asked again on purpose."""
        answers = sources.heldout if self.answers is None else sources.answers(self.answers)
        found = odd_one_out(embed(sources.objects), answers, similarity=self.similarity)
        return replace(found, ceiling=ceiling(answers, least=_LEAST))


class RSATask(Task):
    """Correlation with people's dissimilarities."""

    kind: Literal["rsa"] = "rsa"
    rdm: File = Field(description="Human dissimilarities, (n, n) or (people, n, n); NaN for a missing pair.")
    rdm_index: MaybeFile = Field(None, description="Objects of the RDM: one index per row, .npy or text.")
    kernel: Literal["cosine", "correlation", "dot"] = Field("cosine", description="Similarity of a pair.")

    def joined(self, sources: Sources) -> JoinedRDMs:
        """The dissimilarities of objects that have features."""
        index = None if self.rdm_index is None else load_index(sources.path(self.rdm_index))
        if index is not None and sources.object_ids is None and sources.objects.names is not None:
            warnings.warn(
                "the RDM's index counts rows of the features, although these have names. If it counts objects of a "
                "list, name that list with `object_ids`: rows that the features lack shift all others.",
                DataWarning,
                stacklevel=2,
            )
        return join_rdms(sources.objects, load_rdms(sources.path(self.rdm)), index, sources.object_ids)

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `rsa`; a DataWarning where the correlation cannot be told from 0."""
        joined = self.joined(sources)
        result = rsa(embed(sources.objects)[joined.rows], joined.rdms, kernel=self.kernel)
        p = None if result.units is None else result.units.estimate().p
        if p is not None and p >= _LEVEL:
            warnings.warn(
                f"the correlation {result.spearman:.3f} cannot be told from 0 (p = {p:.2g}): are the RDM and the "
                "features about the same objects in the same order?",
                DataWarning,
                stacklevel=2,
            )
        return result


class _Sides(Task):
    """Training and test images with their labels; without a test file both are the same."""

    train: File = Field(description="Feature file of the training images.")
    train_labels: MaybeFile = Field(None, description="Class of each training image, .npy or one per line.")
    test: MaybeFile = Field(None, description="Feature file of the test images.")
    test_labels: MaybeFile = Field(None, description="Class of each test image, .npy or one per line.")
    breeds: Literal["entity13", "entity30", "living17", "nonliving26"] | None = Field(
        None,
        description="A BREEDS task: labels are ImageNet classes; the probe learns superclasses from some of their "
        "classes and is tested on others.",
    )

    @model_validator(mode="after")
    def _labelled(self) -> _Sides:
        if self.train_labels is None:
            raise ParameterError("`train_labels` is missing: give the class of each training image.")
        if (self.test is None) != (self.test_labels is None):
            raise ParameterError("`test` and `test_labels` go together: give both, or neither.")
        return self

    def sides(self, sources: Sources) -> tuple[Features, np.ndarray, Features, np.ndarray]:
        """Features and labels of both, of BREEDS those of its classes."""
        assert self.train_labels is not None
        train, test = sources.features(self.train), sources.features(self.test or self.train)
        y, z = sources.labels(self.train_labels, train), sources.labels(self.test_labels or self.train_labels, test)
        return (train, y, test, z) if self.breeds is None else breeds_sides(self.breeds, train, y, test, z)


class FewShotTask(_Sides):
    """A probe fitted on a few images of each class."""

    kind: Literal["few-shot"] = "few-shot"
    train_labels: File = Field(description="Class of each training image, .npy or one per line.")
    shots: int = Field(5, ge=1, description="Training images of each class.")
    draws: int = Field(5, ge=1, le=10_000, description="Number of draws of the shots.")
    probe: Literal["logistic", "ncm", "1nn"] = Field(
        "logistic", description="Logistic regression, nearest class mean, or nearest neighbour."
    )

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `few_shot`; where both sides are the same images, each draw is tested on those it did not draw."""
        train, y, test, z = self.sides(sources)
        same, X = test is train, embed(train)
        options = self.model_dump(include={"shots", "draws", "probe"}) | {"seed": sources.shared.seed}
        return few_shot(X, y, X if same else embed(test), z, leave_out_shots=same, **options)


class AnomalyTask(_Sides):
    """Anomalies among the test images: those of other classes, or all of a third file."""

    kind: Literal["anomaly"] = "anomaly"
    train_labels: MaybeFile = Field(
        None, description="Class of each training image, .npy or one per line; required without --anomalies."
    )
    test_labels: MaybeFile = Field(
        None, description="Class of each test image, .npy or one per line; required without --anomalies."
    )
    test: File = Field(description="Feature file of the test images.")
    anomalies: MaybeFile = Field(None, description="Features of another data set, which are the anomalies.")
    mode: Literal["one-vs-rest", "leave-one-out", "shift"] = Field(
        "one-vs-rest", description="Which classes are normal; for shift, labels are superclasses."
    )
    k: int = Field(5, ge=1, description="Nearest training images that the score averages.")
    train_subclasses: MaybeFile = Field(None, description="For shift: subclass of each training image.")
    test_subclasses: MaybeFile = Field(None, description="For shift: subclass of each test image.")

    @model_validator(mode="after")
    def _labelled(self) -> AnomalyTask:
        labels, subclasses = ("train_labels", "test_labels"), ("train_subclasses", "test_subclasses")
        given = [name for name in (*labels, *subclasses, "mode", "breeds") if name in self.model_fields_set]
        needs = (*labels, *subclasses) if self.mode == "shift" else labels
        lacking = [name for name in needs if name not in given]
        if self.anomalies is not None and given:
            raise ParameterError(f"`anomalies`, a task without labels, does not go with `{given[0]}`.")
        if self.anomalies is None and lacking:
            names = " and ".join(f"`{name}`" for name in lacking)
            raise ParameterError(f"{names} must be given: the class of each image.")
        return self

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `anomaly` or `anomaly_against`."""
        if self.anomalies is not None:
            rows = (embed(sources.features(file)) for file in (self.train, self.test, self.anomalies))
            return anomaly_against(*rows, k=self.k)
        train, y, test, z = self.sides(sources)
        inner = {"train_subclasses": (self.train_subclasses, train), "test_subclasses": (self.test_subclasses, test)}
        labels = {name: sources.labels(file, side) for name, (file, side) in inner.items() if file is not None}
        return anomaly(embed(train), y, embed(test), z, mode=self.mode, k=self.k, **labels)


class StructureTask(Task):
    """What a transform does to the structure of images."""

    kind: Literal["structure"] = "structure"
    features: File = Field(description="Feature file of the images, or folder with features.npy.")
    k: int = Field(10, ge=1, description="Neighbours of each image.")

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `structure`."""
        features = sources.features(self.features)
        X = sources.embedding(None)(features)
        return structure(X, embed(features), k=self.k, seed=sources.shared.seed)


class RetrievalTask(Task):
    """Images of one class, or captions of an image, found among others."""

    kind: Literal["retrieval"] = "retrieval"
    queries: File = Field(description="Feature file of the queries.")
    query_labels: File = Field(description="One label per query.")
    gallery: MaybeFile = Field(None, description="Feature file searched in. [default: the other queries]")
    gallery_labels: MaybeFile = Field(None, description="One label per row: its class, or the image of a caption.")

    @model_validator(mode="after")
    def _labelled(self) -> RetrievalTask:
        if (self.gallery is None) != (self.gallery_labels is None):
            raise ParameterError("`gallery` and `gallery_labels` go together: give both, or neither.")
        if self.gallery == self.queries:
            raise ParameterError("`queries` and `gallery` are one file: leave `gallery` and `gallery_labels` out.")
        return self

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `retrieval`."""
        queries = sources.features(self.queries)
        own = embed(queries), sources.labels(self.query_labels, queries)
        if self.gallery is None or self.gallery_labels is None:
            return retrieval(*own)
        gallery = sources.features(self.gallery)
        return retrieval(*own, embed(gallery), sources.labels(self.gallery_labels, gallery))


KINDS: dict[str, type[Task]] = {
    "odd-one-out": OddOneOutTask, "rsa": RSATask, "few-shot": FewShotTask, "anomaly": AnomalyTask,
    "structure": StructureTask, "retrieval": RetrievalTask,
}  # fmt: skip


def task(table: Any) -> Any:
    """The task of a table: what its `kind` says."""
    if not isinstance(table, Mapping):
        return table
    kind = table.get("kind")
    if kind not in KINDS:
        raise ParameterError(f"`kind={kind!r}` is not allowed: it must be one of {', '.join(KINDS)}.")
    return KINDS[kind](**table)
