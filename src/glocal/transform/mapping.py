"""z = ((x - mean) / std) W + b for the rows of an array or of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glocal.data.standardization import Standardization, row_blocks
from glocal.similarity import Values, Weights

if TYPE_CHECKING:
    import torch


def map_array(
    X: np.ndarray, standardization: Standardization, W: Weights, b: Values | None
) -> np.ndarray:
    """Map the rows of an array block by block, in its float dtype."""
    is_float = X.dtype.kind == "f"
    is_double = is_float and X.dtype.itemsize >= 8
    dtype = np.dtype(np.float64 if is_double else np.float32)
    out_dtype = X.dtype if is_float else dtype
    out_shape = (len(X), W.shape[1])
    Z = np.empty(out_shape, dtype=out_dtype)
    # NOTE standardize before the product: subtracting a large offset later loses digits
    for block in row_blocks(*X.shape):
        rows = standardization(X[block], dtype)
        mapped = times_weights(rows, W)
        if b is not None:
            mapped = mapped + b
        Z[block] = mapped
    return Z


def times_weights(rows: np.ndarray, W: Weights) -> np.ndarray:
    """Rows W, in the dtype of the rows."""
    if is_identity(W):
        return rows
    return rows @ W.astype(rows.dtype, copy=False)


def map_tensor(
    X: torch.Tensor, standardization: Standardization, W: Weights, b: Values | None
) -> torch.Tensor:
    """Map the rows of a tensor on its device, in its float dtype."""
    import torch

    device = X.device
    dtype = torch.float32
    if X.dtype == torch.float64:
        dtype = torch.float64
    rows = X.to(dtype)
    if standardization.is_unit:
        from glocal.transform.layers import UnitLength

        rows = UnitLength()(rows)
    # NOTE the mean is subtracted in two parts, since not every device computes in float64
    rounded = float(np.float32(standardization.mean))
    remainder = standardization.mean - rounded
    deviations = (rows - rounded) - remainder
    standardized = deviations / standardization.std
    contiguous = np.ascontiguousarray(W)
    weights = torch.as_tensor(contiguous, dtype=dtype, device=device)
    Z = standardized @ weights
    if b is not None:
        bias = torch.as_tensor(b, dtype=dtype, device=device)
        Z = Z + bias
    if X.is_floating_point():
        return Z.to(X.dtype)
    return Z


def identity(p: int) -> Weights:
    """The p × p identity as a view of 2p - 1 numbers: all rows are windows of one row."""
    n_numbers = 2 * p - 1
    numbers = np.zeros(n_numbers, dtype=np.float32)
    numbers[p - 1] = 1
    windows = np.lib.stride_tricks.sliding_window_view(numbers, p)
    return windows[::-1]


def is_identity(W: Weights) -> bool:
    """Whether W is a view that `identity` made."""
    n_rows, n_columns = W.shape
    row_stride, column_stride = W.strides
    if n_rows != n_columns or row_stride != -column_stride:
        return False
    corner = W[:1, :1]
    return bool((corner == 1).all())
