"""Checkpoints of the mini-batch solver, read as transforms."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.errors import FileError
from glocal.files import PathLike, existing_file, one_line


def read_checkpoint(
    path: PathLike,
) -> tuple[Float[np.ndarray, "p p"], Float[np.ndarray, " p"] | None, float, float, dict[str, Any]]:
    """Weights, bias, mean, std and meta of a checkpoint.

    The weights are the best ones where the fit keeps those, else the last. Only tensors and plain values are read, so
    that a checkpoint from elsewhere runs no code. Lightning is not needed.

    Raises
    ------
    FileError
        Missing, damaged, or no checkpoint that ``fit_arm`` wrote.
    """
    import torch

    path = existing_file(path, what="checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise FileError(f"checkpoint {path} cannot be read ({one_line(error)}). Copy it again.") from error
    state = checkpoint.get("state_dict", {}) if isinstance(checkpoint, dict) else {}
    kept = checkpoint.get("glocal", {}) if isinstance(checkpoint, dict) else {}
    if "W" not in state or not {"mean", "std"} <= set(kept):
        raise FileError(f"checkpoint {path} holds no fit of ours: W, mean and std are needed.")
    W, b = state.get("best_W", state["W"]), state.get("best_b", state.get("b"))
    meta = {"checkpoint": {"epochs": checkpoint.get("epoch", -1) + 1, "steps": checkpoint.get("global_step"), **kept}}
    bias = None if b is None else b.float().numpy()
    return W.float().numpy(), bias, float(kept["mean"]), float(kept["std"]), meta
