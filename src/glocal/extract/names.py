"""Names of models: ``library:name:weights``, and those that thingsvision and the gLocal paper write."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from glocal.errors import ParameterError

LIBRARIES = {"timm": "timm", "openclip": "open_clip", "torchvision": "torchvision.models", "python": ""}
"""The libraries by the names they have here, and the package that lists the models of each."""
RANDOM = "none"

_CLIP = "clip_"
_OPENCLIP = "openclip_"
_TAG = re.compile(r"_((?:laion|openai|datacomp|commonpool|yfcc|cc12m|dfn|meta|merged|mscoco|webli|frozen|mrl|v1)\w*)$")
_AT_224: dict[str, Any] = {"img_size": 224, "crop_pct": 0.875, "interpolation": "bilinear"}
_TO_TIMM = {
    "dino-vit-small-p16": "vit_small_patch16_224.dino",
    "dino-vit-small-p8": "vit_small_patch8_224.dino",
    "dino-vit-base-p16": "vit_base_patch16_224.dino",
    "dino-vit-base-p8": "vit_base_patch8_224.dino",
    "dinov2-vit-small-p14": "vit_small_patch14_dinov2.lvd142m",
    "dinov2-vit-base-p14": "vit_base_patch14_dinov2.lvd142m",
    "dinov2-vit-large-p14": "vit_large_patch14_dinov2.lvd142m",
    "dinov2-vit-giant-p14": "vit_giant_patch14_dinov2.lvd142m",
    "mae-vit-base-p16": "vit_base_patch16_224.mae",
    "mae-vit-large-p16": "vit_large_patch16_224.mae",
    "mae-vit-huge-p14": "vit_huge_patch14_224.mae",
}


@dataclass(frozen=True)
class ModelName:
    """A model as asked for.

    `name` is as the `library` (timm, openclip, torchvision, python) writes it. `weights` is ``none`` for random ones,
    a checkpoint file, or a name the library knows; None is its own choice. `options` are the input size and crop of
    the network in thingsvision, which a name of it fixes besides.
    """

    library: str
    name: str
    weights: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return ":".join(part for part in (self.library, self.name, self.weights) if part)

    @property
    def package(self) -> str:
        """The Python package that has the model."""
        return LIBRARIES[self.library]

    @classmethod
    def parse(cls, text: str, weights: str | None = None) -> ModelName:
        """Read ``library:name[:weights]``, or a name of thingsvision or the paper; `weights` takes precedence.

        >>> str(ModelName.parse("clip_ViT-L/14"))
        'openclip:ViT-L-14-quickgelu:openai'
        >>> str(ModelName.parse("OpenCLIP_ViT-L-14_laion2b_s32b_b82k"))
        'openclip:ViT-L-14:laion2b_s32b_b82k'

        Raises
        ------
        ParameterError
            A library that is not known, or no name.
        """
        library, colon, rest = text.partition(":")
        if not colon:
            found = _from_thingsvision(text)
        elif library == "python":
            if not re.fullmatch(r"[\w.]+:[\w.]+", rest):
                raise ParameterError(f"model {text} must be python:package.module:factory.")
            found = cls(library, rest)
        elif library in LIBRARIES and rest.partition(":")[0]:
            name, _, tag = rest.partition(":")
            found = cls(library, name, tag or None)
        else:
            raise ParameterError(
                f"model {text!r} names no library; write timm:NAME, openclip:ARCHITECTURE:WEIGHTS, "
                "torchvision:NAME[:WEIGHTS] or python:package.module:factory."
            )
        return cls(found.library, found.name, weights or found.weights, found.options)


def _from_thingsvision(text: str) -> ModelName:
    if text in _TO_TIMM:
        at_224 = {**_AT_224} if text.startswith("dinov2") else {}  # thingsvision shows DINOv2 224 pixels, timm 518
        return ModelName("timm", _TO_TIMM[text], None, at_224)
    if text.lower().startswith(_OPENCLIP):
        rest = text[len(_OPENCLIP) :]
        tag = _TAG.search(rest)
        return ModelName("openclip", rest[: tag.start()] if tag else rest, tag[1] if tag else None)
    if text.lower().startswith(_CLIP):
        # NOTE OpenAI's weights were trained with the quick approximation of GELU; thingsvision writes ViT-L/14@336px
        architecture = text[len(_CLIP) :].replace("/", "-").replace("@336px", "-336")
        return ModelName("openclip", f"{architecture}-quickgelu", "openai")
    if not text:
        raise ParameterError("model is empty; give a name such as timm:vit_base_patch16_224.dino.")
    return ModelName("torchvision", text.lower() if text.lower() != text and "_" not in text else text)
