"""Models of timm, with the preprocessing that timm keeps with their weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from glocal.extract.model import Layer, Model
from glocal.extract.names import ModelName
from glocal.extract.weights import library_model
from glocal.extras import needed


def load_timm(name: ModelName) -> Model:
    """Build a timm model. ``penultimate`` is what goes into its classifier: pooled, class token after the last norm."""
    timm = needed("timm", f"model {name}")
    from timm.data import create_transform, resolve_model_data_config

    options = dict(name.options)
    size = {"img_size": options.pop("img_size")} if "img_size" in options else {}

    def build(tag: str | None) -> tuple[nn.Module, Any]:
        module = timm.create_model(tag or name.name, pretrained=tag is not None, **size)
        config = {**resolve_model_data_config(module), **options}
        if size:
            config["input_size"] = (3, size["img_size"], size["img_size"])
        return module, create_transform(**config, is_training=False)

    architecture = name.name.partition(".")[0]
    models = {name.name} if timm.is_model(architecture) else timm.list_models()  # the list leaves old names out
    tags = [*timm.list_pretrained(f"{architecture}.*"), *([name.name] if timm.is_model_pretrained(name.name) else [])]
    model = library_model(name, build, models=models, tags=tags, default=name.name)
    module: Any = model.module
    weights = name.weights or str(getattr(module, "pretrained_cfg", {}).get("hf_hub_id") or name.name)
    return replace(
        model,
        identity={**model.identity, "weights": weights},
        named=_named(module),
        prefix_tokens=int(getattr(module, "num_prefix_tokens", 0) or 0),
        channels_last=str(getattr(module, "output_fmt", "")) == "NHWC",
    )


def _named(module: nn.Module) -> dict[str, Layer]:
    find: Any = getattr(module, "get_classifier", None)
    head = None if find is None else find()
    head = head[0] if isinstance(head, list | tuple) else head  # a distilled network has a second head
    path = next((path for path, part in module.named_modules() if part is head and path), None)
    if path is None:
        return {}
    layers = {"penultimate": Layer(path, "input")}
    return layers if isinstance(head, nn.Identity) else {**layers, "logits": Layer()}
