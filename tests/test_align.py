"""`glocal align` leads from a named model, images and answers to an aligned model."""

import json
import sys
from functools import partial

import numpy as np
import pytest

from glocal.align import Inputs, align
from glocal.data.answers import Answers
from glocal.errors import DataError, FileError
from glocal.sweep import sweep
from glocal.transform import LinearTransform

pil = pytest.importorskip("PIL.Image")
pytest.importorskip("torch")
for _module in ("altair", "vl_convert", "jinja2"):
    pytest.importorskip(_module)

TOY = """
import numpy as np, torch

def pixels(image):
    return torch.from_numpy(np.array(image.convert("L"), dtype=np.float32)).reshape(-1) / 255

def net():
    return torch.nn.Identity(), pixels
"""
MODEL = "python:toy_for_align:net"


@pytest.fixture(autouse=True)
def _place(tmp_path_factory, monkeypatch):
    """Provide a network whose features are the pixels of a grey image, an empty cache, and one
    setting.
    """
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy_for_align.py").write_text(TOY)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "toy_for_align", raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(folder / "cache"))
    one_setting = partial(sweep, grid={"method": ["global"], "lmbda": [1]})
    monkeypatch.setattr("glocal.align.sweep", one_setting)


@pytest.fixture
def toy(tmp_path, as_a_user):
    """48 objects with 16 pixels, four of which people see, with answers about them and 60 local
    images.
    """
    rng = np.random.default_rng(0)
    names = [f"thing{number:02d}" for number in range(48)]
    pixels = rng.random((48, 16))
    triplets = np.array([rng.permutation(48)[:3] for _ in range(4000)])
    S = (pixels[:, :4] - 0.5) @ (pixels[:, :4] - 0.5).T
    pairs = [S[triplets[:, i], triplets[:, j]] for i, j in ((0, 1), (0, 2), (1, 2))]
    odd = 2 - np.stack(pairs).argmax(axis=0)
    ordered = [[*np.delete(row, o), row[o]] for row, o in zip(triplets, odd, strict=True)]
    save_images(tmp_path / "images", names, pixels)
    save_images(tmp_path / "local", range(60), rng.random((60, 16)))
    answers = Answers.from_array(np.array(ordered))
    return Inputs(MODEL, tmp_path / "images", answers, tuple(names), tmp_path / "local")


def save_images(folder, names, pixels):
    """Save one grey image of 4 x 4 pixels for each name."""
    folder.mkdir()
    for name, row in zip(names, pixels, strict=True):
        pil.fromarray((255 * row.reshape(4, 4)).astype(np.uint8)).save(folder / f"{name}.png")


@pytest.mark.filterwarnings("ignore:.*without features:glocal.errors.DataWarning")
def test_a_network_is_aligned_and_the_same_call_goes_on(toy, tmp_path):
    """The first call writes transform, card and page, and drops and counts answers about an object
    without an image; the second call fits nothing again.
    """
    (tmp_path / "images/thing47.png").unlink()
    n_dropped = int((toy.answers.objects == 47).any(axis=1).sum())
    steps = []
    out = tmp_path / "out"
    first = align(toy, out, keep=0.2, progress=lambda step, *_: steps.append(step))
    before, after, gain = first.scores
    assert after.value > before.value
    assert gain.low > 0
    assert first.transform.meta["fit"]["n_dropped"] == n_dropped > 0
    heldout = first.transform.meta["fit"]["holdout"]["heldout"]
    recorded = [heldout[name] for name in ("gain", "gain_low", "gain_high")]
    assert recorded == [gain.value, gain.low, gain.high]
    names = {path.name for path in out.iterdir()}
    assert names == {"transform.npz", "README.md", "report.html", "sweep"}
    assert f"{after.value:.3f} [" in (out / "README.md").read_text(encoding="utf-8")
    assert "data:image/webp" in (out / "report.html").read_text(encoding="utf-8")
    points = (out / "sweep/points.jsonl").read_bytes()
    assert "sweep" in steps
    steps.clear()
    second = align(toy, out, keep=0.2, progress=lambda step, *_: steps.append(step))
    assert (out / "sweep/points.jsonl").read_bytes() == points
    assert "sweep" not in steps
    loaded = LinearTransform.from_pretrained(out)
    np.testing.assert_allclose(second.transform.weights, loaded.weights)


@pytest.mark.filterwarnings(
    "ignore::glocal.errors.DataWarning"
)  # the check warns of the missing image
def test_answers_about_objects_without_an_image_are_counted(toy, tmp_path, monkeypatch):
    """The counts and the fitted data state the same number of answers about objects without an
    image.
    """
    (toy.images / "thing47.png").unlink()
    fitted = []

    def stop(data, **options):
        fitted.append(data)
        raise KeyboardInterrupt

    monkeypatch.setattr("glocal.align.sweep", stop)
    with pytest.raises(KeyboardInterrupt):
        align(toy, tmp_path / "out")
    assert fitted[0].n_dropped == toy.counts()["n_dropped"] > 0


def test_what_does_not_belong_together_is_said_before_any_work(toy, tmp_path):
    """Answers about other names and missing images are refused before the network is loaded."""
    with pytest.raises(DataError, match="name"):
        align(
            Inputs("timm:none", toy.images, toy.answers, [f"other{i}" for i in range(48)]),
            tmp_path / "out",
        )
    with pytest.raises(FileError, match="image"):
        align(Inputs("timm:none", tmp_path / "none", toy.answers), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_card_of_others_is_not_replaced(toy, tmp_path):
    """A README.md that glocal did not write stays, and the call ends before the network
    is loaded.
    """
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").write_text("# Mine")
    with pytest.raises(FileError, match="README"):
        align(Inputs("timm:none", toy.images, toy.answers, toy.object_ids), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["README.md"]


def test_an_error_of_the_check_stops(toy, tmp_path):
    """If the check finds the features useless, the run ends with an error."""
    for path in sorted((tmp_path / "images").iterdir()):
        pil.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match="the check stops here"):
        align(toy, tmp_path / "out")


def test_the_command(toy, tmp_path, run):
    """With `--dry-run` the command prints counts and writes nothing; without it, it writes the
    files and prints their names.
    """
    toy.answers.save(tmp_path / "answers.npz")
    (tmp_path / "ids.txt").write_text("\n".join(toy.object_ids))
    command = [
        "align",
        "--model",
        MODEL,
        "--images",
        toy.images,
        "--answers",
        tmp_path / "answers.npz",
        "--object-ids",
        tmp_path / "ids.txt",
        "--out",
        tmp_path / "out",
    ]
    code, out, _ = run(*command, "--dry-run", "--json")
    counts = json.loads(out)
    assert (code, counts["answers"], counts["objects"]) == (0, 4000, 48)
    assert not (tmp_path / "out").exists()
    code, out, err = run(*command)
    assert code == 0, err
    assert "report.html" in out
