"""What a fit is minimised on: objects, answers, and blocks of local images, all standardized by two scalars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from glocal.aligner.arm import Arm
from glocal.aligner.settings import DataOptions
from glocal.data.answers import Answers
from glocal.data.check import warn_of_answers, warn_of_local
from glocal.data.features import Features, Standardization
from glocal.data.splits import local_blocks, object_folds
from glocal.errors import DataError, ParameterError
from glocal.files import array_sha256
from glocal.options import option
from glocal.solver.threads import work_of
from glocal.transform import LinearTransform


@dataclass(frozen=True, eq=False)
class LocalBlocks:
    """Local images in their blocks, standardized or raw.

    `rows` are the rows of the local features behind the images, block after block; None where the blocks were made
    elsewhere.
    """

    blocks: list[np.ndarray]
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def n(self) -> int:
        """The number of local images."""
        return sum(len(block) for block in self.blocks)

    def sha256(self, features: Features) -> str:
        """Hash the rows that are used, in the order of the file: that of the whole matrix if all are."""
        if self.rows is None or len(self.rows) == len(features):
            return array_sha256(features.matrix)
        return array_sha256(np.asarray(features.matrix[np.sort(self.rows)]))


@dataclass(frozen=True, eq=False)
class FitData(DataOptions):
    """What a fit is minimised on.

    Parameters
    ----------
    features : Features
        (n, p) object features; their two scalars standardize everything.
    triplets : Answers
        Answers whose indices are rows of `features`.
    local_features : Features or None
        (m, p) features of local images, as raw as `features`; needed by `glocal`, not used by the other arms.
    block_size, seed : int
        Local images in a block; the seed of blocks and folds.
    local_blocks : int or None
        Number of blocks of local images to use, counted from the first; all if there are fewer. None: at most 16, the
        mini-batch solver all.
    local_standardized : bool
        False trains the local term on raw local features, as the authors' code does.
    objects, images : (k,) and (m,) int, or None
        The rows of the object features that folds are cut from, and the rows of the local features that are used; None
        takes all.
    n_dropped : int
        Answers lost in the join, for the record.

    Raises
    ------
    ParameterError
        A value outside its range.
    """

    features: Features
    triplets: Answers
    local_features: Features | None = None
    local_standardized: bool = option(True, "Standardize local images by the two scalars of the objects.")
    objects: Int[np.ndarray, " k"] | None = None
    images: Int[np.ndarray, " m"] | None = None
    n_dropped: int = 0

    @property
    def scalars(self) -> Standardization:
        """The two scalars of the object features."""
        return self.features.standardization

    @property
    def n_local(self) -> int:
        """The number of local images that are used."""
        if self.images is not None:
            return len(self.images)
        return 0 if self.local_features is None else len(self.local_features)

    def fold(self, k: int, folds: int = 3) -> tuple[FitData, Answers, Int[np.ndarray, " m"]]:
        """The data without fold k of the objects and of the local images, and what that fold holds out.

        An answer is fitted if its objects all lie outside the fold, is held out if they all lie inside, and belongs to
        neither part otherwise.

        Parameters
        ----------
        k, folds : int
            Which of how many parts is held out: ``array_split(RandomState(seed).permutation(n), folds)[k]``.

        Returns
        -------
        data : FitData
            All features, the answers outside the fold, and the local images outside it. A fold of it is one of the
            objects and images that are left.
        answers : Answers
            The held-out answers.
        rows : (m,) int
            The held-out rows of the local features, or of the object features where there are none. They are in the
            order in which they were drawn, so that the first few are a random sample.

        Raises
        ------
        ParameterError
            There is no such fold, or the data allow fewer of them.
        DataError
            No answer is left to fit, or none is held out.
        """
        if not 0 <= k < folds:
            raise ParameterError(f"fold is {k} but there are {folds} folds (valid 0..{folds - 1}).")
        objects, outside = self._cut(len(self.features), self.objects, k, folds)
        inside = np.zeros(len(self.features), dtype=bool)
        inside[objects] = True
        fitted, heldout = (self.triplets.select(side) for side in self.triplets.inside(inside))
        for side, what in ((fitted, "outside"), (heldout, "inside")):
            if not len(side):
                raise DataError(
                    f"no answer has all its objects {what} fold {k} of {folds}, so nothing can be "
                    f"{'fitted' if side is fitted else 'held out'}. Use fewer folds, or more answers."
                )
        rows, images = objects, self.images
        if self.local_features is not None:
            rows, images = self._cut(len(self.local_features), images, k, folds)
        return replace(self, triplets=fitted, objects=outside, images=images), heldout, rows

    def _cut(
        self, n: int, used: Int[np.ndarray, " k"] | None, fold: int, folds: int
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " r"]]:
        """The rows inside a fold of n rows, or of those that are used, as they were drawn, and the others in order."""
        used = np.arange(n) if used is None else used
        inside = used[object_folds(len(used), folds, self.seed)[fold]]
        return inside, np.setdiff1d(used, inside)

    def check(self, arm: Arm, start: LinearTransform | None = None) -> None:
        """Raise an error for data that cannot be fitted, and warn of data that look wrong."""
        features, local, p = self.features, self.local_features, self.features.dimensions
        if arm.local and local is None:
            raise ParameterError(
                "method glocal needs local features: give --local-features (local_features=) or use global."
            )
        if len(features) < 3:
            raise DataError(f"{features.source} has {len(features)} objects; odd-one-out answers need at least 3.")
        self.triplets.check_range(len(features))
        if not len(self.triplets):
            raise DataError("there is no triplet to fit.")
        _ = self.scalars  # says so if a value is not finite or all are the same
        features.warn_constant_columns()
        if local is not None and local.dimensions != p:
            raise DataError(
                f"local features have {local.dimensions} columns but the object features have {p}; "
                "both must come from the same model and layer."
            )
        if start is not None and start.weights.shape != (p, p):
            raise DataError(
                f"the start transform maps {start.dimensions} dimensions to {start.out_dimensions} but the features "
                f"have {p}: it must map {p} to {p}."
            )
        warn_of_answers(features, self.triplets)
        if arm.local and local is not None:
            warn_of_local(features, local, self.drawn[0])

    @cached_property
    def drawn(self) -> list[Int[np.ndarray, " m"]]:
        """The rows of the local features in each block."""
        drawn = local_blocks(self.n_local, self.block_size, self.seed)
        return drawn if self.images is None else [self.images[rows] for rows in drawn]

    def read(self, dtype: str, most: int | None = None) -> LocalBlocks:
        """Read the blocks of local images, or the first so many, and only those rows."""
        assert self.local_features is not None
        drawn = self.drawn[:most]
        rows = np.concatenate(drawn)
        X = np.empty((len(rows), self.local_features.dimensions), dtype=dtype)
        for positions, chunk in self.local_features.rows(rows):
            X[positions] = self.scalars(chunk, dtype) if self.local_standardized else chunk
        return LocalBlocks(np.split(X, np.cumsum([len(block) for block in drawn])[:-1]), rows)

    def named(self, dtype: str, device: str) -> tuple[Float[Tensor, "n p"], Answers]:
        """The standardized objects that the answers name, and the answers as rows of them."""
        named = self.triplets.named()
        new_index = np.full(len(self.features), -1, dtype=np.int32)
        new_index[named] = np.arange(len(named), dtype=np.int32)
        X = self.scalars(np.asarray(self.features.matrix[named]), dtype)
        return on_device(X, device), self.triplets.relabel(new_index)[0]

    def work(self, local: LocalBlocks | None) -> float:
        """Operations of one evaluation of the objective, for `threads_for`."""
        blocks = () if local is None else map(len, local.blocks)
        return work_of(len(self.features), self.features.dimensions, len(self.triplets), blocks)

    def hashes(self, local: LocalBlocks | None) -> dict[str, str]:
        """The hash of each input that the fit read."""
        found = {"features": array_sha256(self.features.matrix), "triplets": array_sha256(self.triplets.answers)}
        if self.triplets.weights is not None:
            found["weights"] = array_sha256(self.triplets.weights)
        if self.local_features is not None and local is not None:
            found["local_features"] = local.sha256(self.local_features)
        return found


def on_device(array: np.ndarray, device: str) -> Tensor:
    """Move an array to a torch device, or say in one sentence that there is none of that name."""
    try:
        return torch.from_numpy(array).to(device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0][:60]}). "
            "Use cpu, or install a torch build for it."
        ) from error
