"""z = ((x - mean) / std) W + b for the rows of an array or of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glocal.data.standardization import Standardization, row_blocks
from glocal.errors import DataError
from glocal.similarity import Values, Weights

if TYPE_CHECKING:
    import torch


def check_map(W: Weights, bias: Values | None, mean: float, std: float) -> None:
    """Raise a DataError unless the shapes match, all numbers are finite, and std is above 0."""
    out_shape = W.shape[1:]
    b = bias
    if b is None:
        b = np.zeros(out_shape)
    is_matrix = W.ndim == 2
    is_map = is_matrix and len(W) >= W.shape[1]
    is_bias = b.shape == out_shape
    if not is_map or not is_bias:
        raise DataError(
            f"transform weights have shape {W.shape} and bias {b.shape}; they must be (p, r) "
            "with r at most p, and (r,)."
        )
    has_finite_weights = is_identity(W) or np.isfinite(W).all()
    offsets = np.append(b, mean)
    has_finite_offsets = np.isfinite(offsets).all()
    if not (has_finite_weights and has_finite_offsets):
        raise DataError("transform weights, bias or mean hold NaN or infinity. Fit it again.")
    if not 0 < std < np.inf:
        raise DataError(f"transform std is {std}; it must be finite and above 0.")


def map_array(
    X: np.ndarray, standardization: Standardization, W: Weights, b: Values | None
) -> np.ndarray:
    """Map the rows of an array block by block, in its float dtype."""
    is_float = X.dtype.kind == "f"
    is_double = is_float and X.dtype.itemsize >= 8
    single_or_double = np.float64 if is_double else np.float32
    dtype = np.dtype(single_or_double)
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
    weights = W.astype(rows.dtype, copy=False)
    return rows @ weights


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
    single = np.float32(standardization.mean)
    rounded = float(single)
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
    is_one = corner == 1
    return bool(is_one.all())
