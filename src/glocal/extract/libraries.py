"""From the name of a model to the model: timm, open_clip, torchvision, or a factory of your own."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from glocal.errors import FileError, ParameterError, needed, one_line
from glocal.extract.models import Layer, Model, described, load_checkpoint, weights_sha256
from glocal.extract.network import ModelName
from glocal.files import file_sha256

# where the paper takes the penultimate layer before its activation (Muttenthaler et al. 2023, Appendix)
_BEFORE_ACTIVATION = {"AlexNet": "classifier.4", "VGG": "classifier.3"}
_RANDOM, _OWN = "none", ""
_OTHERS = " Other libraries have a prefix, timm: or openclip:, your own networks python:package.module:factory."
Build = Callable[[str | None], tuple[nn.Module, Callable[[Any], Any], str]]
"""Maps weights (a name, ``""`` for the library's choice, None for random ones) to network, preprocessing and a name."""


def load_model(model: str, weights: str | None = None) -> Model:
    """Load a network by name.

    Parameters
    ----------
    model : str
        ``timm:NAME``, ``openclip:ARCHITECTURE:WEIGHTS``, ``torchvision:NAME[:WEIGHTS]``,
        ``python:package.module:factory``, or a name that thingsvision writes.
    weights : str or None
        ``none`` for random weights, or a checkpoint file; else the library's by that name.

    Raises
    ------
    ParameterError, FileError, MissingDependencyError
        The name, its weights or the library is not there.
    """
    name = ModelName.parse(model, weights)
    load = {"timm": _timm, "openclip": _openclip, "torchvision": _torchvision, "python": _python}[name.library]
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # what concerns the caller is raised; a hub out of reach is a dozen lines besides
    try:
        return load(name)
    finally:
        logging.disable(before)


def _timm(name: ModelName) -> Model:
    """A model of timm; ``penultimate`` goes into its classifier: pooled, or the class token after the last norm."""
    timm, data = needed("timm", f"model {name}"), needed("timm.data", f"model {name}")
    options = dict(name.options)
    size = {"img_size": options.pop("img_size")} if "img_size" in options else {}

    def build(tag: str | None) -> tuple[nn.Module, Any, str]:
        module = timm.create_model(tag or name.name, pretrained=tag is not None, **size)
        config = {**data.resolve_model_data_config(module), **options}
        if size:
            config["input_size"] = (3, size["img_size"], size["img_size"])
        called = tag or str(getattr(module, "pretrained_cfg", {}).get("hf_hub_id") or name.name)
        return module, data.create_transform(**config, is_training=False), called

    module, known = _built(name, build, timm.list_models)
    return Model(
        **known, forward=module, named=timm_layers(module),
        prefix_tokens=int(getattr(module, "num_prefix_tokens", 0) or 0),
        channels_last=str(getattr(module, "output_fmt", "")) == "NHWC",
    )  # fmt: skip


def timm_layers(module: nn.Module) -> dict[str, Layer]:
    """What ``penultimate`` and ``logits`` stand for in a network of timm."""
    find: Any = getattr(module, "get_classifier", None)
    head = None if find is None else find()
    head = head[0] if isinstance(head, list | tuple) else head  # a distilled network has a second head
    path = next((path for path, part in module.named_modules() if part is head and path), None)
    if path is None:
        return {}
    layers = {"penultimate": Layer(path, "input")}
    return layers if isinstance(head, nn.Identity) else {**layers, "logits": Layer()}


def _openclip(name: ModelName) -> Model:
    """The image tower of open_clip; ``penultimate`` is ``visual``: projected, before it is scaled to length 1."""
    open_clip = needed("open_clip", f"model {name}")

    def build(tag: str | None) -> tuple[nn.Module, Any, str]:
        if tag == _OWN:
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(name.name)) or "none of its own"
            raise ValueError(f"it needs the name of its weights: {tags}, a checkpoint file, or none for random ones")
        # NOTE without load_weights=False even a text tower with random weights would be fetched
        options: dict[str, Any] = {"load_weights": False} if tag is None else {"pretrained": tag}
        module, _, preprocess = open_clip.create_model_and_transforms(name.name, pretrained_text=False, **options)
        return module, preprocess, str(tag)

    module, known = _built(name, build, open_clip.list_models)
    trunk = getattr(module.visual, "trunk", None)  # of timm; open_clip's own transformers have one class token
    own = hasattr(module.visual, "class_embedding")
    prefix = int(own) if trunk is None else int(getattr(trunk, "num_prefix_tokens", 0) or 0)
    return Model(**known, forward=module.encode_image, named={"penultimate": Layer("visual")}, prefix_tokens=prefix)


