"""Layers: which there are, what their names stand for, several read in one pass, and pooled to one row per image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from glocal.errors import DataError, ParameterError
from glocal.extract.models import OUTPUT, Layer, Model

POOLS = ("auto", "cls", "mean", "flatten")


def resolve(model: Model, layers: Sequence[str]) -> dict[str, Layer]:
    """What each layer name stands for; none given is the default layer of the model."""
    names = list(layers) or [model.default_layer]
    if len(set(names)) != len(names):
        raise ParameterError(f"layers {', '.join(names)} name one layer twice; name each once.")
    return {name: _layer(model, name) for name in names}


def layer_names(model: Model) -> list[str]:
    """The layers of a model by name, in the order of its definition."""
    return [] if model.module is None else [name for name, _ in model.module.named_modules() if name]


@torch.inference_mode()
def read_layers(model: Model, batch: Tensor, layers: dict[str, Layer]) -> dict[str, Tensor]:
    """Run a batch once and return what each layer gave, a tensor whose first axis is the batch."""
    with _recorded(model, layers) as caught:
        result = model.forward(batch)
    found = {}
    for name, layer in layers.items():
        if layer.module:
            values = caught[name]
            if len(values) != 1:
                raise DataError(
                    f"layer {name} of {model.name} runs {len(values)} times in one pass; a layer must run once. "
                    "Name another one; glocal extract --list-layers lists them."
                )
            value = _first_tensor(values[0])
        else:
            value = _own_output(model, result, name)
        if value is None or value.ndim == 0 or len(value) != len(batch):
            shape = "no tensor" if value is None else f"shape {tuple(value.shape)}"
            raise DataError(
                f"layer {name} of {model.name} gives {shape} for {len(batch)} images; it must give one row per image."
            )
        found[name] = value
    return found


def list_layers(model: Model, image: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (name, type, shape for one image or why there is none) of every layer, after one pass over an image."""
    layers = {name: Layer(name) for name in layer_names(model)}
    parameter = next(iter(model.module.parameters()), None) if model.module is not None else None
    batch = model.preprocess(image)[None]
    if parameter is not None and batch.is_floating_point():
        batch = batch.to(parameter)
    with torch.inference_mode(), _recorded(model, layers) as caught:
        result = model.forward(batch)
    modules = {} if model.module is None else dict(model.module.named_modules())
    for name in layers:
        yield name, type(modules[name]).__name__, _shape(caught[name])
    if isinstance(result, dict):
        for name, value in result.items():
            yield str(name), OUTPUT, _shape([value])
    else:
        yield OUTPUT, OUTPUT, _shape([result])


def _layer(model: Model, name: str) -> Layer:
    if name in model.named:
        return model.named[name]
    if name in layer_names(model):
        return Layer(name)
    if name == OUTPUT or model.module is None:
        return Layer()  # the layers of a callable are the keys of the dict it returns
    if name in ("penultimate", "logits"):
        raise ParameterError(f"{model.name} has no {name} layer. Name one; glocal extract --list-layers lists them.")
    near = get_close_matches(name, layer_names(model), n=3)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    raise ParameterError(f"{model.name} has no layer {name}.{hint} glocal extract --list-layers lists all.")


@contextmanager
def _recorded(model: Model, layers: dict[str, Layer]) -> Iterator[dict[str, list[Any]]]:
    """Hooks on the modules that are read while the block runs."""
    caught: dict[str, list[Any]] = {name: [] for name in layers}
    with ExitStack() as hooks:
        for name, layer in layers.items():
            if not layer.module or model.module is None:
                continue
            module = model.module.get_submodule(layer.module)
            hooks.callback(_hook(module, layer, caught[name]).remove)
        yield caught


def _hook(module: nn.Module, layer: Layer, kept: list[Any]) -> Any:
    # NOTE cloned: what comes next may work in place, as the ReLU after VGG's classifier.3 does
    def keep(value: Any) -> None:
        tensor = _first_tensor(value)
        kept.append(value if tensor is None else tensor.clone())

    if layer.side == "input":
        return module.register_forward_pre_hook(lambda _, inputs: keep(inputs))
    return module.register_forward_hook(lambda _, __, output: keep(output))


def _own_output(model: Model, result: Any, name: str) -> Tensor | None:
    if isinstance(result, dict):
        if name in result:
            return _first_tensor(result[name])
        if name != OUTPUT or len(result) != 1:
            raise ParameterError(f"{model.name} has no layer {name}; it returns {', '.join(map(str, result))}.")
        return _first_tensor(next(iter(result.values())))
    if name != OUTPUT and model.module is None:
        raise ParameterError(f"{model.name} has no layer {name}; it is a callable that returns {OUTPUT} alone.")
    return _first_tensor(result)


def _first_tensor(value: Any) -> Tensor | None:
    """The tensor itself, an array as a tensor, or the first of a tuple."""
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "__array__"):
        return torch.as_tensor(value)
    if isinstance(value, list | tuple) and value:
        return _first_tensor(value[0])
    return None


def _shape(values: list[Any]) -> str:
    if not values:
        return "does not run"
    if len(values) > 1:
        return f"runs {len(values)} times"
    tensor = _first_tensor(values[0])
    return "no tensor" if tensor is None else " × ".join(map(str, tensor.shape[1:])) or "scalar"


def pooled(activations: Tensor, pool: str, *, prefix_tokens: int = 0, channels_last: bool = False) -> Tensor:
    """One (n, p) row for each image, from (n, p), (n, tokens, p) or maps (n, channels, rows, columns).

    Vectors stay as they are. ``cls`` is the first token; ``mean`` the mean over tokens without the `prefix_tokens`
    (class and registers), or over the places of a map; ``flatten`` everything; ``auto`` cls where there is a class
    token, else mean. `channels_last` says that maps are (n, rows, columns, channels).
    """
    axes = activations.ndim
    if axes <= 2:
        return activations.reshape(len(activations), -1)
    if pool == "flatten" or axes > 4:
        return activations.flatten(1)
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
