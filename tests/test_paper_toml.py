"""The commands and the suite of examples/paper.toml run on small images in the folders in which the
data sets come.
"""

import itertools
import re
import shlex
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import pdist, squareform
from world import ROOT, run

from glocal import LinearTransform, simulated_answers
from glocal.scores import read_scores

EXAMPLE = ROOT / "examples" / "paper.toml"
sys.path.append(str(EXAMPLE.parent))
from image_sets import write_folders, write_superclasses  # noqa: E402

FOLDER = "clip_ViT-L-14"
MODEL = "--model timm:test_vit:none"
SETS = ("cifar10", "dtd", "flowers102", "imagenet30")
RNG = np.random.default_rng(0)


def commands():
    """The command lines in the file, with a small network of random weights in place of CLIP."""
    text = EXAMPLE.read_text("utf-8").replace("\\\n#", "")
    lines = re.findall("(?m)^#   glocal (.*)", text.replace("--model clip_ViT-L/14", MODEL))
    return map(shlex.split, lines)


def picture(path, colour):
    """A picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 4), colour).save(path)


def pictures(folder, n, names="{:04d}.jpg"):
    """n pictures of one colour each, near the colour of the folder."""
    colour = RNG.integers(40, 216, 3)
    for i in range(n):
        picture(folder / names.format(i + 1), tuple(colour + RNG.integers(-30, 31, 3)))


def make_things(root, n=36):
    """Make objects with a colour each, answers about the colours in collection order, and what else
    people said.
    """
    folder = root / "things"
    colours = RNG.integers(0, 256, (n, 3))
    folder.mkdir()
    for i, colour in enumerate(colours):
        picture(root / "things-images" / f"thing{i:02d}.jpg", tuple(colour))
    sortindex = RNG.permutation(n)
    answers = sortindex[simulated_answers(colours / 60, 4000).objects]
    np.savetxt(folder / "triplets-train90.txt", answers, "%d")
    np.savetxt(folder / "sortindex.txt", sortindex, "%d")
    np.savetxt(folder / "unique-id.txt", [f"thing{i:02d}" for i in range(n)], "%s")
    np.save(folder / "rdm48.npy", squareform(pdist(colours[:12])))
    np.savetxt(folder / "rdm48_index.txt", np.arange(12), "%d")
    pictures(root / "local-images", 40)


def make_sets(root):
    """Make image data sets as folders of classes, CIFAR-100 as examples/image_sets.py writes it."""
    for split in ("train", "test"):
        images = [(Image.new("RGB", (5, 4), (60 * i % 256, i, 0)), i % 4) for i in range(40)]
        write_folders(images, ["apple", "bear", "pear", "wolf"], root / "cifar100" / split)
    write_superclasses(root / "cifar100", EXAMPLE.with_name("cifar100-superclasses.csv"))
    folders = [*(f"{name}/train" for name in SETS), *(f"{name}/test" for name in SETS)]
    for folder, name in itertools.product(folders, ("acorn", "airliner", "ambulance")):
        pictures(root / folder / name, 8)
    for place in ("a/abbey", "a/airport/outdoor", "b/bar"):
        pictures(root / "SUN397" / place, 8)
    for split, n in (("train", 3), ("val", 1)):
        for i in range(1000):
            pictures(root / f"imagenet/{split}/n{i:08d}", n)


def make_stuff(root):
    """Make photographs, and a table of answers that names them."""
    pictures(root / "stuff/images", 12, "material{:02d}.jpg")
    chosen = [RNG.permutation(12)[:3] + 1 for _ in range(300)]
    lines = [",".join(f"material{i:02d}" for i in (*row, row[2])) for row in chosen]
    np.savetxt(root / "stuff/answers.csv", ["a,b,c,odd", *lines], "%s")


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore:.*does not record whether its rows were scaled")
def test_the_papers_tables_come_from_folders_of_images(here):
    """Every command of the file runs as it stands, and the suite scores every task for
    every arm.
    """
    pytest.importorskip("timm")
    make_things(here)
    make_sets(here)
    make_stuff(here)
    shutil.copy(EXAMPLE, "paper.toml")
    shutil.copy(EXAMPLE.with_name("cifar100-superclasses.csv"), ".")
    published = here / "transforms/clip_ViT-L/14/visual/transform.npz"
    published.parent.mkdir(parents=True)
    for words in commands():
        if words[:2] == ["data", "fetch"]:  # the files of this command are made above
            continue
        if words[0] == "suite":
            p = np.load(f"{FOLDER}/things/features.npy").shape[1]
            LinearTransform(np.eye(p, dtype=np.float32), None, 0.0, 1.0).save(published)
        ended = run("", *words)
        assert ended.code == 0, (words, ended.err)
    rows = read_scores(f"{FOLDER}/suite/rows.jsonl")
    cells = {(row.task, row.transform) for row in rows if row.transform != "people"}
    tasks, arms = map(set, zip(*cells, strict=True))
    assert len(tasks) == 29
    assert len(arms) == 5
    assert len(cells) == 29 * 5
    assert {"few-shot-living17", "anomaly-cifar100-shift"} <= tasks
