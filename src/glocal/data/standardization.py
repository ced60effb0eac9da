"""The origin and the scale of features, and the blocks in which their rows are standardized."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from glocal.errors import DataError
from glocal.similarity import Values, row_slices, scaled_to_length_1

_CHUNK_BYTES = 1 << 25


@dataclass(frozen=True)
class Standardization:
    """An origin and a scale of features: X̃ = (X - mean - shift) / std.

    `mean` is a scalar, and `shift` (p,) is what is subtracted from each column besides, or None.
    If `is_unit`, each row is first scaled to length 1.
    """

    mean: float
    std: float
    shift: Values | None = None
    is_unit: bool = False

    def __call__(self, features: np.ndarray, dtype: str | np.dtype = "float32") -> np.ndarray:
        """Standardize (n, p) features into a new array of `dtype`, rounding once.

        The difference is taken in float64, a block of rows at a time, because an offset that is
        large compared with the spread would leave no significant digits in float32.
        """
        standardized = np.empty(features.shape, dtype=dtype)
        for rows in row_blocks(*features.shape):
            raw = features[rows]
            scaled = scaled_to_length_1(raw) if self.is_unit else raw
            block = np.subtract(scaled, self.mean, dtype=np.float64)
            if self.shift is not None:
                block -= self.shift
            block /= self.std
            standardized[rows] = block
        return standardized

    def centred(self, column_means: Values) -> Standardization:
        """Return X → (X - m) / std with the column means m of the rows.

        `std` is then the root mean square of X - m over these rows.

        Raises
        ------
        DataError
            If all rows are the same, so that centring leaves nothing of them.
        """
        deviation = column_means - self.mean
        variance = self.std**2
        square = variance - float(np.mean(deviation**2))
        if not square > 1e-12 * variance:
            raise DataError(
                "all rows of the features are the same; centring leaves nothing of them."
            )
        return replace(self, std=square**0.5, shift=deviation)


def row_blocks(n: int, p: int, rows: int | None = None) -> list[slice]:
    """Slices that divide n rows into blocks of `rows`, by default of 32 MB in float64."""
    bytes_of_row = 8 * max(1, p)
    size = rows or _CHUNK_BYTES // bytes_of_row
    return row_slices(n, size)
