"""Weights of networks: their fingerprint, random ones, and those of a checkpoint file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from glocal.data.tensors import read_tensors
from glocal.errors import FileError, GLocalError
from glocal.extract.names import RANDOM
from glocal.extras import needed
from glocal.files import existing_file, one_line

T = TypeVar("T")
_SEED = 0


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


def is_file(weights: str | None) -> bool:
    """Whether weights name a file rather than something the library knows."""
    if weights is None or weights == RANDOM:
        return False
    return Path(weights).exists() or "/" in weights or weights.endswith((".pth", ".pt", ".bin", ".safetensors"))


def load_checkpoint(module: nn.Module, file: Path) -> None:
    """Load a state dict from ``.safetensors``, or from a file of torch.save that holds nothing but tensors.

    A dict inside that is named state_dict, model or model_state_dict is taken, and the prefix ``module.`` taken off.
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
            f"weights file {file} is not a whole state dict of plain tensors ({one_line(error)[:160]}). Save one: "
            "torch.save(module.state_dict(), path)."
        ) from error
    if not isinstance(state, dict):
        raise FileError(f"weights file {file} holds a {type(state).__name__}; save module.state_dict() in it.")
    return state
