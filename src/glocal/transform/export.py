"""A transform as other programs want it: one torch layer, folded into a model's last layer, ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from glocal.errors import DataError, ParameterError, needed
from glocal.files import PathLike, atomic_write
from glocal.results import to_json
from glocal.transform.files import FORMAT

if TYPE_CHECKING:
    import torch


def to_linear(
    A: Float[np.ndarray, "p r"], c: Float[np.ndarray, " r"], dtype: Any = None, device: Any = None
) -> torch.nn.Linear:
    """Make the ``torch.nn.Linear`` of the map z = x A + c on raw features; `LinearTransform.to_linear` gives both.

    Returns
    -------
    torch.nn.Linear
        p → r, with a bias, float32 and on the CPU unless asked otherwise; frozen, since it is a result:
        ``requires_grad_()`` makes it trainable.
    """
    import torch

    layer = torch.nn.Linear(len(A), len(c), device="meta")  # NOTE no values are drawn: the random state stays as it is
    for name, values in (("weight", A.T), ("bias", c)):
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(dtype=dtype or torch.float32, device=device)
        setattr(layer, name, torch.nn.Parameter(tensor, requires_grad=False))
    return layer


def fold_into(
    A: Float[np.ndarray, "p r"], c: Float[np.ndarray, " r"], layer: torch.nn.Linear | torch.nn.Parameter
) -> torch.nn.Linear:
    """Fold z = x A + c into the last projection of a model, so that the model itself yields aligned features.

    The layer computes the raw features x = y Lᵀ + l; the new one computes x A + c = y (Aᵀ L)ᵀ + (l A + c). The
    products are in float64 and rounded once to the dtype of the layer.

    Parameters
    ----------
    A, c : (p, r) and (r,) float64
        Of ``LinearTransform.folded()``, fitted on the output of `layer`; ``transform.fold_into(layer)`` passes them.
    layer : torch.nn.Linear or torch.nn.Parameter
        q → p; it is not changed. A (q, p) Parameter is one that the model multiplies by, as the ``visual.proj`` of
        open_clip: y P. It has no place for c, so that a Linear takes its place; see the example.

    Returns
    -------
    torch.nn.Linear
        With a bias, of the dtype, device and ``requires_grad`` of `layer`.

    Raises
    ------
    ParameterError
        Another kind of layer, or it does not yield p features.
    DataError
        The folded values overflow the dtype of the layer.

    Examples
    --------
    An open_clip image tower ends in ``pooled @ visual.proj``::

        aligned = transform.fold_into(visual.proj)
        visual.proj = None
        visual.register_forward_hook(lambda module, inputs, pooled: aligned(pooled))
    """
    import torch

    if isinstance(layer, torch.nn.Parameter) and layer.ndim == 2:
        given, bias = layer.T, None
    elif isinstance(layer, torch.nn.Linear):
        given, bias = layer.weight, layer.bias
    else:
        raise ParameterError(
            f"the layer to fold into is a {type(layer).__name__}; allowed are a torch.nn.Linear and a (q, p) "
            "torch.nn.Parameter. Append to_linear() to the model instead."
        )
    if len(given) != len(A):
        raise ParameterError(
            f"the layer yields {len(given)} features but the transform maps {len(A)}; "
            f"it must be the layer whose {len(A)} outputs the transform was fitted on."
        )
    if bias is not None:
        c = c + bias.detach().cpu().double().numpy() @ A
    folded = to_linear(given.detach().cpu().double().numpy().T @ A, c, given.dtype, given.device)
    if not all(bool(torch.isfinite(part).all()) for part in folded.parameters()):
        raise DataError(
            f"the folded layer leaves the range of {given.dtype}. Convert the layer first, e.g. with .float()."
        )
    return folded.requires_grad_(given.requires_grad)


def to_onnx(
    A: Float[np.ndarray, "p r"],
    c: Float[np.ndarray, " r"],
    path: PathLike,
    *,
    meta: Mapping[str, Any],
    opset: int = 17,
    ir_version: int = 8,
) -> None:
    """Write z = x A + c atomically as an ONNX model: ``features`` (n, p) raw float32 in, ``aligned`` (n, r) out.

    n is free. `meta`, the provenance of the transform, becomes one JSON string ``meta`` of the model's metadata. To
    append it to a backbone by ``onnx.compose.merge_models``, give it the opset and the IR version of that.

    Raises
    ------
    MissingDependencyError
        onnx is not installed.
    FileError
        The file cannot be written; a previous file stays whole.
    """
    onnx = needed("onnx", "an ONNX model")
    from onnx import TensorProto, helper, numpy_helper

    p, r = A.shape
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["aligned"]),
        ],
        "glocal",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", p])],
        [helper.make_tensor_value_info("aligned", TensorProto.FLOAT, ["n", r])],
        [numpy_helper.from_array(part.astype(np.float32), name) for name, part in (("weights", A), ("bias", c))],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="glocal")
    helper.set_model_props(model, {"meta": to_json({"format": FORMAT, **meta})})
    onnx.checker.check_model(model)
    with atomic_write(path) as stream:
        stream.write(model.SerializeToString())
