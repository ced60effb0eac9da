"""Image data sets in the formats they are published in, made small here, and what is said when they are not whole."""

import functools
import pickle
import re
import sys

import numpy as np
import pytest
from made_sets import (
    COARSE,
    COARSE_OF_FINE,
    FINE,
    make_cifar10,
    make_cifar100,
    make_dtd,
    make_flowers,
    make_folders,
    make_sun,
)
from PIL import Image

from glocal.cli.app import execute
from glocal.data.datasets import IMAGE_SETS, ImageSet, load_images
from glocal.data.datasets.sources import coarse_labels
from glocal.data.labels import load_labels
from glocal.errors import DataError, FileError, MissingDependencyError, ParameterError


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A CIFAR-10 of 3 pictures a batch: (root, pixels, labels) of the training part."""
    return make_cifar10(tmp_path, monkeypatch)


@pytest.fixture
def cifar100(tmp_path, monkeypatch):
    """A function that writes a small CIFAR-100; it returns fine labels."""
    return functools.partial(make_cifar100, tmp_path, monkeypatch)


def sentence(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


# each format


def test_cifar10_is_read_in_the_order_of_its_files(cifar10):
    """Pixels, labels and class names are those of the batches, one after the other; names count up."""
    root, pixels, labels = cifar10
    found = load_images("cifar10", root, split="train")
    assert len(found) == len(found.images) == 15
    assert found.labels.tolist() == labels
    assert found.labels.dtype == np.int64
    assert found.classes == tuple(f"class{i}" for i in range(10))
    assert found.superlabels is None
    assert found.names[:2] == ("train/00000.png", "train/00001.png")
    for i in (0, 7, -1):
        wanted = pixels[i].reshape(3, 32, 32).transpose(1, 2, 0)  # red, green, blue planes, row by row
        assert np.array_equal(np.asarray(found.images[i]), wanted)
    assert len(load_images("cifar10", root, split="test")) == 3
    assert str(root) in found.source


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_cifar100_has_the_superclasses_of_its_own_files(cifar100, tmp_path, protocol):
    """Coarse labels and their names come from the files, for both splits, whatever protocol wrote them."""
    fine = cifar100(protocol)
    for split, labels in fine.items():
        found = load_images("cifar100", tmp_path, split=split)
        assert found.labels.tolist() == labels.tolist()
        assert found.superlabels.tolist() == COARSE_OF_FINE[labels].tolist()
        assert (found.classes, found.superclasses) == (FINE, COARSE)


def test_coarse_labels_are_read_as_python_2_wrote_them(tmp_path):
    """Strings of bytes, places in the memo, and a list in two pieces: what the published file is made of."""
    text = b"}q\x01(U\rcoarse_labelsq\x02]q\x03(K\x01K\x00eK\x01aU\x04dataq\x04U\x02\xff\x00q\x05u."
    (tmp_path / "train").write_bytes(b"\x80\x02" + text)
    with (tmp_path / "train").open("rb") as stream:
        assert pickle.load(stream, encoding="latin1")["coarse_labels"] == [1, 0, 1]
    assert coarse_labels(tmp_path / "train", 3, 2) == [1, 0, 1]


def test_coarse_labels_that_declare_more_than_there_is_take_no_memory(tmp_path):
    """A text that says it has a thousand gigabytes is refused by what the file has."""
    (tmp_path / "train").write_bytes(b"\x80\x04\x8d" + (2**40).to_bytes(8, "little") + b"coarse_labels")
    with pytest.raises(ValueError, match="13 remain"):
        coarse_labels(tmp_path / "train", 3, 2)


@pytest.mark.parametrize("coarse", [[0, 1], [7] * 2500])
def test_cifar100_with_other_coarse_labels_is_damaged(cifar100, tmp_path, coarse):
    """Coarse labels that are too few or name no superclass are one sentence."""
    cifar100(coarse=coarse)
    with pytest.raises(FileError, match="has no list of 2500 coarse_labels from 0 to 1") as caught:
        load_images("cifar100", tmp_path)
    sentence(caught)


def test_dtd_follows_the_lists_of_partition_1(tmp_path):
    """Pictures come in the order of the split's list, with the class of their folder."""
    found = load_images("dtd", make_dtd(tmp_path))
    assert found.names == ("woven/woven_0002.jpg", "banded/banded_0001.jpg")
    assert [found.classes[label] for label in found.labels] == ["woven", "banded"]
    assert np.asarray(found.images[0])[0, 0, 0] > np.asarray(found.images[1])[0, 0, 0]
    assert load_images("dtd", tmp_path, split="test").names == ("woven/woven_0001.jpg",)


