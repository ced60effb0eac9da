"""The run: rows in order, the same to the byte whatever happened on the way, and nothing claimed that is not there."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from glocal.data.decode import Unreadable
from glocal.data.features import Features
from glocal.errors import FileError, GLocalError, ParameterError
from glocal.extract import Extractor, open_images
from glocal.extract.extractor import parse_shard
from glocal.extract.source import Item, Source

Image = pytest.importorskip("PIL.Image")

TOY = '''
import os, time
import numpy as np, torch
from torch import nn

class Toy(nn.Module):
    """A convolution, so that the bytes of a row could depend on the batch it is in."""
    def __init__(self, seed=0):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.conv, self.out, self.calls = nn.Conv2d(3, 8, 5), nn.Linear(8, 6), 0
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=g))
    def forward(self, x):
        time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
        self.calls += 1
        if self.calls > int(os.environ.get("TOY_STOP", "1000000")):  # waits to be killed
            time.sleep(10_000)
        return self.out(torch.relu(self.conv(x)).mean((2, 3)))

def pixels(image):
    return torch.from_numpy(np.array(image.resize((24, 24)))).permute(2, 0, 1).float() / 255

def model():
    return Toy(), pixels

def other():
    return Toy(1), pixels
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A module of the user's own on the path, here and in processes that are started from here."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "toy_for_extract.py").write_text(TOY)
    source = str(Path(sys.modules["glocal"].__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), source]))
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
        if number in (7, 8, 40):
            file.write_bytes(b"no picture")
        else:
            Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(file)
    return folder


def files_of(folder):
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def one_by_one(model, photos, batch_size=1):
    """The oracle: a plain loop over the files in natural order, one image in a pass."""
    module, preprocess = model
    rows, names = [], []
    for number in range(61):
        if number not in (7, 8, 40):
            with torch.inference_mode():
                rows.append(module(preprocess(Image.open(photos / f"{number}.png").convert("RGB"))[None])[0])
            names.append(f"{number}.png")
    return torch.stack(rows).numpy(), tuple(names)


def toy_model():
    import toy_for_extract

    return toy_for_extract.model()


def test_rows_equal_a_plain_loop_in_natural_order(toy, photos, tmp_path):
    """58 rows are those of a loop over the files; three files are missing by name; the layout is thingsvision's."""
    result = Extractor(toy, batch_size=4).extract(photos, tmp_path / "out", chunk_size=12)
    expected, names = one_by_one(toy_model(), photos)
    loaded = Features.load(tmp_path / "out")
    assert np.allclose(loaded.matrix, expected, rtol=1e-5, atol=1e-6)
    assert loaded.names == names
    assert [name for name, _ in result.missing] == ["7.png", "8.png", "40.png"]
    assert sorted(files_of(tmp_path / "out")) == ["features.npy", "file_names.txt", "record.json"]


def test_a_row_does_not_depend_on_the_images_beside_it(toy, photos, tmp_path):
    """With other images in the same batches, the rows of the images that stayed are equal to the byte."""
    few = tmp_path / "few"
    few.mkdir()
    for number in range(61):
        keep = number % 3 == 0
        data = (photos / f"{number}.png").read_bytes() if keep else b"broken"
        (few / f"{number}.png").write_bytes(data)
    everything = Extractor(toy, batch_size=4).extract(photos, tmp_path / "a").features()
    fewer = Extractor(toy, batch_size=4).extract(few, tmp_path / "b").features()
    assert len(fewer) == 21
    for row, name in enumerate(fewer.names):
        assert np.array_equal(fewer.matrix[row], everything.matrix[everything.names.index(name)])


@pytest.mark.parametrize("chunk_size", [1, 8, 1000])
def test_chunks_change_no_value(toy, photos, tmp_path, chunk_size):
    """One batch a chunk, a few, or all in one: the same matrix to the byte."""
    reference = Extractor(toy, batch_size=8).extract(photos, tmp_path / "a").features()
    result = Extractor(toy, batch_size=8, workers=1).extract(photos, tmp_path / "b", chunk_size=chunk_size)
    found = result.features()
    assert np.asarray(found.matrix).tobytes() == np.asarray(reference.matrix).tobytes()
    assert found.names == reference.names


