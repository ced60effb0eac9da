"""Checkpoints of the mini-batch solver, read as transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.tensors import plain_array, read_tensors
from glocal.errors import FileError
from glocal.files import one_line
from glocal.results import to_json
from glocal.transform.file_format import Parts


def read_checkpoint(path: Path) -> Parts:
    """Weights, bias, mean, std and meta of a checkpoint of the mini-batch solver.

    The weights are the best ones where the fit keeps those, else the last. Only tensors and plain values are read, so
    that a checkpoint from elsewhere runs no code. Lightning is not needed.
    """
    checkpoint = read_tensors(path, what="checkpoint", fix="Copy it again.")
    state, kept = (_part(checkpoint, name) for name in ("state_dict", "glocal"))
    if "W" not in state or not {"mean", "std"} <= kept.keys():
        raise FileError(f"checkpoint {path} is not a fit of glocal: W, mean and std are needed.")
    W, b = state.get("best_W", state["W"]), state.get("best_b", state.get("b"))
    try:
        epochs, steps = checkpoint.get("epoch", -1) + 1, checkpoint.get("global_step")
        meta = {"checkpoint": {"epochs": epochs, "steps": steps, **kept}}
        to_json(meta)
        weights = plain_array(W, path).astype(np.float32)
        bias = None if b is None else plain_array(b, path).astype(np.float32)
        mean, std = float(kept["mean"]), float(kept["std"])
    except (ValueError, TypeError, RuntimeError, AttributeError, OverflowError, RecursionError) as error:
        raise FileError(
            f"checkpoint {path} is not a fit of glocal ({one_line(error)[:160]}). Copy it again."
        ) from error
    p = len(weights) if weights.ndim else 0
    if weights.shape != (p, p) or (bias is not None and bias.shape != (p,)):
        raise FileError(f"checkpoint {path} is not a fit of glocal: W must be (p, p) and b (p,). Copy it again.")
    return weights, bias, mean, std, meta


def _part(checkpoint: Any, name: str) -> dict[str, Any]:
    part = checkpoint.get(name) if isinstance(checkpoint, dict) else None
    return part if isinstance(part, dict) else {}
