"""Extraction compared with the bare loop of the network, and its memory for many images.

For throughput, the loop runs the network on preprocessed batches in memory and does nothing else.
Extraction reads, decodes and preprocesses the same images from files, and writes rows. Both process
the same batches and take turns in one process. For memory, the benchmark reports the peak of a
process that extracts 1,000 and 20,000 tiny images with a small network. Weights are random, so
nothing is downloaded.

Run: python benchmarks/extract.py [--quick].
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import workbench  # noqa: F401  # isort: skip  before torch

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


def throughput(root: Path, model: str, images: int, rounds: int) -> None:
    extractor = Extractor(model, batch_size=BATCH)
    network = extractor.loaded
    source = open_images(photographs(root / "photographs", images, (500, 375)))
    prepared = [network.preprocess(source.read(number)) for number in range(images)]
    batches = [torch.stack(prepared[start : start + BATCH]) for start in range(0, images, BATCH)]
    out = root / "out"

    def loop() -> None:
        with torch.inference_mode():
            for batch in batches:
                network.forward(batch)

    ratios = []
    cpu_ratios = []
    for turn in range(rounds + 1):
        loop_seconds, loop_cpu = timed(loop)
        whole_seconds, whole_cpu = timed(lambda: extractor.extract(source, out))
        shutil.rmtree(out)
        if turn:  # the first is for warming up
            ratios.append(loop_seconds / whole_seconds)
            cpu_ratios.append(loop_cpu / whole_cpu)
            print(
                f"  loop {images / loop_seconds:.1f} images/s, "
                f"extraction {images / whole_seconds:.1f}: {ratios[-1]:.3f} "
                f"(processor time {loop_cpu:.1f} and {whole_cpu:.1f} s: {cpu_ratios[-1]:.3f})",
                flush=True,
            )
    print(
        f"{model}: {statistics.median(ratios):.3f} of the bare loop's throughput; "
        f"{statistics.median(cpu_ratios):.3f} by processor time (at least 0.95)"
    )


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """The wall-clock seconds of a call, and its processor seconds."""
    start = time.perf_counter()
    cpu_start = time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu_start


PEAK = """
import resource, sys
from glocal.extract import Extractor
import torch
torch.set_num_threads(1)
result = Extractor("timm:test_vit:none", workers=2).extract(sys.argv[1], sys.argv[2])
print(result.record["rows"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def memory(root: Path, few: int, many: int) -> None:
    peaks = {}
    folder = photographs(root / "tiny", many, (24, 24))
    (root / "few.txt").write_text("".join(f"tiny/{number}.jpg\n" for number in range(few)))
    for name, images in (("few", root / "few.txt"), ("many", folder)):
        start = time.perf_counter()
        printed = subprocess.run(
            [sys.executable, "-c", PEAK, str(images), str(root / name)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        count, peak = (int(number) for number in printed.split())
        peaks[count] = peak
        print(f"  {count} images: peak {peak} MB, {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{many} images instead of {few}: {peaks[many] - peaks[few]:+d} MB of {peaks[few]} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small network, fewer images")
    parser.add_argument("--only", choices=("throughput", "memory"))
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if options.only != "memory":
            size, images, rounds = ("small", 32, 2) if options.quick else ("base", 64, 5)
            model = f"timm:vit_{size}_patch16_224:none"
            throughput(root, model, images, options.rounds or rounds)
        if options.only != "throughput":
            few, many = (200, 1000) if options.quick else (1000, 20_000)
            memory(root, few, many)


if __name__ == "__main__":
    main()
