"""Transforms that were published under a wrong name are said when they are loaded."""

import numpy as np
import pytest

from glocal.errors import DataWarning
from glocal.files import array_sha256
from glocal.transform import LinearTransform, published

W = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)


@pytest.fixture
def wrong(monkeypatch):
    """Make W the transform of ``right-net`` that was published as ``other-net`` too."""
    known = published.WrongTransform((5, 5), fitted_on="right-net", published_as="other-net")
    monkeypatch.setitem(published.WRONG, array_sha256(W), known)


@pytest.mark.parametrize("file", ["other-net/norm/transform.npz", "mine.npz", "other-net.safetensors"])
def test_a_wrong_transform_is_said_when_it_is_loaded(wrong, tmp_path, file):
    """Content published under a wrong name warns in one sentence when loaded, in any format, and still loads."""
    if file.endswith(".safetensors"):
        pytest.importorskip("safetensors", reason="the format needs glocal[io]")
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    LinearTransform(W, None, 0.0, 1.0).save(path)
    with pytest.warns(DataWarning, match=r"the transform of right-net.*published as other-net") as caught:
        loaded = LinearTransform.load(path)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert np.array_equal(loaded.weights, W)


def test_the_same_content_under_its_right_name_is_fine(wrong, tmp_path, monkeypatch):
    """Below a folder of the model it was fitted on, also seen from inside, it loads without a word."""
    folder = tmp_path / "right-net"
    folder.mkdir()
    LinearTransform(W, None, 0.0, 1.0).save(folder / "transform.npz")
    LinearTransform.load(folder / "transform.npz")
    monkeypatch.chdir(folder)
    LinearTransform.load("transform.npz")


def test_other_content_is_fine(wrong, tmp_path):
    """A transform that differs in one number is another one."""
    other = W.copy()
    other[0, 0] += 1
    LinearTransform(other, None, 0.0, 1.0).save(tmp_path / "other-net.npz")
    LinearTransform.load(tmp_path / "other-net.npz")


@pytest.mark.data
def test_the_published_wrong_transform_is_recognised(data_dir):
    """The file of dinov2-vit-base-p14 warns; the same file under dino-vit-base-p16 does not."""
    folder = data_dir / "transforms"
    with pytest.warns(DataWarning, match="dino-vit-base-p16, which its authors by mistake published"):
        LinearTransform.load(folder / "dinov2-vit-base-p14" / "norm" / "transform.npz")
    LinearTransform.load(folder / "dino-vit-base-p16" / "norm" / "transform.npz")
