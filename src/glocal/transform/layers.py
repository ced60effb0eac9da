"""The torch layer that scales rows to length 1; imported only when torch is used."""

from __future__ import annotations

import torch


class UnitLength(torch.nn.Module):
    """Scale each row to length 1; a row of zeros stays unchanged."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scale along the last axis; any number of leading axes is allowed."""
        largest = rows.abs().amax(dim=-1, keepdim=True)  # dividing by it avoids overflow
        return torch.nn.functional.normalize(rows / torch.where(largest > 0, largest, 1), dim=-1)
