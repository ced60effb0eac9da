"""Image data sets in the formats they are published in, made small, with their checksums put into torchvision."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

datasets = pytest.importorskip("torchvision.datasets", reason="image data sets need glocal[extract]")

RNG = np.random.default_rng(0)


def pickled(path, content):
    """A pickle as the data set's authors wrote theirs, and its md5."""
    data = pickle.dumps(content, protocol=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.md5(data).hexdigest()


def make_cifar(root, monkeypatch, n10=3, n100=12):
    """A CIFAR-10 and a CIFAR-100 of four classes, of so many pictures a batch; torchvision is given their checksums."""
    for name, folder, batches, key, classes in (
        ("CIFAR10", "cifar-10-batches-py", [f"data_batch_{i}" for i in range(1, 6)], "labels", list("abcdefghij")),
        ("CIFAR100", "cifar-100-python", ["train"], "fine_labels", ["apple", "bear", "pear", "wolf"]),
    ):
        known, kind, listed = "meta" if name == "CIFAR100" else "batches.meta", getattr(datasets, name), []
        for batch in (*batches, "test" if name == "CIFAR100" else "test_batch"):
            n = n100 if name == "CIFAR100" else n10
            content = {
                "data": RNG.integers(0, 256, (n, 3072), dtype=np.uint8),
                key: (np.arange(n) % len(classes)).tolist(),
            }
            listed.append([batch, pickled(root / folder / batch, content)])
        md5 = pickled(root / folder / known, {key.replace("labels", "label_names"): classes})
        monkeypatch.setattr(kind, "train_list", listed[:-1])
        monkeypatch.setattr(kind, "test_list", listed[-1:])
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5})


def picture(path, color, size=(5, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def make_dtd(root):
    """Two textures, two images each; the split lists one of each, the second first."""
    for texture in ("banded", "woven"):
        for i in (1, 2):
            picture(root / "dtd/dtd/images" / texture / f"{texture}_000{i}.jpg", (i * 40, 0, 0))
    labels = root / "dtd/dtd/labels"
    labels.mkdir()
    (labels / "train1.txt").write_text("woven/woven_0002.jpg\nbanded/banded_0001.jpg\n")
    (labels / "val1.txt").write_text("banded/banded_0002.jpg\n")
    (labels / "test1.txt").write_text("woven/woven_0001.jpg\n")


def make_sun(root):
    """Three classes, one of them nested; more pictures in the first."""
    for place in ("a/abbey/sun_b", "a/abbey/sun_a", "a/airport/outdoor/sun_d", "b/bar/sun_c"):
        picture(root / "SUN397" / f"{place}.jpg", (0, 0, 90))
    (root / "SUN397/ClassName.txt").write_text("/a/abbey\n/a/airport/outdoor\n/b/bar\n")


def archive(folder, inside):
    """The bytes of a tar.gz that holds a folder under the name `inside`, and their md5."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        opened.add(folder, inside)
    return stream.getvalue(), hashlib.md5(stream.getvalue()).hexdigest()
