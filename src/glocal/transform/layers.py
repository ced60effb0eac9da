"""The layers of torch that a transform becomes; imported only where torch is asked for."""

from __future__ import annotations

import torch


class UnitLength(torch.nn.Module):
    """Scale each row to length 1; a row of zeros stays one."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows with any leading dimensions."""
        return torch.nn.functional.normalize(rows, dim=-1)
