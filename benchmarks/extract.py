"""Extraction compared with the bare loop of the network, and its memory for many images.

For throughput, the loop runs the network on preprocessed batches in memory and does nothing else.
Extraction reads, decodes and preprocesses the same images from files, and writes rows. Both process
the same batches and take turns in one process. For memory, the benchmark reports the peak of a
process that extracts 1,000 and 20,000 tiny images with a small network. Weights are random, so
nothing is downloaded.

Run: python benchmarks/extract.py [--quick].
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import workbench  # isort: skip  before torch

import numpy as np
import torch

from glocal.extract import Extractor, open_images

BATCH = 16


def photographs(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write JPEG files with some structure, so that they have the size of photographs."""
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)
    return folder


def throughput(root: Path, model: str, count: int, rounds: int) -> None:
    """Print the processor time of the bare loop over that of extraction."""
    extractor = Extractor(model, batch_size=BATCH)
    network = extractor.loaded
    source = open_images(photographs(root / "photographs", count, (500, 375)))
    prepared = [network.preprocess(source.read(number)) for number in range(count)]
    batches = [torch.stack(prepared[start : start + BATCH]) for start in range(0, count, BATCH)]

    def loop() -> None:
        with torch.inference_mode():
            for batch in batches:
                network.forward(batch)

    ratios = []
    for turn in range(rounds + 1):
        alone = timed(loop)
        whole = timed(lambda: extractor.extract(source, root / "out"))
        shutil.rmtree(root / "out")
        if turn:  # the first is for warming up
            ratios.append([before / after for before, after in zip(alone, whole, strict=True)])
    wall, cpu = map(statistics.median, zip(*ratios, strict=True))
    print(f"{model}: {wall:.3f} of the bare loop's throughput; {cpu:.3f} by processor time")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """The wall-clock and the processor seconds of a call."""
    wall = time.perf_counter()
    cpu = time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


PEAK = """
import resource, sys
from glocal.extract import Extractor
import torch
torch.set_num_threads(1)
result = Extractor("timm:test_vit:none", workers=2).extract(sys.argv[1], sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(result.record["rows"], "images: peak", peak, "MB")
"""


def memory(root: Path, few: int, many: int) -> None:
    """Print the peak of the memory for few and for many images."""
    folder = photographs(root / "tiny", many, (24, 24))
    (root / "few.txt").write_text("".join(f"tiny/{number}.jpg\n" for number in range(few)))
    for images in (root / "few.txt", folder):
        subprocess.run([sys.executable, "-c", PEAK, images, root / images.stem], check=True)


def main() -> None:
    """Measure throughput and memory."""
    parser = workbench.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="a small network, fewer images")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size, count, rounds = ("small", 32, 2) if options.quick else ("base", 64, 5)
        throughput(root, f"timm:vit_{size}_patch16_224:none", count, rounds)
        memory(root, *((200, 1000) if options.quick else (1000, 20_000)))


if __name__ == "__main__":
    main()
