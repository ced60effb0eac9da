"""Transform files, npz as the authors write it and safetensors: weights, bias, mean, std, and one JSON record."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.errors import DataError, DataWarning, FileError, ParameterError, needed
from glocal.files import PathLike, array_sha256, atomic_write, read_npz, reading
from glocal.results import to_json

FORMAT = 1
ENDINGS = (".npz", ".safetensors")
TRANSFORM_NAME = "transform.npz"
"""The file of a transform in its folder or repository."""

_FIX = "A transform file holds weights, mean and std: name one, or copy it again."
_REQUIRED, _RECORDS = ("weights", "mean", "std"), ("source", "fit", "sweep", "rows", "reduced", "card")
# `array_sha256` of weights that were published under the name of a model that they were not fitted on, too
WRONG = {
    "1dd4366115a23f9288ecf4677920387aebcd4ceb535065497796ce2753030228": ("dino-vit-base-p16", "dinov2-vit-base-p14"),
}


def plain(name: str) -> str:
    """A name of a network without case, and without the difference between a slash, a dash and an underline."""
    return str(name).casefold().replace("/", "-").replace("_", "-")


def write_transform(
    path: PathLike,
    weights: Float[np.ndarray, "p r"],
    bias: Float[np.ndarray, " r"] | None,
    mean: float,
    std: float,
    meta: dict[str, Any],
) -> None:
    """Write a transform file of the kind that its name says, whole or not at all; see `LinearTransform.save`."""
    if Path(path).suffix not in ENDINGS:
        raise ParameterError(f"transform file {path} must end in {' or '.join(ENDINGS)}.")
    record = to_json({"format": FORMAT, **meta})
    half = weights.dtype == np.float16
    arrays: dict[str, Any] = {
        "weights": weights if half else weights.astype(np.float32), "mean": np.float64(mean), "std": np.float64(std),
    }  # fmt: skip
    if bias is not None:
        arrays["bias"] = bias.astype(np.float32)
    with atomic_write(path) as stream:
        if Path(path).suffix == ".npz":
            np.savez(stream, allow_pickle=False, **arrays, meta=np.array(record))
        else:
            save = needed("safetensors.numpy", "a .safetensors file").save
            tensors = {key: np.atleast_1d(np.ascontiguousarray(value)) for key, value in arrays.items()}
            stream.write(save(tensors, metadata={"meta": record}))


def read_transform(
    path: PathLike,
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."] | None, float, float, dict[str, Any]]:
    """Weights, bias, mean, std and record of a transform file of either kind; see `LinearTransform.load`."""
    if Path(path).suffix == ".safetensors":
        library = needed("safetensors", "a .safetensors file")
        with reading(path, "transform", _FIX) as file, library.safe_open(file, "numpy") as opened:
            held = set(opened.keys())
            if missing := set(_REQUIRED) - held:
                raise FileError(f"transform file {path} has no {' and '.join(sorted(missing))}. {_FIX}")
            arrays = {name: opened.get_tensor(name) for name in (*_REQUIRED, "bias") if name in held}
            arrays["meta"] = np.array((opened.metadata() or {}).get("meta", "{}"))
    else:
        arrays = read_npz(path, what="transform", fix=_FIX, required=_REQUIRED, optional=("bias", "meta"))
    with reading(path, "transform", _FIX), np.errstate(over="ignore", invalid="ignore"):  # infinity is said as such
        meta = json.loads(str(arrays.pop("meta", "{}")))
        if not (
            all(isinstance(meta.get(key) or {}, dict) for key in _RECORDS)
            and isinstance(meta.get("strength", 1.0), int | float)
        ):
            raise ValueError("its record is not that of a transform")
        if meta.get("format", FORMAT) > FORMAT:
            raise FileError(f"transform file {path} is of format {meta['format']}. Upgrade glocal.")
        if any(array.dtype.kind not in "fiu" for array in arrays.values()):
            raise DataError("it holds values that are not real numbers.")
        weights, bias = arrays["weights"].astype(np.float32), arrays.get("bias")
        mean, std = float(arrays["mean"].item()), float(arrays["std"].item())
    if said := wrong_name(path, weights):
        warnings.warn(said, DataWarning, stacklevel=3)
    return weights, None if bias is None else bias.astype(np.float32), mean, std, meta


def wrong_name(path: PathLike, weights: np.ndarray) -> str | None:
    """The sentence to warn with of weights that were published under a wrong name too, else None.

    There is nothing to say where the path names the model that they fit.
    """
    wrong = WRONG.get(array_sha256(weights)) if weights.shape == (768, 768) else None  # others need not be hashed
    if wrong is None or any(wrong[0] in part for part in Path(path).absolute().parts):
        return None
    return (
        f"transform file {path} holds the transform of {wrong[0]}, which its authors published as {wrong[1]} as well, "
        f"by mistake: apply it to features of {wrong[0]} only."
    )
