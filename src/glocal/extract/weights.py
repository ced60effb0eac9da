"""Networks of timm, open_clip and torchvision with their weights: those of the library, random ones, or of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from glocal.data.tensors import read_tensors
from glocal.errors import FileError, GLocalError, ParameterError
from glocal.extract.model import Model, described
from glocal.extract.names import RANDOM, ModelName
from glocal.extras import needed
from glocal.files import one_line
from glocal.jobs.leaving import existing_file

Build = Callable[[str | None], tuple[nn.Module, Callable[[Any], Any]]]
"""Maps the name of weights, None for random ones, to the network and its preprocessing."""

T = TypeVar("T")
_SEED = 0


def library_model(
    name: ModelName, build: Build, *, models: Iterable[str], tags: Iterable[str], default: str | None
) -> Model:
    """A network of a library, in the order of steps that all libraries share; its layers are still to be named.

    `build` is called once, with the weights to fetch. `models` are the networks that the library knows, `tags` the
    weights that it has for this one, `default` those that are taken where none are named.
    """
    models, tags = list(models), list(tags)
    if name.name not in models:
        near = ", ".join(get_close_matches(name.name, models, n=4))
        hint = f" Did you mean {near}?" if near else ""
        raise ParameterError(f"{name.package} has no model {name.name}.{hint} {name.package}.list_models() lists all.")
    fetched = not is_file(name.weights) and name.weights != RANDOM
    tag = (name.weights or default) if fetched else None
    if fetched and tag not in tags:
        given = "needs the name of its weights" if tag is None else f"has no weights {tag}"
        raise ParameterError(
            f"{name.library}:{name.name} {given}; allowed are {', '.join(tags) or 'none of its own'}, a checkpoint "
            "file, or none for random ones."
        )
    try:
        module, preprocess = random_weights(lambda: build(None)) if tag is None else build(tag)
    except Exception as error:
        if tag is None:
            raise ParameterError(f"{name.package} cannot build {name.name}: {one_line(error)}.") from error
        raise unreachable(name, error) from error
    if is_file(name.weights):
        load_checkpoint(module, Path(str(name.weights)))
    identity = {
        "weights": tag or name.weights,
        "weights_sha256": weights_sha256(module),
        "preprocessing": described(preprocess),
    }
    return Model(str(name), module, preprocess, module, identity)


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


def unreachable(name: ModelName, error: BaseException) -> FileError:
    """The sentence for weights that could not be downloaded."""
    return FileError(
        f"the weights of {name} are not on this machine and could not be fetched ({one_line(error)[:160]}). Download "
        "them on a machine with network access and pass the file: --weights PATH, or after the name of the model."
    )
