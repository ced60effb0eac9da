"""The figure of a front."""

import numpy as np
import pandas as pd
import pytest

from glocal.errors import FileError, ParameterError
from glocal.report import front_figure, save_figure

MAGIC = {"f.png": b"\x89PNG", "f.pdf": b"%PDF", "f.svg": b"<?xml"}


def line(method, alpha, lmbda, agreement, kept, chosen=False):
    return {
        "chosen": chosen, "method": method, "alpha": alpha, "lmbda": lmbda, "tau": 0.1, "accuracy_cosine": agreement,
        "accuracy_cosine_se": 0.01, "neighbours_kept": kept, "neighbours_kept_se": 0.02,
    }  # fmt: skip


@pytest.fixture
def folders(tmp_path):
    """A sweep of glocal with two settings on the front of three, and one of global."""
    glocal = [
        line("glocal", 0.5, 1, 0.4, 0.9),
        line("glocal", 0.1, 1, 0.5, 0.7, True),
        line("glocal", 0.1, 9, 0.39, 0.7),
    ]
    original = [{**line("original", np.nan, np.nan, 0.35, 1.0)}]
    for name, means, front in (
        ("glocal", glocal, original + glocal[:2]),
        ("global", [line("global", np.nan, 1, 0.5, 0.6), line("global", np.nan, 10, 0.42, 0.8)], []),
    ):
        (tmp_path / name).mkdir()
        pd.DataFrame(means).drop(columns="chosen").to_csv(tmp_path / name / "means.csv", index=False)
        pd.DataFrame(front, columns=list(glocal[0])).to_csv(tmp_path / name / "front.csv", index=False)
    return [tmp_path / "glocal", tmp_path / "global"]


def test_every_setting_is_drawn_where_it_lies(folders):
    """All settings, the front, the path of global, the original and the choice stand at their means."""
    axes = front_figure(folders, title="a network").axes[0]
    clouds = {c.get_label(): np.asarray(c.get_offsets()).tolist() for c in axes.collections if c.get_label()[0] != "_"}
    assert clouds["glocal, every setting"] == [[0.9, 0.4], [0.7, 0.5], [0.7, 0.39]]
    assert clouds["original"] == [[1.0, 0.35]]
    assert clouds["chosen"] == [[0.7, 0.5]]
    bars = {c.get_label(): c.lines[0].get_xydata().tolist() for c in axes.containers}
    assert bars["glocal, front"] == [[0.7, 0.5], [0.9, 0.4]]
    assert bars["global, from λ to λ"] == [[0.6, 0.5], [0.8, 0.42]]
    assert axes.get_title() == "a network"


@pytest.mark.parametrize("name", MAGIC)
def test_the_ending_decides_the_format(folders, tmp_path, name):
    """A figure is written as the kind of file its name says."""
    save_figure(front_figure(folders[0]), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(MAGIC[name])


def test_what_cannot_be_drawn_is_said(folders, tmp_path):
    """Another ending, a folder without a sweep and a foreign table are one sentence each."""
    with pytest.raises(ParameterError, match=r"ends in \.doc; allowed are \.png, \.pdf, \.svg"):
        save_figure(front_figure(folders[0]), tmp_path / "f.doc")
    with pytest.raises(FileError, match=r"means\.csv does not exist"):
        front_figure(tmp_path)
    (folders[0] / "means.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FileError, match="is not the table of a sweep"):
        front_figure(folders[0])
