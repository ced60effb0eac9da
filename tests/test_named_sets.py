"""Data sets by name: from the command line to features and labels, found where they lie or downloaded whole."""

import hashlib
import io
import json
import shutil
import sys
import tarfile

import numpy as np
import pytest
from made_sets import (
    archive,
    datasets,
    make_cifar10,
    make_cifar100,
    make_dtd,
    make_flowers,
    make_folders,
    make_sun,
)
from PIL import Image
from sites import PROXIES, site

from glocal.cli.app import execute
from glocal.data.datasets import IMAGE_SETS, load_images
from glocal.data.datasets.named import open_set, parse_set
from glocal.data.features import Features
from glocal.data.labels import load_labels
from glocal.errors import DataError, FileError, ParameterError
from glocal.extract import open_images

NET = """
import os
import numpy as np, torch

calls = [0]

def net():
    def means(x):
        calls[0] += 1
        if calls[0] == int(os.environ.get("NET_STOPS", "0")):
            raise KeyboardInterrupt
        return x.reshape(len(x), -1, 3).mean(dim=1)
    return means, lambda image: torch.from_numpy(np.array(image.resize((32, 32)), dtype=np.float32))
"""
MODEL = "python:net_of_means:net"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A tiny network on the path and a cache of its own; neither proxies nor mirrors of the environment are asked."""
    folder = tmp_path_factory.mktemp("net")
    (folder / "net_of_means.py").write_text(NET)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "net_of_means", raising=False)
    for name in (*PROXIES, "GLOCAL_MIRROR", "GLOCAL_OFFLINE", "NET_STOPS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(folder / "cache"))
    return folder / "cache"


def extract(name, out, *options):
    return execute(["extract", name, "--model", MODEL, "--out", str(out), "--batch-size", "4", *map(str, options)])


def lines(path):
    return tuple(path.read_text().splitlines())


def make_all(root, monkeypatch):
    make_cifar10(root, monkeypatch)
    make_cifar100(root, monkeypatch, n=12)
    make_flowers(make_dtd(root), monkeypatch)
    make_folders(make_sun(root) / "val", "n01", "n02")
    return root


# names


def test_a_name_is_a_data_set_unless_a_path_has_it(tmp_path, monkeypatch):
    """NAME and NAME:SPLIT are data sets, paths and patterns are not, and a file of that name wins."""
    assert parse_set("cifar100:test") == ("cifar100", "test")
    assert parse_set("dtd") == ("dtd", None)
    assert [parse_set(text) for text in ("photos/*.jpg", "photos", "a/cifar10", "*.png")] == [None] * 4
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar100:test").mkdir()
    assert parse_set("cifar100:test") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cifr100:test", "Did you mean cifar100:test?"),
        ("flowers", "Did you mean flowers102?"),
        ("CIFAR10:train", "Did you mean cifar10:train?"),
        ("xyz:val", "Allowed are cifar10, cifar100, dtd"),
    ],
)
def test_an_unknown_name_gets_the_nearest(tmp_path, capsys, name, said):
    """The sentence names the nearest data set, or all; it exits 1 and nothing is written."""
    assert extract(name, tmp_path / "out") == 1
    assert said in (told := capsys.readouterr().err)
    assert "glocal data list" in told
    assert not (tmp_path / "out").exists()


def test_a_path_that_is_missing_is_told_of_data_sets_too(tmp_path, capsys):
    """What resembles no name stays a path that does not exist."""
    assert extract("images", tmp_path / "out") == 1
    assert "images do not exist" in (told := capsys.readouterr().err)
    assert "data set of glocal data list" in told


def test_the_list_says_how_to_extract_each(capsys):
    """Each data set stands with a command that names it, in text and in JSON."""
    assert execute(["data", "list"]) == 0
    told = capsys.readouterr().out
    assert execute(["data", "list", "--json"]) == 0
    sets = json.loads(capsys.readouterr().out)["image_sets"]
    assert [one["name"] for one in sets] == list(IMAGE_SETS)
    for one in sets:
        assert one["extract"].startswith(f"glocal extract {one['name']}:")
        assert one["extract"] in told
        assert ("--download" in one["extract"]) == one["download"]


# from names to features and labels


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("cifar10:train", 15), ("cifar10:test", 3), ("cifar100:train", 12), ("cifar100:test", 8),
        ("cifar100-coarse:test", 8), ("dtd:train", 2), ("dtd:val", 1), ("flowers102:train", 2), ("sun397", 4),
        ("imagenet:val", 4), ("imagefolder:val", 4),
    ],
)  # fmt: skip
def test_features_and_labels_have_the_same_order(tmp_path, monkeypatch, capsys, name, n):
    """Row i is the picture i of the data set, and line i of labels.txt its class; terms are said on stderr."""
    root = make_all(tmp_path / "root", monkeypatch)
    assert extract(name, tmp_path / "out", "--root", root) == 0
    told = capsys.readouterr()
    word, _, split = name.partition(":")
    assert IMAGE_SETS[word].terms in told.err
    assert "labels beside them: labels.txt" in told.out
    found = load_images(word, root, split=split or None)
    features = Features.load(tmp_path / "out")
    assert len(found) == len(features) == n
    assert features.names == found.names == lines(tmp_path / "out" / "file_names.txt")
    assert lines(tmp_path / "out" / "labels.txt") == tuple(found.classes[label] for label in found.labels)
    assert (tmp_path / "out" / "labels_coarse.txt").exists() == (word == "cifar100")
    means = [np.asarray(image.resize((32, 32)), dtype=np.float64).mean((0, 1)) for image in found.images]
    assert np.allclose(features.matrix, means, atol=1e-3)


def test_coarse_labels_are_those_of_the_superclasses(tmp_path, monkeypatch):
    """labels_coarse.txt of cifar100 is labels.txt of cifar100-coarse, and evaluate reads both."""
    make_cifar100(tmp_path, monkeypatch, n=12)
    for name in ("cifar100", "cifar100-coarse"):
        assert extract(f"{name}:test", tmp_path / name, "--root", tmp_path) == 0
    coarse = load_labels(tmp_path / "cifar100" / "labels_coarse.txt", 8)
    assert coarse.tolist() == ["fruit", "carnivores"] * 4
    assert np.array_equal(load_labels(tmp_path / "cifar100-coarse" / "labels.txt", 8), coarse)
    assert load_labels(tmp_path / "cifar100" / "labels.txt", 8).tolist() == ["apple", "bear", "pear", "wolf"] * 2


def test_the_cache_is_where_data_sets_lie_by_default(tmp_path, monkeypatch, cache):
    """Without --root the folder images of the cache is looked in; what lies elsewhere needs one."""
    make_dtd(cache / "images")
    assert extract("dtd:train", tmp_path / "out") == 0
    with pytest.raises(ParameterError, match="name its folder with --root"):
        open_set("imagenet", "val")
    with pytest.raises(FileError, match="--download"):
        open_set("cifar10")


def test_several_layers_have_labels_each(tmp_path):
    """Labels lie beside every matrix."""
    from glocal.extract import Extractor

    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    extractor = Extractor((net, lambda image: torch.zeros(12)), ["0", "1"], batch_size=2)
    found = extractor.extract(load_images("dtd", make_dtd(tmp_path)), tmp_path / "out")
    for file in found.files.values():
        assert lines(file.parent / "labels.txt") == ("woven", "banded")


def test_an_image_without_a_row_has_no_label(tmp_path, capsys):
    """A damaged picture leaves out its line in labels.txt too."""
    make_folders(tmp_path / "root", "a", "b")
    (tmp_path / "root" / "a" / "1.png").write_bytes(b"broken")
    assert extract("imagefolder", tmp_path / "out", "--root", tmp_path / "root", "--skip-unreadable") == 0
    assert lines(tmp_path / "out" / "labels.txt") == ("a", "b", "b")
    assert "no row: a/1.png" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    """Interrupted in its third batch a run leaves no labels; the next ends with the files of an undisturbed one."""
    make_cifar10(tmp_path, monkeypatch)
    options = ("--root", tmp_path, "--chunk-size", 4)
    assert extract("cifar10:train", tmp_path / "whole", *options) == 0
    sys.modules["net_of_means"].calls[0] = 0
    monkeypatch.setenv("NET_STOPS", "3")
    assert extract("cifar10:train", tmp_path / "out", *options) == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".extract"]
    monkeypatch.delenv("NET_STOPS")
    assert extract("cifar10:train", tmp_path / "out", *options) == 0
    for name in ("features.npy", "file_names.txt", "labels.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_folder_with_other_labels_is_another_extraction(tmp_path, monkeypatch, capsys):
    """The same pictures with coarse labels do not pass for those with fine ones."""
    make_cifar100(tmp_path, monkeypatch, n=12)
    assert extract("cifar100:test", tmp_path / "out", "--root", tmp_path) == 0
    assert extract("cifar100-coarse:test", tmp_path / "out", "--root", tmp_path) == 1
    assert "holds another extraction" in capsys.readouterr().err


def test_options_of_data_sets_are_refused_elsewhere(tmp_path, capsys):
    """--root and --download with a path, and a cluster with a name, are one sentence."""
    make_folders(tmp_path / "root", "a")
    assert extract(str(tmp_path / "root"), tmp_path / "out", "--download") == 1
    assert "are about data sets by name" in capsys.readouterr().err
    assert extract("imagefolder", tmp_path / "out", "--root", tmp_path / "root", "--scheduler", "tcp://x") == 1
    assert "a cluster needs the path" in capsys.readouterr().err


def test_classes_that_read_the_same_are_refused(tmp_path):
    """Two class names that one line cannot tell apart are one sentence."""
    make_folders(tmp_path, "a b", "a  b")
    with pytest.raises(DataError, match="differ in spaces alone"):
        load_images("imagefolder", tmp_path).label_lines()


# one decoder


def hard_pictures(folder):
    """A turned JPEG, a transparent PNG, a 16-bit PNG, a palette PNG and a CMYK JPEG."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    pixels = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "1turned.jpg", exif=exif)
    alpha = np.dstack([pixels, rng.integers(0, 256, (6, 9), dtype=np.uint8)])
    Image.fromarray(alpha, "RGBA").save(folder / "2alpha.png")
    Image.fromarray(rng.integers(0, 65536, (6, 9), dtype=np.uint16)).save(folder / "3deep.png")
    Image.fromarray(pixels).convert("P").save(folder / "4palette.png")
    Image.fromarray(pixels).convert("CMYK").save(folder / "5cmyk.jpg")


