"""A network ready to run: what maps an image to a tensor, what maps a batch to features, and what it is made of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from glocal.data.tensors import read_tensors
from glocal.errors import FileError, GLocalError, ParameterError
from glocal.extract.names import RANDOM, ModelName
from glocal.extras import needed
from glocal.files import existing_file, one_line

OUTPUT = "output"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
T = TypeVar("T")
_SEED = 0
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
        """The same network on a device and in a precision, ready to be run.

        Raises
        ------
        ParameterError
            Half precision of a callable, whose precision is its own affair, or a device that is not there.
        """
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


def random_weights(build: Callable[[], T]) -> T:
    """What `build` makes with random weights, the same every time; the state of torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return build()


def weights_sha256(module: nn.Module) -> str:
    """Hash of names, types, shapes and bytes of all parameters and buffers, before any change of precision."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def described(value: object) -> str:
    """The repr of a preprocessing on one line, without addresses in memory."""
    return _ADDRESS.sub("", " ".join(repr(value).split()))


def load_checkpoint(module: nn.Module, file: Path) -> None:
    """Load a state dict from ``.safetensors``, or from a file of torch.save that holds nothing but tensors.

    A dict inside that is named state_dict, model or model_state_dict is taken, and the prefix ``module.`` taken off.

    Raises
    ------
    FileError
        Missing, damaged, pickled objects, or of another network.
    """
    state = _read_state(existing_file(file, what="weights"))
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


def is_file(weights: str | None) -> bool:
    """Whether weights name a file rather than something the library knows."""
    if weights is None or weights == RANDOM:
        return False
    return Path(weights).exists() or "/" in weights or weights.endswith((".pth", ".pt", ".bin", ".safetensors"))


def unreachable(name: ModelName, error: BaseException) -> FileError:
    """The sentence for weights that could not be downloaded."""
    return FileError(
        f"the weights of {name} are not on this machine and could not be fetched ({one_line(error)[:160]}). Download "
        "them where there is a network and pass the file: --weights PATH, or after the name of the model."
    )


def _read_state(file: Path) -> dict[str, Any]:
    safetensors = needed("safetensors.torch", f"weights file {file}") if file.suffix == ".safetensors" else None
    try:
        if safetensors is not None:
            return dict(safetensors.load_file(file))
        state = read_tensors(file, what="weights", fix="Save one: torch.save(module.state_dict(), path).")
    except GLocalError:
        raise
    except Exception as error:  # safetensors raises whatever damaged bytes lead it to
        raise FileError(
            f"weights file {file} is no whole state dict of plain tensors ({one_line(error)[:160]}). Save one: "
            "torch.save(module.state_dict(), path)."
        ) from error
    if not isinstance(state, dict):
        raise FileError(f"weights file {file} holds a {type(state).__name__}; save module.state_dict() in it.")
    return state
