"""glocal align: from a named model, images and answers to an aligned model."""

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
    """A network whose features are the pixels of a grey image, a cache of this test's own, and one setting to fit."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy_for_align.py").write_text(TOY)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "toy_for_align", raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(folder / "cache"))
    monkeypatch.setattr("glocal.align.sweep", partial(sweep, grid={"method": ["global"], "lmbda": [1]}))


@pytest.fixture
def toy(tmp_path, as_a_user):
    """48 objects, of whose 16 pixels people see the first four; answers about them by name; 60 local images."""
    rng = np.random.default_rng(0)
    seen, names = rng.random((48, 16)), [f"thing{number:02d}" for number in range(48)]
    triplets = np.array([rng.permutation(48)[:3] for _ in range(4000)])
    S = (seen[:, :4] - 0.5) @ (seen[:, :4] - 0.5).T
    odd = 2 - np.stack([S[triplets[:, a], triplets[:, b]] for a, b in ((0, 1), (0, 2), (1, 2))]).argmax(axis=0)
    chosen = np.array([[*np.delete(row, o), row[o]] for row, o in zip(triplets, odd, strict=True)])
    for folder, pictures in (("images", zip(names, seen, strict=True)), ("local", enumerate(rng.random((60, 16))))):
        (tmp_path / folder).mkdir()
        for name, row in pictures:
            pil.fromarray((255 * row.reshape(4, 4)).astype(np.uint8)).save(tmp_path / folder / f"{name}.png")
    return Inputs(MODEL, tmp_path / "images", Answers.from_array(chosen), tuple(names), tmp_path / "local")


def test_a_network_is_aligned_and_the_same_call_goes_on(toy, tmp_path):
    """Transform, card and page are written; a second call extracts and fits no point again and gives the same."""
    done = []
    found = align(toy, tmp_path / "out", keep=0.2, progress=lambda step, part, total: done.append((step, part, total)))
    before, after, gain = found.scores
    assert after.value > before.value
    assert gain.low > 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"transform.npz", "README.md", "report.html", "sweep"}
    assert f"{after.value:.3f} [" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "data:image/webp" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    held, again = (tmp_path / "out/sweep/points.jsonl").read_bytes(), []
    second = align(toy, tmp_path / "out", keep=0.2, progress=lambda step, part, total: again.append(step))
    assert (tmp_path / "out/sweep/points.jsonl").read_bytes() == held
    assert "sweep" in [step for step, _, _ in done]
    assert "sweep" not in again
    np.testing.assert_allclose(second.transform.weights, LinearTransform.from_pretrained(tmp_path / "out").weights)


@pytest.mark.filterwarnings("ignore::glocal.errors.DataWarning")  # the check warns of the image that is missing
def test_answers_about_objects_without_an_image_are_counted(toy, tmp_path, monkeypatch):
    """Their number is that of the data which are fitted, and so of the record of the transform."""
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
    """Answers about other names, and images that are not there, are refused before the network is read."""
    with pytest.raises(DataError, match="name"):
        align(Inputs("timm:none", toy.images, toy.answers, [f"other{i}" for i in range(48)]), tmp_path / "out")
    with pytest.raises(FileError, match="image"):
        align(Inputs("timm:none", tmp_path / "none", toy.answers), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_card_of_others_is_not_replaced(toy, tmp_path):
    """A README.md that glocal did not write ends the call before the network is read."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").write_text("# Mine")
    with pytest.raises(FileError, match="README"):
        align(Inputs("timm:none", toy.images, toy.answers, toy.object_ids), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["README.md"]


def test_an_error_of_the_check_stops(toy, tmp_path):
    """Features that are useless end the run with the finding."""
    for path in sorted((tmp_path / "images").iterdir()):
        pil.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match="the check stops here"):
        align(toy, tmp_path / "out")


def test_the_command(toy, tmp_path, run):
    """`--dry-run` prints counts alone; then the command writes what it says and prints the scores."""
    toy.answers.save(tmp_path / "answers.npz")
    (tmp_path / "ids.txt").write_text("\n".join(toy.object_ids))
    given = ["--model", MODEL, "--images", toy.images, "--answers", tmp_path / "answers.npz", "--object-ids"]
    given = ["align", *given, tmp_path / "ids.txt", "--out", tmp_path / "out"]
    code, out, _ = run(*given, "--dry-run", "--json")
    assert (code, json.loads(out)["answers"], json.loads(out)["objects"]) == (0, 4000, 48)
    assert not (tmp_path / "out").exists()
    code, out, err = run(*given)
    assert code == 0, err
    assert "report.html" in out
