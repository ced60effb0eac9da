"""The files of a transform: .npz as the authors write it, and .safetensors."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glocal.errors import DataError, DataWarning, FileError, ParameterError, import_optional, warn
from glocal.files import PathLike, array_sha256, atomic_write, ending, read_npz, reading
from glocal.results import to_json
from glocal.similarity import Values, Weights
from glocal.transform.record import FORMAT, check_record

ENDINGS = (".npz", ".safetensors")
TRANSFORM_NAME = "transform.npz"
"""The name of the transform file in a folder or repository."""

_FIX = "A transform file holds weights, mean and std. Name such a file, or copy it again."
_REQUIRED = ("weights", "mean", "std")
_DINO = "dino-vit-base-p16"
# `array_sha256` of the weights of DINO, which the authors published as those of DINOv2 too
WRONG = "1dd4366115a23f9288ecf4677920387aebcd4ceb535065497796ce2753030228"


class StoredTransform(NamedTuple):
    """The content of a transform file."""

    weights: Weights
    bias: Values | None
    mean: float
    std: float
    meta: dict[str, Any]


def write_transform(path: PathLike, transform: StoredTransform) -> None:
    """Write a transform file; see `LinearTransform.save`."""
    kind = ending(path)
    if kind not in ENDINGS:
        raise ParameterError(f"transform file {path} must end in {' or '.join(ENDINGS)}.")
    record = to_json({"format": FORMAT, **transform.meta})
    W = transform.weights
    arrays: dict[str, Any] = {
        "weights": W if W.dtype == np.float16 else W.astype(np.float32),
        "mean": np.float64(transform.mean),
        "std": np.float64(transform.std),
    }
    if transform.bias is not None:
        arrays["bias"] = transform.bias.astype(np.float32)
    with atomic_write(path) as stream:
        if kind == ".npz":
            np.savez(stream, allow_pickle=False, **arrays, meta=np.array(record.encode()))
        else:
            write = import_optional("safetensors.numpy", "a .safetensors file").save
            tensors = {key: np.array(value, ndmin=1, order="C") for key, value in arrays.items()}
            stream.write(write(tensors, metadata={"meta": record}))


def holds_transform(path: PathLike) -> bool:
    """Whether a file or folder that exists holds a transform, by its array ``weights``.

    A damaged file counts as one, so that reading it names the damage.
    """
    if os.path.isdir(path):
        return os.path.isfile(os.path.join(path, TRANSFORM_NAME))
    if not zipfile.is_zipfile(path):
        return ending(path) in ENDINGS  # no features are .safetensors
    with zipfile.ZipFile(path) as archive:
        return "weights.npy" in archive.namelist()


def read_transform(path: PathLike) -> StoredTransform:
    """Read and check a transform file; see `LinearTransform.load`."""
    kind = ending(path)
    if kind not in ENDINGS and not os.path.exists(path):
        name = os.fspath(path)
        raise FileError(f"there is no file {name}; glocal.pretrained({name!r}) loads by name.")
    if kind == ".safetensors":
        arrays = _read_safetensors(path)
    else:
        arrays = read_npz(
            path, what="transform", fix=_FIX, required=_REQUIRED, optional=("bias", "meta")
        )
    # values that overflow float32 become infinity, which LinearTransform rejects
    with reading(path, "transform", _FIX), np.errstate(over="ignore", invalid="ignore"):
        meta = json.loads(arrays.pop("meta", np.array("{}")).item())
        if any(array.dtype.kind not in "fiu" for array in arrays.values()):
            raise DataError("it holds values that are not real numbers.")
        weights = arrays["weights"].astype(np.float32)
        bias = arrays["bias"].astype(np.float32) if "bias" in arrays else None
        mean = float(arrays["mean"].item())
        std = float(arrays["std"].item())
        check_record(meta, len(weights))
    if array_sha256(weights) == WRONG and _DINO not in str(Path(path).absolute()):
        warn(
            f"transform file {path} is that of {_DINO}, which its authors also published as "
            f"dinov2-vit-base-p14, by mistake. Apply it to features of {_DINO} only.",
            DataWarning,
        )
    return StoredTransform(weights, bias, mean, std, meta)


def _read_safetensors(path: PathLike) -> dict[str, np.ndarray]:
    """Read the arrays of a ``.safetensors`` file, and its record as the array `meta`."""
    library = import_optional("safetensors", "a .safetensors file")
    with reading(path, "transform", _FIX) as file, library.safe_open(file, "numpy") as opened:
        names = {*_REQUIRED, *(set(opened.keys()) & {"bias"})}
        arrays = {name: opened.get_tensor(name) for name in names}
        return arrays | {"meta": np.array((opened.metadata() or {}).get("meta", "{}"))}
