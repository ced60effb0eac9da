"""Models of open_clip: the image tower, and the text tower for captions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from glocal.extract.model import Layer, Model
from glocal.extract.names import ModelName
from glocal.extract.weights import library_model, unreachable
from glocal.extras import needed


def load_openclip(name: ModelName, *, text: bool = False) -> Model:
    """Build the image tower of an open_clip model, or with `text` its text tower.

    ``penultimate`` is ``visual``, the projected image features before they are scaled to length 1, as thingsvision has
    it; a text tower has the layer ``output``, its counterpart in the same space.
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
    if text:
        return _text_tower(name, model, module)
    return replace(
        model,
        forward=module.encode_image,
        named={"penultimate": Layer("visual")},
        prefix_tokens=_prefix_tokens(module.visual),
    )


def _text_tower(name: ModelName, model: Model, module: Any) -> Model:
    import open_clip

    try:
        tokenizer = open_clip.get_tokenizer(name.name)
    except Exception as error:  # tokenizers of other families are downloads too
        raise unreachable(name, error) from error

    def preprocess(caption: str) -> Tensor:
        tokens: Tensor = tokenizer([caption])[0]
        return tokens

    length = getattr(tokenizer, "context_length", None)
    identity = {**model.identity, "preprocessing": f"{type(tokenizer).__name__}(context_length={length})"}
    return replace(model, forward=module.encode_text, preprocess=preprocess, identity=identity, default_layer="output")


def _prefix_tokens(visual: nn.Module) -> int:
    """One class token in open_clip's own vision transformers; what timm says in its trunks."""
    trunk = getattr(visual, "trunk", None)
    if trunk is not None:
        return int(getattr(trunk, "num_prefix_tokens", 0) or 0)
    return int(hasattr(visual, "class_embedding"))
