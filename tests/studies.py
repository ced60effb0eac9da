"""Studies that tests make: small pictures, and a study of them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int) -> bytes:
    """A small picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def write_pictures(folder: Path, names: list[str]) -> Path:
    """A folder of small pictures of these names."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(number))
    return folder
