"""The data of a fit: objects, answers, and blocks of local images, with their origin and scale."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field

from glocal.data.answers import Answers
from glocal.data.check.features import check_local
from glocal.data.check.findings import warn_of_findings
from glocal.data.check.readings import check_columns
from glocal.data.features import Features, check_finite
from glocal.data.rows import row_statistics
from glocal.data.splits import local_blocks
from glocal.data.standardization import Standardization
from glocal.errors import DataError, DataWarning, ParameterError, warn
from glocal.files import array_sha256
from glocal.options import Options
from glocal.similarity import Embedding, Numbers, Rows, Weights
from glocal.transform import LinearTransform
from glocal.transform.record import TransformRecord

MAX_BLOCKS = 16
"""The number of blocks that are used; with 1024 images each, their teachers take 64 MB."""
NEIGHBOURS = 10
"""The number of nearest neighbours of an image that are compared before and after a transform."""
Centre = Literal[0, 1, "scalar"]
SCALAR: Literal["scalar"] = "scalar"
"""The value of `centre` that standardizes features as the paper does."""
_MAX_SHARE_OF_MEANS = 0.99  # of the second moments: above it little is left to tell rows apart
_MAX_EVALUATION_IMAGES = 10_000  # held-out images whose neighbours are compared


class Blocks(Options):
    """The size of the blocks of local images, and the seed of blocks and folds."""

    panel: ClassVar[str] = "Solver"

    block_size: int = Field(
        1024,
        ge=3,
        description="Local images in a block, which are compared with each other; at most 16 "
        "blocks are used.",
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Random seed of the blocks and folds.")


@dataclass(frozen=True, eq=False)
class FitData:
    """The data of a fit.

    Parameters
    ----------
    features : Features
        (n, p) object features, as they are. All rows get their origin and scale.
    answers : Answers
        Answers whose indices are rows of `features`. Answers of weight 0 are left out.
    local_features : Features or None
        (m, p) features of local images, as they are. `glocal` needs them; the other methods do
        not use them.
    block_size, seed : int
        The number of local images in a block, at least 3, and the seed of blocks and folds. Only
        the first 16 blocks are used.
    centre : 0, 1, "scalar" or None
        s: object and local features become (x - s m) / std, where m are the column means of the
        objects and std is the root mean square of what is left. The subtraction becomes the bias
        of the transform. "scalar" subtracts the mean of all entries and divides by their standard
        deviation, as the paper does. None is 0, or "scalar" with the paper's loop.
    normalize : bool
        Scale each object and local row to length 1 first. If all object rows have length 1 already,
        this is done anyway. The transform then scales all rows itself.
    objects, images : (k,) and (m,) int, or None
        The rows of the object features that are split into folds (None: those that the answers
        name), and the rows of the local features that are used (None: all).
    n_dropped : int
        The number of answers lost in the join, for the record.
    """

    features: Features
    answers: Answers
    local_features: Features | None = None
    _: KW_ONLY
    block_size: int = Blocks().block_size
    seed: int = Blocks().seed
    centre: Centre | None = None
    normalize: bool = False
    objects: Numbers | None = None
    images: Int[np.ndarray, " m"] | None = None
    n_dropped: int = 0

    def __post_init__(self) -> None:
        centres = (0, 1, SCALAR, None)
        if self.centre not in centres:
            raise ParameterError(
                f"`centre` is {self.centre!r}; it must be 0 (the features as they are), 1 (without "
                "their means) or scalar."
            )
        features = _as_features(self.features, "features")
        features = features.unit(always=self.normalize)
        local = self.local_features
        if local is not None:
            local = _as_features(local, "local_features")
            if features.is_unit:
                local = local.unit()
        answers = self.answers
        if not isinstance(answers, Answers):
            answers = Answers.from_array(answers)
        is_counted = answers.all_weights > 0  # weight 0 is no copy, and names no object
        if not is_counted.all():
            answers = answers.select(is_counted)
        # numbers of Python, as the record needs them
        blocks = Blocks(block_size=self.block_size, seed=self.seed)
        values: dict[str, object] = dict(blocks)
        values["features"] = features
        values["local_features"] = local
        values["answers"] = answers
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def fixed_centre(self) -> Centre:
        """The centre, 0 for None."""
        return self.centre or 0

    @cached_property
    def scalars(self) -> Standardization:
        """The origin and scale of the features."""
        features = self.features
        centre = self.fixed_centre
        if centre == SCALAR:
            return features.standardization
        if not centre:
            return features.scaling
        scalars = features.standardization
        return scalars.centred(features.column_means)

    def transform(self, weights: Weights) -> LinearTransform:
        """Build the transform of raw features with these weights.

        The mean of all entries is its mean if they are subtracted; the rest of m becomes its bias,
        b = -(m - mean) W / std.
        """
        scalars = self.scalars
        bias = None
        if scalars.shift is not None:
            deviations = scalars.shift / scalars.std
            bias = -deviations @ weights.astype(np.float64)
            bias = bias.astype(np.float32)
        rows = row_statistics(self.features)
        record = TransformRecord(rows=rows)
        W = weights.astype(np.float32)
        return LinearTransform(W, bias, scalars.mean, scalars.std, record)

    @property
    def evaluation_images(self) -> Features:
        """The images whose neighbours are compared: the local images, or else the objects."""
        if self.local_features is None:
            return self.features
        return self.local_features

    def evaluation_rows(self, rows: Int[np.ndarray, " r"]) -> Rows:
        """Read these rows of the evaluation images, raw and in file order.

        Of more than 10,000 rows only the first are read, which are a random sample.
        """
        sample = rows[:_MAX_EVALUATION_IMAGES]
        numbers = np.sort(sample)
        images = _finite_rows(self.evaluation_images, numbers)
        return images.astype(np.float64)

    @property
    def used_images(self) -> Numbers:
        """The rows of the local features that are used."""
        if self.images is not None:
            return self.images
        n_images = len(self.evaluation_images)
        return np.arange(n_images)

    def check(self, *, reads_local: bool) -> None:
        """Raise an error for data that cannot be fitted, and warn of data that look wrong.

        `reads_local` says whether a local term is fitted too.
        """
        features = self.features
        local = self.local_features
        if reads_local and local is None:
            raise ParameterError(
                "method glocal needs local features: give `local_features`, or use "
                "`method='global'`."
            )
        self.answers.check_range(len(features))
        if not len(self.answers):
            raise DataError("there is no answer to fit.")
        scale = features.scaling.std  # an error for values that are not finite, or all equal
        scaled_means = features.column_means / scale
        squares = scaled_means**2
        share = float(np.mean(squares))
        is_uncentred = self.centre in (0, None)
        if is_uncentred and share > _MAX_SHARE_OF_MEANS:
            warn(
                f"the column means are {share:.4f} of the second moments of the features, so that "
                "all objects are almost alike. Subtract them: give `centre=1`.",
                DataWarning,
            )
        if local is not None and local.dimensions != features.dimensions:
            raise DataError(
                f"local features have {local.dimensions} columns but the object features have "
                f"{features.dimensions}; both must come from the same model and layer."
            )
        findings = check_columns(features, self.answers)
        warn_of_findings(findings)
        if reads_local and local is not None:
            first_block = self.blocks[0]
            findings = check_local(features, local, first_block)
            warn_of_findings(findings)

    @cached_property
    def blocks(self) -> list[Numbers]:
        """The rows of the local features in each block; an empty list without local features."""
        if self.local_features is None:
            return []
        images = self.used_images
        blocks = local_blocks(len(images), self.block_size, self.seed)
        used_blocks = blocks[:MAX_BLOCKS]
        return [images[rows] for rows in used_blocks]

    def local_rows(self, dtype: str) -> list[Rows]:
        """Read each block of local images, in the order of their file, with origin and scale."""
        blocks = []
        for rows in self.blocks:
            numbers, order = np.unique(rows, return_inverse=True)
            raw = _finite_rows(self.evaluation_images, numbers)
            in_file_order = self.scalars(raw, dtype)
            block = in_file_order[order]
            blocks.append(block)
        return blocks

    def named_rows(self) -> tuple[np.ndarray, Answers]:
        """The raw rows of the objects that the answers name, and the answers as rows of these."""
        objects = self.answers.named_objects()
        selected = self.features.matrix[objects]
        rows = np.asarray(selected)
        n = len(self.features)
        new_index = np.full(n, -1, dtype=np.int32)
        new_index[objects] = np.arange(len(objects), dtype=np.int32)
        answers = self.answers.relabel(new_index)
        return rows, answers

    def objects_and_answers(self, dtype: str) -> tuple[Embedding, Answers]:
        """The objects that the answers name, with origin and scale, and the answers about them."""
        rows, answers = self.named_rows()
        return self.scalars(rows, dtype), answers

    def hashes(self, *, local: bool) -> dict[str, str]:
        """The hash of each input that a fit reads, with or without the `local` images."""
        hashes = {
            "features": self.features.sha256,
            "answers": array_sha256(self.answers.objects),
        }
        if self.answers.weights is not None:
            hashes["weights"] = array_sha256(self.answers.weights)
        if local and self.local_features is not None:
            numbers = np.concatenate(self.blocks)
            selected = self.local_features.matrix[np.sort(numbers)]
            rows = np.asarray(selected)
            hashes["local_features"] = array_sha256(rows)
        return hashes


def _as_features(rows: Any, source: str) -> Features:
    """Features of any rows; `source` names them in messages."""
    if isinstance(rows, Features):
        return rows
    return Features(rows, None, source)


def _finite_rows(features: Features, numbers: Numbers) -> Rows:
    """Read some rows; a DataError names a value that is not finite."""
    selected = features.matrix[numbers]
    rows = np.asarray(selected)
    check_finite(rows, features.source, numbers)
    return rows