def test_a_data_set_and_a_folder_decode_to_the_same_pixels(tmp_path):
    """EXIF orientation, transparency, 16 bits, palettes and CMYK: pictures, their source and the folder agree."""
    hard_pictures(tmp_path / "a")
    found, folder = load_images("imagefolder", tmp_path), open_images(str(tmp_path))
    source = open_images(found)
    assert [item.name for item in source.items] == [item.name for item in folder.items]
    for i in range(len(found)):
        wanted = np.asarray(folder.read(i))
        assert np.array_equal(np.asarray(found.images[i]), wanted)
        assert np.array_equal(np.asarray(source.read(i)), wanted)
    assert np.asarray(found.images[0]).shape == (9, 6, 3)


def test_pixels_in_memory_decode_as_their_png(tmp_path, monkeypatch):
    """A picture of CIFAR and the same pixels saved as PNG give the same input of a network."""
    root, _, _ = make_cifar10(tmp_path / "root", monkeypatch)
    found = load_images("cifar10", root, split="test")
    for i in range(len(found)):
        found.images[i].save(tmp_path / f"{i}.png")
    source, folder = open_images(found), open_images(str(tmp_path / "*.png"))
    for i in range(len(found)):
        assert np.array_equal(np.asarray(source.read(i)), np.asarray(folder.read(i)))


