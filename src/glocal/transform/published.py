"""Published transforms that are known to be wrong, recognised by their content when they are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from glocal.files import array_sha256


class WrongTransform(NamedTuple):
    """A transform published under the name of a model that it was not fitted on; `shape` is that of its weights."""

    shape: tuple[int, int]
    fitted_on: str
    published_as: str


# `array_sha256` of the float32 weights, so that a copy in another format is recognised too
WRONG: dict[str, WrongTransform] = {
    "1dd4366115a23f9288ecf4677920387aebcd4ceb535065497796ce2753030228": WrongTransform(
        (768, 768), fitted_on="dino-vit-base-p16", published_as="dinov2-vit-base-p14"
    ),
}


def wrong_name(path: Path, weights: np.ndarray) -> str | None:
    """The sentence to warn with of weights that were published under a wrong name too, else None.

    There is nothing to say where the path names the model that they fit.
    """
    if weights.shape not in {wrong.shape for wrong in WRONG.values()}:  # only these are hashed
        return None
    wrong = WRONG.get(array_sha256(weights.astype(np.float32)))
    if wrong is None or any(wrong.fitted_on in part for part in path.absolute().parts):
        return None
    return (
        f"transform file {path} holds the transform of {wrong.fitted_on}, which its authors by mistake published as "
        f"{wrong.published_as} as well: apply it to features of {wrong.fitted_on} only."
    )
