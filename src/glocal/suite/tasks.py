"""The kinds of tasks of a suite: which files and options each takes, and the evaluation that it runs on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from glocal.data.features import Features
from glocal.data.rdm import join_rdms, load_index, load_rdms
from glocal.data.sources import breeds_sides
from glocal.errors import ParameterError
from glocal.evaluation.agreement import ceiling, odd_one_out
from glocal.evaluation.anomaly import anomaly, anomaly_against
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import EvaluationResult, KeptResult
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.options import Options
from glocal.suite.sources import File, Sources

Embed = Callable[[Features], np.ndarray]
Breeds = Literal["entity13", "entity30", "living17", "nonliving26"]


class Task(Options):
    """One evaluation: its paths are files, and its other settings are options of the evaluation, which has defaults."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it names."""
        return tuple(value for _, value in self if isinstance(value, Path))

    @property
    def options(self) -> dict[str, Any]:
        """The options of its evaluation that it gives."""
        given = {name: value for name, value in self if value is not None and not isinstance(value, Path)}
        return {name: value for name, value in given.items() if name not in ("kind", "breeds")}

    @property
    def split(self) -> Path | None:
        """The file that is scored; None are the held-out answers of the suite."""
        return self.files[0]

    @abstractmethod
    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """Score one embedding."""


class OddOneOutTask(Task):
    """Agreement with people, on answers about held-out objects or on those of a file, with their ceilings."""

    kind: Literal["odd-one-out"]
    answers: File | None = None
    similarity: Literal["cosine", "dot"] | None = None

    @property
    def split(self) -> Path | None:
        """The file of answers."""
        return self.answers

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `odd_one_out` and `ceiling`."""
        answers = sources.fold[1] if self.answers is None else sources.answers(self.answers)
        found, of_people = odd_one_out(embed(sources.objects), answers, **self.options), ceiling(answers)
        return KeptResult((*found.scores, *(() if of_people is None else of_people.scores)), found.units)


class RSATask(Task):
    """Correlation with people's dissimilarities."""

    kind: Literal["rsa"]
    rdm: File
    index: File | None = None
    kernel: Literal["cosine", "correlation", "dot"] | None = None

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `rsa`."""
        index = None if self.index is None else load_index(sources.path(self.index))
        ids = None if index is None else sources.object_ids
        joined = join_rdms(sources.objects, load_rdms(sources.path(self.rdm)), index, ids)
        return rsa(embed(sources.objects)[joined.rows], joined.rdms, **self.options)


class _Sides(Task):
    """Training and test images with their labels; without a test file both are the same."""

    train: File
    train_labels: File | None = None
    test: File | None = None
    test_labels: File | None = None
    breeds: Breeds | None = None

    @model_validator(mode="after")
    def _labelled(self) -> _Sides:
        if (self.test is None) != (self.test_labels is None):
            raise ParameterError("test and test_labels go together.")
        if self.breeds is not None and self.test is None:
            raise ParameterError("breeds needs test and test_labels.")
        return self

    @property
    def split(self) -> Path | None:
        """The test file."""
        return self.test or self.train

    def sides(self, sources: Sources) -> tuple[Features, np.ndarray, Features, np.ndarray]:
        """Features and labels of both, of BREEDS those of its classes."""
        assert self.train_labels is not None
        train = test = sources.features(self.train)
        y = z = sources.labels(self.train_labels, train)
        if self.test is not None and self.test_labels is not None:
            test = sources.features(self.test)
            z = sources.labels(self.test_labels, test)
        return (train, y, test, z) if self.breeds is None else breeds_sides(self.breeds, train, y, test, z)


class FewShotTask(_Sides):
    """A probe fitted on a few images of each class."""

    kind: Literal["few-shot"]
    train_labels: File
    shots: int | None = Field(None, ge=1)
    draws: int | None = Field(None, ge=1)
    probe: Literal["logistic", "ncm", "1nn"] | None = None

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `few_shot`."""
        train, y, test, z = self.sides(sources)
        same, X, seed = test is train, embed(train), sources.shared.seed
        return few_shot(X, y, X if same else embed(test), z, seed=seed, leave_out_shots=same, **self.options)


class AnomalyTask(_Sides):
    """Anomalies among the test images: those of other classes, or all of a third file."""

    kind: Literal["anomaly"]
    test: File
    anomalies: File | None = None
    train_subclasses: File | None = None
    test_subclasses: File | None = None
    mode: Literal["one-vs-rest", "leave-one-out", "shift"] | None = None
    k: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _labelled(self) -> AnomalyTask:
        of_classes = ("train_labels", "test_labels", "train_subclasses", "test_subclasses", "mode", "breeds")
        given = [name for name in of_classes if getattr(self, name) is not None]
        if self.anomalies is not None and given:
            raise ParameterError(f"anomalies, a task without labels, does not go with {given[0]}.")
        lacking = [name for name in of_classes[:2] if name not in given]
        if self.anomalies is None and lacking:
            raise ParameterError(f"names no {lacking[0]}.")
        if (self.train_subclasses is None) != (self.test_subclasses is None):
            raise ParameterError("train_subclasses and test_subclasses go together.")
        if self.breeds is not None and self.train_subclasses is not None:
            raise ParameterError("breeds does not go with train_subclasses.")
        return self

    @property
    def split(self) -> Path | None:
        """The file of anomalies, or the test file."""
        return self.anomalies or self.test

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `anomaly` or `anomaly_against`."""
        if self.anomalies is not None:
            rows = (embed(sources.features(file)) for file in (self.train, self.test, self.anomalies))
            return anomaly_against(*rows, **self.options)
        (train, y, test, z), subclasses = self.sides(sources), dict[str, Any]()
        if self.train_subclasses is not None and self.test_subclasses is not None:
            subclasses["train_subclasses"] = sources.labels(self.train_subclasses, train)
            subclasses["test_subclasses"] = sources.labels(self.test_subclasses, test)
        return anomaly(embed(train), y, embed(test), z, **subclasses, **self.options)


class StructureTask(Task):
    """What a transform does to the structure of images."""

    kind: Literal["structure"]
    features: File
    k: int | None = Field(None, ge=1)

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `structure`."""
        features = sources.features(self.features)
        X = sources.objects.standardization(features.matrix, "float64")
        return structure(X, embed(features), seed=sources.shared.seed, **self.options)


class RetrievalTask(Task):
    """Images of one class found among others."""

    kind: Literal["retrieval"]
    features: File
    labels: File

    def score(self, sources: Sources, embed: Embed) -> EvaluationResult:
        """By `retrieval`."""
        features = sources.features(self.features)
        return retrieval(embed(features), sources.labels(self.labels, features))


KINDS: dict[str, type[Task]] = {
    "odd-one-out": OddOneOutTask, "rsa": RSATask, "few-shot": FewShotTask, "anomaly": AnomalyTask,
    "structure": StructureTask, "retrieval": RetrievalTask,
}  # fmt: skip


def task(table: Mapping[str, Any] | Task) -> Task:
    """The task of a table: what its `kind` says."""
    if isinstance(table, Task):
        return table
    kind = table.get("kind")
    if kind not in KINDS:
        raise ParameterError(f"kind={kind!r} is not allowed: it must be one of {', '.join(KINDS)}.")
    return KINDS[kind](**table)
