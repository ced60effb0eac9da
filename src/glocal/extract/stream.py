"""Batches of preprocessed inputs, prepared by threads while the network runs on the ones before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glocal.data.decode import Unreadable
from glocal.errors import DataError, GLocalError
from glocal.extract.model import Model
from glocal.extract.source import Source
from glocal.files import one_line

_AHEAD = 2  # batches prepared besides the one in the network: a slow image delays nothing, memory stays small


@dataclass(frozen=True)
class Job:
    """The items of one batch, and the chunk they belong to."""

    chunk: int
    numbers: range


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of constant size.

    Item ``numbers[i]`` sits at place i whatever lies beside it; places without an item, or whose item cannot be read,
    hold zeros. So a row depends neither on its neighbours nor on where a run was resumed. `inputs` is None where
    nothing can be read.
    """

    job: Job
    inputs: Tensor | None
    missing: list[tuple[int, str]]


def default_workers() -> int:
    """One thread for each processor this process may use, at most eight."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def batches(
    jobs: Iterable[Job], source: Source, model: Model, *, batch_size: int, workers: int, pin: bool = False
) -> Iterator[Batch]:
    """Read, decode, preprocess and stack the items of each job, in order, a few batches ahead."""
    stack = _Stack(source, batch_size, pin)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    collator = ThreadPoolExecutor(1, thread_name_prefix="collate")
    waiting: deque[Future[Batch]] = deque()
    try:
        for job in jobs:
            inputs = [pool.submit(_prepare, source, model, number) for number in job.numbers]
            waiting.append(collator.submit(stack, job, inputs))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        collator.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _Failed:
    reason: str
    in_preprocessing: bool = False


def _prepare(source: Source, model: Model, number: int) -> Tensor | _Failed:
    """One tensor, or why there is none; runs in a thread."""
    try:
        item = source.read(number)
    except Unreadable as reason:
        return _Failed(str(reason))
    try:
        return _as_tensor(model.preprocess(item))
    except GLocalError:
        raise
    except Exception as error:  # noqa: BLE001  code of others; the image is reported by name
        return _Failed(f"its preprocessing fails: {type(error).__name__}: {one_line(error)[:120]}", True)


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "__array__"):
        return torch.as_tensor(value)
    raise DataError(f"preprocessing must return a tensor for each image; it returns {type(value).__name__}.")


class _Stack:
    """Stacks tensors into batches of constant size, one batch after another."""

    def __init__(self, source: Source, batch_size: int, pin: bool) -> None:
        self._source, self._size, self._pin = source, batch_size, pin
        self._shape: torch.Size | None = None

    def __call__(self, job: Job, futures: list[Future[Tensor | _Failed]]) -> Batch:
        found = [future.result() for future in futures]
        missing = [(n, value.reason) for n, value in zip(job.numbers, found, strict=True) if isinstance(value, _Failed)]
        whole = [(place, value) for place, value in enumerate(found) if isinstance(value, Tensor)]
        if not whole:
            if self._shape is None and any(isinstance(value, _Failed) and value.in_preprocessing for value in found):
                raise DataError(
                    f"no image of the first {len(found)} could be preprocessed; "
                    f"{self._source.items[missing[0][0]].name}: {missing[0][1]}. Check the preprocessing of the model."
                )
            return Batch(job, None, missing)
        for place, value in whole:
            self._shape = self._shape or value.shape
            if value.shape != self._shape:
                raise DataError(
                    f"preprocessing gives {tuple(value.shape)} for {self._source.items[job.numbers[place]].name} and "
                    f"{tuple(self._shape)} for images before it; one shape is due. Resize and crop in it."
                )
        inputs = torch.zeros((self._size, *whole[0][1].shape), dtype=whole[0][1].dtype, pin_memory=self._pin)
        for place, value in whole:
            inputs[place] = value
        return Batch(job, inputs, missing)
