"""The Python face of extraction: a network, its layers, and a folder to write to."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from glocal.data.features import Features
from glocal.data.sources import ImageSet, cache_folder
from glocal.errors import DataError, ParameterError
from glocal.extract.images import open_images
from glocal.extract.layers import check_pool, resolve
from glocal.extract.model import Layer, Model
from glocal.extract.python_models import user_model
from glocal.extract.registry import load_model
from glocal.extract.runner import Network, Remote, run_chunks, run_chunks_on_cluster, versions
from glocal.extract.source import Source
from glocal.extract.store import FeatureStore
from glocal.extract.stream import default_workers
from glocal.files import PathLike, make_folder

_CHUNK = 512  # items of a chunk, about: what a killed process does again
Progress = Callable[[int, int], None]
"""Called with the items done so far, by whomever, and their number."""


@dataclass(frozen=True)
class Extraction:
    """What a run left in its folder.

    Parameters
    ----------
    folder : Path
    files : dict
        The feature file of each layer.
    finished : bool
        False while other shards are still missing.
    rows, total : int
        Rows written, of how many inputs.
    missing : tuple of (name, reason)
        Inputs without a row, in order; those known so far if it is not finished.
    ignored : tuple of str
        Files whose extension is not that of an image.
    record : dict
        The record of a finished extraction, else what determines it.
    """

    folder: Path
    files: dict[str, Path]
    finished: bool
    rows: int
    total: int
    missing: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    record: dict[str, Any]

    def features(self, layer: str | None = None) -> Features:
        """The features of a layer; of the only one by default."""
        return Features.load(self.files[layer if layer is not None else next(iter(self.files))].parent)


class Extractor:
    """Features of images by any network, streamed into a folder that a killed run goes on with.

    Parameters
    ----------
    model : str, or (module or callable, preprocess)
        A name as in `load_model`; or a network of your own and what maps a PIL image to its input tensor.
    layers : sequence of str
        Names of modules, ``penultimate``, ``logits`` or ``output``; empty for the model's own choice (penultimate, or
        the output of a network of yours). All are read in one pass.
    pool : str
        ``auto``, ``cls``, ``mean`` or ``flatten``: from tokens and maps to one row, see `pooled`.
    weights : str or None
        ``none`` for random weights, or a checkpoint file.
    device : str
        Any torch device; ``auto`` is a GPU where there is one.
    dtype : str
        ``float32``, ``float16`` or ``bfloat16``: the precision of the network.
    batch_size : int
        Always filled up to this size, so that no row depends on the images beside it.
    workers : int or None
        Threads that decode; None for one a processor, at most eight.
    text : bool
        Use the text tower of an open_clip model, for captions.

    Examples
    --------
    >>> import torch
    >>> from glocal.extract import Extractor
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    >>> extractor = Extractor((net, lambda image: torch.zeros(3, 2, 2)), batch_size=4)
    >>> list(extractor.read_from)
    ['output']
    """

    def __init__(
        self,
        model: str | tuple[Any, Any],
        layers: Sequence[str] = (),
        *,
        pool: str = "auto",
        weights: str | None = None,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 32,
        workers: int | None = None,
        text: bool = False,
    ) -> None:
        self.model, self.layers, self.pool, self.weights = model, tuple(layers), check_pool(pool), weights
        self.device, self.dtype, self.text = _device(device), dtype, text
        self.batch_size = _at_least_one("batch_size", batch_size)
        self.workers = default_workers() if workers is None else _at_least_one("workers", workers)

    @cached_property
    def loaded(self) -> Model:
        """The model as its library gives it, loaded when it is first needed."""
        if isinstance(self.model, str):
            return load_model(self.model, self.weights, text=self.text)
        network = self.model[0] if self.model else None
        kind = type(network).__qualname__ if isinstance(network, nn.Module) else getattr(network, "__name__", "")
        return user_model(self.model, f"python:{kind or 'callable'}")

    @cached_property
    def read_from(self) -> dict[str, Layer]:
        """The layers by name, and where each is read."""
        return resolve(self.loaded, self.layers)

    @cached_property
    def network(self) -> Network:
        """The model on its device, ready to run."""
        ready = self.loaded.on(self.device, self.dtype)
        return Network(ready, self.read_from, self.pool, self.device, self.dtype, self.batch_size, self.workers)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What determines the features, besides the images: goes into the record."""
        return {
            "model": self.loaded.name,
            **self.loaded.identity,
            "layers": {layer: str(place) for layer, place in self.read_from.items()},
            "pool": self.pool,
            "dtype": self.dtype,
            "device": self.device.type,
            "batch_size": self.batch_size,
        }

    def extract(
        self,
        images: PathLike | ImageSet | Source,
        out: PathLike,
        *,
        shard: tuple[int, int] | None = None,
        scheduler: str | None = None,
        chunk_size: int = _CHUNK,
        progress: Progress | None = None,
    ) -> Extraction:
        """Write the features of `images` into the folder `out`.

        A folder that holds some chunks of this very extraction is gone on with; a finished one is left as it is.
        Several processes may share a folder: each takes chunks that no other one holds.

        Parameters
        ----------
        images : path, pattern, ImageSet or Source
            See `open_images`.
        out : path
        shard : (i, n) or None
            Do every n-th chunk only, from the i-th (1 to n).
        scheduler : str or None
            A Dask cluster: its address, or its scheduler file. Its workers read the images, this process writes.
        chunk_size : int
            About how many items are lost at most when a process is killed; a whole number of batches is taken.
        progress : function or None

        Raises
        ------
        ParameterError
            `out` holds another extraction.
        DataError, FileError, ClusterError, MissingDependencyError
            Nothing can be read, layers do not fit, the disk is full, the cluster is gone, a library is missing.
        """
        source = images if isinstance(images, Source) else open_images(images)
        chunk_rows = self.batch_size * max(1, _at_least_one("chunk_size", chunk_size) // self.batch_size)
        if scheduler is not None and not isinstance(self.model, str):
            raise ParameterError(
                "on a cluster a model goes by its name; write a factory: python:package.module:factory."
            )
        if scheduler is not None and (isinstance(images, Source | ImageSet) or shard is not None):
            raise ParameterError(
                "a cluster needs the path of the images, and shares them out itself: leave shards out."
            )
        first, step = check_shard(shard or (1, 1))
        with FeatureStore(out, source, list(self.read_from), chunk_rows=chunk_rows, identity=self.identity) as store:
            chunks = list(enumerate(store.chunks()))[first - 1 :: step]
            if not store.finished:
                if scheduler is None or isinstance(images, Source | ImageSet):
                    found = run_chunks(self.network, source, store.open(chunks))
                else:
                    again = partial(Extractor, **self._settings)
                    remote = Remote(again, os.path.abspath(images), source.fingerprint(), store.identity)
                    found = run_chunks_on_cluster(scheduler, remote, store.open(chunks))
                for chunk in found:
                    store.save(chunk)
                    if progress is not None:
                        progress(store.items_done(), len(source))
                store.finish()
            return _outcome(store, source)

    @property
    def _settings(self) -> dict[str, Any]:
        """What builds this extractor again in another process."""
        return {
            "model": self.model, "layers": self.layers, "pool": self.pool, "weights": self.weights,
            "device": str(self.device), "dtype": self.dtype, "batch_size": self.batch_size, "text": self.text,
        }  # fmt: skip


def kept_folder(extractor: Extractor, source: Source) -> Path:
    """The folder of the cache for the features of these very images by this very network.

    It is named by the content of the images, the hash of the weights and the versions of what computes: features that
    are kept are found whatever the images are called from, and changed images have a folder of their own.
    """
    content = json.dumps([extractor.identity, versions(), source.content_sha256()], sort_keys=True)
    return cache_folder() / "features" / hashlib.sha256(content.encode()).hexdigest()[:32]


def kept_features(extractor: Extractor, source: Source, progress: Progress | None = None) -> Extraction:
    """Extract into `kept_folder`, or find there what was extracted before.

    Raises
    ------
    DataError
        Some images cannot be read, or another process is extracting them.
    """
    result = extractor.extract(source, make_folder(kept_folder(extractor, source)), progress=progress)
    if not result.finished:
        raise DataError(f"another process is extracting {source.described}. Run the command again when it is done.")
    if result.missing:
        named = "; ".join(f"{name} {reason}" for name, reason in result.missing[:3])
        raise DataError(
            f"{len(result.missing)} of {result.total} images in {source.described} have no features: {named}. Mend or "
            "remove them, or use glocal extract --skip-unreadable and its folder."
        )
    return result


def parse_shard(text: str) -> tuple[int, int]:
    """``2/4`` as (2, 4)."""
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None:
        raise ParameterError(f"shard is {text!r}; write i/n, e.g. 1/4 for the first of four processes.")
    return check_shard((int(match[1]), int(match[2])))


def check_shard(shard: tuple[int, int]) -> tuple[int, int]:
    """Shards count from 1."""
    if not 1 <= shard[0] <= shard[1]:
        raise ParameterError(f"shard is {shard[0]}/{shard[1]}; allowed are 1/{shard[1]} to {shard[1]}/{shard[1]}.")
    return shard


def _outcome(store: FeatureStore, source: Source) -> Extraction:
    finished = store.finished
    if finished:
        record = store.record
        missing = tuple((entry["name"], entry["reason"]) for entry in record["missing"])
        rows = int(record["rows"])
    else:
        done, chunks = store.done(), store.chunks()
        record = store.identity
        pairs = sorted((pair for pairs in done.values() for pair in pairs), key=lambda pair: pair[0])
        missing = tuple((source.items[number].name, reason) for number, reason in pairs)
        rows = sum(len(chunks[number]) for number in done) - len(missing)
    files = {layer: store.matrix(layer) for layer in store.layers}
    return Extraction(store.folder, files, finished, rows, len(source), missing, source.ignored, record)


def _device(device: str) -> torch.device:
    try:
        return (
            torch.device("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else torch.device(device)
        )
    except RuntimeError as error:
        raise ParameterError(
            f"device is {device!r}; allowed are auto, cpu, cuda and others that torch knows."
        ) from error


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise ParameterError(f"{name} is {value}; it must be at least 1.")
    return value
