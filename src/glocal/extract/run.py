"""`Extractor`: features of images by any network; an interrupted run can be continued."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from glocal._version import __version__
from glocal.data.features import FEATURES_FILE, RECORD_FILE
from glocal.errors import DataError, FileError, GLocalError, ParameterError, one_line
from glocal.extract.chunks import (
    WORK,
    Extraction,
    finished_record,
    join_chunks,
    key_of,
    write_chunk,
)
from glocal.extract.images import Source, Unreadable, open_images
from glocal.extract.libraries import load_model, user_model
from glocal.extract.models import Layers, Model, pooled, read_layers, resolve
from glocal.extract.names import Running
from glocal.files import PathLike, make_folder
from glocal.results import to_json
from glocal.similarity import row_slices

Progress = Callable[[int, int], None]
"""Called with the number of images so far and their total."""
_CHUNK_IMAGES = 512  # approximate; a killed process loses at most one chunk
_MAX_DECODERS = 8  # most decoding threads


class Extractor:
    """Features of images by any network.

    Parameters
    ----------
    model : str, or (module or callable, preprocess)
        A name as in `load_model`, or your own network with the function from a PIL image to its
        input tensor.
    layers : sequence of str
        Names of modules, ``penultimate``, ``logits`` or ``output``; empty for the default of the
        model (penultimate, or the output of your own network). All are read in one pass.
    **options
        The options of `Running`: ``pool, device, dtype, batch_size``. Each batch
        is padded to `batch_size`, so that no row depends on the number of images in its batch.

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
        self, model: str | tuple[Any, Any], layers: Sequence[str] = (), **options: Any
    ) -> None:
        self.model = model
        self.layers = tuple(layers)
        self.options = Running(**options)
        self.device = self.options.device
        if self.device == "auto":
            has_gpu = torch.cuda.is_available()
            self.device = "cuda" if has_gpu else "cpu"

    @cached_property
    def loaded(self) -> Model:
        """The model on its device; it is loaded on first use."""
        if isinstance(self.model, str):
            model = load_model(self.model)
        else:
            network = self.model[0] if self.model else None
            class_name = type(network).__qualname__
            name = getattr(network, "__name__", class_name)
            model = user_model(self.model, f"python:{name}")
        return model.on(self.device, self.options.dtype)

    @cached_property
    def read_from(self) -> Layers:
        """The place where each layer is read, by the name of the layer."""
        return resolve(self.loaded, self.layers)

    @cached_property
    def identity(self) -> dict[str, object]:
        """Everything besides the images that determines the features, for the record."""
        model = self.loaded
        layers = {name: str(layer) for name, layer in self.read_from.items()}
        return {
            "model": model.name,
            **model.identity,
            **self.options.model_dump(),
            "layers": layers,
            "device": self.device.partition(":")[0],
            "versions": {
                "glocal": __version__,
                "torch": torch.__version__,
                "pillow": version("pillow"),
            },
        }

    def extract(
        self,
        images: PathLike | Source,
        out: PathLike,
        *,
        part: tuple[int, int] = (1, 1),
        progress: Progress = lambda count, total: None,
    ) -> Extraction:
        """Write the features of `images` into the folder `out`.

        A finished folder has the layout of thingsvision: ``features.npy`` and ``file_names.txt``,
        in one subfolder per layer if there are several, and ``record.json``. The labels of the
        images, if any, lie next to each matrix. Until then ``.extract`` holds one file for each
        chunk of about 512 images, named by the hash of all that determines its rows. An unfinished
        extraction is continued, and a finished folder is left unchanged. Several processes may
        extract into one folder at the same time.

        Parameters
        ----------
        images : path, pattern or Source
            See `open_images`.
        part : (i, n)
            Compute only every n-th chunk, starting at the i-th (1 to n), so that n processes can
            share one folder.

        Raises
        ------
        ParameterError, DataError, FileError, MissingDependencyError
            `out` holds another extraction, the part or a layer does not exist, none of the first
            images can be read, or a row is not finite.
        """
        index, count = part
        if not 1 <= index <= count:
            raise ParameterError(
                f"there is no part {index}/{count}; the parts are 1/{count} to {count}/{count}."
            )
        source = open_images(images)
        folder = make_folder(out)
        files = self._files(folder)
        content = {"n": len(source), "sha256": source.sha256()}
        text = to_json({**self.identity, "images": content})
        identity = json.loads(text)
        work = folder / WORK
        if finished_record(folder, identity, files.values()) is None:
            key = key_of(identity)
            chunks = self._chunks(len(source), work, key)
            all_chunks = list(chunks.items())
            chunks_of_part = all_chunks[index - 1 :: count]
            try:
                make_folder(work)
                for chunk, numbers in chunks_of_part:
                    if not chunk.exists():
                        self._extract_chunk(chunk, numbers, source, progress)
                if all(chunk.exists() for chunk in chunks):
                    join_chunks(list(chunks), source, folder, files, identity)
            except FileError:
                record_file = folder / RECORD_FILE
                if not record_file.exists():  # else another process joined the chunks
                    raise
        record = finished_record(folder, identity, files.values())
        if record is None:
            return Extraction(folder, {}, identity)
        shutil.rmtree(work, ignore_errors=True)
        return Extraction(folder, files, record)

    def _files(self, folder: Path) -> dict[str, Path]:
        """The file of each layer, in a subfolder if there are several layers."""
        if len(self.read_from) == 1:
            return dict.fromkeys(self.read_from, folder / FEATURES_FILE)
        files = {}
        for layer in self.read_from:
            subfolder = folder / quote(layer, safe="")
            files[layer] = subfolder / FEATURES_FILE
        return files

    def _chunks(self, n: int, work: Path, key: str) -> dict[Path, range]:
        """The file of each chunk, and the numbers of its images."""
        batch_size = self.options.batch_size
        n_batches = max(1, _CHUNK_IMAGES // batch_size)
        chunks = {}
        for rows in row_slices(n, n_batches * batch_size):
            file = work / f"{key}-{rows.start:09d}.npz"
            chunks[file] = range(rows.start, rows.stop)
        return chunks

    def _extract_chunk(self, file: Path, images: range, source: Source, progress: Progress) -> None:
        """Run the network over the images of one chunk, and write it."""
        rows: dict[str, list[np.ndarray]] = {layer: [] for layer in self.read_from}
        missing: dict[int, str] = {}
        workers = min(_MAX_DECODERS, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers, "decode") as pool, warnings.catch_warnings():
            # about images that can still be read
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for batch, inputs in self._batches(source, images, pool):
                tensors = {}
                for number, tensor in zip(batch, inputs, strict=True):
                    if isinstance(tensor, Unreadable):
                        missing[number] = str(tensor)
                    else:
                        tensors[number] = tensor
                for layer, matrix in self._features(source, tensors).items():
                    rows[layer].append(matrix)
                progress(batch.stop, len(source))
        if len(missing) == images.stop:  # stops before hours without a single row
            raise DataError(
                f"none of the first {len(images)} images could be used; {source.names[0]} "
                f"{missing[0]}."
            )
        write_chunk(file, rows, missing)

    def _batches(
        self, source: Source, images: range, pool: ThreadPoolExecutor
    ) -> Iterator[tuple[range, Iterator[Tensor | Unreadable]]]:
        """The numbers and inputs of each batch; threads prepare the next while the network runs."""
        slices = row_slices(len(images), self.options.batch_size)
        batches = [images[rows] for rows in slices]
        next_batches = [*batches[1:], range(0)]
        prepare = partial(self._prepare, source)
        following = pool.map(prepare, batches[0])
        for batch, next_batch in zip(batches, next_batches, strict=True):
            inputs = following
            following = pool.map(prepare, next_batch)
            yield batch, inputs

    def _prepare(self, source: Source, number: int) -> Tensor | Unreadable:
        """The input that an image becomes, or the reason why it has no row."""
        try:
            image = source.read(number)
            tensor = self.loaded.preprocess(image)
            return torch.as_tensor(tensor)
        except Unreadable as reason:
            return reason
        except GLocalError:
            raise
        except Exception as error:  # noqa: BLE001  the user's code; the image is reported
            message = f"{type(error).__name__}: {one_line(error)[:120]}"
            return Unreadable(f"its preprocessing fails: {message}")

    def _features(self, source: Source, tensors: dict[int, Tensor]) -> dict[str, np.ndarray]:
        """The (k, p) features of every layer for the k readable images of a batch, in order.

        float16 stays float16. bfloat16 becomes float32, since numpy has no such type.
        """
        if not tensors:
            return {}
        model = self.loaded
        names = [source.names[number] for number in tensors]
        shapes = {tensor.shape for tensor in tensors.values()}
        if len(shapes) > 1:
            raise DataError(
                f"preprocessing gives tensors of several shapes for {names[0]} to {names[-1]}; all "
                "inputs must have one shape. Resize and crop in the preprocessing."
            )
        stacked = torch.stack(list(tensors.values()))
        n = len(stacked)
        shape = (self.options.batch_size, *stacked.shape[1:])
        X = torch.zeros(shape, dtype=stacked.dtype)
        X[:n] = stacked
        if model.module is not None:
            dtype = getattr(torch, self.options.dtype) if X.is_floating_point() else None
            X = X.to(self.device, dtype)
        features = {}
        for layer, activations in read_layers(model, X, self.read_from).items():
            rows = pooled(
                activations,
                self.options.pool,
                prefix_tokens=model.prefix_tokens,
                channels_last=model.channels_last,
            )
            rows = rows[:n].clone(memory_format=torch.contiguous_format)  # the rest is freed
            dtype = torch.float16 if rows.dtype == torch.float16 else torch.float32
            matrix = rows.to(dtype).cpu().numpy()
            is_finite = np.isfinite(matrix).all(axis=1)
            if not is_finite.all():
                name = names[is_finite.argmin()]
                raise DataError(
                    f"layer {layer} gives NaN or infinity for {name}. "
                    'With half precision use `dtype="bfloat16"` or `dtype="float32"`; otherwise '
                    "check the network."
                )
            features[layer] = matrix
        return features