# downloads


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The archive of a small CIFAR-10, and a function that sets the address that it is downloaded from."""
    root, _, _ = make_cifar10(tmp_path / "published", monkeypatch)
    data, md5 = archive(root / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5)
    return data, lambda url: monkeypatch.setattr(datasets.CIFAR10, "url", f"{url}/cifar.tar.gz")


def left(root):
    """All that lies below a folder."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (404, "the server answers 404"),
        (500, "the server answers 500"),
        ("truncate", "cannot fetch cifar10"),
        ("corrupt", "not the file that was published"),
        ("circle", "redirects without end"),
    ],
)
def test_what_a_server_does_wrong_is_said_and_nothing_is_kept(tmp_path, capsys, published, behaviour, said):
    """Each fault is one sentence with address and place, exit 1; afterwards a server that works is enough."""
    data, address = published
    with site({"/cifar.tar.gz": data}, behaviour) as (url, server):
        address(url)
        assert extract("cifar10:test", tmp_path / "out", "--root", tmp_path / "root", "--download") == 1
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith("error: ")
        assert said in told
        assert f"{url}/cifar.tar.gz" in told
        assert f"put it at {tmp_path / 'root' / 'cifar.tar.gz'}" in told
        assert left(tmp_path / "root") == []
        assert not (tmp_path / "out").exists()
        server.behaviour = None
        assert extract("cifar10:test", tmp_path / "out", "--root", tmp_path / "root", "--download") == 0
    assert len(Features.load(tmp_path / "out")) == 3


