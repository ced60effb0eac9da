"""The commands and the suite of examples/paper.toml run on small images in the folders in which the
data sets come.
"""

import hashlib
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from glocal import LinearTransform
from glocal.cli.app import execute
from glocal.data.world import simulated_answers

EXAMPLE = Path(__file__).parents[1] / "examples" / "paper.toml"
FOLDER = "clip_ViT-L-14"
MODEL = "timm:test_vit:none"
RNG = np.random.default_rng(0)


def commands():
    """The command lines in the file, with a small network of random weights in place of CLIP."""
    comments = [
        line.lstrip("# ")
        for line in EXAMPLE.read_text("utf-8").splitlines()
        if line.startswith("#")
    ]
    lines = "\n".join(comments).replace("\\\n", " ").splitlines()
    lines_of_words = [shlex.split(line)[1:] for line in lines if line.startswith("glocal ")]
    return [
        [MODEL if word == "clip_ViT-L/14" else word for word in words if word != "--download"]
        for words in lines_of_words
    ]


def pictures(folder, n, names="{:04d}.jpg"):
    """n pictures of one colour each, near the colour of the folder."""
    from made_sets import picture

    colour = RNG.integers(40, 216, 3)
    for i in range(n):
        picture(folder / names.format(i + 1), tuple(colour + RNG.integers(-30, 31, 3)))


def make_things(root, n=36):
    """Make objects with a colour each, answers about the colours in collection order, and what else
    people said.
    """
    from made_sets import picture

    folder = root / "things"
    colours = RNG.integers(0, 256, (n, 3))
    folder.mkdir()
    for i, colour in enumerate(colours):
        picture(root / "things-images" / f"thing{i:02d}.jpg", tuple(colour))
    sortindex = RNG.permutation(n)
    answers = simulated_answers(colours / 60, 4000).objects
    np.savetxt(
        folder / "triplets-train90.txt", sortindex[answers], "%d"
    )  # uid = argsort(sortindex)[collection index]
    np.savetxt(folder / "sortindex.txt", sortindex, "%d")
    (folder / "unique-id.txt").write_text("".join(f"thing{i:02d}\n" for i in range(n)))
    distances = np.linalg.norm(colours[:12, None] - colours[None, :12], axis=2)
    np.save(folder / "rdm48.npy", distances / distances.max())
    np.savetxt(folder / "rdm48_index.txt", np.arange(12), "%d")
    pictures(root / "local-images", 40)


def make_sets(root, monkeypatch):
    """Make the image data sets as they are published, in the folders that the commands name."""
    from made_sets import make_cifar

    images = root / "images"
    make_cifar(images, monkeypatch, n10=20, n100=40)
    for texture in ("banded", "woven"):
        pictures(images / "dtd/dtd/images" / texture, 24, texture + "_{:04d}.jpg")
    for number, split in enumerate(("train", "val", "test")):
        path = images / f"dtd/dtd/labels/{split}1.txt"
        path.parent.mkdir(exist_ok=True)
        rows = range(8 * number + 1, 8 * number + 9)
        path.write_text(
            "".join(f"{name}/{name}_{i:04d}.jpg\n" for name in ("banded", "woven") for i in rows)
        )
    make_flowers(images / "flowers-102", monkeypatch)
    for place in ("a/abbey", "a/airport/outdoor", "b/bar"):
        pictures(root / "SUN397" / place, 8, "sun_{:04d}.jpg")
    for split, n in (("train", 3), ("val", 1)):
        for i in range(1000):
            pictures(root / f"imagenet/{split}/n{i:08d}", n)
    for split in ("train", "test"):
        for name in ("acorn", "airliner", "ambulance"):
            pictures(root / "imagenet30" / split / name, 6)


def make_flowers(folder, monkeypatch):
    """Make three flowers of sixteen pictures: six to train on, two for validation, and
    eight to test.
    """
    from made_sets import datasets

    pictures(folder / "jpg", 48, "image_{:05d}.jpg")
    rows = np.arange(48).reshape(3, 16) + 1
    savemat(folder / "imagelabels.mat", {"labels": [np.repeat([1, 2, 102], 16)]})
    parts = {"trnid": rows[:, :6], "valid": rows[:, 6:8], "tstid": rows[:, 8:]}
    savemat(folder / "setid.mat", {name: part.reshape(1, -1) for name, part in parts.items()})
    files = dict(datasets.Flowers102._file_dict)
    for key in ("label", "setid"):
        files[key] = (files[key][0], hashlib.md5((folder / files[key][0]).read_bytes()).hexdigest())
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)


def make_stuff(root):
    """Make photographs, and a table of answers that names them."""
    pictures(root / "stuff/images", 12, "material{:02d}.jpg")
    chosen = [RNG.permutation(12)[:3] + 1 for _ in range(300)]
    lines = [",".join(f"material{i:02d}" for i in (*row, row[2])) for row in chosen]
    (root / "stuff/answers.csv").write_text("\n".join(["a,b,c,odd", *lines]) + "\n")


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore:.*does not record whether its rows were scaled")
def test_the_papers_tables_come_from_folders_of_images(tmp_path, monkeypatch, capsys):
    """Every command of the file runs as it stands, and the suite scores every task for
    every arm.
    """
    pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    make_things(tmp_path)
    make_sets(tmp_path, monkeypatch)
    make_stuff(tmp_path)
    shutil.copy(EXAMPLE, "paper.toml")
    shutil.copy(EXAMPLE.with_name("cifar100-superclasses.csv"), ".")
    for words in commands():
        if words[:2] == ["data", "fetch"]:  # the files of this command are made above
            continue
        if words[0] == "suite":
            p = np.load(f"{FOLDER}/things/features.npy").shape[1]
            published = tmp_path / "transforms/clip_ViT-L/14/visual/transform.npz"
            published.parent.mkdir(parents=True)
            LinearTransform(np.eye(p, dtype=np.float32), None, 0.0, 1.0).save(published)
        assert execute(words) == 0, (words, capsys.readouterr().err)
    rows = [json.loads(line) for line in Path(FOLDER, "suite/rows.jsonl").read_text().splitlines()]
    texts = {
        (row["task"], row["transform"]) for row in rows if not row["metric"].endswith("_difference")
    }
    tasks, arms = ({pair[side] for pair in texts} - {"people"} for side in (0, 1))
    assert (len(tasks), len(arms)) == (29, 5)
    assert texts >= {(task, arm) for task in tasks for arm in arms}
    assert "few-shot-living17" in tasks
    assert "anomaly-cifar100-shift" in tasks
