"""The same extraction on a Dask cluster: workers read images and run the network, rows are written here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from glocal.errors import DataError
from glocal.extract.chunk import Chunk
from glocal.extract.images import open_images
from glocal.extract.runner import Network, run_chunks
from glocal.extract.source import Source
from glocal.jobs.run import Chain, run
from glocal.records import to_json


@dataclass(frozen=True)
class Remote:
    """What a worker opens by itself, and must find as it is here.

    Parameters
    ----------
    extractor : function
        Builds the `Extractor` on a worker, which imports it by name.
    images : str
        A path that the workers see.
    fingerprint : str
        Of the images.
    identity : dict
        Of the network.
    """

    extractor: Callable[[], Any]
    images: str
    fingerprint: str
    identity: dict[str, Any]

    def open(self) -> tuple[Network, Source]:
        """The network and the images as this worker sees them.

        Raises
        ------
        DataError
            It sees other images, or another network.
        """
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

    Raises
    ------
    DataError
        A worker sees other images or another network.
    ParameterError, MissingDependencyError, FileError, ClusterError
        See `glocal.jobs.run.run`.
    """
    chains = (Chain([chunk]) for chunk in chunks)
    for _, done in run(remote_chunk, chains, lambda _: remote, prepare=Remote.open, scheduler=scheduler):
        yield done


def remote_chunk(chunk: tuple[int, range], _: None, opened: tuple[Network, Source]) -> Chunk:
    """Extract one chunk on a worker."""
    network, source = opened
    done = next(iter(run_chunks(network, source, [chunk])))
    done.content = source.content_sha256(done.items)
    return done
