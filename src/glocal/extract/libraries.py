"""From the name of a model to the model: timm, open_clip, torchvision, or the user's factory."""

from __future__ import annotations

import contextlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from glocal.errors import FileError, ParameterError, did_you_mean, import_optional, one_line
from glocal.extract.models import (
    Identity,
    Layer,
    Layers,
    Model,
    described,
    load_checkpoint,
    weights_sha256,
)
from glocal.extract.names import ModelName
from glocal.files import file_sha256

# the penultimate layer before its activation, as in the paper (Muttenthaler et al. 2023, Appendix)
_BEFORE_ACTIVATION = {"AlexNet": "classifier.4", "VGG": "classifier.3"}
_PREFIXES = (
    "Names of other libraries need a prefix, timm: or openclip:. Your own networks are "
    "python:package.module:factory."
)


def load_model(model: str) -> Model:
    """Load a network by name.

    Parameters
    ----------
    model : str
        ``timm:NAME``, ``openclip:ARCHITECTURE:WEIGHTS``, ``torchvision:NAME[:WEIGHTS]``,
        ``python:package.module:factory``, or a name that thingsvision writes. WEIGHTS are a name
        that the library knows, a checkpoint file, or ``none`` for random weights; without, they are
        the default of the library.

    Raises
    ------
    ParameterError, FileError, MissingDependencyError
        The model, its weights or its library does not exist, or not on this machine.
    """
    name = ModelName.parse(model)
    return _LOADERS[name.library](name)


def _timm(name: ModelName) -> Model:
    """A model of timm.

    ``penultimate`` is the input of its classifier: pooled, or the class token after the last norm.
    """
    timm = import_optional("timm", f"model {name}")
    size = {}
    if name.options is not None:
        _, height, _ = name.options["input_size"]
        size = {"img_size": height}
    with _building(name, timm.list_models):
        module = timm.create_model(name.tag or name.name, pretrained=name.is_pretrained, **size)
        config = timm.data.resolve_model_data_config(module)
        if name.options is not None:
            config |= name.options
        preprocess = timm.data.create_transform(**config, is_training=False)
    default = module.pretrained_cfg.get("hf_hub_id") or name.name
    return _model(
        name,
        module,
        preprocess,
        name.tag or default,
        named=timm_layers(module),
        prefix_tokens=getattr(module, "num_prefix_tokens", 0),
        channels_last=getattr(module, "output_fmt", "") == "NHWC",
    )


def timm_layers(module: Any) -> Layers:
    """The layers ``penultimate`` and ``logits`` of a network of timm."""
    head = module.get_classifier()
    if isinstance(head, list | tuple):  # a distilled network has a second head
        head = head[0]
    path = next((path for path, part in module.named_modules() if part is head), "")
    if not path:
        return {}
    layers = {"penultimate": Layer(path, "input")}
    if not isinstance(head, nn.Identity):
        layers["logits"] = Layer()
    return layers


def _openclip(name: ModelName) -> Model:
    """The image tower of open_clip; ``penultimate`` is its projection, not scaled to length 1."""
    open_clip = import_optional("open_clip", f"model {name}")
    # NOTE load_weights=False: open_clip would else fetch a text tower even for random weights
    options: dict[str, str | bool] = {"load_weights": False}
    if name.tag:
        options = {"pretrained": name.tag}
    with _building(name, open_clip.list_models):
        if not name.weights:
            tags = open_clip.list_pretrained_tags_by_model(name.name)
            raise ValueError(
                f"it needs the name of its weights: {', '.join(tags) or 'none of its own'}, "
                "a checkpoint file, or none for random ones"
            )
        module, _, preprocess = open_clip.create_model_and_transforms(
            name.name, pretrained_text=False, **options
        )
    tower = getattr(module.visual, "trunk", module.visual)  # a timm trunk has num_prefix_tokens
    prefix_tokens = getattr(tower, "num_prefix_tokens", hasattr(tower, "class_embedding"))
    model = _model(
        name,
        module,
        preprocess,
        name.weights,
        named={"penultimate": Layer("visual")},
        prefix_tokens=int(prefix_tokens or 0),
    )
    return replace(model, forward=module.encode_image)


