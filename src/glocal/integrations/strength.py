"""The transform that a wrapper applies: at a strength, and not the path of its file."""

from __future__ import annotations

from typing import Any

from glocal.errors import ParameterError
from glocal.transform.linear import LinearTransform


def at_strength(transform: Any, strength: float) -> LinearTransform:
    """The transform itself at strength 1, where it may have any number of dimensions."""
    if not isinstance(transform, LinearTransform):
        raise ParameterError(
            f"transform is a {type(transform).__name__}; it must be a LinearTransform: LinearTransform.load(FILE)."
        )
    return transform if strength == 1.0 else transform.at_strength(strength)
