"""Batches of images: their inputs, prepared ahead by threads, and the rows of each layer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glocal.errors import DataError, GLocalError, one_line
from glocal.extract.images import Source, Unreadable
from glocal.extract.models import DTYPES, Layer, Model, pooled, read_layers
from glocal.extract.network import Running

_BATCHES_AHEAD = 2  # a slow image delays nothing, and memory stays small


@dataclass(frozen=True, eq=False)
class Batch:
    """The images of one pass of the network.

    `numbers` are all of them, `names` those of the whole source, `inputs` the tensors of the images
    that can be read, and `missing` the names of the others with the reason.
    """

    numbers: range
    names: Sequence[str]
    inputs: dict[int, Tensor]
    missing: list[tuple[str, str]]


def prefetch(
    source: Source,
    images: range,
    size: int,
    preprocess: Callable[[Any], Tensor],
    pool: ThreadPoolExecutor,
) -> Iterator[Batch]:
    """The batches of some images, prepared by threads a few batches ahead."""

    def prepare(number: int) -> Tensor | Unreadable:
        try:
            return torch.as_tensor(preprocess(source.read(number)))
        except Unreadable as reason:
            return reason
        except GLocalError:
            raise
        except Exception as error:  # noqa: BLE001  code of others; the image is reported by name
            message = f"{type(error).__name__}: {one_line(error)[:120]}"
            return Unreadable(f"its preprocessing fails: {message}")

    parts = [images[start : start + size] for start in range(0, len(images), size)]
    waiting: deque[Iterator[Tensor | Unreadable]] = deque()
    for i, numbers in enumerate(parts):
        for part in parts[i + len(waiting) : i + 1 + _BATCHES_AHEAD]:
            waiting.append(pool.map(prepare, part))
        results = dict(zip(numbers, waiting.popleft(), strict=True))
        yield Batch(
            numbers,
            source.names,
            {number: x for number, x in results.items() if isinstance(x, Tensor)},
            [(source.names[n], str(x)) for n, x in results.items() if isinstance(x, Unreadable)],
        )


def forward(
    model: Model, batch: Batch, layers: dict[str, Layer], running: Running, device: str
) -> dict[str, np.ndarray]:
    """(k, p) features of every layer for the k inputs of a batch, each at its own place in it.

    float16 stays float16; bfloat16, for which numpy has no type, becomes float32.
    """
    shapes = {tensor.shape for tensor in batch.inputs.values()}
    names = [batch.names[number] for number in batch.inputs]
    if len(shapes) > 1:
        raise DataError(
            f"preprocessing gives tensors of several shapes for {names[0]} to {names[-1]}; all "
            "inputs must have one shape. Resize and crop in the preprocessing."
        )
    positions = [batch.numbers.index(number) for number in batch.inputs]
    stacked = torch.stack(list(batch.inputs.values()))
    X = torch.zeros((running.batch_size, *stacked.shape[1:]), dtype=stacked.dtype)
    X[positions] = stacked
    if model.module is not None:
        X = X.to(device, DTYPES[running.dtype] if X.is_floating_point() else None)
    features = {}
    for layer, activations in read_layers(model, X, layers).items():
        rows = pooled(
            activations,
            running.pool,
            prefix_tokens=model.prefix_tokens,
            channels_last=model.channels_last,
        )[positions]
        dtype = torch.float16 if rows.dtype == torch.float16 else torch.float32
        features[layer] = rows.to(dtype).cpu().numpy()
        is_finite = np.isfinite(features[layer]).all(axis=1)
        if not is_finite.all():
            raise DataError(
                f"layer {layer} gives NaN or infinity for {names[int(np.argmin(is_finite))]}. "
                'With half precision use `dtype="bfloat16"` or `dtype="float32"`; '
                "otherwise look at the network."
            )
    return features
