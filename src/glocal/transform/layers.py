"""A transform as layers of torch; imported only when torch is used."""

from __future__ import annotations

import numpy as np
import torch

from glocal.similarity import Values, Weights


class UnitLength(torch.nn.Module):
    """Scale each row to length 1; a row of zeros stays unchanged."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scale along the last axis; any number of leading axes is allowed."""
        magnitudes = rows.abs()
        largest = magnitudes.amax(dim=-1, keepdim=True)  # dividing by it avoids overflow
        is_nonzero = largest > 0
        divisors = torch.where(is_nonzero, largest, 1)
        scaled = rows / divisors
        return torch.nn.functional.normalize(scaled, dim=-1)


def linear_layer(A: Weights, c: Values) -> torch.nn.Linear:
    """The frozen float32 layer x A + c."""
    # NOTE the meta device draws no initial values, so that the random state stays unchanged
    p, r = A.shape
    layer = torch.nn.Linear(p, r, device="meta")
    layer.weight = _constant(A.T)
    layer.bias = _constant(c)
    return layer


def _constant(values: np.ndarray) -> torch.nn.Parameter:
    """A frozen float32 parameter."""
    contiguous = np.ascontiguousarray(values)
    tensor = torch.from_numpy(contiguous)
    values_in_single = tensor.float()
    return torch.nn.Parameter(values_in_single, requires_grad=False)
