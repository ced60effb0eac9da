"""`AlignedModel`: a backbone of torch, timm or transformers whose output is aligned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from glocal.errors import DataError
from glocal.integrations.strength import at_strength
from glocal.transform.linear import LinearTransform


class AlignedModel(torch.nn.Module):
    """A model followed by a transform: z = x A + c, where x is what the model computes.

    Parameters
    ----------
    model : torch.nn.Module
        The backbone that the transform was fitted on. One of timm yields features with ``num_classes=0``.
    transform : LinearTransform
    output : str or None
        The field, or key, of the model's output that holds the features (n, p), as ``"pooler_output"`` or
        ``"image_embeds"`` of transformers; None where the output is the tensor itself.
    strength : float
        1 is the transform, 0 the original up to scale.
    normalize : bool
        Scale each row to length 1.

    Raises
    ------
    DataError
        When it is called: the model does not yield what the transform maps.

    Notes
    -----
    The layer that aligns is frozen; ``state_dict`` has it as ``aligned.weight`` and ``aligned.bias``. It computes in
    float32, or in float64 after ``.double()``; its result has the dtype of the features, unless these are integers.

    Examples
    --------
    >>> import numpy as np
    >>> transform = LinearTransform(np.eye(2, dtype=np.float32), None, mean=1.0, std=2.0)
    >>> model = AlignedModel(torch.nn.Identity(), transform)
    >>> model(torch.tensor([[3.0, 1.0]])).tolist()
    [[1.0, 0.0]]
    """

    def __init__(
        self,
        model: torch.nn.Module,
        transform: LinearTransform,
        *,
        output: str | None = None,
        strength: float = 1.0,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.output = output
        self.normalize = normalize
        self.aligned = at_strength(transform, strength).to_linear()

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Call the model with these arguments and align the features that it yields."""
        found = self.model(*args, **kwargs)
        if self.output is None:
            features = found
        else:
            features = found.get(self.output) if isinstance(found, Mapping) else getattr(found, str(self.output), None)
        if not isinstance(features, torch.Tensor):
            names = list(found) if hasattr(found, "keys") else []
            raise DataError(
                f"the model yields a {type(found).__name__}"
                + (f" without a tensor {self.output!r}" if self.output else "")
                + ". Pass output, the name of the field that holds the features"
                + (f": {', '.join(names)}." if names else ".")
            )
        if features.is_complex():
            raise DataError(f"the model yields {features.dtype} values; the transform maps real numbers.")
        if features.ndim != 2 or features.shape[1] != self.aligned.in_features:
            raise DataError(
                f"the model yields features of shape {tuple(features.shape)} but the transform maps "
                f"{self.aligned.in_features} dimensions; it needs those of the model and layer it was fitted on."
            )
        rows = self.aligned(features.to(self.aligned.weight.dtype))
        if self.normalize:
            rows = torch.nn.functional.normalize(rows)
        return rows.to(features.dtype) if features.is_floating_point() else rows
