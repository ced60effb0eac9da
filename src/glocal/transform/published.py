"""Published transforms that are known to be wrong, recognised by their content when they are loaded."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glocal.errors import DataWarning
from glocal.files import array_sha256


@dataclass(frozen=True)
class WrongTransform:
    """A transform published under the name of a model that it was not fitted on.

    Parameters
    ----------
    shape : tuple of int
        Of its weights: only these are hashed.
    fitted_on, published_as : str
        The model it fits, and the other one whose name it also bears.
    """

    shape: tuple[int, int]
    fitted_on: str
    published_as: str


# `array_sha256` of the float32 weights, so that a copy in another format is recognised too
WRONG: dict[str, WrongTransform] = {
    "1dd4366115a23f9288ecf4677920387aebcd4ceb535065497796ce2753030228": WrongTransform(
        (768, 768), fitted_on="dino-vit-base-p16", published_as="dinov2-vit-base-p14"
    ),
}


def warn_if_wrong(path: Path, weights: np.ndarray) -> None:
    """Warn of weights that were published under a wrong name too, unless the path names the model they fit.

    Parameters
    ----------
    path : Path
        Of the file they were read from; only its words are used.
    weights : (p, p) array

    Warns
    -----
    DataWarning
        One sentence: what the weights are, and what they must not be applied to.
    """
    said = wrong_name(path, weights)
    if said is not None:
        warnings.warn(said, DataWarning, stacklevel=3)


def wrong_name(path: Path, weights: np.ndarray) -> str | None:
    """The sentence of `warn_if_wrong`, or None where there is nothing to say."""
    if weights.shape not in {wrong.shape for wrong in WRONG.values()}:
        return None
    wrong = WRONG.get(array_sha256(weights.astype(np.float32)))
    if wrong is None or any(wrong.fitted_on in part for part in path.absolute().parts):
        return None
    return (
        f"transform file {path} holds the transform of {wrong.fitted_on}, which its authors by mistake published as "
        f"{wrong.published_as} as well: apply it to features of {wrong.fitted_on} only."
    )
