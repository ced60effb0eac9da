"""Extraction on a Dask cluster: the same folder as in one process, whatever happens to the workers."""

import numpy as np
import pytest

import glocal.jobs.run
from glocal.errors import ClusterError, ParameterError
from glocal.extract import Extractor, open_images

pytestmark = pytest.mark.nightly

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("timm")
pytest.importorskip("distributed")
MODEL = "timm:test_vit:none"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Thirty images, of which number 3 is damaged."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory):
    """What one process extracts."""
    return Extractor(MODEL, ["penultimate", "logits"], batch_size=2).extract(photos, tmp_path_factory.mktemp("one"))


def test_a_cluster_gives_the_rows_of_one_process(cluster, photos, alone, tmp_path):
    """Both layers, names and missing images are those of one process; a worker dies on the way and is replaced."""
    began = []

    def progress(done, total):
        if not began:
            began.append(done)
            cluster.start_worker()
            cluster.kill_worker()

    extractor = Extractor(MODEL, ["penultimate", "logits"], batch_size=2)
    result = extractor.extract(photos, tmp_path / "out", scheduler=cluster.address, chunk_size=4, progress=progress)
    assert began[0] <= 8
    assert result.finished
    assert result.missing == alone.missing == (("3.png", "is not an image of a known format"),)
    for layer in ("penultimate", "logits"):
        found, expected = result.features(layer), alone.features(layer)
        assert found.names == expected.names
        assert np.allclose(found.matrix, expected.matrix, rtol=1e-5, atol=1e-6)
    assert result.record["runs"][0]["versions"]["torch"]


def test_a_cluster_goes_on_with_what_is_there(cluster, photos, alone, tmp_path):
    """Chunks that a shard of another process did are not done again."""
    extractor = Extractor(MODEL, ["penultimate", "logits"], batch_size=2)
    extractor.extract(photos, tmp_path / "out", shard=(1, 2), chunk_size=4)
    counts = []
    extractor.extract(
        photos, tmp_path / "out", scheduler=str(cluster.scheduler_file), chunk_size=4,
        progress=lambda done, total: counts.append(done),
    )  # fmt: skip
    assert counts[0] > 16
    assert counts[-1] == 30


def test_without_workers_an_extraction_ends_and_goes_on_later(cluster, photos, alone, tmp_path, monkeypatch):
    """When all workers are gone it is said after the stated time; finished chunks are kept and not done again."""
    monkeypatch.setattr(glocal.jobs.run, "PATIENCE", 0.5)
    extractor = Extractor(MODEL, ["penultimate", "logits"], batch_size=2)
    done = []

    def kill(number, total):
        done.append(number)
        if len(done) == 2:
            cluster.kill_worker()
            cluster.kill_worker()

    with pytest.raises(ClusterError, match=r"had no workers for 0\.5 s"):
        extractor.extract(photos, tmp_path / "out", scheduler=cluster.address, chunk_size=2, progress=kill)
    assert done[1] < 30
    rest = []
    result = extractor.extract(photos, tmp_path / "out", chunk_size=2, progress=lambda n, total: rest.append(n))
    assert result.finished
    assert rest[0] > done[-1]
    for layer in ("penultimate", "logits"):
        assert np.allclose(result.features(layer).matrix, alone.features(layer).matrix, rtol=1e-5, atol=1e-6)


def test_a_cluster_needs_names_and_paths(photos, tmp_path):
    """A network or a source that lives in this process cannot be sent; no scheduler is one sentence."""
    import torch

    own = Extractor((torch.nn.Flatten(), lambda image: torch.zeros(3)))
    with pytest.raises(ParameterError, match="goes by its name"):
        own.extract(photos, tmp_path / "a", scheduler="tcp://127.0.0.1:1")
    named = Extractor(MODEL)
    with pytest.raises(ParameterError, match="needs the path of the images"):
        named.extract(open_images(photos), tmp_path / "b", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(ParameterError, match="no Dask scheduler answers"):
        named.extract(photos, tmp_path / "c", scheduler="nonsense://127.0.0.1:1")
