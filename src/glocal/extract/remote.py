"""The same extraction on a Dask cluster: workers read images and run the network, rows are written here."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from glocal.cluster import connected
from glocal.errors import ClusterError, DataError
from glocal.extract.images import open_images
from glocal.extract.runner import Network, run_chunks
from glocal.extract.source import Source
from glocal.extract.store import Store
from glocal.files import one_line

_ATTEMPTS = 3  # starts of a chunk whose workers died or lost it
_running = threading.Lock()
_latest: dict[str, tuple[Network, Source]] = {}


def extract_on_cluster(
    scheduler: str, settings: dict[str, Any], images: str, source: Source, store: Store, progress: Any = None
) -> None:
    """Extract every chunk that no other process holds on the workers of a Dask cluster.

    Each worker loads the network once and opens `images` itself, under the same path; a chunk's rows come back and are
    written at once, so that the folder of the features need not be seen by workers. A chunk whose worker dies is done
    again on another one.

    Parameters
    ----------
    scheduler : str
        Its address, or its scheduler file.
    settings : dict
        The arguments of `Extractor`.
    images : str
        A path that the workers see.
    source, store, progress
        As in `Extractor.extract`.

    Raises
    ------
    DataError
        A worker sees other images or another network.
    ParameterError, MissingDependencyError, FileError
        See `glocal.cluster.connected`.
    ClusterError
        The scheduler went away, or a chunk took several workers down. Finished chunks are kept.
    """
    done = store.done()
    chunks = deque(pair for pair in enumerate(store.chunks()) if pair[0] not in done)
    with connected(scheduler) as client:
        try:
            _Chunks(client, settings, images, source, store, chunks).run(progress)
        except _lost() as error:
            raise ClusterError(
                f"the Dask cluster at {scheduler} failed ({one_line(error)[:120]}). Finished chunks are kept: mend the "
                "cluster and give the same command again."
            ) from error


class _Chunks:
    """The chunks under way on a cluster: two for each worker, so that none waits for this process."""

    def __init__(
        self, client: Any, settings: dict[str, Any], images: str, source: Source, store: Store, waiting: deque[Any]
    ) -> None:
        self._client, self._source, self._store, self._waiting = client, source, store, waiting
        expected = Expected(secrets.token_hex(8), settings, images, source.fingerprint(), _plain(store.identity))
        self._expected = expected
        self._futures: dict[str, tuple[int, range]] = {}
        self._attempts: dict[int, int] = {}
        self._runs: list[dict[str, Any]] = []

    def run(self, progress: Any) -> None:
        from distributed import as_completed

        finished = as_completed(loop=self._client.loop)
        self._fill(finished)
        while self._futures:
            future = next(finished)
            number, items = self._futures.pop(future.key)
            if future.status in ("cancelled", "lost"):
                self._attempts[number] = self._attempts.get(number, 1) + 1
                if self._attempts[number] > _ATTEMPTS:
                    raise ClusterError(
                        f"chunk {number} lost its worker {_ATTEMPTS} times; give the workers more memory and give the "
                        "same command again. Finished chunks are kept."
                    )
                self._submit(number, items, finished)
                continue
            found: Returned = future.result()
            future.release()
            if found.run not in self._runs:
                self._runs.append(found.run)
                self._store.joined_by(found.run)
            self._store.save(number, found.rows, found.missing, found.content)
            self._store.release(number)
            if progress is not None:
                progress(sum(len(self._store.chunks()[n]) for n in self._store.done()), len(self._source))
            self._fill(finished)

    def _fill(self, finished: Any) -> None:
        workers = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))
        while self._waiting and len(self._futures) < 2 * workers:
            number, items = self._waiting.popleft()
            if self._store.take(number):
                if number in self._store.done():
                    self._store.release(number)
                else:
                    self._submit(number, items, finished)

    def _submit(self, number: int, items: range, finished: Any) -> None:
        key = f"extract-{number}-{secrets.token_hex(4)}"
        future = self._client.submit(remote_chunk, self._expected, number, items, key=key, pure=False)
        self._futures[key] = (number, items)
        finished.add(future)


@dataclass(frozen=True)
class Expected:
    """What a worker must find: the same images, and the same network."""

    token: str
    settings: dict[str, Any]
    images: str
    fingerprint: str
    identity: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Returned:
    """What comes back from a worker."""

    rows: dict[str, np.ndarray]
    missing: list[tuple[int, str]]
    content: str
    run: dict[str, Any]


def remote_chunk(expected: Expected, number: int, items: range) -> Returned:
    """Extract one chunk on a worker."""
    from distributed import get_worker

    with _running:  # one chunk at a time, which has all threads of the worker
        threads = max(1, int(get_worker().state.nthreads))
        torch.set_num_threads(threads)
        network, source = _network_of(expected)
        chunk = next(iter(run_chunks(network, source, [(number, items)])))
        return Returned(chunk.rows, chunk.missing, source.content_sha256(items), network.run())


def _network_of(expected: Expected) -> tuple[Network, Source]:
    """The network and the images as this worker opened them first."""
    from glocal.extract.extractor import Extractor

    if expected.token not in _latest:
        source = open_images(expected.images)
        if source.fingerprint() != expected.fingerprint:
            raise DataError(
                f"a worker sees other images under {expected.images} than this process. Put "
                "them where all see the same."
            )
        extractor = Extractor(**expected.settings)
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


def _lost() -> tuple[type[BaseException], ...]:
    """What distributed raises when a scheduler or its workers are gone."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    return CommClosedError, KilledWorker, FutureCancelledError
