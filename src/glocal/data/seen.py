"""A sketch of the questions and objects that a transform was fitted to, stored in its file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt

from glocal.data.answers import Answers
from glocal.data.features import Features

MAX_HASHES = 512
"""The number of smallest hashes kept: a random sample that is complete up to its largest hash."""
MAX_SHARE_SEEN = 0.1
"""Above this share of the questions, or of the objects, answers do not count as new."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Seen:
    """The shares of the questions and of the objects of answers that a fit has seen."""

    questions: float
    objects: float

    def warning(self) -> str | None:
        """Return a warning about scores on these answers, or None if the answers are new."""
        if self.questions > MAX_SHARE_SEEN:
            return (
                f"the transform was fitted to answers to {self.questions:.0%} of these questions, "
                "so the agreement does not hold for new answers. Score answers that the fit has "
                "not seen: glocal data split holds some out."
            )
        if self.objects > MAX_SHARE_SEEN:
            return (
                f"the transform was fitted to answers about {self.objects:.0%} of these objects; "
                "agreement on new objects is lower."
            )
        return None


def sketch(features: Features, answers: Answers) -> dict[str, str]:
    """Hash the fitted data: an object by its row of features, a question by its set of objects."""
    sketches = {}
    for name, hashes in _hashes(features, answers).items():
        smallest = hashes[:MAX_HASHES].astype("<u4").tobytes()
        sketches[name] = base64.b64encode(smallest).decode()
    return sketches


def seen(fitted: Mapping[str, str], features: Features, answers: Answers) -> Seen:
    """Compare answers with the `sketch` of the fitted answers."""
    hashes = _hashes(features, answers)
    return Seen(**{name: _share(hashes[name], fitted[name]) for name in hashes})


def _hashes(features: Features, answers: Answers) -> dict[str, UInt[np.ndarray, " _"]]:
    """The sorted 32-bit hashes of the objects that the answers name, and of the questions."""
    objects = answers.named_objects()
    rows = np.ascontiguousarray(features.matrix[objects], dtype=np.float32)
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    object_hashes = np.frombuffer(b"".join(digests), dtype="<u8")
    position = np.zeros(len(features), dtype=np.int64)
    position[objects] = np.arange(len(objects))
    question_objects = np.sort(object_hashes[position[answers.objects]], axis=1)
    question_hashes = np.zeros(len(question_objects), dtype=np.uint64)
    for column in question_objects.T:
        question_hashes = (question_hashes ^ column) * _MULTIPLIER
        question_hashes ^= question_hashes >> np.uint64(29)
    hashes = {"objects": object_hashes, "questions": question_hashes}
    return {name: np.unique((h >> np.uint64(32)).astype(np.uint32)) for name, h in hashes.items()}


def _share(hashes: UInt[np.ndarray, " k"], text: str) -> float:
    """The share of these hashes that a sketch holds, among those that it could hold."""
    encoded = base64.b64decode(text)
    fitted = np.frombuffer(encoded, dtype="<u4", count=len(encoded) // 4)
    if len(fitted) == MAX_HASHES:
        hashes = hashes[hashes <= fitted[-1]]
    return float(np.isin(hashes, fitted).mean()) if len(hashes) else 0.0
