"""What ``torch.save`` wrote, read without running any code: tensors and plain values only."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.container import choose, native, pickled, refuse_inflated, whole
from glocal.errors import FileError


def read_tensors(path: Path, *, what: str, fix: str) -> Any:
    """Read tensors and plain values of a file of ``torch.save``; `what` and `fix` are for the sentence of an error."""
    import torch

    with whole(path, "PyTorch file", fix, Exception, what=what):  # both raise whatever damaged bytes lead them to
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                refuse_inflated(sum(part.file_size for part in archive.infolist()), path.stat().st_size)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of foreign pickles before it refuses them
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            said = str(error)
            if "global" in said.lower():
                raise pickled(path, fix, what=what) from error
            if "weights_only" in said or "torch.load" in said:  # NOTE: advice to load it unsafely, not passed on
                raise ValueError("no tensors as torch.save writes them") from error
            raise


def read_torch_features(path: Path) -> np.ndarray:
    """Read the features in a file of ``torch.save``: a tensor, or one in a dict of tensors."""
    import torch

    loaded = read_tensors(path, what="features", fix="Write it again with torch.save(torch.as_tensor(features), path).")
    if isinstance(loaded, dict):
        tensors = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
        real = {key: (tuple(tensor.shape), not tensor.is_complex()) for key, tensor in tensors.items()}
        loaded = tensors.get(choose(path, real))
    if not isinstance(loaded, torch.Tensor):
        raise FileError(
            f"features file {path} holds a {type(loaded).__name__}; allowed are a tensor and a dict of tensors. "
            "Save the tensor: torch.save(features, path)."
        )
    with whole(path, "PyTorch file", "Write it again with torch.save(features.contiguous(), path)."):
        try:
            return native(plain_array(loaded, path))
        except (TypeError, RuntimeError) as error:
            raise FileError(
                f"features file {path} holds a {loaded.dtype} tensor of layout {loaded.layout} on {loaded.device}, "
                "which is not a plain array. Save it dense and as float32: "
                "torch.save(features.to_dense().float(), path)."
            ) from error


def plain_array(tensor: Any, path: Path) -> np.ndarray:
    """A tensor of a file as an array, bfloat16 as float32; a ValueError if it is out of all proportion to the file."""
    import torch

    tensor = tensor.detach()
    refuse_inflated(tensor.numel() * tensor.element_size(), os.stat(path).st_size)
    array: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array
