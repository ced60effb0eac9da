"""A network ready to run: its preprocessing and weights, and its layers, read in one pass and pooled to rows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glocal.errors import DataError, FileError, ParameterError, needed, one_line
from glocal.files import reading

OUTPUT = "output"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


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
    """A network and its preprocessing: ``library:name:weights``, and what determines its features for the record."""

    name: str
    forward: Callable[[Tensor], Any]  # of a batch on the device and of the dtype of the run
    preprocess: Callable[[Any], Tensor]  # an 8-bit RGB PIL image to one tensor; all of one shape
    module: nn.Module | None  # None for a callable
    identity: dict[str, Any]  # weights and their hash, preprocessing
    named: dict[str, Layer] = field(default_factory=dict)  # what penultimate and logits stand for
    default_layer: str = "penultimate"
    prefix_tokens: int = 0  # class and register tokens before the patches; the class token is the first
    channels_last: bool = False  # whether maps are (rows, columns, channels)

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """The modules that can be read, by name, in the order of the definition."""
        return {} if self.module is None else {name: part for name, part in self.module.named_modules() if name}

    def on(self, device: str, dtype: str) -> Model:
        """Move the network to a device and a precision, ready to be run; a callable stays as it is."""
        if self.module is None:
            if dtype != "float32":
                raise ParameterError(
                    f"{self.name} is a plain callable, so its precision cannot be set; leave dtype at float32."
                )
            return self
        try:
            self.module.eval().requires_grad_(False).to(device=device, dtype=DTYPES[dtype])
        except (RuntimeError, AssertionError) as error:
            reason = one_line(error).partition(". ")[0][:300]
            raise ParameterError(f"device {device!r} cannot be used ({reason}). Use cpu, or leave it out.") from error
        return self


def weights_sha256(module: nn.Module) -> str:
    """Hash of names, types, shapes and bytes of all parameters and buffers, before any change of precision."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_checkpoint(module: nn.Module, file: Path) -> None:
    """Load a state dict from ``.safetensors``, or from a file of torch.save that holds nothing but tensors.

    A dict inside that is named state_dict, model or model_state_dict is taken, and the prefix
    ``module.`` taken off.
    """
    with reading(file, "weights", "Save one: torch.save(module.state_dict(), path)."):
        if file.suffix == ".safetensors":
            state = needed("safetensors.torch", f"weights file {file}").load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        for key in ("state_dict", "model_state_dict", "model"):
            if isinstance(state.get(key), dict):
                state = state[key]
    tensors = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise FileError(
            f"weights file {file} is of another network ({one_line(error)[:200]}). Check the name of the model."
        ) from error


def described(value: object) -> str:
    """The repr of a preprocessing on one line, without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(value).split()))


def resolve(model: Model, layers: Sequence[str]) -> dict[str, Layer]:
    """What each layer name stands for; none given is the default layer of the model."""
    names = list(layers) or [model.default_layer]
    known = {OUTPUT: Layer(), **{name: Layer(name) for name in model.modules}, **model.named}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=3)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise ParameterError(f"{model.name} has no layer {name}.{hint} glocal extract --list-layers lists all.")
    return {name: known[name] for name in names}


@torch.inference_mode()
def read_layers(model: Model, batch: Tensor, layers: dict[str, Layer]) -> dict[str, Tensor]:
    """Run a batch once and return what each layer gave, a tensor whose first axis is the batch."""
    caught: dict[str, list[Tensor | None]] = {name: [] for name in layers}
    with ExitStack() as hooks:
        for name, layer in layers.items():
            if layer.module:
                module = model.modules[layer.module]
                hook = module.register_forward_pre_hook if layer.side == "input" else module.register_forward_hook
                hooks.callback(hook(lambda *given, kept=caught[name]: kept.append(_tensor(given[-1]))).remove)
        result = model.forward(batch)
    found = {}
    for name, layer in layers.items():
        values = caught[name] if layer.module else [_tensor(result)]
        if len(values) != 1:
            raise DataError(
                f"layer {name} of {model.name} runs {len(values)} times in one pass; a layer must run once. "
                "Name another one; glocal extract --list-layers lists them."
            )
        if values[0] is None or values[0].shape[:1] != batch.shape[:1]:
            shape = "no tensor" if values[0] is None else f"shape {tuple(values[0].shape)}"
            raise DataError(
                f"layer {name} of {model.name} gives {shape} for {len(batch)} images; it must give one row per image."
            )
        found[name] = values[0]
    return found


def _tensor(value: Any) -> Tensor | None:
    """A copy of the tensor or array, or of the first in a tuple."""
    if isinstance(value, Tensor):
        return value.clone()  # NOTE what comes next may work in place, as the ReLU after VGG's classifier.3 does
    if hasattr(value, "__array__"):
        return torch.as_tensor(value)
    return _tensor(value[0]) if isinstance(value, list | tuple) and value else None


def pooled(activations: Tensor, pool: str, *, prefix_tokens: int = 0, channels_last: bool = False) -> Tensor:
    """One (n, p) row for each image, from (n, p), (n, tokens, p) or maps (n, channels, rows, columns).

    Vectors stay as they are. ``cls`` is the first token; ``mean`` the mean over tokens without the
    `prefix_tokens` (class and registers), or over the places of a map; ``flatten`` everything;
    ``auto`` cls where there is a class token, else mean. `channels_last` says that maps are (n,
    rows, columns, channels).
    """
    axes = activations.ndim
    if axes <= 2 or axes > 4 or pool == "flatten":
        return activations.reshape(len(activations), -1)
    if axes == 4:
        if pool == "cls":
            raise DataError(
                f"a layer gives maps of shape {tuple(activations.shape[1:])}, which have no class token. "
                "Use pool='mean' or pool='flatten'."
            )
        if activations.shape[2:] == (1, 1):
            return activations.flatten(1)
        return activations.mean((1, 2) if channels_last else (2, 3))
    if pool == "cls" or (pool == "auto" and prefix_tokens):
        return activations[:, 0]
    # NOTE a layer may drop the prefix or hold fewer tokens than it (an attention pool): then all of them are averaged
    return activations[:, prefix_tokens if activations.shape[1] > prefix_tokens else 0 :].mean(1)
