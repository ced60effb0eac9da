"""The formats of a transform: files (.npz as the authors write it, .safetensors), torch and ONNX.

The functions whose first argument is `transform` are methods of `LinearTransform`.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from glocal.errors import DataError, DataWarning, FileError, ParameterError, import_optional
from glocal.files import PathLike, array_sha256, atomic_write, ending, read_npz, reading
from glocal.results import to_json
from glocal.transform.record import FORMAT, check_record

if TYPE_CHECKING:
    import torch

ENDINGS = (".npz", ".safetensors")
TRANSFORM_NAME = "transform.npz"
"""The name of the transform file in a folder or repository."""

_FIX = "A transform file holds weights, mean and std. Name such a file, or copy it again."
_REQUIRED = ("weights", "mean", "std")
# `array_sha256` of the weights of DINO, which the authors published as those of DINOv2 too
WRONG = "1dd4366115a23f9288ecf4677920387aebcd4ceb535065497796ce2753030228"


def normalised_name(name: str) -> str:
    """The name of a network in lower case, with a dash for each slash and underscore."""
    return str(name).casefold().replace("/", "-").replace("_", "-")


def save(transform: Any, path: PathLike) -> None:
    """Write the transform atomically as ``.npz``, the authors' format plus one JSON string `meta`.

    A path that ends in ``.safetensors`` is written in that format, with the same names.

    Raises
    ------
    ParameterError, MissingDependencyError, FileError
        The path has another ending, safetensors is not installed, or the file cannot be written.
        A previous file then stays unchanged.
    """
    kind = ending(path)
    if kind not in ENDINGS:
        raise ParameterError(f"transform file {path} must end in {' or '.join(ENDINGS)}.")
    record = to_json({"format": FORMAT, **transform.meta})
    W = transform.weights
    arrays = {
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
            tensors = {
                key: np.atleast_1d(np.ascontiguousarray(value)) for key, value in arrays.items()
            }
            stream.write(write(tensors, metadata={"meta": record}))


def read_transform(
    path: PathLike,
) -> tuple[np.ndarray, np.ndarray | None, float, float, dict[str, Any]]:
    """Read weights, bias, mean, std and record of a transform file; see `LinearTransform.load`."""
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
    name = "dino-vit-base-p16"
    is_wrong = weights.shape == (768, 768) and array_sha256(weights) == WRONG
    if is_wrong and name not in str(Path(path).absolute()):
        warnings.warn(
            f"transform file {path} is that of {name}, which its authors also published as "
            f"dinov2-vit-base-p14, by mistake. Apply it to features of {name} only.",
            DataWarning,
            stacklevel=3,
        )
    return weights, bias, mean, std, meta


def _read_safetensors(path: PathLike) -> dict[str, np.ndarray]:
    """Read the arrays of a ``.safetensors`` file, and its record as the array `meta`."""
    library = import_optional("safetensors", "a .safetensors file")
    with reading(path, "transform", _FIX) as file, library.safe_open(file, "numpy") as opened:
        names = {*_REQUIRED, *(set(opened.keys()) & {"bias"})}
        arrays = {name: opened.get_tensor(name) for name in names}
        return arrays | {"meta": np.array((opened.metadata() or {}).get("meta", "{}"))}


def to_linear(transform: Any) -> torch.nn.Linear | torch.nn.Sequential:
    """Make the ``torch.nn.Linear`` that transforms raw features, z = x A + c: p → r.

    The layer is float32, on the CPU and frozen; ``requires_grad_()`` makes it trainable. If the
    transform was fitted on rows of length 1, the result is a ``torch.nn.Sequential`` of a step that
    scales the rows, and the layer.

    Raises
    ------
    MissingDependencyError
        torch is not installed.
    """
    torch = import_optional("torch", "to_linear()")
    A, c = transform.folded()
    layer = _linear(A, c, torch.float32, "cpu")
    if not transform.normalised:
        return layer
    from glocal.transform.layers import UnitLength

    return torch.nn.Sequential(UnitLength(), layer)


def fold_into(transform: Any, layer: torch.nn.Linear | torch.nn.Parameter) -> torch.nn.Linear:
    """Fold the transform into the last projection of a model, which then yields aligned features.

    `layer` computes the raw features x = y Lᵀ + l. The new layer computes x A + c = y (Aᵀ L)ᵀ + (l
    A + c). Its weights are computed in float64 and rounded once to the dtype of `layer`; its device
    and ``requires_grad`` are those of `layer`.

    Parameters
    ----------
    layer : torch.nn.Linear or torch.nn.Parameter
        The projection q → p whose output the transform was fitted on; it is not changed. A (q, p)
        Parameter P stands for the product y P, as ``visual.proj`` of open_clip does. It cannot
        hold c, so that the new Linear must replace it; see the example.

    Raises
    ------
    ParameterError
        `layer` is of another kind, or does not yield p features; or the transform was fitted on
        rows of length 1, to which no linear layer can scale.
    DataError
        The folded values overflow the dtype of the layer.

    Examples
    --------
    An open_clip image tower ends in ``pooled @ visual.proj``::

        aligned = transform.fold_into(visual.proj)
        visual.proj = None
        visual.register_forward_hook(lambda module, inputs, pooled: aligned(pooled))
    """
    torch = import_optional("torch", "fold_into()")
    if transform.normalised:
        raise ParameterError(
            "the transform was fitted on rows of length 1, to which a linear layer cannot scale. "
            "Append to_linear() to the model instead."
        )
    A, c = transform.folded()
    bias = None
    if isinstance(layer, torch.nn.Parameter) and layer.ndim == 2:
        weight = layer.T
    elif isinstance(layer, torch.nn.Linear):
        weight = layer.weight
        bias = layer.bias
    else:
        raise ParameterError(
            f"the layer to fold into is a {type(layer).__name__}; it must be a torch.nn.Linear "
            "or a (q, p) torch.nn.Parameter. Append to_linear() to the model instead."
        )
    if len(weight) != len(A):
        raise ParameterError(
            f"the layer yields {len(weight)} features but the transform maps {len(A)}; "
            f"it must be the layer whose {len(A)} outputs the transform was fitted on."
        )
    if bias is not None:
        c = c + bias.detach().cpu().double().numpy() @ A
    L = weight.detach().cpu().double().numpy()
    folded = _linear(L.T @ A, c, weight.dtype, weight.device)
    if not all(bool(torch.isfinite(part).all()) for part in folded.parameters()):
        raise DataError(
            f"the folded layer holds values outside the range of {weight.dtype}. Convert the layer "
            "first, for example with .float()."
        )
    return folded.requires_grad_(weight.requires_grad)


def _linear(
    A: Float[np.ndarray, "p r"], c: Float[np.ndarray, " r"], dtype: Any, device: Any
) -> torch.nn.Linear:
    """A frozen layer that computes x A + c."""
    import torch

    # NOTE the meta device draws no initial values, so that the random state stays unchanged
    layer = torch.nn.Linear(len(A), len(c), device="meta")
    for name, values in (("weight", A.T), ("bias", c)):
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(dtype=dtype, device=device)
        setattr(layer, name, torch.nn.Parameter(tensor, requires_grad=False))
    return layer


def to_onnx(transform: Any, path: PathLike, *, opset: int = 17, ir_version: int = 8) -> None:
    """Write an ONNX model atomically: ``features`` (n, p), raw float32 → ``aligned`` (n, r).

    n is a free dimension. Rows are scaled to length 1 first if those of the fit were. The model's
    metadata hold the record as one JSON string ``meta``.

    Parameters
    ----------
    opset, ir_version : int
        Versions of the operators and of the format. To append the model to a backbone with
        ``onnx.compose.merge_models``, pass those of the backbone.

    Raises
    ------
    MissingDependencyError, FileError
        onnx is not installed, or the file cannot be written. A previous file then stays unchanged.
    """
    import_optional("onnx", "an ONNX model")
    from onnx import checker, helper, numpy_helper, parser

    A, c = transform.folded()
    p, r = A.shape
    initial = {"weights": A.astype(np.float32), "bias": c.astype(np.float32)}
    rows = "features"
    step = ""
    if transform.normalised:
        # NOTE in float64 no float32 overflows when squared; LpNormalization may divide 0 by 0
        rows = "unit_rows"
        step = """
            wide = Cast <to = 11> (features)
            squares = Mul (wide, wide)
            sums = MatMul (squares, ones)
            lengths = Sqrt (sums)
            divisors = Max (lengths, tiny)
            unit = Div (wide, divisors)
            unit_rows = Cast <to = 1> (unit)
        """
        initial |= {"ones": np.ones((p, 1)), "tiny": np.array(1e-60)}
    model = parser.parse_model(f"""
        <ir_version: {ir_version}, opset_import: ["": {opset}], producer_name: "glocal">
        glocal (float[n, {p}] features) => (float[n, {r}] aligned) {{
            {step}
            product = MatMul ({rows}, weights)
            aligned = Add (product, bias)
        }}
    """)
    for name, values in initial.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    record = to_json({"format": FORMAT, **transform.meta})
    helper.set_model_props(model, {"meta": record})
    checker.check_model(model)
    with atomic_write(path) as stream:
        stream.write(model.SerializeToString())
