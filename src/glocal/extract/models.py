"""A network that is ready to run, its weights, and its layers, pooled to rows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from glocal.errors import (
    DataError,
    FileError,
    ParameterError,
    did_you_mean,
    import_optional,
    one_line,
)
from glocal.files import reading

OUTPUT = "output"


@dataclass(frozen=True)
class Layer:
    """The place where features are read: output or input of a module, or output of the network.

    `module` is empty for the network's own output. `side` is ``"output"`` or ``"input"``.
    """

    module: str = ""
    side: str = OUTPUT

    def __str__(self) -> str:
        return f"{self.side} of {self.module or 'the network'}"


Layers = dict[str, Layer]
"""Layers by their names."""


class Identity(TypedDict):
    """The weights of a network, their hash, and its preprocessing, for the record.

    The hash is None if the weights are not known. A user's factory has a hash of its file too.
    """

    weights: str
    weights_sha256: str | None
    preprocessing: str
    factory_sha256: NotRequired[str]


@dataclass(frozen=True, eq=False)
class Model:
    """A network and its preprocessing; `name` is ``library:name:weights``."""

    name: str
    forward: Callable[[Tensor], Any]  # maps a batch that has the device and dtype of the run
    preprocess: Callable[[Any], Tensor]  # maps an 8-bit RGB PIL image to a tensor of fixed shape
    module: nn.Module | None  # None for a callable
    identity: Identity
    named: Layers = field(default_factory=dict)  # the layers penultimate and logits
    default_layer: str = "penultimate"
    prefix_tokens: int = 0  # class and register tokens before the patches, the class token first
    channels_last: bool = False  # whether feature maps are (rows, columns, channels)

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """The modules that can be read, by name, in the order of their definition."""
        if self.module is None:
            return {}
        return {name: module for name, module in self.module.named_modules() if name}

    def on(self, device: str, dtype: str) -> Model:
        """Move the network to a device and a precision; a callable stays unchanged."""
        if self.module is None:
            if dtype != "float32":
                raise ParameterError(
                    f"the precision of {self.name}, a callable, cannot be `dtype={dtype!r}`. "
                    'Leave it at `dtype="float32"`.'
                )
            return self
        try:
            self.module.eval().requires_grad_(False).to(device=device, dtype=getattr(torch, dtype))
        except (RuntimeError, AssertionError) as error:
            reason = one_line(error).partition(". ")[0][:300]
            raise ParameterError(
                f"`device={device!r}` cannot be used ({reason}). "
                'Use `device="cpu"`, or leave it out.'
            ) from error
        return self


def weights_sha256(module: nn.Module) -> str:
    """The hash of the names, types, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            values = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_checkpoint(module: nn.Module, file: Path) -> None:
    """Load a state dict from ``.safetensors``, or from a file of torch.save with only tensors."""
    fix = "Save one: torch.save(module.state_dict(), path)."
    with reading(file, "weights", fix):
        if file.suffix == ".safetensors":
            state = import_optional("safetensors.torch", f"weights file {file}").load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    try:
        module.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError) as error:
        raise FileError(
            f"weights file {file} is no state dict of this network ({one_line(error)[:200]}). "
            f"Check the name of the model. {fix}"
        ) from error


def described(value: object) -> str:
    """The repr of a preprocessing on one line, without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(value).split()))


def resolve(model: Model, layers: Sequence[str]) -> Layers:
    """Return the place of each named layer; without names, where the default layer is read."""
    names = list(layers) or [model.default_layer]
    layer_of = {OUTPUT: Layer(), **{name: Layer(name) for name in model.modules}, **model.named}
    for name in names:
        if name not in layer_of:
            raise ParameterError(
                f"{model.name} has no layer {name}.{did_you_mean(name, layer_of)} Its layers are "
                f"{', '.join(layer_of)}."
            )
    return {name: layer_of[name] for name in names}


@torch.inference_mode()
def read_layers(model: Model, batch: Tensor, layers: Layers) -> dict[str, Tensor]:
    """Run a batch once and return the activations of each layer; their first axis is the batch."""
    passes: dict[str, list[Any]] = {name: [] for name in layers}
    with ExitStack() as hooks:
        for name, layer in layers.items():
            if layer.module:
                module = model.modules[layer.module]
                register: Callable[..., Any] = module.register_forward_hook
                if layer.side == "input":
                    register = module.register_forward_pre_hook
                hooks.callback(register(partial(_keep, passes[name])).remove)
        result = model.forward(batch)
    activations = {}
    for name, layer in layers.items():
        values = passes[name] if layer.module else [_tensor(result)]
        if len(values) != 1:
            raise DataError(
                f"layer {name} of {model.name} runs {len(values)} times in one pass; a layer must "
                "run once. Name another layer."
            )
        (tensor,) = values
        if tensor is None or tensor.shape[:1] != batch.shape[:1]:
            result_text = "no tensor" if tensor is None else f"shape {tuple(tensor.shape)}"
            raise DataError(
                f"layer {name} of {model.name} gives {result_text} for {len(batch)} images; "
                "it must give one row per image."
            )
        activations[name] = tensor
    return activations


def _keep(passes: list[Any], *arguments: Any) -> None:
    """Keep what a module gives, or what it takes: the last argument of a hook."""
    passes.append(_tensor(arguments[-1]))


def _tensor(value: Any) -> Tensor | None:
    """A copy of a tensor, an array as a tensor, or the first of these in a tuple; else None."""
    if isinstance(value, Tensor):
        return value.clone()  # NOTE the next module may change it in place, as the ReLU in VGG does
    if hasattr(value, "__array__"):
        return torch.as_tensor(value)
    if isinstance(value, list | tuple) and value:
        return _tensor(value[0])
    return None


def pooled(
    activations: Tensor, pool: str, *, prefix_tokens: int = 0, channels_last: bool = False
) -> Tensor:
    """Pool (n, p), (n, tokens, p) or (n, channels, rows, columns) activations to (n, p) rows.

    Vectors stay unchanged. ``cls`` takes the first token. ``mean`` averages the tokens without the
    `prefix_tokens` (class and registers), or the positions of a feature map. ``flatten`` keeps all
    values. ``auto`` is ``cls`` if there are prefix tokens, and otherwise ``mean``. With
    `channels_last`, maps are (n, rows, columns, channels).
    """
    axes = activations.ndim
    if axes <= 2 or axes > 4 or pool == "flatten":
        return activations.reshape(len(activations), -1)
    if axes == 4:
        if pool == "cls":
            raise DataError(
                f"a layer gives maps of shape {tuple(activations.shape[1:])}, which have no class "
                'token. Use `pool="mean"` or `pool="flatten"`.'
            )
        return activations.mean((1, 2) if channels_last else (2, 3))
    if pool == "cls" or (pool == "auto" and prefix_tokens):
        return activations[:, 0]
    if activations.shape[1] <= prefix_tokens:  # NOTE an attention pool has no prefix: average all
        return activations.mean(1)
    return activations[:, prefix_tokens:].mean(1)
