"""`glocal align` leads from a named model, images and answers to an aligned model."""

import sys
from types import SimpleNamespace

import command_lines
import numpy as np
import pytest
from world import answers, chosen, folder, run

from glocal import align
from glocal.errors import DataError, FileError

pil = pytest.importorskip("PIL.Image")
pytest.importorskip("torch")
for _module in ("altair", "vl_convert", "jinja2"):
    pytest.importorskip(_module)

pytestmark = [
    pytest.mark.usefixtures("cache", "without_type_checks"),
    pytest.mark.filterwarnings("ignore:.*:glocal.errors.DataWarning"),
]
MODEL = "python:network_of_commands:make"


@pytest.fixture
def toy(tmp_path, tmp_path_factory, monkeypatch):
    """A network whose features are the pixels of a grey image; 48 objects with 16 pixels, four of
    which people see, with answers about them and 60 local images.
    """
    place = folder(tmp_path_factory.mktemp("toy"), network_of_commands_py=command_lines.NETWORK)
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "network_of_commands", raising=False)
    rng = np.random.default_rng(0)
    names = [f"thing{number:02d}" for number in range(48)]
    pixels = rng.random((48, 16))
    save_images(tmp_path / "images", names, pixels)
    save_images(tmp_path / "local", range(60), rng.random((60, 16)))
    return SimpleNamespace(
        images=tmp_path / "images",
        local=tmp_path / "local",
        answers=chosen(answers(4000, 48), 30 * (pixels[:, :4] - 0.5)),
        names=names,
    )


def aligned(toy, out, *, model=MODEL, **options):
    """Align with the images, the local images and the answers of `toy`."""
    options = {"object_ids": toy.names, "local_images": toy.local, **options}
    return align(model, toy.images, toy.answers, out, **options)


def save_images(folder, names, pixels):
    """Save one grey image of 4 x 4 pixels for each name."""
    folder.mkdir()
    for name, row in zip(names, pixels, strict=True):
        pil.fromarray((255 * row.reshape(4, 4)).astype(np.uint8)).save(folder / f"{name}.png")


@pytest.mark.nightly
def test_a_network_is_aligned_and_the_command_goes_on(toy, here):
    """A call writes transform, card and page, and drops and counts answers about an object without
    an image; the command then extracts nothing again, and prints the held-out agreement and the
    names of the files.
    """
    (here / "images/thing47.png").unlink()
    n_dropped = int((toy.answers.objects == 47).any(axis=1).sum())
    steps = []
    out = here / "out"
    first = aligned(toy, out, keep=0.2, progress=lambda *step: steps.append(step))
    heldout = first.record.heldout
    assert heldout.gain_low > 0
    assert first.record.n_dropped == n_dropped > 0
    files = {path.name for path in out.iterdir()}
    assert files == {"transform.npz", "README.md", "report.html", "features"}
    assert f"{heldout.agreement:.3f} [" in (out / "README.md").read_text("utf-8")
    page = (out / "report.html").read_text("utf-8")
    assert "data:image/webp" in page
    assert f"{100 * heldout.agreement:.1f} %" in page
    assert {name for name, *_ in steps} == {"extract", "fit", "page"}
    files = [*(out / "features").rglob("*.npy")]
    written = [path.stat().st_mtime_ns for path in files]
    folder(here, a_npz=toy.answers, ids_txt=toy.names)
    inputs = "--images images --local-images local --answers a.npz --object-ids ids.txt"
    ended = run(f"align {MODEL} {inputs} --keep 0.2 --out out")
    assert ended.code == 0, ended.err
    assert "agrees with people in" in ended.out
    assert "report.html" in ended.out
    assert [path.stat().st_mtime_ns for path in files] == written


def test_what_cannot_end_well_is_said_before_any_work(toy, tmp_path):
    """Missing images are refused before the network is loaded, and so is a folder whose README.md
    glocal did not write.
    """
    with pytest.raises(FileError, match="image"):
        align("timm:none", tmp_path / "none", toy.answers, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    folder(tmp_path / "out", README_md="# Mine")
    with pytest.raises(FileError, match="README"):
        aligned(toy, tmp_path / "out", model="timm:none")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["README.md"]


def test_an_error_of_the_check_stops(toy, tmp_path):
    """If the check finds the features useless, the run ends with an error."""
    for path in sorted((tmp_path / "images").iterdir()):
        pil.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match="the check stops here"):
        aligned(toy, tmp_path / "out")