def test_several_layers_lie_in_a_folder_each(toy, photos, tmp_path):
    """Layers of one pass are loaded from a folder each, with the same names and their own dimensions."""
    result = Extractor(toy, ["conv", "output"], pool="flatten").extract(photos, tmp_path / "out")
    conv, output = (Features.load(tmp_path / "out" / layer) for layer in ("conv", "output"))
    assert conv.matrix.shape == (58, 8 * 20 * 20)
    assert output.matrix.shape == (58, 6)
    assert conv.names == output.names
    assert result.record["dimensions"] == {"conv": 3200, "output": 6}


def test_the_record_says_what_was_run(toy, photos, tmp_path):
    """Model, hash of weights, preprocessing, layer, versions, images and what is missing are in the record."""
    record = Extractor(toy).extract(photos, tmp_path / "out").record
    from glocal.extract.weights import weights_sha256

    assert record["weights_sha256"] == weights_sha256(toy_model()[0])
    assert record["model"] == toy
    assert record["layers"] == {"output": "output of the network"}
    assert record["inputs"]["count"] == 61
    assert "natural order" in record["inputs"]["order"]
    assert record["preprocessing"].startswith("<function pixels")
    assert " at 0x" not in record["preprocessing"]
    assert record["runs"][0]["versions"]["torch"] == torch.__version__
    assert [entry["name"] for entry in record["missing"]] == ["7.png", "8.png", "40.png"]


def test_another_extraction_into_the_same_folder_is_refused(toy, photos, tmp_path):
    """Another model, layer, precision, batch size or set of images: refused by name, and nothing is changed."""
    Extractor(toy, batch_size=8).extract(photos, tmp_path / "out")
    before = files_of(tmp_path / "out")
    few = tmp_path / "few"
    few.mkdir()
    (few / "1.png").write_bytes((photos / "1.png").read_bytes())
    for other, images, part in (
        (Extractor(toy.replace("model", "other"), batch_size=8), photos, "model, weights_sha256 differ"),
        (Extractor(toy, ["conv"], batch_size=8), photos, "layers differ"),
        (Extractor(toy, batch_size=8, dtype="bfloat16"), photos, "dtype differ"),
        (Extractor(toy, batch_size=4), photos, "batch_size"),
        (Extractor(toy, batch_size=8), few, "inputs differ"),
    ):
        with pytest.raises(ParameterError, match=part) as caught:
            other.extract(images, tmp_path / "out")
        assert "Choose another --out" in str(caught.value)
    assert files_of(tmp_path / "out") == before


def test_another_model_into_an_unfinished_folder_is_refused(toy, photos, tmp_path):
    """A folder with some chunks belongs to the extraction that began it."""
    part = Extractor(toy, batch_size=8).extract(photos, tmp_path / "out", shard=(1, 2), chunk_size=8)
    assert not part.finished
    with pytest.raises(ParameterError, match="holds another extraction: model"):
        Extractor(toy.replace("model", "other"), batch_size=8).extract(photos, tmp_path / "out", chunk_size=8)


