"""Models of timm, with the preprocessing that timm keeps with their weights."""

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


def load_timm(name: ModelName) -> Model:
    """Build a timm model. ``penultimate`` is what goes into its classifier: pooled, class token after the last norm.

    Raises
    ------
    ParameterError
        timm has no such model.
    FileError
        The weights can be neither fetched nor read.
    """
    timm = needed("timm", f"model {name}")
    from timm.data import create_transform, resolve_model_data_config

    architecture = name.name.partition(".")[0]
    if not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture[:12]}*")[:3]
        hint = f" Near are {', '.join(near)}." if near else ""
        raise ParameterError(f"timm has no model {architecture}.{hint} timm.list_models() lists all.")
    size = {key: value for key, value in name.options.items() if key == "img_size"}
    from_file = is_file(name.weights)
    if name.weights is None or from_file or name.weights == RANDOM:
        pretrained = name.weights is None
    else:
        raise ParameterError(
            f"weights of {name} are {name.weights!r}; write them as timm does, timm:{name.name}.TAG, or give none or a "
            "checkpoint file."
        )
    if pretrained and not timm.is_model_pretrained(name.name):
        raise ParameterError(f"timm has no weights for {name.name}. Give a checkpoint file, or none for random ones.")

    def build() -> nn.Module:
        module: nn.Module = timm.create_model(name.name, pretrained=pretrained, **size)
        return module

    try:
        module = build() if pretrained else random_weights(build)
    except Exception as error:
        if not pretrained:
            raise ParameterError(f"timm cannot build {name.name}: {' '.join(str(error).split())}.") from error
        raise unreachable(name, error) from error
    if from_file:
        load_checkpoint(module, Path(str(name.weights)))
    config: dict[str, Any] = resolve_model_data_config(module)
    config |= {key: value for key, value in name.options.items() if key != "img_size"}
    if size:
        config["input_size"] = (3, size["img_size"], size["img_size"])
    preprocess = create_transform(**config, is_training=False)
    return Model(
        name=str(name),
        forward=module,
        preprocess=preprocess,
        module=module,
        identity={
            "weights": name.weights or str(getattr(module, "pretrained_cfg", {}).get("hf_hub_id") or name.name),
            "weights_sha256": weights_sha256(module),
            "preprocessing": described(preprocess),
        },
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