def test_flowers_follow_the_lists_of_their_mat_files(tmp_path, monkeypatch):
    """Pictures come in the order of the split, labels count from 0, and each of 102 classes has a name."""
    found = load_images("flowers102", make_flowers(tmp_path, monkeypatch))
    assert found.names == ("image_00003.jpg", "image_00001.jpg")
    assert found.labels.tolist() == [101, 0]
    assert len(found.classes) == 102


def test_sun397_comes_by_class_then_name(tmp_path):
    """Whatever order the disk lists the files in, they come by class, then name; nested classes count."""
    found = load_images("sun397", make_sun(tmp_path))
    assert found.names == (
        "a/abbey/sun_a.jpg", "a/abbey/sun_b.jpg", "a/airport/outdoor/sun_d.jpg", "b/bar/sun_c.jpg"
    )  # fmt: skip
    assert found.labels.tolist() == [0, 0, 1, 2]
    assert found.classes == ("abbey", "airport/outdoor", "bar")


@pytest.mark.parametrize("name", ["imagenet", "imagefolder"])
def test_class_folders_are_read_below_the_root_or_the_split(tmp_path, name):
    """Class folders count in alphabetical order, below the root, or below train and val where these hold folders."""
    plain = make_folders(tmp_path / "plain", "n02", "n01")
    found = load_images(name, plain)
    assert found.names == ("n01/0.png", "n01/1.png", "n02/0.png", "n02/1.png")
    assert (found.classes, found.labels.tolist()) == (("n01", "n02"), [0, 0, 1, 1])
    assert "(all)" in found.source
    make_folders(tmp_path / "split" / "train", "n01", "n02", n=3)
    make_folders(tmp_path / "split" / "val", "n01", "n02", n=1)
    assert len(load_images(name, tmp_path / "split")) == 6
    assert load_images(name, str(tmp_path / "split"), split="val").names == ("n01/0.png", "n02/0.png")


def test_a_class_called_train_is_a_class(tmp_path):
    """A folder train that holds pictures is a class like others, not a split."""
    assert load_images("imagefolder", make_folders(tmp_path, "car", "train")).classes == ("car", "train")


