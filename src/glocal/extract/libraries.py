"""From the name of a model to the model: timm, open_clip, torchvision, or a factory of your own."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from glocal.errors import ParameterError, needed, one_line
from glocal.extract.models import Layer, Model, described, library_model, weights_sha256
from glocal.extract.names import ModelName
from glocal.files import file_sha256

# where the paper takes the penultimate layer before its activation (Muttenthaler et al. 2023, Appendix)
_BEFORE_ACTIVATION = {"AlexNet": "classifier.4", "VGG": "classifier.3"}
_WITH_INITIAL_WEIGHTS = ("googlenet", "inception_v3")  # they warn unless they are told to make random weights


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
    with _calm():
        return LOADERS[name.library](name)


def load_timm(name: ModelName) -> Model:
    """Build a timm model. ``penultimate`` is what goes into its classifier: pooled, class token after the last norm."""
    timm, data = needed("timm", f"model {name}"), needed("timm.data", f"model {name}")
    options = dict(name.options)
    size = {"img_size": options.pop("img_size")} if "img_size" in options else {}

    def build(tag: str | None) -> tuple[nn.Module, Any]:
        module = timm.create_model(tag or name.name, pretrained=tag is not None, **size)
        config = {**data.resolve_model_data_config(module), **options}
        if size:
            config["input_size"] = (3, size["img_size"], size["img_size"])
        return module, data.create_transform(**config, is_training=False)

    architecture = name.name.partition(".")[0]
    models = {name.name} if timm.is_model(architecture) else timm.list_models()  # the list leaves old names out
    tags = [*timm.list_pretrained(f"{architecture}.*"), *([name.name] if timm.is_model_pretrained(name.name) else [])]
    model = library_model(name, build, models=models, tags=tags, default=name.name)
    module: Any = model.module
    weights = name.weights or str(getattr(module, "pretrained_cfg", {}).get("hf_hub_id") or name.name)
    return replace(
        model,
        identity={**model.identity, "weights": weights},
        named=timm_layers(module),
        prefix_tokens=int(getattr(module, "num_prefix_tokens", 0) or 0),
        channels_last=str(getattr(module, "output_fmt", "")) == "NHWC",
    )


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


def load_openclip(name: ModelName) -> Model:
    """Build the image tower of an open_clip model.

    ``penultimate`` is ``visual``, the projected image features before they are scaled to length 1, as thingsvision has
    it.
    """
    open_clip = needed("open_clip", f"model {name}")

    def build(tag: str | None) -> tuple[nn.Module, Any]:
        # NOTE without load_weights=False even a text tower with random weights would be fetched
        options: dict[str, Any] = {"load_weights": False} if tag is None else {"pretrained": tag}
        module, _, preprocess = open_clip.create_model_and_transforms(name.name, pretrained_text=False, **options)
        return module, preprocess

    tags = [tag for architecture, tag in open_clip.list_pretrained() if architecture == name.name]
    model = library_model(name, build, models=open_clip.list_models(), tags=tags, default=None)
    module: Any = model.module
    trunk = getattr(module.visual, "trunk", None)  # of timm; open_clip's own transformers have one class token
    own = hasattr(module.visual, "class_embedding")
    prefix = int(own) if trunk is None else int(getattr(trunk, "num_prefix_tokens", 0) or 0)
    named = {"penultimate": Layer("visual")}
    return replace(model, forward=module.encode_image, named=named, prefix_tokens=prefix)


def load_torchvision(name: ModelName) -> Model:
    """Build a torchvision classifier.

    ``penultimate`` is the paper's choice: ``classifier.3`` of VGG, ``classifier.4`` of AlexNet, else what goes into
    the last linear layer (``avgpool`` of a ResNet, the class token of a ViT).
    """
    models = needed("torchvision.models", f"model {name}")
    known = models.list_models(module=models)
    weights = models.get_model_weights(name.name) if name.name in known else {}
    default: Any = weights["DEFAULT"] if weights else None

    def build(tag: str | None) -> tuple[nn.Module, Any]:
        extra = {"init_weights": True} if tag is None and name.name in _WITH_INITIAL_WEIGHTS else {}
        chosen = None if tag is None else weights[tag]
        return models.get_model(name.name, weights=chosen, **extra), (chosen or default).transforms()

    tags = list(getattr(weights, "__members__", ()))
    model = library_model(name, build, models=known, tags=tags, default=default and default.name)
    module: Any = model.module
    weights_name = weights[name.weights].name if name.weights in tags else model.identity["weights"]  # not DEFAULT
    return replace(
        model,
        identity={**model.identity, "weights": weights_name},
        named=torchvision_layers(module),
        prefix_tokens=int(hasattr(module, "class_token")),
        channels_last=type(module).__name__ == "SwinTransformer",
    )


def torchvision_layers(module: nn.Module) -> dict[str, Layer]:
    """What ``penultimate`` and ``logits`` stand for in a classifier of torchvision."""
    before = _BEFORE_ACTIVATION.get(type(module).__name__)
    penultimate = _last_linear_input(module) if before is None else {"penultimate": Layer(before)}
    return {"logits": Layer(), **penultimate}


def load_python(name: ModelName) -> Model:
    """Call ``package.module:factory``, which returns (module or callable, preprocess)."""
    if name.weights is not None:
        raise ParameterError(f"{name.library}:{name.name} brings its own weights; leave weights out.")
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
        source = None
    return user_model(pair, str(name), {"factory_sha256": file_sha256(source)} if source else {})


def user_model(pair: Any, name: str, identity: dict[str, Any] | None = None) -> Model:
    """A `Model` of (module or callable, preprocess).

    A callable is known by its attribute ``weights_file``, the path of the file its weights are in, where it has one.
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
    linear = [path for path, part in module.named_modules() if isinstance(part, nn.Linear) and path]
    return {"penultimate": Layer(linear[-1], "input")} if linear else {}


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Keep the libraries' warnings off standard error: what concerns the caller is raised, in one sentence.

    A hub that cannot be reached is tried a dozen times with a line for each; weights from a file are called random.
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


LOADERS: dict[str, Callable[[ModelName], Model]] = {
    "timm": load_timm,
    "openclip": load_openclip,
    "torchvision": load_torchvision,
    "python": load_python,
}
