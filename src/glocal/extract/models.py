"""A network ready to run: its preprocessing, its weights and their hash, and the layers that are read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glocal.errors import FileError, ParameterError, needed, one_line
from glocal.extract.names import RANDOM, ModelName
from glocal.files import reading

OUTPUT = "output"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_SEED = 0


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
        Maps an 8-bit RGB PIL image to one tensor; all of one shape.
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

    def on(self, device: str, dtype: str) -> Model:
        """Move the network to a device and a precision, ready to be run.

        Raises
        ------
        ParameterError
            An unknown dtype or device, or another precision for a callable.
        """
        if dtype not in DTYPES:
            raise ParameterError(f"dtype is {dtype!r}; allowed are {', '.join(DTYPES)}.")
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


Build = Callable[[str | None], tuple[nn.Module, Callable[[Any], Any]]]
"""Maps the name of weights, None for random ones, to the network and its preprocessing."""


def library_model(
    name: ModelName, build: Build, *, models: Iterable[str], tags: Iterable[str], default: str | None
) -> Model:
    """A network of a library with its weights: those of the library, random ones, or of a file; no layers are named.

    `build` is called once, with the weights to fetch. `models` are the networks that the library knows, `tags` the
    weights that it has for this one, `default` those that are taken where none are named.
    """
    models, tags = list(models), list(tags)
    if name.name not in models:
        near = ", ".join(get_close_matches(name.name, models, n=4))
        hint = f" Did you mean {near}?" if near else ""
        raise ParameterError(
            f"{name.package} has no model {name.name}.{hint} {name.package}.list_models() lists all. Other "
            "libraries are named by a prefix, timm: or openclip:, your own networks by python:package.module:factory."
        )
    fetched = not _is_file(name.weights) and name.weights != RANDOM
    tag = (name.weights or default) if fetched else None
    if fetched and tag not in tags:
        given = "needs the name of its weights" if tag is None else f"has no weights {tag}"
        raise ParameterError(
            f"{name.library}:{name.name} {given}; allowed are {', '.join(tags) or 'none of its own'}, a checkpoint "
            "file, or none for random ones."
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)  # random weights are the same every time
            module, preprocess = build(tag)
    except Exception as error:
        if tag is None:
            raise ParameterError(f"{name.package} cannot build {name.name}: {one_line(error)}.") from error
        raise FileError(
            f"the weights of {name} are not on this machine and could not be fetched ({one_line(error)[:160]}). "
            "Download them on a machine with network access and name the file: weights=PATH, or after the model's name."
        ) from error
    if _is_file(name.weights):
        load_checkpoint(module, Path(str(name.weights)))
    weights = {"weights": tag or name.weights, "weights_sha256": weights_sha256(module)}
    return Model(str(name), module, preprocess, module, {**weights, "preprocessing": described(preprocess)})


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

    A dict inside that is named state_dict, model or model_state_dict is taken, and the prefix ``module.`` taken off.
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
    return _ADDRESS.sub("", " ".join(repr(value).split()))


def _is_file(weights: str | None) -> bool:
    """Whether weights name a file rather than something the library knows."""
    if weights is None or weights == RANDOM:
        return False
    return Path(weights).exists() or "/" in weights or weights.endswith((".pth", ".pt", ".bin", ".safetensors"))
