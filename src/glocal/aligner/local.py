"""The local images of a fit: standardized, cut into blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glocal.aligner.settings import Settings
from glocal.data.features import Features, Standardization
from glocal.data.splits import local_blocks


@dataclass(frozen=True, eq=False)
class LocalBlocks:
    """Standardized local images in their blocks."""

    blocks: list[np.ndarray]

    @property
    def n(self) -> int:
        """The number of local images."""
        return sum(len(block) for block in self.blocks)

    @classmethod
    def standardized(cls, features: Features, scalars: Standardization, settings: Settings) -> LocalBlocks:
        """Cut the local images into blocks, standardized by the scalars of the object features."""
        X = scalars(features.matrix, settings.dtype)
        return cls([X[rows] for rows in local_blocks(len(X), settings.block_size, settings.seed)])
