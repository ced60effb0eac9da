"""The files of a transform: .npz as the authors write it, and .safetensors."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

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
_OPTIONAL = ("bias", "meta")
_REAL_KINDS = {"f", "i", "u"}  # of the dtype of an array
_EMPTY_RECORD = np.array("{}")
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
    arrays = _arrays(transform)
    with atomic_write(path) as stream:
        if kind == ".npz":
            meta = np.array(record.encode())
            np.savez(stream, allow_pickle=False, **arrays, meta=meta)
        else:
            library = import_optional("safetensors.numpy", "a .safetensors file")
            tensors = {}
            for name, array in arrays.items():
                tensors[name] = np.array(array, ndmin=1, order="C")
            content = library.save(tensors, metadata={"meta": record})
            stream.write(content)


def _arrays(transform: StoredTransform) -> dict[str, np.ndarray]:
    """The arrays of a transform file, weights and bias in float32 unless they are float16."""
    weights = transform.weights
    if weights.dtype != np.float16:
        weights = weights.astype(np.float32)
    arrays = {
        "weights": weights,
        "mean": np.asarray(transform.mean, dtype=np.float64),
        "std": np.asarray(transform.std, dtype=np.float64),
    }
    if transform.bias is not None:
        arrays["bias"] = transform.bias.astype(np.float32)
    return arrays


def record_json(record: TransformRecord) -> str:
    """The record as one line of JSON, without what was never set."""
    other = json.loads(record.other)
    fields = record.model_dump(exclude_unset=True, exclude={"other"})
    document = {"format": FORMAT, **other}
    document.update(fields)
    return to_json(document)


def _read_record(text: str | bytes, dimensions: int) -> TransformRecord:
    """Read the record of a transform of so many dimensions; files may come from strangers."""
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("its record is no object of JSON")
    file_format = document.pop("format", FORMAT)
    if file_format != FORMAT:
        raise ValueError(f"its record has the format {file_format!r}; this version reads {FORMAT}")
    fields = {}
    other = {}
    for key, value in document.items():
        is_field = key in TransformRecord.model_fields
        if is_field and key != "other":
            fields[key] = value
        else:
            other[key] = value
    fields["other"] = json.dumps(other)
    checked = json.dumps(fields)
    record = TransformRecord.model_validate_json(checked)
    columns = record.rows.columns if record.rows else ()
    for column in columns:
        if int(column) >= dimensions:
            raise ValueError(f"its record names a column beyond the {dimensions} dimensions")
    return record


def holds_transform(path: PathLike) -> bool:
    """Whether a file or folder that exists holds a transform, by its array ``weights``.

    A damaged file counts as one, so that reading it names the damage.
    """
    if os.path.isdir(path):
        file = os.path.join(path, TRANSFORM_NAME)
        return os.path.isfile(file)
    if not zipfile.is_zipfile(path):
        return ending(path) in ENDINGS  # no features are .safetensors
    with zipfile.ZipFile(path) as archive:
        return "weights.npy" in archive.namelist()


def read_transform(path: PathLike) -> StoredTransform:
    """Read and check a transform file; see `LinearTransform.load`."""
    kind = ending(path)
    is_file = kind in ENDINGS or os.path.exists(path)
    if not is_file:
        name = os.fspath(path)
        raise FileError(f"there is no file {name}; glocal.pretrained({name!r}) loads by name.")
    if kind == ".safetensors":
        arrays = _read_safetensors(path)
    else:
        arrays = read_npz(
            path,
            what="transform",
            fix=_FIX,
            required=_REQUIRED,
            optional=_OPTIONAL,
        )
    # values that overflow float32 become infinity, which LinearTransform rejects
    with reading(path, "transform", _FIX), np.errstate(over="ignore", invalid="ignore"):
        text = arrays.pop("meta", _EMPTY_RECORD)
        weights = arrays["weights"]
        record = _read_record(text.item(), len(weights))
        kinds = {array.dtype.kind for array in arrays.values()}
        if not kinds <= _REAL_KINDS:
            raise DataError("it holds values that are not real numbers.")
        bias = arrays.get("bias")
        mean = arrays["mean"].item()
        std = arrays["std"].item()
        stored = StoredTransform(
            weights=weights.astype(np.float32),
            bias=None if bias is None else bias.astype(np.float32),
            mean=float(mean),
            std=float(std),
            record=record,
        )
    _check_publication(path, stored.weights)
    return stored


def _check_publication(path: PathLike, weights: Weights) -> None:
    """Warn if the weights are those that the authors published under a second, wrong name."""
    location = str(Path(path).absolute())
    digest = array_sha256(weights)
    is_wrong = digest == WRONG
    if is_wrong and _DINO not in location:
        warn(
            f"transform file {path} is that of {_DINO}, which its authors also published as "
            f"dinov2-vit-base-p14, by mistake. Apply it to features of {_DINO} only.",
            DataWarning,
        )


def _read_safetensors(path: PathLike) -> dict[str, np.ndarray]:
    """Read the arrays of a ``.safetensors`` file, and its record as the array `meta`."""
    library = import_optional("safetensors", "a .safetensors file")
    with (
        reading(path, "transform", _FIX) as file,
        library.safe_open(file, "numpy") as opened,
    ):
        names = set(_REQUIRED)
        if "bias" in opened.keys():  # noqa: SIM118 - it is no mapping
            names.add("bias")
        arrays = {name: opened.get_tensor(name) for name in names}
        metadata = opened.metadata() or {}
        if "meta" in metadata:
            record = metadata["meta"]
            arrays["meta"] = np.array(record)
        return arrays
