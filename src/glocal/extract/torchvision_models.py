"""Models of torchvision, with the preprocessing of their weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from glocal.extract.model import Layer, Model
from glocal.extract.names import ModelName
from glocal.extract.weights import library_model
from glocal.extras import needed

# where the paper takes the penultimate layer before its activation (Muttenthaler et al. 2023, Appendix)
_BEFORE_ACTIVATION = {"AlexNet": "classifier.4", "VGG": "classifier.3"}
_WITH_INITIAL_WEIGHTS = ("googlenet", "inception_v3")  # they warn unless they are told to make random weights


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
        named=_named(module),
        prefix_tokens=int(hasattr(module, "class_token")),
        channels_last=type(module).__name__ == "SwinTransformer",
    )


def _named(module: nn.Module) -> dict[str, Layer]:
    linear = [path for path, part in module.named_modules() if isinstance(part, nn.Linear)]
    before = _BEFORE_ACTIVATION.get(type(module).__name__)
    if before is not None:
        return {"logits": Layer(), "penultimate": Layer(before)}
    return {"logits": Layer(), **({"penultimate": Layer(linear[-1], "input")} if linear else {})}