def _torchvision(name: ModelName) -> Model:
    """A classifier of torchvision.

    ``penultimate`` is the paper's choice: ``classifier.3`` of VGG, ``classifier.4`` of AlexNet, and
    otherwise the input of the last linear layer (``avgpool`` of a ResNet, the class token of a
    ViT).
    """
    models = import_optional("torchvision.models", f"model {name}")
    tag = name.tag or "DEFAULT"
    with _building(name, models.list_models):
        weights = models.get_model_weights(name.name)
        if tag not in weights.__members__:
            raise ValueError(f"it has no weights {tag}; it has {', '.join(weights.__members__)}")
        module = models.get_model(name.name, weights=weights[tag] if name.is_pretrained else None)
        preprocess = weights[tag].transforms()
    return _model(
        name,
        module,
        preprocess,
        weights[tag].name,
        named=torchvision_layers(module),
        prefix_tokens=int(hasattr(module, "class_token")),
        channels_last=type(module).__name__ == "SwinTransformer",
    )


def torchvision_layers(module: nn.Module) -> Layers:
    """The layers ``penultimate`` and ``logits`` of a classifier of torchvision."""
    path = _BEFORE_ACTIVATION.get(type(module).__name__)
    penultimate = _last_linear_input(module) if path is None else {"penultimate": Layer(path)}
    return {"logits": Layer(), **penultimate}


@contextlib.contextmanager
def _building(name: ModelName, model_names: Callable[[], Iterable[str]]) -> Iterator[None]:
    """Make random weights reproducible, and any error of a library one sentence."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    except Exception as error:
        if _is_of_a_download(error):
            raise FileError(
                f"the weights of {name} are not on this machine and could not be fetched "
                f"({one_line(error)[:160]}). Download them on a machine with network access and "
                f"name the file: {name.library}:{name.name}:FILE."
            ) from error
        names = list(model_names())
        hint = ""
        if name.name not in names:
            hint = f"{did_you_mean(name.name, names)} {_PREFIXES}"
        raise ParameterError(
            f"model {name} cannot be made: {one_line(error)[:300]}.{hint}"
        ) from error


def _model(
    name: ModelName, module: nn.Module, preprocess: Any, library_weights: str, **details: Any
) -> Model:
    """The model of a network, whose weights are read now if they are in a file."""
    if name.file is not None:
        load_checkpoint(module, name.file)
    identity: Identity = {
        "weights": library_weights if name.is_pretrained else name.weights,
        "weights_sha256": weights_sha256(module),
        "preprocessing": described(preprocess),
    }
    return Model(str(name), module, preprocess, module, identity, **details)


def _is_of_a_download(error: BaseException | None) -> bool:
    """Whether an error, or an error that caused it, comes from a server or a file."""
    if error is None:
        return False
    return isinstance(error, OSError) or _is_of_a_download(error.__context__)


def _python(name: ModelName) -> Model:
    """The model made of the pair that a user's factory returns; see `user_model`."""
    if os.getcwd() not in sys.path:  # last, so that no folder here hides a library
        sys.path.append(os.getcwd())
    try:
        factory = pkgutil.resolve_name(name.name)
        pair = factory()
    except Exception as error:
        raise ParameterError(
            f"model {name} cannot be made: {type(error).__name__}: {one_line(error)}. Check that "
            "the factory runs, and that its module is in the current folder or on PYTHONPATH."
        ) from error
    try:
        source = inspect.getsourcefile(factory)
    except TypeError:  # the factory is compiled, or a partial
        source = None
    factory_sha256 = file_sha256(source) if source else None
    return user_model(pair, str(name), factory_sha256)


def user_model(pair: Any, name: str, factory_sha256: str | None = None) -> Model:
    """Make a `Model` of a pair (module or callable, preprocess).

    A callable may have an attribute ``weights_file``, the path of the file of its weights. The hash
    of that file then identifies it.
    """
    is_pair = isinstance(pair, tuple | list) and len(pair) == 2
    if not is_pair or not all(callable(part) for part in pair):
        raise ParameterError(
            f"model {name} must be (module or callable, preprocess); it is {type(pair).__name__}."
        )
    network, preprocess = pair
    module = None
    named: Layers = {}
    digest = None
    if isinstance(network, nn.Module):
        module = network
        named = _last_linear_input(module)
        digest = weights_sha256(module)
    elif weights_file := getattr(network, "weights_file", None):
        digest = file_sha256(weights_file)
    identity: Identity = {
        "preprocessing": described(preprocess),
        "weights": "its own",
        "weights_sha256": digest,
    }
    if factory_sha256 is not None:
        identity = {"factory_sha256": factory_sha256, **identity}
    return Model(name, network, preprocess, module, identity, named, default_layer="output")


def _last_linear_input(module: nn.Module) -> Layers:
    """The input of the last linear layer as ``penultimate``, if there is one."""
    linear = [path for path, part in module.named_modules() if isinstance(part, nn.Linear) and path]
    if not linear:
        return {}
    return {"penultimate": Layer(linear[-1], "input")}


_LOADERS = {"timm": _timm, "openclip": _openclip, "torchvision": _torchvision, "python": _python}
