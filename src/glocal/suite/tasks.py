"""Tasks, and the kinds of tasks on objects and unlabelled images: their files and scores."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.rdm import JoinedRDMs, join_rdms, load_rdms
from glocal.data.seen import Seen, seen
from glocal.data.tables import read_list
from glocal.errors import DataWarning, ParameterError, warn
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.ceiling import ceiling
from glocal.evaluation.comparison import Result
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.files import array_sha256, read_lines
from glocal.options import Options
from glocal.suite.sources import Embed, File, MaybeFile, Sources
from glocal.transform import LinearTransform

_MAX_P = 0.05  # a correlation with this p-value or a larger one cannot be told from 0


class Task(Options):
    """One evaluation: the files that it reads, and the options of its function."""

    reads_answers: ClassVar[bool] = False
    """Whether the task reads the answers, or the object ids, that a suite shares."""

    @property
    def split(self) -> Path | None:
        """The file of the scored data: the anomalies, the test images, or the first file.

        None stands for the held-out answers.
        """
        options = dict(self)
        first_file = next(iter(self.paths), None)
        anomalies = options.get("anomalies")
        test_file = options.get("test")
        return anomalies or test_file or first_file

    def scored_answers(self, sources: Sources) -> Answers | None:
        """The answers that are scored, if the task is about people's answers."""
        return None

    def seen(self, sources: Sources, transform: LinearTransform | None) -> Seen | None:
        """What a fit, None for no fit, saw of the answers; None if not known or without answers."""
        answers = self.scored_answers(sources)
        if answers is None:
            return None
        if transform is None:
            return Seen(questions=0.0, objects=0.0)
        record = transform.record
        return seen(record.fitted, record.hashes, sources.objects, answers)

    def shared_data(self, sources: Sources) -> Any:
        """The answers, RDMs or labels by object; networks with the same ones are compared.

        None if there are none.
        """
        return None

    @abstractmethod
    def score(self, sources: Sources, embed: Embed) -> Result:
        """Score one embedding."""


class OddOneOutTask(Task):
    """Agreement with people, on the answers about held-out objects or on the answers of a file."""

    reads_answers: ClassVar[bool] = True
    kind: Literal["odd-one-out"] = "odd-one-out"
    answers: MaybeFile = None
    similarity: Literal["cosine", "dot"] = Field("cosine", description="Similarity of a pair.")

    def scored_answers(self, sources: Sources) -> Answers:
        """The answers of the file, or without a file the held-out ones."""
        if self.answers is None:
            return sources.heldout_answers
        return sources.joined_answers(self.answers).answers

    def shared_data(self, sources: Sources) -> Any:
        """The answers, by the names of their objects."""
        answers = self.scored_answers(sources)
        hashes = [_by_name(sources.objects, answers.objects)]
        for details in (answers.weights, answers.person):
            if details is not None:
                hashes.append(array_sha256(details))
        return hashes

    def score(self, sources: Sources, embed: Embed) -> Result:
        """Score by `odd_one_out`, with the `ceiling` if questions were repeated on purpose."""
        answers = self.scored_answers(sources)
        Z = embed(sources.objects)
        agreement = odd_one_out(Z, answers, similarity=self.similarity)
        bounds = ceiling(answers)
        if bounds is None:
            return agreement
        values = {**agreement.values, "ceiling": bounds}
        scores = agreement.scores + bounds.scores
        return replace(agreement, scores=scores, values=values)


class RSATask(Task):
    """Correlation with people's dissimilarities."""

    reads_answers: ClassVar[bool] = True
    kind: Literal["rsa"] = "rsa"
    rdm: File = Field(
        description="Human dissimilarities, (n, n) or (people, n, n); NaN for a missing pair. A "
        "table with names as its first column and line is joined by name."
    )
    rdm_index: MaybeFile = Field(
        None, description="Objects of the RDM: one index per row, .npy or text."
    )
    object_ids: MaybeFile = Field(
        None, description="Names of the objects that the RDM indexes, one per line."
    )
    kernel: Literal["cosine", "correlation", "dot"] = Field(
        "cosine", description="Similarity of a pair."
    )

    def shared_data(self, sources: Sources) -> Any:
        """The RDMs, by the names of their objects."""
        joined = self._joined(sources)
        object_hash = _by_name(sources.objects, joined.rows)
        rdm_hash = array_sha256(joined.rdms)
        return [object_hash, rdm_hash]

    def _joined(self, sources: Sources) -> JoinedRDMs:
        rdms, names = load_rdms(sources.files.path(self.rdm))
        if names is not None:
            if self.rdm_index is not None:
                raise ParameterError("the RDM names its objects; leave `rdm_index` out.")
            return join_rdms(sources.objects, rdms, object_ids=names)
        object_ids = sources.listed_objects
        if self.object_ids is not None:
            object_ids = read_lines(sources.files.path(self.object_ids), what="object ids")
        index = None
        if self.rdm_index is not None:
            index = read_list(sources.files.path(self.rdm_index), what="RDM index")
            if object_ids is None and sources.objects.names is not None:
                warn(
                    "the index of the RDM is read as rows of the features, although these have "
                    "names. If it indexes a list of objects, name that list with `object_ids`: "
                    "objects that the features lack would shift all others.",
                    DataWarning,
                )
        return join_rdms(sources.objects, rdms, index, object_ids)

    def score(self, sources: Sources, embed: Embed) -> Result:
        """Score by `rsa`, with a DataWarning if the correlation cannot be told from 0."""
        joined = self._joined(sources)
        Z = embed(sources.objects)
        result = rsa(Z[joined.rows], joined.rdms, kernel=self.kernel)
        if np.isnan(result.spearman):
            return result
        p = result.units.estimate().p
        if p is not None and p >= _MAX_P:
            warn(
                f"the correlation {result.spearman:.3f} cannot be told from 0 (p = {p:.2g}). Do "
                "the RDM and the features have the same objects in the same order?",
                DataWarning,
            )
        return result


class StructureTask(Task):
    """The structure of images that a transform preserves."""

    kind: Literal["structure"] = "structure"
    features: File = Field(description="Feature file of the images, or folder with features.npy.")
    k: int = Field(10, ge=1, description="Neighbours of each image.")

    def score(self, sources: Sources, embed: Embed) -> Result:
        """Score by `structure`."""
        features = sources.files.features(self.features)
        X = sources.embedding(None)(features)
        return structure(X, embed(features), k=self.k)


def _by_name(features: Features, rows: np.ndarray) -> str:
    """The hash of rows, or of the names of their objects if they have any."""
    import pandas as pd

    if features.names is None:
        return array_sha256(rows.astype(np.int64))
    names = np.array(features.labels, dtype=object)
    return array_sha256(pd.util.hash_array(names)[rows])
