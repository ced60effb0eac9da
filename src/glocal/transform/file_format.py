"""The two kinds of transform files, npz as the authors write it and safetensors: their arrays and their record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.container import DAMAGE, check_members
from glocal.data.npz import read_npz
from glocal.errors import FileError, GLocalError
from glocal.extras import needed
from glocal.files import PathLike, one_line, unreadable
from glocal.files.documents import parse_json

SAFETENSORS = ".safetensors"
FORMAT = 1
MEMBERS = ("weights", "mean", "std")
TRANSFORM_ENDINGS = (".npz", ".safetensors", "")
"""Of the names of transform files; without any it is npz."""


def is_safetensors(path: PathLike) -> bool:
    """Tell by its suffix whether a transform file is safetensors rather than npz."""
    return Path(path).suffix.lower() == SAFETENSORS


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a transform file of either kind: `MEMBERS`, and ``bias`` and ``meta`` where it has them."""
    return _read_safetensors(path) if is_safetensors(path) else _read_npz(path)


def safetensors_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Encode the arrays of a transform file; scalars become (1,) tensors, the text `meta` goes to the metadata."""
    _import_safetensors()
    from safetensors.numpy import save

    tensors = {key: np.atleast_1d(np.ascontiguousarray(value)) for key, value in arrays.items() if key != "meta"}
    encoded: bytes = save(tensors, metadata={"meta": str(arrays["meta"])})
    return encoded


def parse_meta(path: Path, text: np.ndarray) -> dict[str, Any]:
    """Read the record of a transform; a FileError for one that is damaged or of a later format."""
    try:
        meta = parse_json(str(text))
    except ValueError as error:
        raise FileError(f"transform file {path} has a damaged meta record ({one_line(error)[:160]}).") from error
    version = meta.get("format", FORMAT) if isinstance(meta, dict) else None
    strength = meta.get("strength", 1.0) if isinstance(meta, dict) else None
    if not isinstance(version, int) or not isinstance(strength, int | float):
        raise FileError(
            f"transform file {path} has a meta record that is no JSON object of ours. Fit or copy it again."
        )
    if version > FORMAT:
        raise FileError(
            f"transform file {path} is of format {version}; this version reads up to {FORMAT}. Upgrade glocal."
        )
    return dict(meta)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a transform file that `safetensors_bytes` encoded, as `read_arrays` returns them.

    Raises
    ------
    FileError
        Unreadable, or no whole safetensors file.
    """
    safetensors = _import_safetensors()
    fix = "A transform file holds weights, mean and std: name one, or copy it again."
    try:
        with path.open("rb"), safetensors.safe_open(path, framework="numpy") as file:
            held = list(file.keys())
            check_members(path, "transform", MEMBERS, held, fix)
            arrays: dict[str, np.ndarray] = {name: file.get_tensor(name) for name in (*MEMBERS, "bias") if name in held}
            meta = (file.metadata() or {}).get("meta")
    except GLocalError:
        raise
    except OSError as error:
        raise unreadable(path, "transform", error) from error
    except (safetensors.SafetensorError, *DAMAGE) as error:
        raise FileError(
            f"transform file {path} is no readable safetensors file ({one_line(error)[:160]}). {fix}"
        ) from error
    return arrays if meta is None else {**arrays, "meta": np.array(meta)}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    fix = "A transform file holds weights, mean and std: name one, or copy it again."
    return read_npz(path, what="transform", fix=fix, required=MEMBERS, optional=("bias", "meta"))


def _import_safetensors() -> Any:
    return needed("safetensors", "a .safetensors file")
