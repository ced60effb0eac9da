"""Models of open_clip: the image tower, and the text tower for captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

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


def load_openclip(name: ModelName, *, text: bool = False) -> Model:
    """Build the image tower of an open_clip model, or with `text` its text tower.

    ``penultimate`` is ``visual``, the projected image features before they are scaled to length 1, as thingsvision has
    it; a text tower has the layer ``output``, its counterpart in the same space.

    Raises
    ------
    ParameterError
        open_clip has no such model or weights, or weights are not named.
    FileError
        The weights or the tokenizer can be neither fetched nor read.
    """
    open_clip = needed("open_clip", f"model {name}")
    if name.name not in open_clip.list_models():
        near = [known for known in open_clip.list_models() if known.lower()[:6] == name.name.lower()[:6]][:4]
        hint = f" Near are {', '.join(near)}." if near else ""
        raise ParameterError(f"open_clip has no model {name.name}.{hint} open_clip.list_models() lists all.")
    known = [tag for architecture, tag in open_clip.list_pretrained() if architecture == name.name]
    from_file = is_file(name.weights)
    fetch = not from_file and name.weights != RANDOM
    if name.weights is None or (fetch and name.weights not in known):
        given = "are not named" if name.weights is None else f"{name.weights} are not known"
        raise ParameterError(
            f"weights of openclip:{name.name} {given}; allowed are {', '.join(known) or 'none of its own'}, a "
            "checkpoint file, or none for random ones."
        )

    def build() -> Any:
        # NOTE without load_weights=False even a text tower with random weights would be fetched
        options: dict[str, Any] = {"pretrained": name.weights} if fetch else {"load_weights": False}
        return open_clip.create_model_and_transforms(name.name, pretrained_text=False, **options)

    try:
        module, _, preprocess = build() if fetch else random_weights(build)
    except Exception as error:
        if fetch:
            raise unreachable(name, error) from error
        raise ParameterError(f"open_clip cannot build {name.name}: {one_line(error)}.") from error
    if from_file:
        load_checkpoint(module, Path(str(name.weights)))
    identity = {"weights": name.weights, "weights_sha256": weights_sha256(module)}
    if text:
        return _text_tower(name, module, identity)
    return Model(
        name=str(name),
        forward=module.encode_image,
        preprocess=preprocess,
        module=module,
        identity={**identity, "preprocessing": described(preprocess)},
        named={"penultimate": Layer("visual")},
        prefix_tokens=_prefix_tokens(module.visual),
    )


def _text_tower(name: ModelName, module: nn.Module, identity: dict[str, Any]) -> Model:
    import open_clip

    try:
        tokenizer = open_clip.get_tokenizer(name.name)
    except Exception as error:  # tokenizers of other families are downloads too
        raise unreachable(name, error) from error

    def preprocess(caption: str) -> Tensor:
        tokens: Tensor = tokenizer([caption])[0]
        return tokens

    length = getattr(tokenizer, "context_length", None)
    return Model(
        name=str(name),
        forward=module.encode_text,  # type: ignore[arg-type]
        preprocess=preprocess,
        module=module,
        identity={**identity, "preprocessing": f"{type(tokenizer).__name__}(context_length={length})"},
        default_layer="output",
    )


def _prefix_tokens(visual: nn.Module) -> int:
    """One class token in open_clip's own vision transformers; what timm says in its trunks."""
    trunk = getattr(visual, "trunk", None)
    if trunk is not None:
        return int(getattr(trunk, "num_prefix_tokens", 0) or 0)
    return int(hasattr(visual, "class_embedding"))
