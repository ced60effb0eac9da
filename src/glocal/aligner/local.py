"""The local images of a fit: the blocks it reads, and how many of them it needs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Int

from glocal.aligner.settings import Settings
from glocal.data.features import Features, Standardization
from glocal.data.splits import local_blocks
from glocal.errors import DataWarning
from glocal.files import array_sha256
from glocal.objective import LocalLoss
from glocal.transform import LinearTransform

FIRST = 4  # blocks of the first fit; the next ones double them
ALL_UP_TO = 16  # blocks; so few are all used
CAP = 64  # blocks; with 1024 images each their teachers take 256 MB
TOLERANCE = 1e-3  # of the objective: what the last doubling may change on fresh blocks

Fitted = TypeVar("Fitted")


@dataclass(frozen=True, eq=False)
class LocalBlocks:
    """Local images in their blocks, standardized or raw.

    Parameters
    ----------
    blocks : list of (m, p) arrays
    rows : (n,) int or None
        The row of the local features behind each image, block after block; None where the blocks were made elsewhere.
    """

    blocks: list[np.ndarray]
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def n(self) -> int:
        """The number of local images."""
        return sum(len(block) for block in self.blocks)

    @classmethod
    def standardized(
        cls,
        features: Features,
        scalars: Standardization,
        settings: Settings,
        *,
        first: int = 0,
        last: int | None = None,
        standardized: bool = True,
        images: Int[np.ndarray, " k"] | None = None,
    ) -> LocalBlocks:
        """Cut the local images into blocks and read those from `first` to before `last`, and only those.

        Parameters
        ----------
        features : Features
            Of the local images; the rows are read in the order of the file and checked.
        scalars : Standardization
            Of the object features.
        settings : Settings
            Block size, seed and dtype.
        first, last : int
            By default all blocks.
        standardized : bool
            False leaves the features as they are, as the authors train the local term.
        images : (k,) int or None
            The rows that count as local images; None takes all.

        Raises
        ------
        DataError
            NaN or infinity in a row that is read.
        """
        n = len(features) if images is None else len(images)
        drawn = local_blocks(n, settings.block_size, settings.seed)[first:last]
        rows = np.concatenate(drawn) if images is None else images[np.concatenate(drawn)]
        X = np.empty((len(rows), features.dimensions), dtype=settings.dtype)
        for positions, chunk in features.rows(rows):
            X[positions] = scalars(chunk, settings.dtype) if standardized else chunk
        return cls(np.split(X, np.cumsum([len(block) for block in drawn])[:-1]), rows)

    def sha256(self, features: Features) -> str:
        """Hash the rows that are used, in the order of the file: that of the whole matrix if all are."""
        if self.rows is None or len(self.rows) == len(features):
            return array_sha256(features.matrix)
        return array_sha256(features.matrix, np.sort(self.rows))

    def __add__(self, other: LocalBlocks) -> LocalBlocks:
        rows = None if self.rows is None or other.rows is None else np.concatenate([self.rows, other.rows])
        return LocalBlocks(self.blocks + other.blocks, rows)


@dataclass(frozen=True, eq=False)
class Progress(Generic[Fitted]):
    """What the schedule ends with: the blocks used, the last fit, and the change measured on fresh blocks.

    `change` is a fraction of the objective, None where all blocks are used or their number was given.
    """

    local: LocalBlocks
    fitted: Fitted
    change: float | None


def fit_on_blocks(
    fit: Callable[[LocalBlocks, LinearTransform | None], tuple[Fitted, LinearTransform, float]],
    features: Features,
    scalars: Standardization,
    settings: Settings,
    *,
    start: LinearTransform | None = None,
    standardized: bool = True,
    images: Int[np.ndarray, " k"] | None = None,
    tolerance: float = TOLERANCE,
    cap: int = CAP,
) -> Progress[Fitted]:
    """Fit on as many blocks as the local term needs.

    Up to 16 blocks are all used. Of more, the first 4 are fitted, then twice as many from the last W, and so on until
    doubling does not help on blocks that neither fit has seen. With f' the objective on as many fresh blocks as were
    fitted, W the last fit and V the one on half of its blocks,

        change = ( |f'(V) - f'(W)| + 2 se ) / |f'(W)|.

    Where the loss to the optimum over all blocks falls in proportion to the number of blocks or faster, as that of an
    average does, the last doubling gained at least what is left to gain. V and W are compared on the same blocks, so
    that the differences between blocks (some images have near neighbours, some have not) drop out; `se`, from the
    spread of the gain over blocks, keeps a lucky draw from ending the schedule.

    Parameters
    ----------
    fit : function
        (blocks, start) → (whatever it returns, its transform of the blocks as they are, its objective without the
        local term).
    features, scalars, settings, standardized, images
        As in `LocalBlocks.standardized`; a ``settings.local_blocks`` that is not None is the number to use.
    start : LinearTransform or None
        Of the first fit.
    tolerance : float
        Stop at a change of at most this fraction.
    cap : int
        Blocks that the schedule may reach.

    Warns
    -----
    DataWarning
        The cap is reached and the change is still above the tolerance.
    """

    def read(first: int, last: int) -> LocalBlocks:
        return LocalBlocks.standardized(
            features, scalars, settings, first=first, last=last, standardized=standardized, images=images
        )

    n = len(features) if images is None else len(images)
    total, count = len(local_blocks(n, settings.block_size, settings.seed)), settings.local_blocks
    if count is not None or total <= ALL_UP_TO:
        local = read(0, total if count is None else min(count, total))
        return Progress(local, fit(local, start)[0], None)
    local, fresh = LocalBlocks([], np.empty(0, dtype=np.int64)), read(0, FIRST)
    before: tuple[LinearTransform, float] | None = None
    while True:
        local = local + fresh
        fitted, transform, rest = fit(local, start if before is None else before[0])
        k = len(local)
        if k == total:
            return Progress(local, fitted, None)
        fresh = read(k, min(2 * k, total))
        if before is not None:
            change = _change(fresh, before, (transform, rest), settings)
            if change <= tolerance:
                return Progress(local, fitted, change)
            if 2 * k > cap:
                warnings.warn(
                    f"the local term uses {k} of {total} blocks of local images and the last doubling of their number "
                    f"still changed the objective by {change:.1e} of its value (allowed {tolerance:.0e}). "
                    f"Pass --local-blocks {min(2 * k, total)} (local_blocks=).",
                    DataWarning,
                    stacklevel=3,
                )
                return Progress(local, fitted, change)
        before = transform, rest


def _change(
    fresh: LocalBlocks, before: tuple[LinearTransform, float], after: tuple[LinearTransform, float], settings: Settings
) -> float:
    """(|f'(V) - f'(W)| + 2 se) / |f'(W)| from (V, f without the local term at V) and the same at W."""
    (V, rest_before), (W, rest) = before, after
    at_V, at_W = _losses(fresh, V, settings), _losses(fresh, W, settings)
    gains = rest_before - rest + settings.alpha * (at_V - at_W)
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return float((abs(gains.mean()) + 2 * error) / abs(rest + settings.alpha * at_W.mean()))


def _losses(local: LocalBlocks, transform: LinearTransform, settings: Settings) -> np.ndarray:
    """L_local of each block under a transform."""
    W = torch.as_tensor(transform.weights)
    b = None if transform.bias is None else torch.as_tensor(transform.bias)

    def of(block: np.ndarray) -> float:
        X = torch.from_numpy(block).to(settings.device)
        return LocalLoss([X], settings.tau)(W.to(X), None if b is None else b.to(X))[0]

    return np.array([of(block) for block in local.blocks])
