"""Extraction compared with the bare loop of the network.

The loop runs the network on preprocessed batches in memory and does nothing else. Extraction reads,
decodes and preprocesses the same images from files, and writes rows. Both process the same batches
and take turns in one process. Weights are random, so nothing is downloaded.

Run: python benchmarks/extract.py [--quick].
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import workbench  # isort: skip  before torch

import numpy as np
import torch
from PIL import Image

from glocal.extract import Extractor, open_images

BATCH = 16


def photographs(folder: Path, count: int) -> Path:
    """Write JPEG files with some structure, so that they have the size of photographs."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        coarse.resize((500, 375)).save(folder / f"{number}.jpg", quality=90)
    return folder


def throughput(root: Path, model: str, count: int, rounds: int) -> None:
    """Print the time of the bare loop over that of extraction."""
    extractor = Extractor(model, batch_size=BATCH)
    network = extractor.loaded
    source = open_images(photographs(root / "photographs", count))
    prepared = [network.preprocess(source.read(number)) for number in range(count)]
    batches = [torch.stack(prepared[start : start + BATCH]) for start in range(0, count, BATCH)]

    def loop() -> None:
        with torch.inference_mode():
            for batch in batches:
                network.forward(batch)

    ratios = []
    for turn in range(rounds + 1):
        alone = seconds(loop)
        whole = seconds(lambda: extractor.extract(source, root / "out"))
        shutil.rmtree(root / "out")
        if turn:  # the first is for warming up
            ratios.append(alone / whole)
    print(f"{model}: {statistics.median(ratios):.3f} of the bare loop's throughput")


def seconds(work: Callable[[], object]) -> float:
    """The seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure throughput."""
    parser = workbench.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="a small network, fewer images")
    size, count, rounds = ("small", 32, 2) if parser.parse_args().quick else ("base", 64, 5)
    with tempfile.TemporaryDirectory() as folder:
        throughput(Path(folder), f"timm:vit_{size}_patch16_224:none", count, rounds)


if __name__ == "__main__":
    main()
