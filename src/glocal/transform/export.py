"""A transform as other programs want it: one torch layer, folded into a model's last layer, ONNX, safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from glocal.errors import DataError, ParameterError
from glocal.extras import needed
from glocal.files import PathLike, atomic_write
from glocal.records import to_json
from glocal.transform.file_format import FORMAT

if TYPE_CHECKING:
    import torch

ONNX_OPSET = 17
_ONNX_IR = 8  # what runtimes of the age of opset 17 read
_ONNX_BYTES = (1 << 31) - (1 << 20)  # one protobuf message ends at 2 GiB


@runtime_checkable
class AffineMap(Protocol):
    """What is exported: z = x A + c on raw features, and where it comes from. `glocal.LinearTransform` is one."""

    @property
    def meta(self) -> dict[str, Any]:
        """Provenance, JSON values only."""

    @property
    def dimensions(self) -> int:
        """The number p of features."""

    def folded(self) -> tuple[Float[np.ndarray, "p p"], Float[np.ndarray, " p"]]:
        """A and c in float64."""


def to_linear(transform: AffineMap) -> torch.nn.Linear:
    """Make the ``torch.nn.Linear`` that maps raw features as `transform` does, z = x A + c.

    Parameters
    ----------
    transform : AffineMap
        With (p, p) weights.

    Returns
    -------
    torch.nn.Linear
        float32, on the CPU, p → p, with a bias; frozen, since it is a result: ``requires_grad_()`` makes it trainable.

    Examples
    --------
    >>> import torch
    >>> from glocal import LinearTransform
    >>> layer = to_linear(LinearTransform(np.eye(2, dtype=np.float32), None, mean=1.0, std=2.0))
    >>> layer(torch.tensor([[3.0, 1.0]])).tolist()
    [[1.0, 0.0]]
    """
    A, c = transform.folded()
    return _layer(A.T, c)


def fold_into(transform: AffineMap, linear: torch.nn.Linear) -> torch.nn.Linear:
    """Fold `transform` into the last projection of a model, so that the model itself yields aligned features.

    The layer computes the raw features x = y Lᵀ + l; the new one computes x A + c = y (Aᵀ L)ᵀ + (l A + c). The
    products are in float64 and rounded once to the dtype of the layer.

    Parameters
    ----------
    transform : AffineMap
        Fitted on the output of `linear`.
    linear : torch.nn.Linear
        q → p; it is not changed.

    Returns
    -------
    torch.nn.Linear
        q → p, with a bias, of the dtype, device, training mode and ``requires_grad`` of `linear`.

    Raises
    ------
    ParameterError
        Not a ``torch.nn.Linear``, or it does not yield p features.
    DataError
        The folded values overflow the dtype of the layer.
    """
    import torch

    p = transform.dimensions
    if not isinstance(linear, torch.nn.Linear):
        raise ParameterError(
            f"the layer to fold into is a {type(linear).__name__}; allowed is a torch.nn.Linear. "
            "Append to_linear() to the model instead."
        )
    if linear.out_features != p:
        raise ParameterError(
            f"the layer yields {linear.out_features} features but the transform maps {p}; "
            f"it must be the layer whose {p} outputs the transform was fitted on."
        )
    A, c = transform.folded()
    L = linear.weight.detach().cpu().double().numpy()
    if linear.bias is not None:
        c = c + linear.bias.detach().cpu().double().numpy() @ A
    folded = _layer(A.T @ L, c, linear.weight.dtype, linear.weight.device).train(linear.training)
    if not all(bool(torch.isfinite(part).all()) for part in folded.parameters()):
        raise DataError(
            f"the folded layer leaves the range of {linear.weight.dtype}. Convert the layer first: linear.float()."
        )
    return folded.requires_grad_(linear.weight.requires_grad)


def to_onnx(transform: AffineMap, path: PathLike) -> None:
    """Write `transform` atomically as an ONNX model: ``features`` (n, p) raw float32 in, ``aligned`` (n, p) out.

    n is free. The model's metadata carry the provenance of the transform as one JSON string ``meta``.

    Parameters
    ----------
    transform : AffineMap
    path : path
        Usually ``.onnx``; overwritten.

    Raises
    ------
    MissingDependencyError
        onnx is not installed.
    ParameterError
        The weights do not fit one ONNX file.
    FileError
        The file cannot be written; a previous file stays whole.
    """
    onnx = needed("onnx", "an ONNX model")
    from onnx import TensorProto, helper, numpy_helper

    p = transform.dimensions
    if 4 * p * (p + 1) > _ONNX_BYTES:
        raise ParameterError(
            f"the transform maps {p} dimensions and its weights take {4 * p * p} bytes; one ONNX file holds less than "
            "2 GiB. Save it as .npz or .safetensors."
        )
    parts = zip(("weights", "bias"), transform.folded(), strict=True)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["aligned"]),
        ],
        "glocal",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", p])],
        [helper.make_tensor_value_info("aligned", TensorProto.FLOAT, ["n", p])],
        [numpy_helper.from_array(part.astype(np.float32), name) for name, part in parts],
    )
    opsets = [helper.make_opsetid("", ONNX_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_ONNX_IR, producer_name="glocal")
    helper.set_model_props(model, {"meta": to_json({"format": FORMAT, **transform.meta})})
    onnx.checker.check_model(model)
    with atomic_write(path) as stream:
        stream.write(model.SerializeToString())


def _layer(
    weight: Float[np.ndarray, "p q"], bias: Float[np.ndarray, " p"], dtype: Any = None, device: Any = None
) -> torch.nn.Linear:
    """Build a frozen ``torch.nn.Linear`` of these values without touching the global random state."""
    import torch

    like: dict[str, Any] = {"dtype": dtype or torch.float32, "device": device}
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight = torch.nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight)).to(**like), requires_grad=False)
    layer.bias = torch.nn.Parameter(torch.from_numpy(bias).to(**like), requires_grad=False)
    return layer
