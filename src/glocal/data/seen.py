"""A sketch of the questions and objects that a transform was fitted to, stored in its file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from jaxtyping import UInt

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.files import array_sha256
from glocal.results import Sketch
from glocal.scores import MAX_SHARE_SEEN

MAX_HASHES = 4_096
"""The number of smallest hashes kept: a random sample that is complete up to its largest hash."""
MAX_HASHES_OF_MANY = 65_536
"""As `MAX_HASHES`, for a fit to more than `MANY_ANSWERS`."""
MANY_ANSWERS = 1_000_000
MIN_COMPARED = 30
"""With fewer hashes to compare with a sample, the share is not known."""

_N_PAIRS = 64  # pairs of columns whose order identifies an object
_MARGIN = 0.01  # least difference of two columns, in root mean squares of the row
# a new object then has the hash of a fitted one in at most about twice the share
_MAX_SHARE_OF_EQUAL_HASHES = 0.05

Hashes = UInt[np.ndarray, " _"]
"""Hashes of objects or of questions, of 32 bits."""


class SeenFields(TypedDict):
    """The fields of a `Score` for the shares that a fit has seen."""

    seen_answers: float | None
    seen_objects: float | None


@dataclass(frozen=True)
class Seen:
    """The shares of the questions and objects of answers that a fit has seen; None if not known."""

    questions: float | None
    objects: float | None

    @property
    def is_unseen(self) -> bool | None:
        """Whether the questions count as new to the fit; None if that is not known."""
        return None if self.questions is None else self.questions <= MAX_SHARE_SEEN

    @property
    def fields(self) -> SeenFields:
        """The fields of a `Score`."""
        return {"seen_answers": self.questions, "seen_objects": self.objects}

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
                "file has a sample of them, and too few of it could be here. Score more answers."
            )
        return None


def sketch(features: Features, answers: Answers) -> Sketch | None:
    """Hash the fitted data: an object by the order of its columns, a question by its objects.

    There is none if rows have so few columns that different objects have equal hashes.
    """
    hashes = object_hashes(features)
    objects = answers.named_objects()
    n_different_rows = len({row.tobytes() for row in features.rows(objects)})
    n_different_hashes = len(_different(hashes[objects]))
    if n_different_hashes < (1 - _MAX_SHARE_OF_EQUAL_HASHES) * n_different_rows:
        return None
    n = MAX_HASHES_OF_MANY if len(answers) > MANY_ANSWERS else MAX_HASHES
    return Sketch(
        objects=_text(hashes[objects], n), questions=_text(_question_hashes(hashes, answers), n)
    )


def seen(
    fitted: Sketch | None, hashes: Mapping[str, str], features: Features, answers: Answers
) -> Seen | None:
    """Compare answers with the answers of a fit, by the sketch and the hashes of its data.

    The same answers are seen, whatever the features. Otherwise the hashes of the objects decide.
    None means that nothing is known: there is no sketch, or no row of the features is an object of
    the fit, so that the network or the photographs may be others.
    """
    if hashes.get("answers") == array_sha256(answers.objects):
        return Seen(1.0, 1.0)
    if fitted is None:
        return None
    objects = object_hashes(features)
    fitted_objects = _hashes(fitted.objects)
    if not np.isin(objects, fitted_objects).any():
        return None
    return Seen(
        questions=_share(_question_hashes(objects, answers), _hashes(fitted.questions)),
        objects=_share(objects[answers.named_objects()], fitted_objects),
    )


def seen_rows(fitted: Sketch | None, features: Features) -> float | None:
    """The share of rows that are objects of a fit, by its sketch; None if that is not known."""
    return None if fitted is None else _share(object_hashes(features), _hashes(fitted.objects))


def object_hashes(features: Features) -> Hashes:
    """The hash of each row, by which of two columns is larger, at 64 pairs of columns.

    Features that were stored as float16, scaled, or extracted again with other rounding errors keep
    this order. A column is larger only by a hundredth of the root mean square of the row, since
    many columns of a network with rectifiers are equal, namely 0.
    """
    features.check_finite()
    p = features.dimensions
    rng = np.random.default_rng(0)
    first = rng.integers(0, p, _N_PAIRS)
    second = (first + rng.integers(1, max(p, 2), _N_PAIRS)) % p
    margins = _MARGIN * features.lengths / p**0.5
    digests: list[bytes] = []
    for start, rows in features.chunks():
        rises = rows[:, first].astype(np.float64) - rows[:, second]
        is_larger = rises > margins[start : start + len(rows), None]
        packed = np.packbits(is_larger, axis=1)
        digests += [hashlib.blake2b(row.tobytes(), digest_size=4).digest() for row in packed]
    return np.frombuffer(b"".join(digests), dtype="<u4")


def _question_hashes(object_hashes: Hashes, answers: Answers) -> Hashes:
    """The hash of the question of each answer: the sum of the hashes of its objects."""
    return object_hashes[answers.objects].sum(axis=1, dtype=np.uint32)


def _different(hashes: Hashes) -> Hashes:
    """The different hashes, ascending."""
    # NOTE with counts numpy sorts; without, it fills a hash table, which takes forty times as long
    different, _ = np.unique(hashes, return_counts=True)
    return different


def _text(hashes: Hashes, n: int) -> str:
    """The n smallest different hashes as a text."""
    smallest = _different(hashes)[:n].astype("<u4")
    return base64.b64encode(smallest.tobytes()).decode()


def _hashes(text: str) -> Hashes:
    """The hashes of a text, ascending."""
    encoded = base64.b64decode(text)
    return np.frombuffer(encoded, dtype="<u4", count=len(encoded) // 4)


def _share(hashes: Hashes, fitted: Hashes) -> float | None:
    """The share of the different hashes that a sketch holds, among those that it could hold."""
    is_sample = len(fitted) in (MAX_HASHES, MAX_HASHES_OF_MANY)
    if is_sample:
        hashes = hashes[hashes <= fitted[-1]]
    hashes = _different(hashes)
    if is_sample and len(hashes) < MIN_COMPARED:
        return None
    return float(np.isin(hashes, fitted).mean())
