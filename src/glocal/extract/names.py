"""The name of a network (``library:name:weights`` or as in thingsvision) and its run options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypedDict

from pydantic import Field

from glocal.errors import ParameterError
from glocal.options import Options

LIBRARIES = ("timm", "openclip", "torchvision", "python")
_TRAINING_SETS = (
    "laion|openai|datacomp|commonpool|yfcc|cc12m|dfn|meta|merged|mscoco|webli|frozen|mrl|v1"
)
_WEIGHTS_TAG = re.compile(rf"_((?:{_TRAINING_SETS})\w*)$")
_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
_NAMES_OF_TIMM = """
dino-vit-small-p16   vit_small_patch16_224.dino
dino-vit-small-p8    vit_small_patch8_224.dino
dino-vit-base-p16    vit_base_patch16_224.dino
dino-vit-base-p8     vit_base_patch8_224.dino
dinov2-vit-small-p14 vit_small_patch14_dinov2.lvd142m
dinov2-vit-base-p14  vit_base_patch14_dinov2.lvd142m
dinov2-vit-large-p14 vit_large_patch14_dinov2.lvd142m
dinov2-vit-giant-p14 vit_giant_patch14_dinov2.lvd142m
mae-vit-base-p16     vit_base_patch16_224.mae
mae-vit-large-p16    vit_large_patch16_224.mae
mae-vit-huge-p14     vit_huge_patch14_224.mae
"""
_TO_TIMM = dict(line.split() for line in _NAMES_OF_TIMM.splitlines() if line)


class Running(Options):
    """The options of running a network."""

    panel: ClassVar[str] = "Network"

    pool: Literal["auto", "cls", "mean", "flatten"] = Field(
        "auto", description="Pooling of tokens or feature maps to one row."
    )
    device: str = Field("auto", description="Any torch device; auto is a GPU if there is one.")
    dtype: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="Precision of the network."
    )
    batch_size: int = Field(32, ge=1, le=65_536, description="Images in one pass of the network.")


class Input(TypedDict):
    """The size, crop and interpolation of the images that a network takes, as timm calls them."""

    input_size: tuple[int, int, int]
    crop_pct: float
    interpolation: str


_INPUT_224: Input = {
    "input_size": (3, 224, 224),
    "crop_pct": 0.875,
    "interpolation": "bilinear",
}


@dataclass(frozen=True)
class ModelName:
    """The parts of the name of a model.

    `name` is the name in the `library` (timm, openclip, torchvision, python). `weights` are a name
    that the library knows, a file, ``none``, or empty. `options` are the input size and crop that a
    name of thingsvision implies; None leaves them to the library.
    """

    library: str
    name: str
    weights: str = ""
    options: Input | None = None

    @property
    def file(self) -> Path | None:
        """The checkpoint that the weights name: a file, or what looks like the name of one."""
        file = Path(self.weights)
        is_file = file.is_file() or "/" in self.weights or file.suffix in _CHECKPOINT_SUFFIXES
        return file if is_file else None

    @property
    def is_pretrained(self) -> bool:
        """Whether the library of the network loads the weights."""
        return self.weights != "none" and self.file is None

    @property
    def tag(self) -> str:
        """The weights by a name that the library knows; empty for its default."""
        return self.weights if self.is_pretrained else ""

    def __str__(self) -> str:
        return ":".join(part for part in (self.library, self.name, self.weights) if part)

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Parse ``library:name[:weights]``, or a name of thingsvision.

        >>> str(ModelName.parse("clip_ViT-L/14"))
        'openclip:ViT-L-14-quickgelu:openai'
        >>> str(ModelName.parse("OpenCLIP_ViT-L-14_laion2b_s32b_b82k"))
        'openclip:ViT-L-14:laion2b_s32b_b82k'

        Raises
        ------
        ParameterError
            The library is unknown, or there is no name.
        """
        library, _, rest = text.partition(":")
        name, _, tag = rest.partition(":")
        if library == "python" and name and tag:
            return cls(library, rest)
        if library != "python" and library in LIBRARIES and name:
            return cls(library, name, tag)
        if text and ":" not in text:
            return _from_thingsvision(text)
        raise ParameterError(
            f"model {text!r} names no library; write timm:NAME, openclip:ARCHITECTURE:WEIGHTS, "
            "torchvision:NAME[:WEIGHTS] or python:package.module:factory."
        )


def _from_thingsvision(text: str) -> ModelName:
    """The model for a name without a library, as thingsvision and the paper write it."""
    lower = text.lower()
    if text in _TO_TIMM:
        # the input of DINOv2 has 224 pixels in thingsvision, 518 in timm
        options = _INPUT_224 if text.startswith("dinov2") else None
        return ModelName("timm", _TO_TIMM[text], options=options)
    if lower.startswith("openclip_"):
        rest = text.partition("_")[2]
        tag = _WEIGHTS_TAG.search(rest)
        if tag is None:
            return ModelName("openclip", rest)
        return ModelName("openclip", rest[: tag.start()], tag[1])
    if lower.startswith("clip_"):
        # NOTE the weights of OpenAI need the quick GELU; thingsvision writes ViT-L/14@336px
        architecture = text.partition("_")[2].replace("/", "-").replace("@336px", "-336")
        return ModelName("openclip", f"{architecture}-quickgelu", "openai")
    return ModelName("torchvision", lower)
