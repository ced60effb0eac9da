"""`Extractor`: features of images by any network, written chunk by chunk into a folder; a killed run is continued."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy_format
from torch import Tensor

from glocal._version import __version__
from glocal.data.features import Features
from glocal.data.sources import cache_folder
from glocal.errors import DataError, FileError, GLocalError, ParameterError, one_line
from glocal.extract.images import Source, Unreadable, open_images
from glocal.extract.libraries import load_model, user_model
from glocal.extract.models import DTYPES, Layer, Model, pooled, read_layers, resolve
from glocal.extract.network import Running
from glocal.files import PathLike, atomic_write, make_folder, read_npz, read_object, write_text
from glocal.results import to_json

Progress = Callable[[int, int], None]  # called with the number of images that are passed, and of all
RECORD_FILE, NAMES_FILE, WORK = "record.json", "file_names.txt", ".extract"
_CHUNK = 512  # images, about: what a killed process does again at most
_AHEAD = 2  # batches prepared besides the one in the network: a slow image delays nothing, memory stays small


@dataclass(frozen=True)
class Extraction:
    """What a run left in its folder: the feature file of each layer, and the record of how it was made.

    There are no files while chunks of other processes are missing; the record is then what determines them.
    """

    folder: Path
    files: dict[str, Path]
    record: dict[str, Any]

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """Names of the images without a row, in order, each with the reason."""
        return tuple((entry["name"], entry["reason"]) for entry in self.record.get("missing", ()))

    def features(self, layer: str | None = None) -> Features:
        """The features of a layer; of the only one by default."""
        return Features.load(self.files[layer if layer is not None else next(iter(self.files))].parent)


class Extractor:
    """Features of images by any network.

    Parameters
    ----------
    model : str, or (module or callable, preprocess)
        A name as in `load_model`; or a network of your own and what maps a PIL image to its input tensor.
    layers : sequence of str
        Names of modules, ``penultimate``, ``logits`` or ``output``; empty for the model's own choice (penultimate, or
        the output of a network of yours). All are read in one pass.
    **options
        Of `Running`: ``weights, pool, device, dtype, batch_size, workers``. A batch is always filled up to its size, so
        that no row depends on the images beside it.

    Examples
    --------
    >>> import torch
    >>> from glocal.extract import Extractor
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    >>> extractor = Extractor((net, lambda image: torch.zeros(3, 2, 2)), batch_size=4)
    >>> list(extractor.read_from)
    ['output']
    """

    def __init__(self, model: str | tuple[Any, Any], layers: Sequence[str] = (), **options: Any) -> None:
        self.model, self.layers, self.options = model, tuple(layers), Running(**options)
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = auto if self.options.device == "auto" else self.options.device

    @cached_property
    def loaded(self) -> Model:
        """The model on its device, loaded when it is first needed."""
        if isinstance(self.model, str):
            model = load_model(self.model, self.options.weights)
        else:
            network = self.model[0] if self.model else None
            model = user_model(self.model, f"python:{getattr(network, '__name__', type(network).__qualname__)}")
        return model.on(self.device, self.options.dtype)

    @cached_property
    def read_from(self) -> dict[str, Layer]:
        """The layers by name, and where each is read."""
        return resolve(self.loaded, self.layers)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What determines the features, besides the images: goes into the record."""
        return {
            "model": self.loaded.name, **self.loaded.identity, "pool": self.options.pool, "dtype": self.options.dtype,
            "layers": {layer: str(place) for layer, place in self.read_from.items()},
            "device": self.device.partition(":")[0], "batch_size": self.options.batch_size,
            "versions": {"glocal": __version__, "torch": torch.__version__, "pillow": version("pillow")},
        }  # fmt: skip

    def extract(
        self, images: PathLike | Source, out: PathLike, *, part: tuple[int, int] = (1, 1),
        progress: Progress = lambda done, total: None,
    ) -> Extraction:  # fmt: skip
        """Write the features of `images` into the folder `out`.

        A finished folder has thingsvision's layout, ``features.npy`` and ``file_names.txt``, one folder for each layer
        if there are several, and ``record.json``; beside each matrix lie the labels of images that have some. Until
        then all lies under ``.extract``, a file for each chunk of about 512 images: a folder that holds some chunks of
        this very extraction is continued, and a finished one is left as it is.

        Parameters
        ----------
        images : path, pattern or Source
            See `open_images` and `load_images`.
        part : (i, n)
            Do every n-th chunk only, from the i-th (1 to n): n processes share one folder.

        Raises
        ------
        ParameterError, DataError, FileError, MissingDependencyError
            `out` holds another extraction; there is no such part or layer; nothing can be read; a row is not finite.
        """
        if not 1 <= part[0] <= part[1]:
            raise ParameterError(f"part is {part[0]}/{part[1]}; allowed are 1/{part[1]} to {part[1]}/{part[1]}.")
        source = images if isinstance(images, Source) else open_images(images)
        folder, n = make_folder(out), len(source)
        places = {layer: folder / re.sub(r"[^\w.\-]", "_", layer) for layer in self.read_from}
        if len({*places.values()}) < len(places):
            raise ParameterError(f"layers {', '.join(places)} would share a folder name; extract them separately.")
        places = {layer: place if len(places) > 1 else folder for layer, place in places.items()}
        identity = json.loads(to_json({**self.identity, "images": {"n": n, "sha256": source.sha256()}}))
        record = _begun(folder, identity, places)
        if "rows" not in record:
            rows = self.options.batch_size * max(1, _CHUNK // self.options.batch_size)
            parts = [range(start, min(start + rows, n)) for start in range(0, n, rows)]
            chunks = {folder / WORK / f"{items.start:09d}.npz": items for items in parts}
            workers = self.options.workers or min(8, os.cpu_count() or 1)
            with ThreadPoolExecutor(workers, "decode") as pool, warnings.catch_warnings():
                warnings.filterwarnings("ignore", module=r"PIL\.")  # said of images that are read all the same
                for file, items in [*chunks.items()][part[0] - 1 :: part[1]]:
                    if not file.exists():
                        self._make(file, items, source, pool, progress)
            if not all(file.exists() for file in chunks):
                return Extraction(folder, {}, record)
            record = _joined(list(chunks), source, folder, places, record)
        shutil.rmtree(folder / WORK, ignore_errors=True)
        return Extraction(folder, {layer: place / "features.npy" for layer, place in places.items()}, record)

    def _make(self, file: Path, items: range, source: Source, pool: ThreadPoolExecutor, progress: Progress) -> None:
        """Write a chunk: the rows of every layer, the numbers of their images, and what is missing and why."""
        found: dict[str, list[np.ndarray]] = {layer: [] for layer in self.read_from}
        numbers: list[int] = []
        missing: list[tuple[str, str]] = []
        for inputs in self._inputs(source, items, pool):
            missing += [(source.names[n], str(x)) for n, x in inputs.items() if isinstance(x, Unreadable)]
            whole = {n: x for n, x in inputs.items() if isinstance(x, Tensor)}
            for layer, rows in self._rows(whole, list(inputs), source).items() if whole else ():
                found[layer].append(rows)
            numbers += whole
            progress(max(inputs) + 1, len(source))
        if not numbers and not items.start:  # before hours in which nothing works
            raise DataError(f"none of the first {len(items)} images could be used; {' '.join(missing[0])}.")
        arrays = {f"layer_{i}": np.concatenate(rows) for i, rows in enumerate(found.values()) if rows}
        with atomic_write(file) as stream:
            told = np.array(json.dumps(missing))
            np.savez(stream, allow_pickle=False, **arrays, numbers=np.array(numbers, np.int64), missing=told)

    def _rows(self, whole: Mapping[int, Tensor], places: list[int], source: Source) -> dict[str, np.ndarray]:
        """(k, p) features of every layer for the k inputs that are whole, each at its own place in the batch.

        float16 stays float16; bfloat16, for which numpy has no type, becomes float32.
        """
        model, names, first = self.loaded, [source.names[number] for number in whole], next(iter(whole.values()))
        if len({tensor.shape for tensor in whole.values()}) > 1:
            raise DataError(
                f"preprocessing gives tensors of several shapes for {names[0]} to {names[-1]}; all inputs must have "
                "one shape. Resize and crop in the preprocessing."
            )
        at = [places.index(number) for number in whole]
        batch = torch.zeros((self.options.batch_size, *first.shape), dtype=first.dtype)
        batch[at] = torch.stack(list(whole.values()))
        if model.module is not None:
            batch = batch.to(self.device, DTYPES[self.options.dtype] if batch.is_floating_point() else None)
        found = {}
        for layer, values in read_layers(model, batch, self.read_from).items():
            rows = pooled(
                values, self.options.pool, prefix_tokens=model.prefix_tokens, channels_last=model.channels_last
            )[at]
            found[layer] = rows.to(torch.float16 if rows.dtype == torch.float16 else torch.float32).cpu().numpy()
            wrong = ~np.isfinite(found[layer]).all(axis=1)
            if wrong.any():
                raise DataError(
                    f"layer {layer} gives NaN or infinity for {names[int(np.argmax(wrong))]}. With half precision use "
                    "`dtype='bfloat16'` or `dtype='float32'`; else look at the network."
                )
        return found

    def _inputs(
        self, source: Source, items: range, pool: ThreadPoolExecutor
    ) -> Iterator[dict[int, Tensor | Unreadable]]:
        """The input of each image of a batch, or why there is none, prepared by threads a few batches ahead."""

        def prepare(number: int) -> Tensor | Unreadable:
            try:
                return torch.as_tensor(self.loaded.preprocess(source.read(number)))
            except Unreadable as reason:
                return reason
            except GLocalError:
                raise
            except Exception as error:  # noqa: BLE001  code of others; the image is reported by name
                return Unreadable(f"its preprocessing fails: {type(error).__name__}: {one_line(error)[:120]}")

        size = self.options.batch_size
        batches = [items[i : i + size] for i in range(0, len(items), size)]
        begun: list[Iterator[Tensor | Unreadable]] = []
        for i, numbers in enumerate(batches):
            while len(begun) < min(i + 1 + _AHEAD, len(batches)):
                begun.append(pool.map(prepare, batches[len(begun)]))
            yield dict(zip(numbers, begun[i], strict=True))


def cached_features(extractor: Extractor, source: Source, progress: Progress = lambda done, total: None) -> Extraction:
    """Extract all images into a folder of the cache for this very content, or find there what was done before."""
    content = to_json([extractor.identity, source.sha256()])
    folder = cache_folder() / "features" / hashlib.sha256(content.encode()).hexdigest()[:32]
    result = extractor.extract(source, folder, progress=progress)
    if result.missing:
        named = "; ".join(" ".join(one) for one in result.missing[:3])
        raise DataError(
            f"{len(result.missing)} of {len(source)} images of {source.described} have no features: {named}. Replace "
            "or remove them, or use glocal extract --skip-unreadable and its folder."
        )
    return result


def _begun(folder: Path, identity: dict[str, Any], places: Mapping[str, Path]) -> dict[str, Any]:
    """The record of a finished extraction, or what is begun; a ParameterError where the folder holds another."""
    final, begun = folder / RECORD_FILE, folder / WORK / RECORD_FILE
    path = final if final.exists() else begun
    if path.exists():
        found = read_object(path, what="record", fix="Remove its folder and extract again.")
        free = {"versions"} if path == final else set()  # rows of two versions are not mixed
        if different := sorted(key for key in identity.keys() - free if found.get(key) != identity[key]):
            raise ParameterError(
                f"{folder} holds another extraction, which differs in {', '.join(different)}. Choose another folder."
            )
        return found
    if any((place / "features.npy").exists() for place in places.values()):
        raise ParameterError(f"{folder} holds features that no extraction recorded. Choose another folder.")
    make_folder(folder / WORK)
    write_text(begun, json.dumps(identity))
    return identity


def _joined(
    chunks: list[Path], source: Source, folder: Path, places: Mapping[str, Path], record: dict[str, Any]
) -> dict[str, Any]:
    """Join the chunks to a matrix for each layer with the names and labels of its rows, then write the record."""
    try:
        numbers = [number for file in chunks for number in _read(file, "numbers").tolist()]
        missing = [pair for file in chunks for pair in json.loads(str(_read(file, "missing")))]
        texts = {NAMES_FILE: source.names, **{f"{name}.txt": lines for name, lines in source.labels.items()}}
        dimensions = {}
        for i, (layer, place) in enumerate(places.items()):
            make_folder(place)
            dimensions[layer] = _join_rows(chunks, f"layer_{i}", len(numbers), place / "features.npy")
            for name, lines in texts.items():
                write_text(place / name, "".join(f"{lines[number]}\n" for number in numbers))
    except FileError:
        if not (folder / RECORD_FILE).exists():  # else another process has joined the chunks, and removed them
            raise
        return read_object(folder / RECORD_FILE, what="record")
    record = {**record, "source": source.described, "rows": len(numbers), "dimensions": dimensions}
    record["missing"] = [{"name": name, "reason": reason} for name, reason in missing]
    write_text(folder / RECORD_FILE, json.dumps(record, indent=1) + "\n")
    return record


def _join_rows(chunks: list[Path], name: str, n: int, target: Path) -> int:
    """Write the rows of one layer, one chunk in memory at a time; returns their dimensions."""
    dimensions = 0
    with atomic_write(target) as stream:
        for rows in (_read(file, name) for file in chunks):
            if rows is None:  # no image of this chunk could be read
                continue
            if not dimensions:
                dimensions = rows.shape[1]
                header = {"descr": npy_format.dtype_to_descr(rows.dtype), "fortran_order": False}
                npy_format.write_array_header_1_0(stream, {**header, "shape": (n, dimensions)})
            if rows.shape[1] != dimensions:
                raise DataError(
                    f"a layer has {dimensions} dimensions for some images and {rows.shape[1]} for others; all inputs "
                    "must have one shape. Resize and crop in the preprocessing."
                )
            stream.write(rows.data)
    return dimensions


def _read(chunk: Path, name: str) -> Any:
    """An array of a chunk; None where it has none."""
    fix = "Delete it and run the command again."
    return read_npz(chunk, what="chunk", fix=fix, required=(), optional=(name,)).get(name)
