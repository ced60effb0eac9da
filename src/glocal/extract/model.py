"""A network ready to run: what maps an image to a tensor, what maps a batch to features, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from glocal.errors import ParameterError
from glocal.files import one_line

OUTPUT = "output"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Layer:
    """Where features are taken: what a module returns, what goes into it, or what the whole network returns.

    `module` is empty for the network's own output. `side` is ``"output"`` or ``"input"``.
    """

    module: str = ""
    side: str = OUTPUT

    def __str__(self) -> str:
        return f"{self.side} of {self.module or 'the network'}"


@dataclass(frozen=True, eq=False)
class Model:
    """A network and its preprocessing.

    Parameters
    ----------
    name : str
        ``library:name:weights``.
    forward : function
        Maps a batch, on the device and of the dtype of the run, to features or to a dict of named features.
    preprocess : function
        Maps an 8-bit RGB PIL image (or a caption) to one tensor; all of one shape.
    module : torch.nn.Module or None
        The layers that can be read; None for a callable.
    identity : dict
        What determines the features: weights and their hash, preprocessing. Goes into the record.
    named : dict
        What ``penultimate`` and ``logits`` stand for.
    default_layer : str
    prefix_tokens : int
        Class and register tokens before the patches; the class token is the first.
    channels_last : bool
        Whether maps are (rows, columns, channels).
    """

    name: str
    forward: Callable[[Tensor], Any]
    preprocess: Callable[[Any], Tensor]
    module: nn.Module | None
    identity: dict[str, Any]
    named: dict[str, Layer] = field(default_factory=dict)
    default_layer: str = "penultimate"
    prefix_tokens: int = 0
    channels_last: bool = False

    def on(self, device: torch.device, dtype: str) -> Model:
        """The same network on a device and in a precision, ready to be run."""
        if dtype not in DTYPES:
            raise ParameterError(f"dtype is {dtype!r}; allowed are {', '.join(DTYPES)}.")
        if self.module is None:
            if dtype != "float32":
                raise ParameterError(
                    f"{self.name} is a callable, whose precision cannot be set from here. Leave --dtype at float32."
                )
            return replace(self)
        try:
            self.module.eval().requires_grad_(False).to(device=device, dtype=DTYPES[dtype])
        except (RuntimeError, AssertionError) as error:
            raise ParameterError(f"device {device} cannot be used ({one_line(error)[:160]}).") from error
        return replace(self)


def described(value: object) -> str:
    """The repr of a preprocessing on one line, without addresses in memory."""
    return _ADDRESS.sub("", " ".join(repr(value).split()))
