"""Small image data sets in their published formats, whose checksums are registered with
torchvision.
"""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

datasets = pytest.importorskip(
    "torchvision.datasets", reason="image data sets need glocal[extract]"
)

RNG = np.random.default_rng(0)


def pickled(path, content):
    """Write a pickle in the form of the authors of a data set, and return its md5."""
    data = pickle.dumps(content, protocol=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.md5(data).hexdigest()


def make_cifar(root, monkeypatch, n10=3, n100=12):
    """Make a CIFAR-10 and a CIFAR-100 of four classes, with `n10` and `n100` pictures a batch."""
    batches = [f"data_batch_{number}" for number in range(1, 6)]
    classes = list("abcdefghij")
    folder = root / "cifar-10-batches-py"
    files = {name: pickled(folder / name, batch("labels", classes, n10)) for name in batches}
    test = pickled(folder / "test_batch", batch("labels", classes, n10))
    meta = pickled(folder / "batches.meta", {"label_names": classes})
    register(datasets.CIFAR10, monkeypatch, files, {"test_batch": test}, meta)

    classes = ["apple", "bear", "pear", "wolf"]
    folder = root / "cifar-100-python"
    train = pickled(folder / "train", batch("fine_labels", classes, n100))
    test = pickled(folder / "test", batch("fine_labels", classes, n100))
    meta = pickled(folder / "meta", {"fine_label_names": classes})
    register(datasets.CIFAR100, monkeypatch, {"train": train}, {"test": test}, meta)


def batch(key, classes, n):
    """Write a file of n random pictures, whose classes take turns."""
    pictures = RNG.integers(0, 256, (n, 3072), dtype=np.uint8)
    return {"data": pictures, key: (np.arange(n) % len(classes)).tolist()}


def register(kind, monkeypatch, train, test, meta):
    """Give torchvision the checksums of the files."""
    monkeypatch.setattr(kind, "train_list", [list(item) for item in train.items()])
    monkeypatch.setattr(kind, "test_list", [list(item) for item in test.items()])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": meta})


def picture(path, color, size=(5, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def make_dtd(root):
    """Make two textures with two images each; the split lists one of each, the second texture
    first.
    """
    for texture in ("banded", "woven"):
        for i in (1, 2):
            picture(root / "dtd/dtd/images" / texture / f"{texture}_000{i}.jpg", (i * 40, 0, 0))
    labels = root / "dtd/dtd/labels"
    labels.mkdir()
    (labels / "train1.txt").write_text("woven/woven_0002.jpg\nbanded/banded_0001.jpg\n")
    (labels / "val1.txt").write_text("banded/banded_0002.jpg\n")
    (labels / "test1.txt").write_text("woven/woven_0001.jpg\n")


def archive(folder, inside):
    """The bytes of a tar.gz that holds a folder under the name `inside`, with their md5."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        opened.add(folder, inside)
    return stream.getvalue(), hashlib.md5(stream.getvalue()).hexdigest()
