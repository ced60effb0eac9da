"""`LinearTransform`: z = ((x - mean) / std) W + b, applied, interpolated, saved and loaded."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float

from glocal.data.features import Standardization, row_blocks
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.files import PathLike, one_line
from glocal.jobs.leaving import existing_file
from glocal.options import check_kind
from glocal.transform.file_format import read_transform, write_transform

if TYPE_CHECKING:
    import torch

    from glocal.transform.export import Layer

Rows = TypeVar("Rows")


@dataclass(frozen=True, eq=False)
class LinearTransform:
    """An affine transform of standardized features.

    W maps p dimensions to p, or to r < p where `glocal.transform.reduced` made it. Such a map has no strength and
    starts no fit; otherwise it is applied, composed, exported, saved and scored alike.

    Parameters
    ----------
    weights : (p, r) float32
        W, right-multiplied; r is p, or fewer.
    bias : (r,) float32 or None
        b.
    mean, std : float
        The two standardization scalars of the object features the transform was fitted on.
    meta : dict
        Provenance and scores, JSON values only; empty for a file of the authors.

    Raises
    ------
    DataError
        Shapes that do not fit, values that are not finite, std not above 0.

    Examples
    --------
    >>> transform = LinearTransform(np.eye(2, dtype=np.float32), None, mean=1.0, std=2.0)
    >>> transform(np.array([[3.0, 1.0]], dtype=np.float32)).tolist()
    [[1.0, 0.0]]
    >>> twice = transform @ transform
    >>> twice(np.array([[3.0, 1.0]], dtype=np.float32)).tolist()
    [[0.0, -0.5]]
    """

    weights: Float[np.ndarray, "p r"]
    bias: Float[np.ndarray, " r"] | None
    mean: float
    std: float
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        W = self.weights
        if W.ndim != 2 or W.shape[0] < W.shape[1]:
            raise DataError(f"transform weights have shape {W.shape}; they must be (p, p), or (p, r) with r below p.")
        if self.bias is not None and self.bias.shape != W.shape[1:]:
            raise DataError(f"transform bias has shape {self.bias.shape}; it must be ({W.shape[1]},) like its weights.")
        if not (np.isfinite(W).all() and (self.bias is None or np.isfinite(self.bias).all())):
            raise DataError("transform weights hold NaN or infinity. Fit it again.")
        if not (np.isfinite(self.mean) and np.isfinite(self.std) and self.std > 0):
            raise DataError(f"transform mean is {self.mean} and std {self.std}; they must be finite and std above 0.")

    def __repr__(self) -> str:
        method = self.meta.get("fit", {}).get("method")
        known = [] if method is None else [str(method)]
        fewer = "" if self.out_dimensions == self.dimensions else f" to {self.out_dimensions}"
        known += [f"{self.dimensions}{fewer} dimensions", *([] if self.bias is None else ["bias"])]
        return f"LinearTransform({', '.join(known)}, mean {self.mean:.6g}, std {self.std:.6g})"

    @property
    def dimensions(self) -> int:
        """The number p of features."""
        return len(self.weights)

    @property
    def out_dimensions(self) -> int:
        """The number r of features that come out: p, or fewer."""
        return int(self.weights.shape[1])

    @property
    def standardization(self) -> Standardization:
        """The two scalars as a function of features."""
        return Standardization(self.mean, self.std)

    def __call__(self, features: Rows, *, strength: float = 1.0, normalize: bool = False) -> Rows:
        """Transform rows, arrays to arrays and tensors to tensors, with their gradients; the same as `apply`."""
        return self.apply(features, strength=strength, normalize=normalize)

    def __matmul__(self, first: LinearTransform) -> LinearTransform:
        """Compose as functions are: ``(second @ first)(X)`` is ``second(first(X))``, as one transform.

        W = W₁ W₂ / std₂ and b = ((b₁ - mean₂) / std₂) W₂ + b₂ on features standardized by `first`. Its `meta` lists
        those of both, `first` first, under ``composed``.

        Raises
        ------
        DataError
            The second does not map as many dimensions as come out of the first.
        """
        if not isinstance(first, LinearTransform):
            return NotImplemented
        if first.out_dimensions != self.dimensions:
            raise DataError(
                f"a transform to {first.out_dimensions} dimensions cannot be followed by one of {self.dimensions}; "
                "both must map the same features."
            )
        A, c = self.folded()
        b = c if first.bias is None else first.bias.astype(np.float64) @ A + c
        weights, bias = first.weights.astype(np.float64) @ A, b if b.any() else None
        dtype = np.result_type(self.weights, first.weights)
        return LinearTransform(
            weights.astype(dtype),
            None if bias is None else bias.astype(dtype),
            first.mean,
            first.std,
            {"composed": [first.meta, self.meta]},
        )

    def apply(self, features: Rows, *, strength: float = 1.0, normalize: bool = False) -> Rows:
        """Transform rows.

        Parameters
        ----------
        features : (n, p) array or tensor
            Not standardized: the two scalars are part of the transform. Integers become float32;
            float16 and bfloat16 are computed in float32 and rounded once at the end.
        strength : float
            1 is the transform, 0 the original up to scale; see `at_strength`.
        normalize : bool
            Scale each row to length 1.

        Returns
        -------
        (n, r) array or tensor
            Of the kind, device and (float) dtype that came in.

        Raises
        ------
        DataError
            The rows do not have p columns.
        """
        if strength != 1.0:
            return self.at_strength(strength).apply(features, normalize=normalize)
        shape = getattr(features, "shape", None)
        if not (isinstance(features, np.ndarray) or hasattr(features, "detach")) or shape is None:
            raise DataError(
                f"features are a {type(features).__name__}; a transform maps numpy arrays and tensors. "
                "Pass numpy.asarray(features)."
            )
        self.check_shape(tuple(shape))
        if isinstance(features, np.ndarray):
            if features.dtype.kind not in "fiub":
                raise DataError(f"features hold {features.dtype} values; they must be real numbers.")
            return self._apply_numpy(features, normalize)  # type: ignore[return-value]
        return self._apply_torch(features, normalize)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise a DataError for features of a shape that is not (n, p)."""
        if len(shape) != 2 or shape[1] != self.dimensions:
            raise DataError(
                f"features have shape {shape} but the transform maps {self.dimensions} dimensions; "
                f"it needs (n, {self.dimensions}): features of the model and layer it was fitted on."
            )

    def _apply_numpy(self, X: np.ndarray, normalize: bool) -> np.ndarray:
        dtype = np.dtype(np.float64 if X.dtype.kind == "f" and X.dtype.itemsize >= 8 else np.float32)
        W = self.weights.astype(dtype, copy=False)
        Z: np.ndarray = np.empty((len(X), self.out_dimensions), dtype=X.dtype if X.dtype.kind == "f" else dtype)
        # NOTE the scalars come off before the product: folded into it, a large offset would cancel in float32
        for start, stop in row_blocks(*X.shape):
            block = self.standardization(X[start:stop], dtype) @ W
            if self.bias is not None:
                block += self.bias
            if normalize:
                norms = np.linalg.norm(block, axis=1, keepdims=True)
                block /= np.where(norms > 0, norms, 1)
            Z[start:stop] = block
        return Z

    def _apply_torch(self, X: Any, normalize: bool) -> Any:
        import torch

        if X.is_complex() or X.layout != torch.strided:
            raise DataError(f"features hold {X.dtype} values, {X.layout}; they must be real numbers in a dense tensor.")
        dtype = torch.float64 if X.dtype == torch.float64 else torch.float32
        W = torch.as_tensor(self.weights, dtype=dtype, device=X.device)
        near = float(np.float32(self.mean))  # NOTE in two parts: not every device computes in float64
        Z = ((X.to(dtype) - near) - (self.mean - near)) / self.std @ W
        if self.bias is not None:
            Z += torch.as_tensor(self.bias, dtype=dtype, device=X.device)
        if normalize:
            Z = torch.nn.functional.normalize(Z, dim=1)
        return Z.to(X.dtype) if X.is_floating_point() else Z

    def folded(self) -> tuple[Float[np.ndarray, "p r"], Float[np.ndarray, " r"]]:
        """Give A, c (float64) of this map on raw features, z = x A + c: A = W / std, c = b - mean/std · Σ_rows W."""
        A = self.weights.astype(np.float64) / self.std
        c = -self.mean * A.sum(axis=0)
        if self.bias is not None:
            c += self.bias
        return A, c

    def at_strength(self, strength: float) -> LinearTransform:
        """Interpolate between the original features and the full transform.

        W_s = cI + s (W - cI) and b_s = s b with c = tr W / p: s = 0 is the original up to scale, s = 1 the transform;
        values between keep more of each neighbourhood, values above 1 exaggerate.

        Parameters
        ----------
        strength : float
            s ≥ 0, finite.

        Raises
        ------
        ParameterError
            Another number, or a transform to fewer dimensions, which cannot be mixed with the original: reduce it
            afterwards.
        """
        check_kind("strength", strength, float)
        if not (np.isfinite(strength) and strength >= 0):
            raise ParameterError(f"strength is {strength}; allowed is 0 (original) and above, 1 is the full transform.")
        if self.out_dimensions != self.dimensions:
            raise ParameterError(
                f"a transform from {self.dimensions} to {self.out_dimensions} dimensions has no strength. Take the "
                "strength of the transform that it was reduced from, and reduce that."
            )
        W = self.weights.astype(np.float64)
        c = np.trace(W) / len(W)
        blended = strength * W
        blended[np.diag_indices(len(W))] += (1 - strength) * c
        bias = None if self.bias is None else (strength * self.bias).astype(self.bias.dtype)
        meta = {**self.meta, "strength": strength * self.meta.get("strength", 1.0)}
        return replace(self, weights=blended.astype(self.weights.dtype), bias=bias, meta=meta)

    def to_linear(self) -> torch.nn.Linear:
        """Make the ``torch.nn.Linear`` that maps raw features alike; see `glocal.transform.export.to_linear`."""
        from glocal.transform.export import to_linear

        return to_linear(*self.folded())

    def fold_into(self, layer: Layer) -> torch.nn.Module:
        """Fold into the layer that yields the features; see `glocal.transform.export.fold_into`."""
        from glocal.transform.export import fold_into

        return fold_into(*self.folded(), layer)

    def to_onnx(self, path: PathLike) -> None:
        """Write an ONNX model from raw ``features`` to ``aligned``; see `glocal.transform.export.to_onnx`."""
        from glocal.transform.export import to_onnx

        to_onnx(*self.folded(), path, meta=self.meta)

    def save(self, path: PathLike) -> None:
        """Write the transform atomically as ``.npz``: the authors' format plus one JSON string `meta`.

        Any reader of the authors' files reads it too (``numpy.load(path, allow_pickle=False)``). A path that ends in
        ``.safetensors`` is written in that format, with the same names.

        Raises
        ------
        MissingDependencyError
            A ``.safetensors`` path without safetensors installed.
        ParameterError
            The file name has the extension of another kind of file.
        FileError
            The file cannot be written; a previous file stays whole.
        """
        write_transform(path, (self.weights, self.bias, self.mean, self.std, self.meta))

    @classmethod
    def load(cls, path: PathLike) -> LinearTransform:
        """Read a transform of ours (``.npz``, ``.safetensors``) or one of the authors' published ``.npz`` files.

        Of a ``.ckpt`` of the mini-batch solver it is the transform that the checkpoint holds, without Lightning.

        Raises
        ------
        FileError
            Missing, damaged, pickled, or without the arrays of a transform.
        DataError
            The arrays do not make a transform.

        Warns
        -----
        DataWarning
            A published file that is known to be wrong; see `glocal.transform.published`.
        """
        from glocal.transform.checkpoint import read_checkpoint
        from glocal.transform.published import wrong_name

        path = existing_file(path, what="transform")
        try:
            transform = cls(*(read_checkpoint if path.suffix == ".ckpt" else read_transform)(path))
        except (DataError, ValueError, TypeError) as error:
            raise DataError(f"transform file {path}: {one_line(error)}.") from error
        if said := wrong_name(path, transform.weights):
            warnings.warn(said, DataWarning, stacklevel=2)
        return transform
