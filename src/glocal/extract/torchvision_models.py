"""Models of torchvision, with the preprocessing of their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from glocal.errors import ParameterError
from glocal.extract.model import (
    Layer,
    Model,
    described,
    is_file,
    load_checkpoint,
    random_weights,
    unreachable,
    weights_sha256,
)
from glocal.extract.names import RANDOM, ModelName
from glocal.extras import needed
from glocal.files import one_line

# where the paper takes the penultimate layer before its activation (Muttenthaler et al. 2023, Appendix)
_BEFORE_ACTIVATION = {"AlexNet": "classifier.4", "VGG": "classifier.3"}


def load_torchvision(name: ModelName) -> Model:
    """Build a torchvision classifier. ``penultimate`` is the paper's choice: ``classifier.3`` of VGG, ``classifier.4``
    of AlexNet, else what goes into the last linear layer (``avgpool`` of a ResNet, the class token of a ViT).

    Raises
    ------
    ParameterError
        torchvision has no such model or weights.
    FileError
        The weights can be neither fetched nor read.
    """  # noqa: D205
    models = needed("torchvision.models", f"model {name}")
    known = models.list_models(module=models)
    if name.name not in known:
        near = [other for other in known if other[:4] == name.name[:4]][:4]
        hint = f" Near are {', '.join(near)}." if near else ""
        raise ParameterError(f"torchvision has no model {name.name}.{hint} torchvision.models.list_models() lists all.")
    choices = models.get_model_weights(name.name)
    from_file = is_file(name.weights)
    weights = None
    if not from_file and name.weights != RANDOM:
        wanted = name.weights or "DEFAULT"
        if wanted not in choices.__members__:
            raise ParameterError(
                f"weights of torchvision:{name.name} are {wanted!r}; allowed are {', '.join(choices.__members__)}, a "
                "checkpoint file, or none for random ones."
            )
        weights = choices[wanted]

    def build() -> nn.Module:
        extra = {"init_weights": True} if name.name in ("googlenet", "inception_v3") and weights is None else {}
        module: nn.Module = models.get_model(name.name, weights=weights, **extra)
        return module

    try:
        module = random_weights(build) if weights is None else build()
    except Exception as error:
        if weights is None:
            raise ParameterError(f"torchvision cannot build {name.name}: {one_line(error)}.") from error
        raise unreachable(name, error) from error
    if from_file:
        load_checkpoint(module, Path(str(name.weights)))
    preprocess = (weights or choices["DEFAULT"]).transforms()
    return Model(
        name=str(name),
        forward=module,
        preprocess=preprocess,
        module=module,
        identity={
            "weights": name.weights if weights is None else weights.name,
            "weights_sha256": weights_sha256(module),
            "preprocessing": described(preprocess),
        },
        named=_named(module),
        prefix_tokens=int(hasattr(module, "class_token")),
        channels_last=type(module).__name__ == "SwinTransformer",
    )


def _named(module: nn.Module) -> dict[str, Layer]:
    layers: dict[str, Any] = {"logits": Layer()}
    linear = [path for path, part in module.named_modules() if isinstance(part, nn.Linear)]
    before = _BEFORE_ACTIVATION.get(type(module).__name__)
    if before is not None:
        return {**layers, "penultimate": Layer(before)}
    if linear:
        return {**layers, "penultimate": Layer(linear[-1], "input")}
    return layers