def test_a_server_that_stalls_is_given_up(tmp_path, published):
    """After the seconds that a caller waits, the sentence says so, and nothing is kept."""
    data, address = published
    with site({"/cifar.tar.gz": data}, "stall") as (url, _):
        address(url)
        with pytest.raises(FileError, match="timed out"):
            load_images("cifar10", tmp_path / "root", download=True, timeout=0.5)
    assert left(tmp_path / "root") == []


def test_a_redirect_is_followed_and_the_archive_removed(tmp_path, published, capsys):
    """A moved archive is found; the unpacked folder alone is kept, and no server is asked again."""
    data, address = published
    with site({"/cifar.tar.gz": data, "/moved/cifar.tar.gz": data}, "redirect") as (url, server):
        address(url)
        for out in ("first", "second"):
            assert extract("cifar10:train", tmp_path / out, "--root", tmp_path / "root", "--download") == 0
        assert server.asked == ["/cifar.tar.gz", "/moved/cifar.tar.gz"]
    assert (tmp_path / "first/labels.txt").read_bytes() == (tmp_path / "second/labels.txt").read_bytes()
    assert {path.name for path in (tmp_path / "root").iterdir()} == {"cifar-10-batches-py"}
    assert "no licence stated" in capsys.readouterr().err


def test_a_server_that_is_gone_is_one_sentence(tmp_path, published):
    """The sentence says that nobody answers."""
    _, address = published
    address("http://127.0.0.1:9")
    with pytest.raises(FileError, match=r"cannot fetch cifar10 .*refused"):
        load_images("cifar10", tmp_path / "root", download=True)


def test_an_archive_that_lies_there_is_used_and_kept(tmp_path, monkeypatch, published):
    """An archive brought by hand is verified and unpacked; nobody is asked."""
    data, address = published
    address("http://127.0.0.1:9")
    monkeypatch.setenv("GLOCAL_OFFLINE", "1")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "cifar.tar.gz").write_bytes(data)
    assert len(load_images("cifar10", tmp_path / "root", split="test", download=True)) == 3
    assert {path.name for path in (tmp_path / "root").iterdir()} == {"cifar-10-batches-py", "cifar.tar.gz"}
    with pytest.raises(FileError, match="nothing is downloaded offline"):
        load_images("cifar10", tmp_path / "other", download=True)


def test_a_mirror_is_asked_in_place_of_the_publisher(tmp_path, monkeypatch, published):
    """$GLOCAL_MIRROR, a folder too, has archives under images/; their checksums are compared all the same."""
    data, address = published
    address("http://127.0.0.1:9")
    (tmp_path / "mirror/images").mkdir(parents=True)
    (tmp_path / "mirror/images/cifar.tar.gz").write_bytes(data)
    monkeypatch.setenv("GLOCAL_MIRROR", (tmp_path / "mirror").as_uri())
    assert len(load_images("cifar10", tmp_path / "root", download=True)) == 15
    (tmp_path / "mirror/images/cifar.tar.gz").write_bytes(data[:-1])
    with pytest.raises(FileError, match="not the file that was published"):
        load_images("cifar10", tmp_path / "other", download=True)
    assert left(tmp_path / "other") == []


def test_what_a_killed_process_left_is_removed(tmp_path, published):
    """Half an unpacked folder of a process that died does not stay, nor pass for the data set."""
    data, address = published
    half = tmp_path / "root" / ".cifar10.partial-x" / "cifar-10-batches-py"
    half.mkdir(parents=True)
    with site({"/cifar.tar.gz": data}) as (url, _):
        address(url)
        assert len(load_images("cifar10", tmp_path / "root", download=True)) == 15
    assert {path.name for path in (tmp_path / "root").iterdir()} == {"cifar-10-batches-py"}


