"""`LinearTransform`, z = ((x - mean) / std) W + b: applied, interpolated, saved and loaded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.data.features import Features, as_matrix, check_finite
from glocal.data.rows import row_statistics
from glocal.data.standardization import Standardization
from glocal.errors import DataError, ParameterError, import_optional
from glocal.files import PathLike
from glocal.similarity import Embedding, Values, Weights
from glocal.transform.catalogue import locate
from glocal.transform.checks import check_rows, check_shape, real_rows
from glocal.transform.formats import StoredTransform, read_transform, write_transform
from glocal.transform.mapping import check_map, identity, map_array, map_tensor
from glocal.transform.origin import (
    RECENTRING_WEIGHT,
    centring_bias,
    image_features,
    recentred_bias,
)
from glocal.transform.record import Centring, Recentring, TransformRecord

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class LinearTransform:
    """An affine transform of features with an origin and a scale, z = ((x - mean) / std) W + b.

    W maps p dimensions to p, or to r < p if the transform comes from `glocal.transform.reduced`.
    A reduced transform has no strength (`at_strength`); otherwise it is used like any other.

    Parameters
    ----------
    weights : (p, r) float32
        W, which multiplies rows from the right; r is at most p. float16 halves the file size.
    bias : (r,) float32 or None
        b; None stands for 0.
    mean, std : float
        The scalars that are subtracted from each value, and by which it is then divided. For a fit
        without `centre` the mean is 0.
    record : TransformRecord
        Origin, fit and scores; empty for a file of the authors.

    Raises
    ------
    DataError
        The shapes do not match, a value is not finite, or std is not above 0.

    Examples
    --------
    >>> transform = LinearTransform(np.eye(2, dtype=np.float32), None, mean=1.0, std=2.0)
    >>> transform(np.array([[3.0, 1.0]], dtype=np.float32)).tolist()
    [[1.0, 0.0]]
    """

    weights: Weights
    bias: Values | None
    mean: float
    std: float
    record: TransformRecord = field(default_factory=TransformRecord)

    def __post_init__(self) -> None:
        check_map(self.weights, self.bias, self.mean, self.std)

    def __repr__(self) -> str:
        parts = []
        method = self.record.method_in_words
        if method:
            parts.append(method)
        strength = self.record.strength
        if strength != 1.0:
            parts.append(f"strength {strength:g}")
        fewer = ""
        if self.out_dimensions != self.dimensions:
            fewer = f" to {self.out_dimensions}"
        dimensions = f"{self.dimensions}{fewer} dimensions"
        parts.append(dimensions)
        if self.bias is not None:
            parts.append("bias")
        parts.append(f"mean {self.mean:.6g}")
        parts.append(f"std {self.std:.6g}")
        content = ", ".join(parts)
        return f"LinearTransform({content})"

    @property
    def dimensions(self) -> int:
        """The number p of input dimensions."""
        return len(self.weights)

    @property
    def out_dimensions(self) -> int:
        """The number r of output dimensions, at most p."""
        return int(self.weights.shape[1])

    @property
    def standardization(self) -> Standardization:
        """The standardization by `mean` and `std`, as a function of features."""
        return Standardization(self.mean, self.std, is_unit=self.normalize)

    @property
    def normalize(self) -> bool:
        """Whether the fit scaled rows to length 1; the transform then scales all rows first."""
        rows = self.record.rows
        return rows is not None and rows.normalize

    def apply(self, features: Any, *, force: bool = False) -> Any:
        """Transform rows of features; calling the transform does the same.

        Rows are scaled to length 1 first if the rows of the fit were (`normalize`). An array gives
        an array. A tensor gives a tensor that carries gradients.

        Parameters
        ----------
        features : (n, p) array, tensor, list or data frame
            Raw features: the transform standardizes them. Integers become float32. float16 and
            bfloat16 are computed in float32 and rounded once at the end.
        force : bool
            Go on, with a warning, although the rows certainly come from another network or scale.

        Returns
        -------
        (n, r) array or tensor
            Transformed rows, with the device and float dtype of the input; an array for a list or
            a data frame.

        Raises
        ------
        DataError
            The rows do not have p columns, are not real numbers in a dense array, contain NaN or
            infinity before or after the transform, or certainly differ from the rows of the fit.

        Warns
        -----
        DataWarning
            The rows may differ from the rows of the fit; see `glocal.transform.check_rows`. Only
            the first such call warns.
        """
        X = self.as_rows(features)
        check_rows(self, X, force=force)
        return self.map_rows(X)

    __call__ = apply

    def map_rows(self, X: Any, *, source: str = "features", first: int = 0) -> Any:
        """Apply without `check_rows`; errors name `source` and count rows from `first`."""
        shape = tuple(X.shape)
        self.check_shape(shape)
        is_array = isinstance(X, np.ndarray)
        map_rows = map_array if is_array else map_tensor
        with np.errstate(over="ignore", invalid="ignore"):  # check_finite names the row below
            Z = map_rows(X, self.standardization, self.weights, self.bias)
            total = Z.sum().item()
        if not np.isfinite(total):
            last = first + len(X)
            numbers = range(first, last)
            inputs = as_matrix(X)
            check_finite(inputs, source, numbers)
            outputs = as_matrix(Z)
            check_finite(outputs, source, numbers, verb="is mapped to")
        return Z

    def as_rows(self, features: Any) -> Any:
        """Return an array or a tensor; raise a DataError unless it is (n, p) real numbers."""
        return real_rows(features, self.dimensions)

    def check_shape(self, shape: tuple[int, ...], hint: str = "") -> None:
        """Raise a DataError, which ends with a hint, if `shape` is not (n, p)."""
        check_shape(shape, self.dimensions, hint)

    def folded(self) -> tuple[Weights, Values]:
        """A and c of z = x A + c for raw x, float64: A = W / std, c = b - mean/std · Σ_rows W."""
        W = self.weights.astype(np.float64)
        A = W / self.std
        column_sums = A.sum(axis=0)
        c = -self.mean * column_sums
        if self.bias is not None:
            c = c + self.bias
        return A, c

    def at_strength(self, strength: float) -> LinearTransform:
        """Interpolate between the original features and the full transform.

        W_s = cI + s (W - cI), b_s = s b and mean_s = s mean with c = tr W / p and s ≥ 0. s = 0
        gives the original features up to scale, s = 1 the transform. Values in between keep more of
        each neighbourhood; values above 1 exaggerate the transform.

        Raises
        ------
        ParameterError
            `strength` is not a finite number of at least 0, or the transform has fewer output than
            input dimensions and cannot be mixed with the original. Set the strength first, then
            reduce.
        """
        if not _is_nonnegative_number(strength):
            raise ParameterError(
                f"`strength` is {strength!r}; it must be 0 (the original features) or more, "
                "where 1 is the full transform."
            )
        if self.out_dimensions != self.dimensions:
            raise ParameterError(
                f"a transform from {self.dimensions} to {self.out_dimensions} dimensions has no "
                "strength. Set the strength of the transform that it was reduced from, and reduce "
                "the result."
            )
        W = self.weights.astype(np.float64)
        p = len(W)
        c = np.trace(W) / p
        rest = (1 - strength) * c
        original = rest * np.eye(p)
        blended = strength * W + original
        bias = self.bias
        if bias is not None:
            scaled_bias = strength * bias
            bias = scaled_bias.astype(bias.dtype)
        total = float(strength * self.record.strength)
        record = self.record.model_copy(update={"strength": total})
        return replace(
            self,
            weights=blended.astype(self.weights.dtype),
            bias=bias,
            mean=strength * self.mean,
            record=record,
        )

    @classmethod
    def centring(
        cls, features: Features | Embedding, *, normalize: bool = False
    ) -> LinearTransform:
        """Make the transform that subtracts the column means of some features.

        It needs neither answers nor a fit. Cosines become cosines of deviations from the mean
        image, which helps if labels are few. The result is saved, applied, exported and scored
        like any other transform.

        Parameters
        ----------
        features : (n, p) array or Features
            Rows of many different images.
        normalize : bool
            First scale each row to length 1, as the transform then does too.

        Raises
        ------
        DataError
            All values are equal.
        """
        if not isinstance(features, Features):
            features = Features(features)
        features = features.unit(always=normalize)
        scalars = features.standardization
        W = identity(features.dimensions)
        bias = centring_bias(features, scalars, W)
        record = TransformRecord(
            centring=Centring(n=len(features)),
            rows=row_statistics(features),
        )
        bias = bias.astype(np.float32)
        return cls(W, bias, scalars.mean, scalars.std, record)

    def recentred(self, images: Any, weight: float = RECENTRING_WEIGHT) -> LinearTransform:
        """Move the origin toward the mean of other images, such as the user's own collection.

        The bias becomes b' = n / (n + t) · b_images + t / (n + t) · b with t = `weight` and
        b_images = -((mean of the images - mean) / std) W. Give many different images of roughly
        balanced classes; labels are not needed. Do not give only the normal images of an anomaly
        task: their mean hides the anomalies (AUROC falls by .1 to .2).

        Parameters
        ----------
        images : Features, (n, p) array, tensor, list or data frame
            Raw features of at least one image.
        weight : float
            Weight t of the present bias, as a number of images, 0 or more.

        Raises
        ------
        ParameterError
            `weight` is not a finite number of at least 0.
        DataError
            There are no images, or as in `apply`.

        Warns
        -----
        DataWarning
            There are fewer than ten images, or as in `apply`.
        """
        if not _is_nonnegative_number(weight):
            raise ParameterError(f"`weight` is {weight!r}; it must be a number of at least 0.")
        collection = image_features(images, self.dimensions)
        check_rows(self, collection)
        bias = recentred_bias(
            collection,
            weight,
            self.standardization,
            self.weights,
            self.bias,
        )
        recentred = Recentring(n=len(collection), weight=float(weight))
        record = self.record.model_copy(update={"recentred": recentred})
        return replace(self, bias=bias, record=record)

    def to_linear(self) -> torch.nn.Linear | torch.nn.Sequential:
        """Make the ``torch.nn.Linear`` that transforms raw features, z = x A + c: p → r.

        The layer is float32, on the CPU and frozen; ``requires_grad_()`` makes it trainable. If the
        transform was fitted on rows of length 1, the result is a ``torch.nn.Sequential`` of a step
        that scales the rows, and the layer.

        Raises
        ------
        MissingDependencyError
            torch is not installed.
        """
        torch = import_optional("torch", "to_linear()")
        from glocal.transform.layers import UnitLength, linear_layer

        A, c = self.folded()
        layer = linear_layer(A, c)
        if self.normalize:
            return torch.nn.Sequential(UnitLength(), layer)
        return layer

    def save(self, path: PathLike) -> None:
        """Write the transform atomically as ``.npz``, the authors' format plus its record as JSON.

        A path that ends in ``.safetensors`` is written in that format, with the same names.

        Raises
        ------
        ParameterError, MissingDependencyError, FileError
            The path has another ending, safetensors is not installed, or the file cannot be
            written. A previous file then stays unchanged.
        """
        stored = StoredTransform(
            weights=self.weights,
            bias=self.bias,
            mean=self.mean,
            std=self.std,
            record=self.record,
        )
        write_transform(path, stored)

    @classmethod
    def load(cls, path: PathLike) -> LinearTransform:
        """Read a transform: ``.npz`` or ``.safetensors`` of glocal, or ``.npz`` of the authors.

        Raises
        ------
        FileError, DataError
            The file is missing, damaged or pickled, it lacks an array of a transform, or its
            arrays do not form a transform.

        Warns
        -----
        DataWarning
            The file is known to have been published under the name of another network.
        """
        try:
            stored = read_transform(path)
            return cls(*stored)
        except DataError as error:
            message = f"transform file {path}: {error}"
            raise DataError(message) from error

    @classmethod
    def from_pretrained(cls, name: PathLike) -> LinearTransform:
        """Load a transform by its name; `glocal.pretrained` does the same.

        The name is a file or a folder; ``"clip-vit-b-32"``, which comes with the package; the
        model and layer of a published transform that `glocal.transform.pull` has downloaded, such
        as ``"clip_ViT-L/14/visual"``; or ``"hf://OWNER/NAME"`` on the Hugging Face hub. Only the
        last one uses the network. See `glocal.transform.catalogue.locate`.
        """
        path = locate(name)
        return cls.load(path)


def _is_nonnegative_number(value: object) -> bool:
    """Whether a value is a finite number of at least 0."""
    if not isinstance(value, Real):
        return False
    number = float(value)
    return 0 <= number < np.inf


pretrained = LinearTransform.from_pretrained
"""Load a transform by its name: one that comes with the package, a file or a folder, a published
transform that was downloaded, or ``hf://OWNER/NAME``."""
