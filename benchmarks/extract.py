"""Extraction compared with the bare loop of the network.

The loop runs the network on preprocessed batches in memory and does nothing else. Extraction reads,
decodes and preprocesses the same images from files, and writes rows. Both process the same batches
and take turns in one process. Weights are random, so nothing is downloaded.

Run: python benchmarks/extract.py [MODEL].
"""

import shutil
import statistics
import tempfile
from pathlib import Path
from timeit import timeit

import workbench  # isort: skip  before torch

import numpy as np
import torch
from PIL import Image

from glocal.extract import Extractor, open_images

BATCH = 16
COUNT = 64
ROUNDS = 5


def photographs(folder: Path) -> Path:
    """Write JPEG files with some structure, so that they have the size of photographs."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        coarse.resize((500, 375)).save(folder / f"{number}.jpg", quality=90)
    return folder


def throughput(root: Path, model: str) -> None:
    """Print the time of the bare loop over that of extraction."""
    extractor = Extractor(model, batch_size=BATCH)
    network = extractor.loaded
    source = open_images(photographs(root / "photographs"))
    prepared = [network.preprocess(source.read(number)) for number in range(COUNT)]
    batches = torch.split(torch.stack(prepared), BATCH)

    def loop() -> None:
        with torch.inference_mode():
            for batch in batches:
                network.forward(batch)

    ratios = []
    for turn in range(ROUNDS + 1):
        alone = timeit(loop, number=1)
        whole = timeit(lambda: extractor.extract(source, root / "out"), number=1)
        shutil.rmtree(root / "out")
        if turn:  # the first is for warming up
            ratios.append(alone / whole)
    print(f"{model}: {statistics.median(ratios):.3f} of the bare loop's throughput")


def main() -> None:
    """Measure throughput."""
    parser = workbench.parser(__doc__)
    parser.add_argument("model", nargs="?", default="timm:vit_base_patch16_224:none")
    with tempfile.TemporaryDirectory() as folder:
        throughput(Path(folder), parser.parse_args().model)


if __name__ == "__main__":
    main()
