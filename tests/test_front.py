"""The figure of a front."""

import numpy as np
import pandas as pd
import pytest

from glocal.errors import FileError, ParameterError
from glocal.files import make_folder
from glocal.report import front_figure, save_figure
from glocal.results import to_json
from glocal.transform import LinearTransform

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

MAGIC = {"f.png": b"\x89PNG", "f.pdf": b"%PDF", "f.svg": b"<svg"}


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
        (tmp_path / name / "points.jsonl").write_text("".join(to_json({"fold": 0, **row}) + "\n" for row in means))
        pd.DataFrame(means).drop(columns="chosen").to_csv(tmp_path / name / "means.csv", index=False)
        pd.DataFrame(front, columns=list(glocal[0])).to_csv(tmp_path / name / "front.csv", index=False)
    best = {"sweep": {"best": {**glocal[1], "bias": None}}}
    LinearTransform(np.eye(2, dtype="f4"), None, 0.0, 1.0, best).save(tmp_path / "glocal" / "transform.npz")
    return [tmp_path / "glocal", tmp_path / "global"]


def test_every_setting_is_drawn_where_it_lies(folders):
    """All settings, the front, the path of global, the original and the choice stand at their means."""
    figure = front_figure(folders, title="a network").to_dict()
    points = figure["layer"][0]["data"]["values"]

    def places(**wanted):
        return [[p["kept"], p["accuracy"]] for p in points if wanted.items() <= p.items()]

    assert places(method="glocal") == [[0.9, 0.4], [0.7, 0.5], [0.7, 0.39]]
    assert places(method="glocal", front=True) == [[0.9, 0.4], [0.7, 0.5]]
    assert places(method="global") == [[0.6, 0.5], [0.8, 0.42]]
    assert places(method="original") == [[1.0, 0.35]]
    assert places(chosen=True) == [[0.7, 0.5]]
    bars = [points[0][name] for name in ("accuracy_low", "accuracy_high", "kept_low", "kept_high")]
    assert bars == pytest.approx([0.39, 0.41, 0.88, 0.92])
    assert figure["title"] == "a network"


@pytest.mark.parametrize("name", MAGIC)
def test_the_ending_decides_the_format(folders, tmp_path, name):
    """A figure is written as the kind of file its name says."""
    save_figure(front_figure(folders[0]), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(MAGIC[name])


def test_what_cannot_be_drawn_is_said(folders, tmp_path):
    """Another ending, a folder without a sweep and a foreign table are one sentence each."""
    with pytest.raises(ParameterError, match=r"ends in \.doc; allowed are \.png, \.pdf, \.svg"):
        save_figure(front_figure(folders[0]), tmp_path / "f.doc")
    with pytest.raises(FileError, match="is not a run folder"):
        front_figure(make_folder(tmp_path / "empty"))
    (folders[1] / "front.csv").unlink()
    with pytest.raises(FileError, match="global: no finished sweep"):
        front_figure(folders)
    (folders[0] / "means.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FileError, match="is not the table of a sweep"):
        front_figure(folders[0])
