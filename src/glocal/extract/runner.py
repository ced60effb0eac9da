"""Run a network over chunks of inputs: what an extraction computes, wherever it computes it."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glocal._version import __version__
from glocal.errors import DataError
from glocal.extract.chunk import Chunk
from glocal.extract.layers import read_layers
from glocal.extract.model import DTYPES, Layer, Model
from glocal.extract.pooling import pooled
from glocal.extract.source import Source
from glocal.extract.stream import Batch, Job, batches

_PACKAGES = ("numpy", "pillow", "timm", "torchvision", "open-clip-torch", "onnxruntime")


@dataclass(frozen=True, eq=False)
class Network:
    """A model on its device, the layers that are read, and how they are pooled."""

    model: Model
    layers: dict[str, Layer]
    pool: str
    device: torch.device
    dtype: str
    batch_size: int
    workers: int

    def run(self) -> dict[str, Any]:
        """Versions and hardware of this process, for the record."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else platform.machine()
        return {"device": name, "versions": versions()}


def versions() -> dict[str, str]:
    """Versions of what decodes images and runs networks in this process."""
    installed = {"glocal": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def run_chunks(network: Network, source: Source, chunks: Iterable[tuple[int, range]]) -> Iterator[Chunk]:
    """Extract chunks in order; images of the next ones are prepared while the network runs.

    `chunks` is asked for the next one while the ones before are still under way.

    Raises
    ------
    DataError
        A layer gives no row for each image, or NaN or infinity.
    """
    under_way: dict[int, Chunk] = {}
    run = network.run()

    def jobs() -> Iterator[Job]:
        for number, items in chunks:
            under_way[number] = Chunk(number, items, run)
            for start in range(items.start, items.stop, network.batch_size):
                yield Job(number, range(start, min(start + network.batch_size, items.stop)))

    size, workers, pin = network.batch_size, network.workers, network.device.type == "cuda"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # said of images that are read all the same
        for batch in batches(jobs(), source, network.model, batch_size=size, workers=workers, pin=pin):
            features = {} if batch.inputs is None else extract_batch(network, batch.inputs)
            _check_finite(features, batch, source)
            if under_way[batch.job.chunk].add(batch.job.numbers, features, batch.missing):
                yield under_way.pop(batch.job.chunk)


def extract_batch(network: Network, inputs: Tensor) -> dict[str, np.ndarray]:
    """(batch, p) features of every layer for one batch of preprocessed inputs.

    float16 stays float16; bfloat16, for which numpy has no type, becomes float32.
    """
    model = network.model
    if model.module is not None:
        dtype = DTYPES[network.dtype] if inputs.is_floating_point() else None  # tokens of captions stay integers
        inputs = inputs.to(device=network.device, dtype=dtype, non_blocking=True)
    found = {}
    for layer, activations in read_layers(model, inputs, network.layers).items():
        rows = pooled(activations, network.pool, prefix_tokens=model.prefix_tokens, channels_last=model.channels_last)
        rows = rows.to(torch.float16 if rows.dtype == torch.float16 else torch.float32)
        found[layer] = rows.cpu().numpy()
    return found


def _check_finite(features: dict[str, np.ndarray], batch: Batch, source: Source) -> None:
    missing = {number for number, _ in batch.missing}
    present = [at for at, number in enumerate(batch.job.numbers) if number not in missing]
    for layer, matrix in features.items():
        bad = ~np.isfinite(matrix[present]).all(axis=1)
        if bad.any():
            name = source.items[batch.job.numbers[present[int(np.argmax(bad))]]].name
            raise DataError(
                f"layer {layer} gives NaN or infinity for {name}. With half precision use --dtype bfloat16 or float32; "
                "else look at the network."
            )
