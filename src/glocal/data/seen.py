"""A sketch of the questions and objects that a transform was fitted to, stored in its file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.files import array_sha256
from glocal.results import value_at

MAX_HASHES = 4_096
"""The number of smallest hashes kept: a random sample that is complete up to its largest hash."""
MAX_HASHES_OF_MANY = 65_536
"""As `MAX_HASHES`, for a fit to more than `MANY_ANSWERS`."""
MANY_ANSWERS = 1_000_000
MIN_COMPARED = 30
"""With fewer hashes to compare with a sample, the share is not known."""
MAX_SHARE_SEEN = 0.1
"""Above this share of the questions, or of the objects, answers do not count as new."""

Hashes = UInt[np.ndarray, " _"]
"""Hashes of objects or of questions, of 32 bits."""


@dataclass(frozen=True)
class Seen:
    """The shares of the questions and objects of answers that a fit has seen; None if not known."""

    questions: float | None
    objects: float | None

    def warning(self) -> str | None:
        """Return a warning about scores on these answers, or None if the answers are new."""
        if (self.questions or 0) > MAX_SHARE_SEEN:
            return (
                f"the transform was fitted to answers to {self.questions:.0%} of these questions, "
                "so the agreement does not hold for new answers. Score answers that the fit has "
                "not seen: glocal data split holds some out."
            )
        if (self.objects or 0) > MAX_SHARE_SEEN:
            unknown = ", and whether also to these questions is not known"
            return (
                f"the transform was fitted to answers about {self.objects:.0%} of these objects"
                f"{unknown if self.questions is None else ''}; agreement on new objects is lower."
            )
        if self.questions is None:
            return (
                "whether the transform was fitted to answers to these questions is not known: its "
                "file has a sample of them, of which too few could be here. Score more answers."
            )
        return None


def sketch(features: Features, answers: Answers) -> dict[str, str]:
    """Hash the fitted data: an object by its row of features, a question by its set of objects."""
    n = MAX_HASHES_OF_MANY if len(answers) > MANY_ANSWERS else MAX_HASHES
    return {
        name: base64.b64encode(_different(hashes)[:n].astype("<u4").tobytes()).decode()
        for name, hashes in _hashes(features, answers).items()
    }


def seen(record: Mapping[str, Any], features: Features, answers: Answers) -> Seen | None:
    """Compare answers with those of the fit in a transform's record; None if it has no sketch."""
    fitted = record.get("fitted")
    if fitted is None:
        return None
    data = value_at(record, "fit.provenance.data") or {}
    equals = {"answers": answers.objects, "features": features.matrix}
    if all(data.get(name) == array_sha256(array) for name, array in equals.items()):
        return Seen(1.0, 1.0)
    hashes = _hashes(features, answers)
    return Seen(**{name: _share(hashes[name], fitted[name]) for name in hashes})


def _hashes(features: Features, answers: Answers) -> dict[str, Hashes]:
    """The 32-bit hashes of the objects that the answers name, and of the question of each answer.

    The hash of a question is the sum of the hashes of its objects, which has no order.
    """
    objects = answers.named_objects()
    rows = np.ascontiguousarray(features.matrix[objects], dtype=np.float32)
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    object_hashes = np.zeros(len(features), dtype=np.uint64)
    object_hashes[objects] = np.frombuffer(b"".join(digests), dtype="<u8")
    question_hashes = np.zeros(len(answers), dtype=np.uint64)
    for column in answers.objects.T:
        question_hashes += object_hashes[column]
    hashes = {"objects": object_hashes[objects], "questions": question_hashes}
    return {name: (h >> np.uint64(32)).astype(np.uint32) for name, h in hashes.items()}


def _different(hashes: Hashes) -> Hashes:
    """The different hashes, ascending."""
    # NOTE with counts numpy sorts; without, it fills a hash table, which takes forty times as long
    return np.unique(hashes, return_counts=True)[0]


def _share(hashes: Hashes, text: str) -> float | None:
    """The share of the different hashes that a sketch holds, among those that it could hold."""
    encoded = base64.b64decode(text)
    fitted = np.frombuffer(encoded, dtype="<u4", count=len(encoded) // 4)
    is_sample = len(fitted) in (MAX_HASHES, MAX_HASHES_OF_MANY)
    if is_sample:
        hashes = hashes[hashes <= fitted[-1]]
    hashes = _different(hashes)
    if is_sample and len(hashes) < MIN_COMPARED:
        return None
    return float(np.isin(hashes, fitted).mean())