def test_an_archive_of_something_else_is_refused(tmp_path, monkeypatch, published):
    """The right checksum on an archive without the folder, or on no archive, leaves nothing behind."""
    _, address = published
    wrong, md5 = archive(tmp_path / "published" / "cifar-10-batches-py", "elsewhere")
    for data, digest, said in ((wrong, md5, "has no folder cifar-10-batches-py"), (b"no archive", None, "damaged")):
        monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", digest or hashlib.md5(data).hexdigest())
        with site({"/cifar.tar.gz": data}) as (url, _):
            address(url)
            with pytest.raises(FileError, match=said):
                load_images("cifar10", tmp_path / "root", download=True)
        assert not (tmp_path / "root" / "cifar-10-batches-py").exists()
        assert not list((tmp_path / "root").glob(".*"))
        shutil.rmtree(tmp_path / "root")


def test_no_chain_of_links_leads_out_of_an_archive(tmp_path, monkeypatch, published):
    """Links whose path is too long to be resolved lead upward: older Pythons would follow them and write outside."""
    steps, outside, made = "abcdefghijklmnop", tmp_path / "outside", io.BytesIO()
    outside.mkdir()
    upward = f"{'/'.join(steps)}/{'l' * 254}"
    with tarfile.open(fileobj=made, mode="w:gz") as packed:

        def add(name, kind, leads_to=""):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, leads_to
            packed.addfile(member)

        for depth, step in enumerate(steps):
            below = "/".join(["d" * 247] * depth)
            add(f"{below}/{'d' * 247}".lstrip("/"), tarfile.DIRTYPE)
            add(f"{below}/{step}".lstrip("/"), tarfile.SYMTYPE, "d" * 247)
        add(upward, tarfile.SYMTYPE, "../" * len(steps))
        add("way", tarfile.SYMTYPE, f"{upward}/../../outside")
        add("way/file", tarfile.REGTYPE)
    data = made.getvalue()
    _, address = published
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(data).hexdigest())
    with site({"/cifar.tar.gz": data}) as (url, _):
        address(url)
        with pytest.raises(FileError, match="damaged or incomplete"):
            load_images("cifar10", tmp_path / "root", download=True)
    assert not list(outside.iterdir())


def test_each_archive_is_unpacked_where_torchvision_looks(tmp_path, monkeypatch):
    """CIFAR-100, DTD, SUN397 and Flowers, whose labels are files of their own, are downloaded and read."""
    made = tmp_path / "made"
    make_cifar100(made, monkeypatch, n=12)
    make_flowers(make_sun(make_dtd(made)), monkeypatch)
    files = {}
    for word, folder, inside in (
        ("cifar", "cifar-100-python", "cifar-100-python"),
        ("dtd", "dtd/dtd", "dtd"),
        ("sun", "SUN397", "SUN397"),
        ("flowers", "flowers-102/jpg", "jpg"),
    ):
        files[f"/{word}.tar.gz"], md5 = archive(made / folder, inside)
        files[word] = md5
    for name in ("imagelabels.mat", "setid.mat"):
        files[f"/{name}"] = (made / "flowers-102" / name).read_bytes()
    with site(files) as (url, _):
        monkeypatch.setattr(datasets.CIFAR100, "url", f"{url}/cifar.tar.gz")
        monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", files["cifar"])
        monkeypatch.setattr(datasets.DTD, "_URL", f"{url}/dtd.tar.gz")
        monkeypatch.setattr(datasets.DTD, "_MD5", files["dtd"])
        monkeypatch.setattr(datasets.SUN397, "_DATASET_URL", f"{url}/sun.tar.gz")
        monkeypatch.setattr(datasets.SUN397, "_DATASET_MD5", files["sun"])
        monkeypatch.setattr(datasets.Flowers102, "_download_url_prefix", f"{url}/")
        listed = {**datasets.Flowers102._file_dict, "image": ("flowers.tar.gz", files["flowers"])}
        monkeypatch.setattr(datasets.Flowers102, "_file_dict", listed)
        for name in ("cifar100", "cifar100-coarse", "dtd", "sun397", "flowers102"):
            found = load_images(name, tmp_path / "root", download=True)
            assert found.names == load_images(name, made).names
            assert np.array_equal(found.labels, load_images(name, made).labels)
    assert left(tmp_path / "root") == left(made)
