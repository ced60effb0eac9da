"""`append`: a backbone in ONNX and a transform as one ONNX file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from glocal.errors import DataError, ParameterError
from glocal.extras import needed
from glocal.files import PathLike, atomic_write, reading
from glocal.integrations.strength import at_strength
from glocal.transform.linear import LinearTransform

_BYTES = (1 << 31) - (1 << 20)  # one protobuf message ends at 2 GiB


def append(
    backbone: PathLike,
    transform: LinearTransform,
    out: PathLike,
    *,
    output: str | None = None,
    strength: float = 1.0,
) -> None:
    """Write a copy of an ONNX model with a further output ``aligned`` (n, r), the transform of one of its outputs.

    The inputs and the other outputs stay; the output that is aligned gives its place to ``aligned``. The backbone is a
    file such as ``torch.onnx.export`` writes.

    Parameters
    ----------
    backbone : path
        An ONNX file whose weights lie in the file itself.
    transform : LinearTransform
        Fitted on the output of the backbone.
    out : path
        Written atomically. The provenance of the transform becomes ``glocal`` in the metadata of the model.
    output : str or None
        The name of the float32 output (n, p) to align; None where there is one output only.
    strength : float
        1 is the transform, 0 the original up to scale.

    Raises
    ------
    MissingDependencyError
        onnx is not installed.
    FileError
        The backbone is missing, damaged, or not an ONNX model.
    ParameterError
        There is no such output, or there are several and `output` is None.
    DataError
        The output is not what the transform maps.
    """
    onnx = needed("onnx", "an ONNX model")
    transform = at_strength(transform, strength)
    with reading(backbone, "ONNX model", "Export it again.") as path:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    features = _output(model, output, str(path))
    kind, shape = (
        features.type.tensor_type.elem_type,
        [d.dim_value or None for d in features.type.tensor_type.shape.dim],
    )
    if kind != onnx.TensorProto.FLOAT or (shape and (len(shape) != 2 or shape[1] not in (None, transform.dimensions))):
        raise DataError(
            f"output {features.name} of {path} holds {onnx.TensorProto.DataType.Name(kind)} of shape {tuple(shape)}; "
            f"the transform maps FLOAT of shape (n, {transform.dimensions}). Name another output, or convert it in the "
            "backbone."
        )
    A, c = transform.folded()
    _add_layer(model, features.name, A.astype(np.float32), c.astype(np.float32))
    onnx.helper.set_model_props(
        model, {**{p.key: p.value for p in model.metadata_props}, "glocal": json.dumps(transform.meta)}
    )
    onnx.checker.check_model(model)
    if model.ByteSize() > _BYTES:
        raise ParameterError(f"{path} with the transform takes {model.ByteSize()} bytes; one ONNX file holds 2 GiB.")
    with atomic_write(out) as stream:
        stream.write(model.SerializeToString())


def _output(model: Any, name: str | None, path: str) -> Any:
    outputs = {each.name: each for each in model.graph.output}
    if name is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if name not in outputs:
        given = "none is named" if name is None else f"output is {name!r}"
        raise ParameterError(f"{path} has the outputs {', '.join(outputs)} and {given}. Pass one of them as output.")
    return outputs[name]


def _add_layer(model: Any, features: str, A: np.ndarray, c: np.ndarray) -> None:
    """Let the graph compute ``aligned`` = features A + c in place of its output `features`."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    if here := taken & {"aligned", "glocal_weights", "glocal_bias", "glocal_product"}:
        raise ParameterError(
            f"the backbone has a value named {min(here)} already; it may be aligned. Rename it in the export."
        )
    graph.initializer.extend([numpy_helper.from_array(A, "glocal_weights"), numpy_helper.from_array(c, "glocal_bias")])
    graph.node.extend(
        [
            helper.make_node("MatMul", [features, "glocal_weights"], ["glocal_product"]),
            helper.make_node("Add", ["glocal_product", "glocal_bias"], ["aligned"]),
        ]
    )
    position = [each.name for each in graph.output].index(features)
    rows = graph.output[position].type.tensor_type.shape.dim
    n = (rows[0].dim_param or rows[0].dim_value or "n") if rows else "n"
    graph.output[position].CopyFrom(helper.make_tensor_value_info("aligned", TensorProto.FLOAT, [n, A.shape[1]]))
