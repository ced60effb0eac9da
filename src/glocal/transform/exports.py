"""A transform in other programs: a torch layer, a model's last layer, an ONNX model, a search.

The public functions are methods of `LinearTransform`.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from glocal.data.features import as_matrix
from glocal.errors import DataError, ParameterError, import_optional
from glocal.files import PathLike, atomic_write
from glocal.results import to_json
from glocal.similarity import Values, Weights, unit_rows
from glocal.transform.checks import check_rows
from glocal.transform.record import FORMAT

if TYPE_CHECKING:
    import torch

    from glocal.transform.linear import LinearTransform


def to_linear(transform: LinearTransform) -> torch.nn.Linear | torch.nn.Sequential:
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
    if not transform.normalize:
        return layer
    from glocal.transform.layers import UnitLength

    return torch.nn.Sequential(UnitLength(), layer)


def fold_into(
    transform: LinearTransform, layer: torch.nn.Linear | torch.nn.Parameter
) -> torch.nn.Linear:
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
    if transform.normalize:
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


def _linear(A: Weights, c: Values, dtype: Any, device: Any) -> torch.nn.Linear:
    """A frozen layer that computes x A + c."""
    import torch

    # NOTE the meta device draws no initial values, so that the random state stays unchanged
    layer = torch.nn.Linear(len(A), len(c), device="meta")
    for name, values in (("weight", A.T), ("bias", c)):
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(dtype=dtype, device=device)
        setattr(layer, name, torch.nn.Parameter(tensor, requires_grad=False))
    return layer


def to_onnx(
    transform: LinearTransform, path: PathLike, *, opset: int = 17, ir_version: int = 8
) -> None:
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
    initial: dict[str, np.ndarray] = {"weights": A.astype(np.float32), "bias": c.astype(np.float32)}
    rows = "features"
    step = ""
    if transform.normalize:
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


def rerank(
    transform: LinearTransform, query: Any, candidates: Any, k: int = 10
) -> tuple[Int[np.ndarray, "*q k"], Float[np.ndarray, "*q k"]]:
    """Sort the matches of a search in raw features by their cosine after the transform.

    The search index itself need not change.

    Parameters
    ----------
    query : (p,) or (q, p) array, tensor or list
        Raw features of one query, or of several.
    candidates : (c, p) or (q, c, p) array, tensor or list
        Raw features of the matches of the query, or of each query. Take 30 matches to find
        the nearest ten.
    k : int
        Number of matches to return, at most c.

    Returns
    -------
    rows, cosines : (k,) or (q, k) int and float
        Indices into the candidates in order of decreasing cosine to their query after the
        transform, and these cosines.

    Raises
    ------
    DataError, ParameterError
        There is not one list of candidates for each query, or k is not 1 to c.
    """
    x = as_matrix(query)
    C = as_matrix(candidates)
    if C.ndim != x.ndim + 1 or C.shape[:-2] != x.shape[:-1] or x.ndim < 1:
        raise DataError(
            f"query has shape {x.shape} and candidates {C.shape}; they must be (p,) and "
            "(c, p), or (q, p) and (q, c, p)."
        )
    c = C.shape[-2]
    if not isinstance(k, Integral) or not 1 <= k <= c:
        raise ParameterError(
            f"`k` is {k!r}; there are {c} candidates, so it must be an integer from 1 to {c}."
        )
    directions = []
    for X in (x, C):
        rows = transform.as_rows(X.reshape(-1, X.shape[-1])).astype(np.float64)
        check_rows(transform, rows)
        Z = unit_rows(transform.map_rows(rows))
        directions.append(Z.reshape(*X.shape[:-1], -1))
    cosines = np.einsum("...d,...cd->...c", *directions)
    rows = np.argsort(-cosines, axis=-1, kind="stable")[..., :k]
    return rows, np.take_along_axis(cosines, rows, axis=-1)