def test_features_that_no_extraction_wrote_are_not_overwritten(toy, photos, tmp_path):
    """A folder that already has a features.npy of other origin is refused."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "features.npy").write_bytes(b"precious")
    with pytest.raises(ParameterError, match="no extraction recorded"):
        Extractor(toy).extract(photos, tmp_path / "out")
    assert (tmp_path / "out" / "features.npy").read_bytes() == b"precious"


def test_a_finished_extraction_is_left_as_it_is(toy, photos, tmp_path, monkeypatch):
    """The same command again runs the network on nothing and returns the same."""
    first = Extractor(toy).extract(photos, tmp_path / "out")
    again = Extractor(toy)
    monkeypatch.setattr(type(again.loaded.module), "forward", lambda *_: pytest.fail("the network ran"))
    assert again.extract(photos, tmp_path / "out") == first


def test_shards_together_are_one_extraction(toy, photos, tmp_path):
    """Three shards in any order give the folder of one undisturbed run; unfinished, it holds no features."""
    Extractor(toy, batch_size=4).extract(photos, tmp_path / "whole", chunk_size=8)
    for shard in ((2, 3), (3, 3)):
        part = Extractor(toy, batch_size=4).extract(photos, tmp_path / "parts", shard=shard, chunk_size=8)
        assert not part.finished
        with pytest.raises(FileError, match="must hold features"):
            Features.load(tmp_path / "parts")
    assert Extractor(toy, batch_size=4).extract(photos, tmp_path / "parts", shard=(1, 3), chunk_size=8).finished
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_a_shard_is_i_of_n(text):
    """Shards count from 1; anything else is one sentence."""
    with pytest.raises(ParameterError, match="shard is"):
        parse_shard(text)
    assert parse_shard("2/4") == (2, 4)


DRIVER = '''
import json, os, random, signal, sys, time
from pathlib import Path
from glocal.extract import Extractor

toy, photos, out, how = sys.argv[1:]
done_file = Path(out, ".extract", "done.jsonl")


def child():
    """Everything is imported here already: a process of its own starts in no time."""
    pid = os.fork()
    if pid:
        return pid
    Extractor(toy, batch_size=2, workers=1).extract(photos, out, chunk_size=2)
    os._exit(0)


def lines():
    return done_file.read_bytes().count(b"\\n") if done_file.exists() else 0


if how == "share":
    codes = [os.waitpid(pid, 0)[1] for pid in [child() for _ in range(3)]]
    print(json.dumps(codes))
else:
    rng, stood = random.Random(1), []
    for _ in range(10):
        before, pid = lines(), child()
        while lines() == before:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.04)  # somewhere in the next chunk
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        stood.append(lines())
    unfinished = not Path(out, "record.json").exists()
    os.environ |= {"TOY_SLEEP": "0", "TOY_STOP": "1000000"}
    print(json.dumps([stood, unfinished, os.waitpid(child(), 0)[1]]))
'''


def drive(toy, photos, out, how, sleep):
    """Run processes that are forked from one that has everything imported; what it prints."""
    environment = {**os.environ, "TOY_SLEEP": sleep, "OMP_NUM_THREADS": "1"}
    if how == "kill":
        environment["TOY_STOP"] = "2"  # batches of one process: ten of them cannot do all
    command = [sys.executable, "-c", DRIVER, toy, str(photos), str(out), how]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture
def undisturbed(toy, photos, tmp_path):
    """What one process leaves that nobody disturbs, with the threads of the others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    Extractor(toy, batch_size=2, workers=1).extract(photos, tmp_path / "whole", chunk_size=2)
    torch.set_num_threads(threads)
    return files_of(tmp_path / "whole")


def test_ten_kills_leave_what_an_undisturbed_run_leaves(toy, photos, tmp_path, undisturbed):
    """kill -9 ten times while chunks are being written; every file equals an undisturbed run to the byte."""
    stood, unfinished, code = drive(toy, photos, tmp_path / "out", "kill", sleep="0.02")
    assert len(stood) == 10
    assert stood == sorted(stood)
    assert unfinished, stood
    assert code == 0
    assert files_of(tmp_path / "out") == undisturbed


