"""`glocal align` leads from a named model, images and answers to an aligned model, and from
published features, or features at hand, of one network or several to an atlas.
"""

import csv
import io
import sys
from types import SimpleNamespace

import command_lines
import numpy as np
import pytest
from made_registry import git_id, published_site, real_things, things
from world import answers, chosen, folder, run

from glocal import Answers, Features, LinearTransform, odd_one_out
from glocal.align import align, align_networks
from glocal.align.atlas import FITTED_ELSEWHERE
from glocal.data.sources.fetch import fetch
from glocal.errors import DataError, FileError
from glocal.scores import AGREEMENT, DIFFERENCE, KEPT

pil = pytest.importorskip("PIL.Image")
pytest.importorskip("torch")
for _module in ("altair", "vl_convert", "jinja2"):
    pytest.importorskip(_module)

pytestmark = [
    pytest.mark.usefixtures("cache", "without_type_checks"),
    pytest.mark.filterwarnings("ignore:.*:glocal.errors.DataWarning"),
]
NAMES = [f"thing{number:02d}" for number in range(60)]
ARMS = ["original", "mean subtracted", "keep 0.9", "centred keep 0.9"]
METRIC = AGREEMENT[0]


@pytest.fixture(scope="module")
def made():
    """Answers that depend on half of the columns of one network, and another with more noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 12)) + 2
    judged = chosen(answers(6000, 60), 1.5 * (X[:, :6] - 2))
    noisy = X + rng.normal(size=X.shape)
    return SimpleNamespace(X=X.astype("f4"), noisy=noisy.astype("f4"), answers=judged)


@pytest.fixture
def files(made):
    """The published files of both networks."""
    return things(NAMES, made.answers.objects, [*range(60)], net=made.X, noisy=made.noisy)


def rows_of(path):
    """The rows of a table by network, arm and metric, and the network that they are less."""
    columns = ("network", "arm", "metric", "baseline_network")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    return {tuple(filter(None, (row[name] for name in columns))): row for row in rows}


@pytest.mark.nightly
def test_published_networks_become_transforms_and_an_atlas(files, made, here, monkeypatch):
    """After a permission the command downloads what it needs once, and writes both transforms of
    each network with cards and a page, and one table with intervals. Its numbers are those of the
    records, and the network with more noise agrees less on the same answers.
    """
    out = here / "out"
    line = "align net noisy --out out"
    with published_site(here, monkeypatch, files) as server:
        assert "features/net (" in run(line).error(2)
        assert server.asked == []
        ended = run(f"{line} --yes")
        assert ended.code == 0, ended.err
        assert len(server.asked) == 6
        assert run("data fetch features/net features/noisy things/answers").code == 0
        assert len(server.asked) == 6
    assert "--transform out/noisy/plain --transform out/noisy/centred" in ended.out
    table = rows_of(out / "atlas.csv")
    places = [key[:2] for key in table if key[2] == KEPT]
    assert places == [(network, arm) for network in ("net", "noisy") for arm in ARMS]
    for network in ("net", "noisy"):
        assert (out / network / "report.html").is_file()
        for place, arm in (("plain", "keep 0.9"), ("centred", "centred keep 0.9")):
            assert (out / network / place / "README.md").is_file()
            meta = LinearTransform.load(out / network / place / "transform.npz").meta
            value = float(table[network, arm, METRIC]["value"])
            assert value == pytest.approx(meta["fit"]["heldout"]["agreement"])
            assert float(table[network, arm, f"{METRIC}{DIFFERENCE}"]["low"]) > 0
    first, second = (float(table[name, "keep 0.9", METRIC]["value"]) for name in ("net", "noisy"))
    row = table["noisy", "keep 0.9", f"{METRIC}{DIFFERENCE}", "net"]
    assert float(row["value"]) == pytest.approx(second - first)
    assert second - first < float(row["high"]) < 0
    assert "Agreement less that of net" in (out / "atlas.html").read_text("utf-8")


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_a_terminal_is_asked_before_anything_is_downloaded(files, here, monkeypatch, answer):
    """Whoever says no, or ends the input, downloads nothing; the question names every file with its
    size.
    """
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    with published_site(here, monkeypatch, files) as server:
        message = run("align net --out out").error(1)
    assert server.asked == []
    assert "features/net (" in message
    assert "things/answers (" in message
    assert not (here / "out").exists()


def test_a_network_that_fails_is_named_and_the_others_stand(files, here, monkeypatch):
    """Wrong content, and features at hand that do not exist, cost only their network, even if there
    is no other.
    """
    changes = {"noisy": {"checksum": git_id(b"other")}}
    with published_site(here, monkeypatch, files, **changes):
        message = run("align net noisy --features mine=none --yes --out out").error(1)
    assert "error: noisy: " in message
    assert "error: mine: " in message
    assert "Traceback" not in message
    assert (here / "out/net/plain/transform.npz").is_file()
    assert not (here / "out/atlas.csv").exists()
    assert run("align --features mine=none --yes --out alone").code == 1


@pytest.mark.nightly
def test_networks_are_compared_on_the_objects_that_all_have(made, tmp_path):
    """Rows in another order, less four objects, are joined by name: with the same features both
    networks have the same scores, of the answers that can be asked about the rest.
    """
    order = np.random.default_rng(1).permutation(60)[:56]
    net = Features(made.X, tuple(NAMES))
    part = Features(made.X[order], tuple(f"{NAMES[row]}.jpg" for row in order))
    judged = Answers(made.answers.objects, names=NAMES)
    atlas = align_networks({"net": net, "part": part}, judged, tmp_path)
    first, second = (network.agreement["keep 0.9"].scores[0] for network in atlas.networks)
    assert first == second
    for network in atlas.networks:
        assert network.fits["keep 0.9"].record.n_objects == 56
    unnamed = Features(made.X[:50], None)
    with pytest.raises(DataError, match="names"):
        align_networks({"net": net, "unnamed": unnamed}, judged, tmp_path / "other")


@pytest.mark.nightly
def test_a_transform_of_the_authors_is_a_marked_row(files, made, here, monkeypatch):
    """It is scored on the same answers and marked as fitted to them; no headline is about it."""
    weights = np.diag([9.0] * 6 + [0.0] * 6).astype("f4")
    place = folder(here, t_npz=LinearTransform(weights, None, 2.0, 1.0))
    files |= {"transforms/authors": (place / "t.npz").read_bytes()}
    changes = {"net": {"transform": "transforms/authors"}}
    with published_site(here, monkeypatch, files, **changes):
        ended = run("align net noisy --yes --out out")
    assert ended.code == 0, ended.err
    row = rows_of(here / "out/atlas.csv")["net", FITTED_ELSEWHERE, METRIC]
    heldout = odd_one_out((made.X - 2)[:, :6], made.answers)
    assert abs(float(row["value"]) - heldout.agreement) < 0.05
    page = (here / "out/atlas.html").read_text("utf-8")
    assert "Fitted to these answers" in page
    assert f"With {FITTED_ELSEWHERE}" not in page


# one network

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


# real data


@pytest.mark.data
@pytest.mark.nightly
def test_clip_as_published_is_clip_at_hand(data_dir, tmp_path, monkeypatch):
    """Without local images `keep` 0.9 gives CLIP an agreement of .533 and .90 of its neighbours."""
    with published_site(tmp_path, monkeypatch, real_things(data_dir)):
        features = Features.load(fetch("features/clip-vit-b-32"))
        judged = Answers.load(fetch("things/answers"))
    (network,) = align_networks({"clip": features}, judged, tmp_path / "out").networks
    heldout = network.fits["keep 0.9"].record.heldout
    assert network.agreement["keep 0.9"].scores[0].value == pytest.approx(heldout.agreement)
    assert heldout.agreement == pytest.approx(0.533, abs=0.002)
    assert network.neighbours["keep 0.9"].scores[0].value == pytest.approx(0.9, abs=0.005)
