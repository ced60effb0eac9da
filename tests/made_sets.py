"""Small image data sets in their published formats, whose checksums are registered with
torchvision.
"""

import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image
from world import folder

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
    place = root / "cifar-10-batches-py"
    parts = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    files = [[name, pickled(place / name, batch("labels", 10, n10))] for name in parts]
    meta = pickled(place / "batches.meta", {"label_names": list("abcdefghij")})
    register(datasets.CIFAR10, monkeypatch, files, meta)

    place = root / "cifar-100-python"
    parts = ["train", "test"]
    files = [[name, pickled(place / name, batch("fine_labels", 4, n100))] for name in parts]
    meta = pickled(place / "meta", {"fine_label_names": ["apple", "bear", "pear", "wolf"]})
    register(datasets.CIFAR100, monkeypatch, files, meta)


def batch(key, n_classes, n):
    """The file of n random pictures, whose classes take turns."""
    pictures = RNG.integers(0, 256, (n, 3072), dtype=np.uint8)
    return {"data": pictures, key: (np.arange(n) % n_classes).tolist()}


def register(kind, monkeypatch, files, meta):
    """Give torchvision the checksums of the files, of which the last one is tested on."""
    monkeypatch.setattr(kind, "train_list", files[:-1])
    monkeypatch.setattr(kind, "test_list", files[-1:])
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
    folder(
        root / "dtd/dtd/labels",
        train1_txt="woven/woven_0002.jpg\nbanded/banded_0001.jpg\n",
        val1_txt="banded/banded_0002.jpg\n",
        test1_txt="woven/woven_0001.jpg\n",
    )