def test_processes_share_a_folder_without_shards(toy, photos, tmp_path, undisturbed):
    """Three processes started at once in one folder leave what one would have left."""
    assert drive(toy, photos, tmp_path / "out", "share", sleep="0.01") == [0, 0, 0]
    assert files_of(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("when", ["names", "features", "record"])
def test_a_death_while_finishing_is_mended(toy, photos, tmp_path, monkeypatch, when):
    """Dying before the names, between layers, or before the record leaves what the next run completes to the byte."""
    from glocal.extract import store

    extract = lambda out: Extractor(toy, ["conv", "output"], batch_size=8).extract(photos, out)
    extract(tmp_path / "whole")

    class Death(BaseException):
        pass

    count = {"names": 0, "features": 1, "record": 2}[when]
    with monkeypatch.context() as patched:
        write, moves = store.atomic_write, []

        def dying(path, **options):
            if Path(path).name == "record.json":
                raise Death
            return write(path, **options)

        patched.setattr(store, "atomic_write", dying)
        move_matrix = store.move_matrix

        def move(*arguments):
            if len(moves) == count:
                raise Death
            moves.append(1)
            move_matrix(*arguments)

        patched.setattr(store, "move_matrix", move)
        with pytest.raises(Death):
            extract(tmp_path / "out")
    assert not (tmp_path / "out" / "record.json").exists()
    assert extract(tmp_path / "out").finished
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_half_precision_is_close_and_stored_as_it_is(toy, photos, tmp_path):
    """float16 rows are float16, bfloat16 rows float32; both near the float32 ones."""
    full = np.asarray(Extractor(toy).extract(photos, tmp_path / "full").features().matrix)
    for dtype, stored, tolerance in (("float16", np.float16, 5e-3), ("bfloat16", np.float32, 5e-2)):
        half = Extractor(toy, dtype=dtype).extract(photos, tmp_path / dtype).features().matrix
        assert half.dtype == stored
        assert np.abs(half - full).max() < tolerance * np.abs(full).max()


def flat_source(count, *, bad=()):
    """Tiny inputs from memory, whose value is their number."""

    def decode(data):
        number = int(data)
        if number in bad:
            raise Unreadable("is bad")
        return number

    items = [Item(f"{number}.png", 1, lambda number=number: str(number).encode()) for number in range(count)]
    return Source(items, decode, "number", "memory")


def number_tensor(number):
    return torch.tensor([float(number), 1.0])


def test_inputs_are_prepared_ahead_but_not_far_ahead(tmp_path):
    """While the network works on the first batch others are prepared: some, not all."""
    prepared, seen = [], []

    def preprocess(number):
        prepared.append(number)
        return number_tensor(number)

    def network(batch):
        if not seen:
            deadline = time.monotonic() + 60
            while len(prepared) < 8 and time.monotonic() < deadline:
                time.sleep(0.005)
        seen.append(len(prepared))
        return batch

    result = Extractor((network, preprocess), batch_size=4, workers=2).extract(flat_source(100), tmp_path / "out")
    assert np.array_equal(result.features().matrix[:, 0], np.arange(100))
    assert seen[0] >= 8
    assert all(ready <= 4 * (done + 3) for done, ready in enumerate(seen))  # two batches besides the one in the network


def test_every_batch_has_the_same_size(tmp_path):
    """The last batch of a chunk, and one with missing inputs, is filled up; a batch without any input is not run."""
    sizes = []

    def network(batch):
        sizes.append(len(batch))
        return batch

    source = flat_source(22, bad=(1, 8, 9, 10, 11))
    result = Extractor((network, number_tensor), batch_size=4).extract(source, tmp_path / "out", chunk_size=10)
    assert sizes == [4] * 5
    assert result.features().matrix[:, 0].tolist() == [n for n in range(22) if n not in (1, 8, 9, 10, 11)]


def test_errors_of_the_run_are_one_sentence(tmp_path):
    """Preprocessing that never works, tensors of several shapes, no tensor, NaN, and no readable input at all."""
    same = lambda batch: batch
    for number, (pair, source, part) in enumerate((
        ((same, lambda n: 1 / 0), flat_source(3), "; 0.png: its preprocessing fails: ZeroDivisionError"),
        ((same, lambda n: torch.zeros(n + 1)), flat_source(3), r"gives \(2,\) for 1.png and \(1,\)"),
        ((same, lambda n: "text"), flat_source(3), "must return a tensor"),
        ((lambda b: b / 0, number_tensor), flat_source(3), "layer output gives NaN or infinity for 0.png"),
        ((same, number_tensor), flat_source(3, bad=(0, 1, 2)), "none of the 3 inputs of memory could be read"),
    )):  # fmt: skip
        with pytest.raises(GLocalError, match=part) as caught:
            Extractor(pair, batch_size=4).extract(source, tmp_path / str(number))
        assert "\n" not in str(caught.value)
    with pytest.raises(ParameterError, match="batch_size is 0"):
        Extractor((same, number_tensor), batch_size=0)
    with pytest.raises(ParameterError, match="pool is 'max'"):
        Extractor((same, number_tensor), pool="max")
    with pytest.raises(ParameterError, match="device is 'quantum'"):
        Extractor((same, number_tensor), device="quantum")


def test_an_error_in_the_network_stops_the_threads(tmp_path):
    """After an error no decoding thread is left, and what was done is gone on with."""
    calls = []

    def network(batch):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of something")
        return batch

    with pytest.raises(RuntimeError, match="out of something"):
        Extractor((network, number_tensor), batch_size=4).extract(flat_source(40), tmp_path / "out", chunk_size=4)
    deadline = time.monotonic() + 60
    while any(t.name.startswith(("decode", "collate")) for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    result = Extractor((network, number_tensor), batch_size=4).extract(flat_source(40), tmp_path / "out", chunk_size=4)
    assert result.features().matrix[:, 0].tolist() == list(range(40))
    assert len(calls) == 3 + 8


def test_kept_rows_are_copied_in_order(tmp_path):
    """Over several pieces the final matrix holds exactly the kept rows, and the growing one is gone."""
    from glocal.extract import matrix

    matrix.create_matrix(tmp_path / "a.npy", (31, 2), np.dtype("f4"))
    matrix.write_rows(tmp_path / "a.npy", 0, np.arange(62, dtype="f4").reshape(31, 2))
    kept = np.array([0, 1, 2, 3, 7, 8, 20, 21, 22, 23, 24, 30])
    matrix.move_matrix(tmp_path / "a.npy", tmp_path / "b.npy", kept, piece_bytes=3 * 8)
    assert np.array_equal(np.load(tmp_path / "b.npy"), np.arange(62, dtype="f4").reshape(31, 2)[kept])
    assert os.listdir(tmp_path) == ["b.npy"]


def test_an_unfinished_extraction_of_another_version_is_refused(toy, photos, tmp_path, monkeypatch):
    """Rows of two versions are not mixed; a finished extraction stays what it is."""
    from glocal.extract import store

    extract = lambda shard: Extractor(toy, batch_size=8).extract(photos, tmp_path / "out", chunk_size=8, shard=shard)
    extract((1, 2))
    with monkeypatch.context() as patched:
        patched.setattr(store, "__version__", "0")
        with pytest.raises(ParameterError, match="rows of two versions are not mixed"):
            extract(None)
    done = extract(None)
    monkeypatch.setattr(store, "__version__", "0")
    assert extract(None) == done


def test_progress_counts_what_is_done_by_whomever(toy, photos, tmp_path):
    """A resumed run begins its count where the one before it ended."""
    seen = []
    Extractor(toy, batch_size=4).extract(photos, tmp_path / "out", shard=(1, 2), chunk_size=8)
    Extractor(toy, batch_size=4).extract(
        photos, tmp_path / "out", chunk_size=8, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[0][0] > 32
    assert seen[-1] == (61, 61)


def test_a_network_of_ones_own_is_known_by_its_weights(tmp_path):
    """A pair (module, preprocess) in Python: other weights are another extraction."""
    source = flat_source(6)
    one, two = nn.Linear(2, 3), nn.Linear(2, 3)
    Extractor((one, number_tensor)).extract(source, tmp_path / "out")
    with pytest.raises(ParameterError, match="weights_sha256 differ"):
        Extractor((two, number_tensor)).extract(source, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["model"] == "python:Linear"


def test_images_that_changed_their_size_are_other_images(toy, photos, tmp_path):
    """A file that was mended since the run began changes what the folder is of."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in photos.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    Extractor(toy).extract(copy, tmp_path / "out")
    (copy / "7.png").write_bytes((photos / "6.png").read_bytes())
    assert len(open_images(copy)) == 61
    with pytest.raises(ParameterError, match="inputs differ"):
        Extractor(toy).extract(copy, tmp_path / "out")


def copied(photos, folder):
    folder.mkdir()
    for file in photos.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
        os.utime(folder / file.name, ns=(10**18, 10**18))
    return folder


@pytest.mark.parametrize("finished", [True, False])
def test_images_that_changed_places_are_other_images(toy, tmp_path, finished):
    """Two images of equal name, size and time of change that were exchanged are noticed, finished or not."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(4):
        bitmap = Image.new("RGB", (4, 4), (number, 0, 0))
        bitmap.save(images / f"{number}.bmp")
        os.utime(images / f"{number}.bmp", ns=(10**18, 10**18))
    extract = lambda **options: Extractor(toy, batch_size=2).extract(images, tmp_path / "out", chunk_size=2, **options)
    extract(shard=None if finished else (1, 2))
    zero, one = (images / "0.bmp").read_bytes(), (images / "1.bmp").read_bytes()
    for name, data in (("0.bmp", one), ("1.bmp", zero)):
        (images / name).write_bytes(data)
        os.utime(images / name, ns=(10**18, 10**18))
    with pytest.raises(ParameterError, match=r"from 0\.bmp to [13]\.bmp has changed .* Choose another --out\."):
        extract()
    (images / "0.bmp").write_bytes(zero)
    (images / "1.bmp").write_bytes(one)
    assert extract().finished


def test_files_that_were_only_copied_are_the_same_images(toy, photos, tmp_path, monkeypatch):
    """A copy has other stamps: its content is read and compared; where the stamps are the same nothing is read."""
    from glocal.extract import source

    images = copied(photos, tmp_path / "images")
    extract = lambda: Extractor(toy).extract(images, tmp_path / "out")
    record = extract().record
    images.rename(tmp_path / "moved")
    copied(tmp_path / "moved", images)
    assert extract().record == record
    images.rename(tmp_path / "again")
    (tmp_path / "moved").rename(images)
    monkeypatch.setattr(source.Source, "read_bytes", None)
    assert extract().record == record


def test_an_extraction_without_hashes_of_content_is_taken_up(toy, photos, tmp_path):
    """Folders of versions that kept no hash of the content are gone on with."""
    extract = lambda shard: Extractor(toy, batch_size=8).extract(photos, tmp_path / "out", chunk_size=8, shard=shard)
    extract((1, 2))
    lines = tmp_path / "out" / ".extract" / "done.jsonl"
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    lines.write_text("".join(json.dumps({"chunk": r["chunk"], "missing": r["missing"]}) + "\n" for r in rows))
    assert extract(None).record["contents"] is None
    assert extract(None).finished


@pytest.mark.parametrize(
    "line",
    ['{"chunk": 9, "missing": []}', '{"chunk": -1, "missing": []}', '{"chunk": 0, "missing": [[99, "is gone"]]}',
     '{"chunk": 0, "missing": [7]}', '{"chunk": 0, "missing": [], "contents": {"sha256": "0"}}', '{"missing": []}'],
)  # fmt: skip
def test_a_log_that_no_extraction_wrote_is_one_sentence(toy, photos, tmp_path, line):
    """A line of another chunk, image or shape says which it is, and that it may be removed."""
    extract = lambda shard: Extractor(toy, batch_size=8).extract(photos, tmp_path / "out", chunk_size=8, shard=shard)
    extract((1, 2))
    with (tmp_path / "out" / ".extract" / "done.jsonl").open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(FileError, match="Remove that line"):
        extract(None)


def test_a_record_with_damaged_hashes_is_one_sentence(toy, photos, tmp_path):
    """What a record says about the content of its images is two hashes, or nothing."""
    extract = lambda: Extractor(toy).extract(photos, tmp_path / "out")
    record = extract().record
    (tmp_path / "out" / "record.json").write_text(json.dumps({**record, "contents": {"stamps": 3}}))
    with pytest.raises(FileError, match="no hashes under contents"):
        extract()


def test_without_locks_an_extraction_is_one_sentence(toy, photos, tmp_path, monkeypatch):
    """A file system without locks is said before the network runs."""
    import errno

    import filelock

    def none(descriptor, **options):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock, "lock_descriptor", none)
    with pytest.raises(FileError, match="cannot be locked"):
        Extractor(toy).extract(photos, tmp_path / "out")
