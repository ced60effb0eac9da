"""Image data sets in the formats they are published in, made small, with their checksums put into torchvision."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

datasets = pytest.importorskip("torchvision.datasets", reason="image data sets need glocal[extract]")
scipy_io = pytest.importorskip("scipy.io")

RNG = np.random.default_rng(0)


def pickled(path, content):
    """A pickle as the data set's authors wrote theirs, and its md5."""
    data = pickle.dumps(content, protocol=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.md5(data).hexdigest()


def make_cifar10(root, monkeypatch, n=3):
    """A CIFAR-10 of n pictures a batch, whose checksums torchvision is given."""
    folder, listed = root / "cifar-10-batches-py", []
    for batch in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        pixels, labels = RNG.integers(0, 256, (n, 3072), dtype=np.uint8), np.resize(np.arange(10), n).tolist()
        listed.append([batch, pickled(folder / batch, {"data": pixels, "labels": labels})])
    meta = pickled(folder / "batches.meta", {"label_names": [f"class{i}" for i in range(10)]})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", listed[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", listed[5:])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": meta})


def make_cifar100(root, monkeypatch, n=12):
    """A small CIFAR-100 of four classes, as far as a reader goes by the fine labels."""
    listed, folder = {}, root / "cifar-100-python"
    for split, count in (("train", n), ("test", 8)):
        fine = np.resize(np.arange(4), count).tolist()
        content = {"fine_labels": fine, "data": RNG.integers(0, 256, (count, 3072), dtype=np.uint8)}
        listed[split] = [[split, pickled(folder / split, content)]]
    meta = pickled(folder / "meta", {"fine_label_names": ["apple", "bear", "pear", "wolf"]})
    monkeypatch.setattr(datasets.CIFAR100, "train_list", listed["train"])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", listed["test"])
    monkeypatch.setattr(datasets.CIFAR100, "meta", {**datasets.CIFAR100.meta, "md5": meta})


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
    return root


def make_flowers(root, monkeypatch):
    """Four flowers of classes 1, 2, 102, 2; images 3 and 1 train, 2 is for validation, 4 tests."""
    folder = root / "flowers-102"
    for i in range(1, 5):
        picture(folder / "jpg" / f"image_{i:05d}.jpg", (0, i * 40, 0))
    scipy_io.savemat(folder / "imagelabels.mat", {"labels": [[1, 2, 102, 2]]})
    scipy_io.savemat(folder / "setid.mat", {"trnid": [[3, 1]], "valid": [[2, 2]], "tstid": [[4, 4]]})
    files = dict(datasets.Flowers102._file_dict)
    for key in ("label", "setid"):
        name = files[key][0]
        files[key] = (name, hashlib.md5((folder / name).read_bytes()).hexdigest())
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    return root


def make_sun(root):
    """Three classes, one of them nested; more pictures in the second."""
    folder = root / "SUN397"
    for place in ("a/abbey/sun_b", "a/abbey/sun_a", "a/airport/outdoor/sun_d", "b/bar/sun_c"):
        picture(folder / f"{place}.jpg", (0, 0, 90))
    (folder / "ClassName.txt").write_text("/a/abbey\n/a/airport/outdoor\n/b/bar\n")
    return root


def make_folders(root, *classes, n=2, suffix=".png"):
    for number, name in enumerate(classes):
        for i in range(n):
            picture(root / name / f"{i}{suffix}", (number * 50, i * 50, 0))
    return root


def archive(folder, inside):
    """The bytes of a tar.gz that holds a folder under the name `inside`, and their md5."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        opened.add(folder, inside)
    return stream.getvalue(), hashlib.md5(stream.getvalue()).hexdigest()
