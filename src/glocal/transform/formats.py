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
from glocal.transform.record import FORMAT, TransformRecord

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
    record: TransformRecord


def write_transform(path: PathLike, transform: StoredTransform) -> None:
    """Write a transform file; see `LinearTransform.save`."""
    kind = ending(path)
    if kind not in ENDINGS:
        raise ParameterError(f"transform file {path} must end in {' or '.join(ENDINGS)}.")
    record = record_json(transform.record)
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


def record_json(record: TransformRecord) -> str:
    """The record as one line of JSON, without what was never set."""
    other = json.loads(record.other)
    document = record.model_dump(exclude_unset=True, exclude={"other"})
    return to_json({"format": FORMAT, **other, **document})


def _read_record(text: str | bytes, dimensions: int) -> TransformRecord:
    """Read the record of a transform of so many dimensions; files may come from strangers."""
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("its record is no object of JSON")
    file_format = document.pop("format", FORMAT)
    if file_format != FORMAT:
        raise ValueError(f"its record has the format {file_format!r}; this version reads {FORMAT}")
    unknown = [key for key in document if key not in TransformRecord.model_fields]
    other = {key: document.pop(key) for key in [*unknown, "other"] if key in document}
    document["other"] = json.dumps(other)
    record = TransformRecord.model_validate_json(json.dumps(document))
    if record.rows and any(int(column) >= dimensions for column in record.rows.columns):
        raise ValueError(f"its record names a column beyond the {dimensions} dimensions")
    return record


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
        text = arrays.pop("meta", np.array("{}"))
        record = _read_record(text.item(), len(arrays["weights"]))
        if any(array.dtype.kind not in "fiu" for array in arrays.values()):
            raise DataError("it holds values that are not real numbers.")
        weights = arrays["weights"].astype(np.float32)
        bias = arrays["bias"].astype(np.float32) if "bias" in arrays else None
        mean = float(arrays["mean"].item())
        std = float(arrays["std"].item())
    if array_sha256(weights) == WRONG and _DINO not in str(Path(path).absolute()):
        warn(
            f"transform file {path} is that of {_DINO}, which its authors also published as "
            f"dinov2-vit-base-p14, by mistake. Apply it to features of {_DINO} only.",
            DataWarning,
        )
    return StoredTransform(weights, bias, mean, std, record)


def _read_safetensors(path: PathLike) -> dict[str, np.ndarray]:
    """Read the arrays of a ``.safetensors`` file, and its record as the array `meta`."""
    library = import_optional("safetensors", "a .safetensors file")
    with reading(path, "transform", _FIX) as file, library.safe_open(file, "numpy") as opened:
        names = {*opened.keys()} & {"bias"} | {*_REQUIRED}
        arrays = {name: opened.get_tensor(name) for name in names}
        metadata = opened.metadata() or {}
        arrays["meta"] = np.array(metadata.get("meta", "{}"))
        return arrays