def _torchvision(name: ModelName) -> Model:
    """A classifier of torchvision.

    ``penultimate`` is the paper's choice: ``classifier.3`` of VGG, ``classifier.4`` of AlexNet,
    else what goes into the last linear layer (``avgpool`` of a ResNet, the class token of a ViT).
    """
    models = needed("torchvision.models", f"model {name}")

    def build(tag: str | None) -> tuple[nn.Module, Any, str]:
        weights = models.get_model_weights(name.name)
        if tag and tag not in weights.__members__:
            raise ValueError(f"it has no weights {tag}; allowed are {', '.join(weights.__members__)}")
        chosen = weights[tag or "DEFAULT"]
        module = models.get_model(name.name, weights=None if tag is None else chosen)
        return module, chosen.transforms(), chosen.name

    module, known = _built(name, build, models.list_models)
    return Model(
        **known, forward=module, named=torchvision_layers(module), prefix_tokens=int(hasattr(module, "class_token")),
        channels_last=type(module).__name__ == "SwinTransformer",
    )  # fmt: skip


def torchvision_layers(module: nn.Module) -> dict[str, Layer]:
    """What ``penultimate`` and ``logits`` stand for in a classifier of torchvision."""
    before = _BEFORE_ACTIVATION.get(type(module).__name__)
    penultimate = _last_linear_input(module) if before is None else {"penultimate": Layer(before)}
    return {"logits": Layer(), **penultimate}


def _built(name: ModelName, build: Build, names: Callable[[], Iterable[str]]) -> tuple[Any, dict[str, Any]]:
    """A network with weights of its library, random ones or those of a file, and what the model of it has besides."""
    given = name.weights or _OWN
    file = Path(given)
    held = given not in (_OWN, _RANDOM) and (
        file.exists() or "/" in given or file.suffix in (".pth", ".pt", ".bin", ".safetensors")
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # random weights are the same every time
            module, preprocess, called = build(None if held or given == _RANDOM else given)
    except Exception as error:
        if _is_of_the_network(error):
            raise FileError(
                f"the weights of {name} are not on this machine and could not be fetched ({one_line(error)[:160]}). "
                "Download them on a machine with network access and name the file: weights=PATH, or after the model's "
                "name."
            ) from error
        listed = list(names())
        near = ", ".join(get_close_matches(name.name, listed, n=4))
        hint = "" if name.name in listed else (f" Did you mean {near}?" if near else "") + _OTHERS
        raise ParameterError(f"model {name} cannot be made: {one_line(error)[:300]}.{hint}") from error
    if held:
        load_checkpoint(module, file)
    weights = given if held or given == _RANDOM else called
    identity = {"weights": weights, "weights_sha256": weights_sha256(module), "preprocessing": described(preprocess)}
    return module, {"name": str(name), "preprocess": preprocess, "module": module, "identity": identity}


def _is_of_the_network(error: BaseException | None) -> bool:
    """Whether it began with a server or a file, however a library has dressed it up."""
    return error is not None and (isinstance(error, OSError) or _is_of_the_network(error.__context__))


def _python(name: ModelName) -> Model:
    """What ``package.module:factory`` returns: (module or callable, preprocess)."""
    if name.weights is not None:
        raise ParameterError(f"model {name} brings its own weights; leave weights out.")
    module_name, _, attribute = name.name.partition(":")
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
        pair = factory()
    except Exception as error:
        raise ParameterError(
            f"model {name} cannot be made: {type(error).__name__}: {one_line(error)}. Check that the factory runs, and "
            "that its folder is on PYTHONPATH."
        ) from error
    try:
        source = inspect.getsourcefile(factory)
    except TypeError:  # compiled, or a partial
        source = getattr(importlib.import_module(module_name), "__file__", None)
    return user_model(pair, str(name), {"factory_sha256": file_sha256(source)} if source else {})


def user_model(pair: Any, name: str, identity: dict[str, Any] | None = None) -> Model:
    """A `Model` of (module or callable, preprocess).

    A callable is known by its attribute ``weights_file``, the path of the file its weights are in,
    where it has one.
    """
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(callable(part) for part in pair)):
        raise ParameterError(f"model {name} must be (module or callable, preprocess); it is {type(pair).__name__}.")
    network, preprocess = pair
    module = network if isinstance(network, nn.Module) else None
    file = getattr(network, "weights_file", None)
    digest = weights_sha256(module) if module is not None else file and file_sha256(file)
    known = {"preprocessing": described(preprocess), "weights": "its own", "weights_sha256": digest}
    named = {} if module is None else _last_linear_input(module)
    return Model(name, network, preprocess, module, {**(identity or {}), **known}, named, default_layer="output")


def _last_linear_input(module: nn.Module) -> dict[str, Layer]:
    """What goes into the last linear layer as ``penultimate``, if there is one."""
    linear = [path for path, part in module.named_modules() if isinstance(part, nn.Linear) and path]
    return {"penultimate": Layer(linear[-1], "input")} if linear else {}
