"""The two kinds of transform files, npz as the authors write it and safetensors: their arrays and their record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.data.container import check_members, whole
from glocal.data.npz import read_npz
from glocal.errors import DataError, FileError
from glocal.extras import needed
from glocal.files import PathLike, atomic_write, one_line
from glocal.jobs.leaving import check_ending
from glocal.results import to_json

FORMAT = 1
TRANSFORM_ENDINGS = (".npz", ".safetensors", "")
"""Of the names of transform files; without any it is npz."""

Parts = tuple[Float[np.ndarray, "p r"], Float[np.ndarray, " r"] | None, float, float, dict[str, Any]]
"""Weights, bias, mean, std and meta."""

_REQUIRED = ("weights", "mean", "std")
_OBJECTS = ("source", "fit", "fit.provenance", "fit.provenance.data", "fit.holdout", "fit.holdout.heldout", "sweep")
"""Parts of the record that are JSON objects where they are there."""
_FIX = "A transform file holds weights, mean and std: name one, or copy it again."


def is_safetensors(path: PathLike) -> bool:
    """Tell by its suffix whether a transform file is safetensors rather than npz."""
    return Path(path).suffix.lower() == ".safetensors"


def write_transform(path: PathLike, parts: Parts) -> None:
    """Write a transform file of the kind that its name says, whole or not at all; see `LinearTransform.save`."""
    check_ending(path, TRANSFORM_ENDINGS, what="transform file")
    weights, bias, mean, std, meta = parts
    record = to_json({"format": FORMAT, **meta})
    arrays: dict[str, Any] = {"weights": weights.astype(np.float32), "mean": np.float64(mean), "std": np.float64(std)}
    if bias is not None:
        arrays["bias"] = bias.astype(np.float32)
    with atomic_write(path) as stream:
        if is_safetensors(path):
            _import_safetensors()
            from safetensors.numpy import save

            tensors = {key: np.atleast_1d(np.ascontiguousarray(value)) for key, value in arrays.items()}
            stream.write(save(tensors, metadata={"meta": record}))
        else:
            np.savez(stream, allow_pickle=False, **arrays, meta=np.array(record))


def read_transform(path: Path) -> Parts:
    """Read a transform file of either kind; see `LinearTransform.load`."""
    arrays = _read_safetensors(path) if is_safetensors(path) else _read_npz(path)
    for key in {"weights", "bias", "mean", "std"} & arrays.keys():
        if arrays[key].dtype.kind not in "fiu":
            raise DataError(f"it holds {arrays[key].dtype} {key}; they must be real numbers.")
    mean, std = arrays["mean"], arrays["std"]
    if mean.size != 1 or std.size != 1:
        raise FileError(f"transform file {path} has mean and std of {mean.size} and {std.size} values; each is one.")
    bias = arrays.get("bias")
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is said as infinity
        return (
            arrays["weights"].astype(np.float32),
            None if bias is None else bias.astype(np.float32),
            float(mean.reshape(())),
            float(std.reshape(())),
            _parse_meta(path, arrays["meta"]) if "meta" in arrays else {},
        )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    return read_npz(path, what="transform", fix=_FIX, required=_REQUIRED, optional=("bias", "meta"))


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    safetensors = _import_safetensors()
    with (
        whole(path, "safetensors file", _FIX, safetensors.SafetensorError, what="transform"),
        safetensors.safe_open(path, framework="numpy") as file,
    ):
        held = list(file.keys())
        check_members(path, "transform", _REQUIRED, held, _FIX)
        arrays: dict[str, np.ndarray] = {name: file.get_tensor(name) for name in (*_REQUIRED, "bias") if name in held}
        meta = (file.metadata() or {}).get("meta")
    return arrays if meta is None else {**arrays, "meta": np.array(meta)}


def _import_safetensors() -> Any:
    return needed("safetensors", "a .safetensors file")


def _parse_meta(path: Path, text: np.ndarray) -> dict[str, Any]:
    """Read the record of a transform; a FileError for one that is damaged or of a later format."""
    try:
        meta = json.loads(str(text))
    except ValueError as error:
        raise FileError(f"transform file {path} has a damaged meta record ({one_line(error)[:160]}).") from error
    version = meta.get("format", FORMAT) if isinstance(meta, dict) else None
    strength = meta.get("strength", 1.0) if isinstance(meta, dict) else None
    if not isinstance(version, int) or not isinstance(strength, int | float):
        raise FileError(
            f"transform file {path} has a meta record that is not a JSON object of glocal. Fit or copy it again."
        )
    for place in _OBJECTS:
        part: Any = meta
        for key in place.split("."):
            part = (part or {}).get(key)
        if part is not None and not isinstance(part, dict):
            raise FileError(
                f"transform file {path} has a damaged meta record: {place} is no JSON object. Fit or copy it again."
            )
    if version > FORMAT:
        raise FileError(
            f"transform file {path} is of format {version}; this version reads up to {FORMAT}. Upgrade glocal."
        )
    return dict(meta)
