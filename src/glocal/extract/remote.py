"""The same extraction on a Dask cluster: workers read images and run the network, rows are written here."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from glocal.errors import DataError
from glocal.extract.images import open_images
from glocal.extract.runner import Network, open_chunks, run_chunks
from glocal.extract.source import Source
from glocal.extract.store import Store
from glocal.jobs.run import Chain, run

_running = threading.Lock()
_latest: dict[str, tuple[Network, Source]] = {}


def extract_on_cluster(
    scheduler: str, extractor: Callable[[], Any], images: str, source: Source, store: Store, progress: Any = None
) -> None:
    """Extract every chunk that no other process holds on the workers of a Dask cluster.

    Each worker loads the network once and opens `images` itself, under the same path; a chunk's rows come back and are
    written at once, so that the folder of the features need not be seen by workers. A chunk whose worker dies is done
    again on another one.

    Parameters
    ----------
    scheduler : str
        Its address, or its scheduler file.
    extractor : function
        Builds the `Extractor` on a worker, which imports it by name.
    images : str
        A path that the workers see.
    source, store, progress
        As in `Extractor.extract`.

    Raises
    ------
    DataError
        A worker sees other images or another network.
    ParameterError, MissingDependencyError, FileError
        See `glocal.jobs.cluster.connected`.
    ClusterError
        The scheduler or all workers went away, a chunk took several workers down, or a worker has another version of
        this package. Finished chunks are kept.
    """
    images_here, network_here = source.fingerprint(), _plain(store.identity)
    expected = Expected(secrets.token_hex(8), extractor, images, images_here, network_here)
    runs: list[dict[str, Any]] = []
    chains = (Chain([chunk]) for chunk in open_chunks(store, enumerate(store.chunks())))
    for _, found in run(remote_chunk, chains, lambda _: expected, scheduler=scheduler):
        if found.run not in runs:
            runs.append(found.run)
            store.joined_by(found.run)
        store.save(found.number, found.rows, found.missing, found.content)
        store.release(found.number)
        if progress is not None:
            progress(sum(len(store.chunks()[n]) for n in store.done()), len(source))


@dataclass(frozen=True)
class Expected:
    """What a worker must find: the same images, and the same network."""

    token: str
    extractor: Callable[[], Any]
    images: str
    fingerprint: str
    identity: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Returned:
    """What comes back from a worker."""

    number: int
    rows: dict[str, np.ndarray]
    missing: list[tuple[int, str]]
    content: str
    run: dict[str, Any]


def remote_chunk(chunk: tuple[int, range], _: None, expected: Expected) -> Returned:
    """Extract one chunk on a worker."""
    from distributed import get_worker

    with _running:  # one chunk at a time, which has all threads of the worker
        threads = max(1, int(get_worker().state.nthreads))
        torch.set_num_threads(threads)
        network, source = _network_of(expected)
        done = next(iter(run_chunks(network, source, [chunk])))
        return Returned(done.number, done.rows, done.missing, source.content_sha256(done.items), network.run())


def _network_of(expected: Expected) -> tuple[Network, Source]:
    """The network and the images as this worker opened them first."""
    if expected.token not in _latest:
        source = open_images(expected.images)
        if source.fingerprint() != expected.fingerprint:
            raise DataError(
                f"a worker sees other images under {expected.images} than this process. Put "
                "them where all see the same."
            )
        extractor = expected.extractor()
        here = _plain({**extractor.identity})
        different = [key for key in here if here[key] != expected.identity.get(key)]
        if different:
            raise DataError(
                f"a worker loads another network: {', '.join(different)} differ. Install the same versions and weights."
            )
        _latest.clear()
        _latest[expected.token] = (extractor.network, source)
    return _latest[expected.token]


def _plain(identity: dict[str, Any]) -> dict[str, Any]:
    import json

    from glocal.records import to_json

    values: dict[str, Any] = json.loads(to_json(identity))
    return values