def test_pictures_are_opened_when_asked_for(tmp_path):
    """A damaged picture is found when it is opened, in one sentence that names it; the others open, all as RGB."""
    make_folders(tmp_path, "a", n=3)
    Image.new("L", (3, 3), 7).save(tmp_path / "a" / "0.png")
    whole = (tmp_path / "a" / "1.png").read_bytes()
    (tmp_path / "a" / "1.png").write_bytes(whole[: len(whole) // 2])
    found = load_images("imagefolder", tmp_path)
    assert [found.images[i].mode for i in (0, 2, -1)] == ["RGB"] * 3
    with pytest.raises(FileError, match=re.escape(str(tmp_path / "a" / "1.png"))) as caught:
        found.images[1]
    sentence(caught)
    (tmp_path / "a" / "2.png").write_text("no picture")
    with pytest.raises(FileError, match=r"2\.png cannot be opened"):
        found.images[2]
    with pytest.raises(IndexError):
        found.images[3]


# labels for evaluate


def test_saved_labels_are_what_evaluate_reads(cifar100, tmp_path):
    """labels.npy and superlabels.npy load as labels of as many rows; the names stand one a line."""
    cifar100()
    found = load_images("cifar100", tmp_path, split="test")
    written = found.save_labels(tmp_path / "new" / "folder")
    assert {path.name for path in written} == {"labels.npy", "superlabels.npy", "classes.txt", "superclasses.txt"}
    folder = written[0].parent
    assert np.array_equal(load_labels(folder / "labels.npy", 8), found.labels)
    assert np.array_equal(load_labels(folder / "superlabels.npy", 8), found.superlabels)
    assert tuple((folder / "classes.txt").read_text().splitlines()) == FINE


def test_features_are_extracted_from_a_data_set(cifar10, tmp_path):
    """Rows are in the order of the data set, from pixels in memory and from files: here the mean of each channel."""
    torch = pytest.importorskip("torch")
    from glocal.extract import Extractor

    def preprocess(image):
        return torch.from_numpy(np.array(image, dtype=np.float32))

    mean = torch.nn.Sequential(torch.nn.Flatten(1, 2), torch.nn.AdaptiveAvgPool2d((1, 3)), torch.nn.Flatten())
    folders = load_images("imagefolder", make_folders(tmp_path / "images", "a", "b"))
    for found in (load_images("cifar10", cifar10[0], split="train"), folders):
        result = Extractor((mean, preprocess), batch_size=4).extract(found, tmp_path / f"features {len(found)}")
        expected = np.stack([np.asarray(image, dtype=np.float64).mean((0, 1)) for image in found.images])
        assert result.features().names == found.names
        assert np.allclose(result.features().matrix, expected, atol=1e-4)


def test_without_superclasses_only_labels_are_saved(tmp_path):
    """No superlabels, no file of them."""
    load_images("imagefolder", make_folders(tmp_path / "images", "a", "b")).save_labels(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["classes.txt", "labels.npy"]


def test_the_shift_task_runs_on_saved_labels(cifar100, tmp_path, capsys):
    """Superlabels as labels and labels as subclasses are the shift task of `evaluate anomaly`."""
    cifar100(n=80)
    for split in ("train", "test"):
        found = load_images("cifar100", tmp_path, split=split)
        found.save_labels(tmp_path / split)
        pixels = np.stack([np.asarray(image)[:4, :4].ravel() for image in found.images])
        np.save(tmp_path / split / "features.npy", pixels.astype(np.float32))
    files = [
        f"--{split}{option}={tmp_path / split / file}.npy"
        for split in ("train", "test")
        for option, file in (("", "features"), ("-labels", "superlabels"), ("-subclasses", "labels"))
    ]
    assert execute(["evaluate", "anomaly", "--mode", "shift", *files, "--json"]) == 0
    assert '"mode": "shift"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(2, dtype=np.int64)}, "3 pictures but 2 labels"),
        ({"names": ("a",)}, "3 pictures but 1 names"),
        ({"superlabels": np.zeros(4, dtype=np.int64), "superclasses": ("x",)}, "3 pictures but 4 superlabels"),
        ({"labels": np.array([0, 1, 2])}, "labels 0 to 2 but 2 class names"),
        ({"images": [], "labels": np.zeros(0, dtype=np.int64), "names": ()}, "holds no picture"),
    ],
)
def test_an_image_set_fits_together(as_a_user, change, message):
    """Parts of different length, labels without a name and an empty set are one sentence."""
    parts = {
        "images": [1, 2, 3], "labels": np.array([0, 1, 0]), "classes": ("p", "q"), "superlabels": None,
        "superclasses": (), "names": ("a", "b", "c"), "source": "mine",
    }  # fmt: skip
    assert len(ImageSet(**parts)) == 3
    with pytest.raises(DataError, match=f"^mine .*{message}"):
        ImageSet(**{**parts, **change})


# what goes wrong


def test_an_unknown_data_set_is_one_sentence(tmp_path):
    """The sentence lists the names that are known."""
    with pytest.raises(ParameterError, match=r"'mnist'; allowed are cifar10, cifar100, dtd, sun397") as caught:
        load_images("mnist", tmp_path)
    sentence(caught)


@pytest.mark.parametrize("name", list(IMAGE_SETS))
def test_a_missing_folder_says_where_the_files_belong(tmp_path, name):
    """The sentence names the folder that was looked for, and downloading only where that is possible."""
    root = tmp_path / "none"
    with pytest.raises(FileError, match=re.escape(str(root / IMAGE_SETS[name].folder))) as caught:
        load_images(name, root)
    assert ("download=True" in sentence(caught)) == IMAGE_SETS[name].download


@pytest.mark.parametrize(("name", "allowed"), [("cifar10", "train, test"), ("dtd", "train, val, test")])
def test_a_wrong_split_lists_those_there_are(cifar10, tmp_path, name, allowed):
    """The sentence lists the splits."""
    make_dtd(tmp_path)
    with pytest.raises(ParameterError, match=f"no split 'dev'; allowed are {allowed}") as caught:
        load_images(name, tmp_path, split="dev")
    sentence(caught)


def test_folders_have_the_splits_they_have(tmp_path):
    """A folder of classes has the split all; SUN397 has no other."""
    make_folders(tmp_path, "a", "b")
    with pytest.raises(ParameterError, match="allowed are all"):
        load_images("imagefolder", tmp_path, split="train")
    with pytest.raises(ParameterError, match="allowed are all"):
        load_images("sun397", make_sun(tmp_path), split="train")


def test_a_damaged_batch_is_one_sentence(cifar10):
    """A batch whose checksum is wrong is refused before it is unpickled."""
    root = cifar10[0]
    with (root / "cifar-10-batches-py/data_batch_3").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(FileError, match=r"cifar10 in .* is damaged or incomplete") as caught:
        load_images("cifar10", root)
    sentence(caught)


def test_missing_images_and_lists_are_one_sentence(tmp_path, monkeypatch):
    """An image that a list names, the list itself, or a class that is not listed: damaged or incomplete."""
    make_dtd(tmp_path)
    (tmp_path / "dtd/dtd/images/woven/woven_0002.jpg").unlink()
    with pytest.raises(FileError, match="1 of 2 images are missing") as caught:
        load_images("dtd", tmp_path)
    sentence(caught)
    (tmp_path / "dtd/dtd/labels/val1.txt").unlink()
    with pytest.raises(FileError, match=r"dtd in .* is damaged or incomplete") as caught:
        load_images("dtd", tmp_path, split="val")
    sentence(caught)
    (make_sun(tmp_path) / "SUN397/ClassName.txt").write_text("/b/bar\n")
    with pytest.raises(FileError, match=r"sun397 in .* is damaged or incomplete") as caught:
        load_images("sun397", tmp_path)
    sentence(caught)


def test_a_folder_without_classes_or_with_an_empty_one_is_one_sentence(tmp_path):
    """No class folder, or a class without a picture."""
    with pytest.raises(FileError, match="class folder") as caught:
        load_images("imagefolder", tmp_path)
    sentence(caught)
    make_folders(tmp_path, "a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="empty") as caught:
        load_images("imagefolder", tmp_path)
    sentence(caught)


def test_imagenet_cannot_be_downloaded(tmp_path):
    """Asking for it names its terms and where its folders go."""
    with pytest.raises(ParameterError, match=r"cannot be downloaded here \(non-commercial research") as caught:
        load_images("imagenet", tmp_path, download=True)
    sentence(caught)


def test_without_torchvision_the_sentence_names_it(tmp_path, monkeypatch):
    """Without torchvision the error says how to install it."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'glocal\[extract\]'"):
        load_images("imagefolder", make_folders(tmp_path, "a", "b"))


def test_every_data_set_states_its_terms():
    """Each data set has its terms, a citation and a size."""
    assert all(one.name == name and one.terms and one.citation and one.size for name, one in IMAGE_SETS.items())
