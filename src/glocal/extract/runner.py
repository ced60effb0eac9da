"""Run a network over chunks of inputs, in this process or on the workers of a Dask cluster."""

from __future__ import annotations

import json
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glocal._version import __version__
from glocal.errors import DataError
from glocal.extract.images import open_images
from glocal.extract.layers import pooled, read_layers
from glocal.extract.model import DTYPES, Layer, Model
from glocal.extract.source import Source
from glocal.extract.stream import Batch, Job, batches
from glocal.jobs.run import Chain, run
from glocal.results import to_json

_PACKAGES = ("numpy", "pillow", "timm", "torchvision", "open-clip-torch", "onnxruntime")


@dataclass(eq=False)
class Chunk:
    """Rows of some items, zeros where an item is missing; no rows at all where all are.

    `run` has versions and hardware of the process that computed them; `content` is the hash of the items, where they
    were not read by the source that the store has.
    """

    number: int
    items: range
    run: dict[str, Any]
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    missing: list[tuple[int, str]] = field(default_factory=list)
    content: str | None = None
    _seen: int = 0

    def add(self, numbers: range, features: dict[str, np.ndarray], missing: list[tuple[int, str]]) -> bool:
        """Put the rows of some items in place; True when the chunk is whole."""
        gone = [number - numbers.start for number, _ in missing]
        for layer, matrix in features.items():
            if layer not in self.rows:
                self.rows[layer] = np.zeros((len(self.items), matrix.shape[1]), matrix.dtype)
            here = self.rows[layer][numbers.start - self.items.start :][: len(numbers)]
            here[:] = matrix[: len(numbers)]
            here[gone] = 0
        self.missing += missing
        self._seen += len(numbers)
        return self._seen == len(self.items)


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

    def conditions(self) -> dict[str, Any]:
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
    """
    under_way: dict[int, Chunk] = {}
    conditions = network.conditions()

    def jobs() -> Iterator[Job]:
        for number, items in chunks:
            under_way[number] = Chunk(number, items, conditions)
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


@dataclass(frozen=True)
class Remote:
    """What a worker opens by itself and must find as it is here.

    `extractor` builds the `Extractor` again, `images` is a path that the workers see, `fingerprint` that of the images,
    and `identity` that of the network.
    """

    extractor: Callable[[], Any]
    images: str
    fingerprint: str
    identity: dict[str, Any]

    def open(self) -> tuple[Network, Source]:
        """The network and the images as this worker sees them; a DataError where they are others."""
        source = open_images(self.images)
        if source.fingerprint() != self.fingerprint:
            raise DataError(
                f"a worker sees other images under {self.images} than this process. Put them where all see the same."
            )
        extractor = self.extractor()
        here = json.loads(to_json({**extractor.identity}))
        different = [key for key in here if here[key] != self.identity.get(key)]
        if different:
            raise DataError(
                f"a worker loads another network: {', '.join(different)} differ. Install the same versions and weights."
            )
        return extractor.network, source


def run_chunks_on_cluster(scheduler: str, remote: Remote, chunks: Iterable[tuple[int, range]]) -> Iterator[Chunk]:
    """`run_chunks` on the workers of a Dask cluster, in the order in which they finish.

    Each worker loads the network once and opens the images itself, under the same path; rows come back, so that the
    folder of the features need not be seen by workers.
    """
    chains = (Chain([chunk]) for chunk in chunks)
    for _, done in run(_remote_chunk, chains, lambda _: remote, prepare=Remote.open, scheduler=scheduler):
        yield done


def _remote_chunk(chunk: tuple[int, range], _: None, opened: tuple[Network, Source]) -> Chunk:
    network, source = opened
    done = next(iter(run_chunks(network, source, [chunk])))
    done.content = source.content_sha256(done.items)
    return done
