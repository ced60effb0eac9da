"""The kinds of tasks on labelled images: their files, options and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from glocal.data.labels import LabelledRows, load_superclasses
from glocal.data.sources.breeds import breeds_side
from glocal.errors import DataWarning, ParameterError, warn
from glocal.evaluation.anomaly import anomaly, anomaly_against
from glocal.evaluation.comparison import Result
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.retrieval import retrieval
from glocal.suite.sources import Embed, File, MaybeFile, Sources
from glocal.suite.tasks import Task

_MIN_IMAGES_FOR_CHANCE = 200  # fewer cannot be told from chance in any order
_MAX_STANDARD_ERRORS_OF_CHANCE = 2.0


class LabelledTask(Task):
    """A task on labelled images: of one side, or of two, such as training and test images."""

    side_options: ClassVar[Sequence[tuple[str, str]]]
    """The options of the features and of the labels of each side."""

    @model_validator(mode="after")
    def _check_sides(self) -> LabelledTask:
        """Check that a second side has features and labels, or neither, and is another file."""
        options = dict(self)
        (first, _), *others = self.side_options
        for second, labels in others:
            if (options[second] is None) != (options[labels] is None):
                raise ParameterError(
                    f"`{second}` and `{labels}` go together: give both, or neither."
                )
            if options[second] == options[first]:
                raise ParameterError(
                    f"`{first}` and `{second}` are one file: leave `{second}` and `{labels}` out."
                )
        return self

    def sides(self, sources: Sources) -> list[LabelledRows]:
        """The features and labels of each side that has both."""
        options = dict(self)
        sides = []
        for features_option, labels_option in self.side_options:
            features_file = options[features_option]
            labels_file = options[labels_option]
            if features_file is not None and labels_file is not None:
                side = sources.files.labelled(features_file, labels_file)
                sides.append(side)
        return sides

    def embedded(self, sources: Sources, embed: Embed) -> list[np.ndarray]:
        """The rows of an embedding and the labels, for each side."""
        arrays: list[np.ndarray] = []
        for features, labels in self.sides(sources):
            arrays.append(embed(features))
            arrays.append(labels)
        return arrays

    def shared_data(self, sources: Sources) -> Any:
        """The labels of each side, and the names of its images if they have any."""
        data = []
        for features, labels in self.sides(sources):
            names = None if features.names is None else features.labels
            data.append([labels.tolist(), names])
        return data


class _Sides(LabelledTask):
    """Training and test images with their labels; without a test file they are the same images."""

    side_options = (("train", "train_labels"), ("test", "test_labels"))
    train: File = Field(description="Feature file of the training images.")
    train_labels: MaybeFile = Field(
        None,
        description="Class of each training image, .npy or one per line; required without "
        "--anomalies.",
    )
    test: MaybeFile = Field(None, description="Feature file of the test images.")
    test_labels: MaybeFile = Field(
        None, description="Class of each test image, .npy or one per line."
    )
    breeds: Literal["entity13", "entity30", "living17", "nonliving26"] | None = Field(
        None,
        description="A BREEDS task. Labels are ImageNet classes; superclasses are learned from "
        "some of their classes and tested on others.",
    )
    superclasses: MaybeFile = Field(
        None,
        description="Table of the superclass of each class, with a header line. Superclasses are "
        "learned, and tested on images of classes that gave no shots or were not trained on.",
    )

    def superclass_of(self, sources: Sources) -> dict[str, str] | None:
        """The superclass of each class, if there are any."""
        if self.superclasses is None:
            return None
        return load_superclasses(sources.files.path(self.superclasses))

    def sides(self, sources: Sources) -> list[LabelledRows]:
        """The features and labels of each side, for BREEDS only of its classes."""
        sides = super().sides(sources)
        if self.breeds is None:
            return sides
        training = breeds_side(self.breeds, *sides[0], "training")
        test = breeds_side(self.breeds, *sides[-1], "test")
        return [LabelledRows(*training), LabelledRows(*test)]


class FewShotTask(_Sides):
    """A probe fitted on a few images of each class."""

    kind: Literal["few-shot"] = "few-shot"
    train_labels: File = Field(description="Class of each training image, .npy or one per line.")
    shots: int = Field(
        5, ge=0, description="Training images of each class; 0 goes with --class-texts."
    )
    draws: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Number of draws of the shots. [default: 40 with ncm, else 5]",
    )
    probe: Literal["logistic", "ncm", "1nn"] | None = Field(
        None,
        description="Logistic regression, nearest class mean, or nearest neighbour. [default: "
        "logistic, or ncm with --class-texts]",
    )
    class_texts: MaybeFile = Field(
        None,
        description="Embeddings of the class names by the text side of the network, one row a "
        "class, named like the labels. They are compared with the original image rows.",
    )

    def score(self, sources: Sources, embed: Embed) -> Result:
        """Score by `few_shot`.

        If training and test images are the same, each draw is tested on the images that it did not
        draw.
        """
        options = self.model_dump(include={"shots", "draws", "probe"})
        if self.class_texts is not None:
            originals = [features.matrix for features, _ in self.sides(sources)]
            options |= zip(("originals", "originals_test"), originals, strict=False)
            options["texts"] = sources.files.features(self.class_texts)
        options["superclasses"] = self.superclass_of(sources)
        arrays = self.embedded(sources, embed)
        result = few_shot(*arrays, seed=sources.shared.seed, **options)
        warn_at_chance(result, result.chance)
        return result


class AnomalyTask(_Sides):
    """Anomaly detection: anomalies are the test images of other classes, or a third file."""

    kind: Literal["anomaly"] = "anomaly"
    test: File = Field(description="Feature file of the test images.")
    anomalies: MaybeFile = Field(
        None,
        description="Features of another data set, which are the anomalies; no labels are read.",
    )
    mode: Literal["one-vs-rest", "leave-one-out", "shift"] | None = Field(
        None,
        description="Which classes are normal. shift goes with --superclasses. "
        "[default: one-vs-rest, or shift with --superclasses]",
    )
    k: int = Field(5, ge=1, description="Nearest training images that the score averages.")

    @model_validator(mode="after")
    def _check_sides(self) -> AnomalyTask:
        if self.anomalies is None and None in (self.train_labels, self.test_labels):
            raise ParameterError(
                "`train_labels` and `test_labels` must be given: the class of each image."
            )
        return self

    def shared_data(self, sources: Sources) -> Any:
        """The labels and names of both sides; None if anomalies are of a set without labels."""
        return None if self.anomalies is not None else super().shared_data(sources)

    def score(self, sources: Sources, embed: Embed) -> Result:
        """Score by `anomaly` or `anomaly_against`."""
        if self.anomalies is not None:
            training = embed(sources.files.features(self.train))
            normal = embed(sources.files.features(self.test))
            anomalies = embed(sources.files.features(self.anomalies))
            return anomaly_against(training, normal, anomalies, k=self.k)
        arrays = self.embedded(sources, embed)
        superclasses = self.superclass_of(sources)
        result = anomaly(*arrays, mode=self.mode, k=self.k, superclasses=superclasses)
        warn_at_chance(result, 0.5)
        return result


class RetrievalTask(LabelledTask):
    """Images of one class, or captions of an image, found among others."""

    side_options = (("queries", "query_labels"), ("gallery", "gallery_labels"))
    kind: Literal["retrieval"] = "retrieval"
    queries: File = Field(description="Feature file of the queries.")
    query_labels: File = Field(description="One label per query.")
    gallery: MaybeFile = Field(
        None, description="Feature file to search. [default: the other queries]"
    )
    gallery_labels: MaybeFile = Field(
        None, description="One label per row: its class, or the image of a caption."
    )

    def score(self, sources: Sources, embed: Embed) -> Result:
        """Score by `retrieval`."""
        import pandas as pd

        arrays = self.embedded(sources, embed)
        result = retrieval(*arrays)
        query_labels = arrays[1]
        gallery_labels = pd.Series(arrays[-1])
        shares = gallery_labels.value_counts(normalize=True)
        chance = shares.reindex(query_labels, fill_value=0.0).mean()
        warn_at_chance(result, float(chance))
        return result


def warn_at_chance(result: Result, chance: float) -> None:
    """Warn if labels in another order than the features could have such a score."""
    score = result.scores[0]
    error = (chance * (1 - chance) / score.n) ** 0.5
    limit = chance + _MAX_STANDARD_ERRORS_OF_CHANCE * error
    is_measurable = score.n >= _MIN_IMAGES_FOR_CHANCE
    if is_measurable and score.value <= limit:
        warn(
            f"the {score.task} score cannot be told from chance ({chance:.3f}). If the labels are "
            "not joined by name, are they in the order of the features?",
            DataWarning,
        )
