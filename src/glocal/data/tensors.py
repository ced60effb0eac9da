"""What ``torch.save`` wrote, read without running any code: tensors and plain values only."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.container import refuse_inflated
from glocal.errors import FileError
from glocal.files import existing_file, one_line, unreadable


def read_tensors(path: Path, *, what: str, fix: str) -> Any:
    """Read tensors and plain Python values.

    Parameters
    ----------
    path : path
        A file of ``torch.save``, in its present or its old format.
    what, fix : str
        The role of the file, and what to do where it is damaged, for the sentence of an error.

    Raises
    ------
    FileError
        Missing, unreadable, damaged, with anything but tensors and plain values, or inflating out of all proportion.
    """
    import torch

    path = existing_file(path, what=what)
    try:
        with path.open("rb") as stream:
            if zipfile.is_zipfile(stream):
                with zipfile.ZipFile(stream) as archive:
                    refuse_inflated(sum(part.file_size for part in archive.infolist()), path.stat().st_size)
    except OSError as error:
        raise unreadable(path, what, error) from error
    except Exception as error:  # zipfile raises whatever damaged bytes lead it to
        raise FileError(f"{what} file {path} is not a whole PyTorch file ({one_line(error)[:160]}). {fix}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of foreign pickles before it refuses them
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever damaged bytes lead it to
        said = str(error)
        if "global" in said.lower():
            raise FileError(
                f"{what} file {path} holds pickled Python objects, which are never loaded. {fix}"
            ) from error
        # NOTE: torch advises to load it unsafely; we do not pass that on
        advises = "weights_only" in said or "torch.load" in said
        reason = "no tensors as torch.save writes them" if advises else one_line(error)[:160]
        raise FileError(f"{what} file {path} is not a whole PyTorch file ({reason}). {fix}") from error


def plain_array(tensor: Any, path: Path) -> np.ndarray:
    """A tensor of a file as an array, bfloat16 as float32.

    Raises
    ------
    ValueError
        Out of all proportion to the file: a tensor may repeat one value without storing it again.
    TypeError, RuntimeError
        It is sparse, quantized or without storage.
    """
    import torch

    tensor = tensor.detach()
    refuse_inflated(tensor.numel() * tensor.element_size(), os.stat(path).st_size)
    array: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


__all__ = ["plain_array", "read_tensors"]
