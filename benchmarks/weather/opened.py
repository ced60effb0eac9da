"""What is opened besides the files of tests/test_hostile.py: how a whole one is made, and its reader, for readers.py.

Of what is a folder, one file at a time is damaged, and the folder is read.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import json
import pickle
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import test_hostile as hostile
import test_importers as importers
from written import make as make_written

from glocal.align.log import Log
from glocal.cli.app import execute
from glocal.collect.database import open_database
from glocal.collect.export import collected
from glocal.collect.study import open_study
from glocal.data.categories import load_categories
from glocal.data.datasets.archives import _unpack
from glocal.data.datasets.breeds import ROOT, TASKS, breeds_task
from glocal.data.datasets.registry import IMAGE_SETS
from glocal.data.datasets.sources import _one_sentence, coarse_labels
from glocal.data.features import Features
from glocal.data.importers.formats import import_answers
from glocal.errors import GLocalError
from glocal.extract.images import open_captions, open_images
from glocal.extract.runner import Chunk
from glocal.extract.store import FeatureStore
from glocal.extract.weights import load_checkpoint
from glocal.jobs.cluster import _address
from glocal.jobs.output import Output
from glocal.report.loading import load_run
from glocal.suite.cells import _load as load_cell
from glocal.sweep.grid import Point
from glocal.sweep.store import PointStore

Maker = Callable[[Path], Path]
Reader = Callable[[Path], object]


def pictures(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def shard(path: Path) -> Path:
    folder = pictures(path.with_name("in-the-shard"))
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "0.png"
        archive.addfile(link)
    return path


def read_images(path: Path) -> None:
    for item in open_images(str(path)).items:
        if item.reason is None:
            with_reason(item.read)


def with_reason(read) -> None:
    """What an image that cannot be read says is reported by its name, not raised further."""
    try:
        read()
    except (hostile.Unreadable, OSError) as reason:
        raise GLocalError(str(reason).splitlines()[0] or "unreadable") from reason


def archive(path: Path) -> Path:
    folder = pictures(path.with_name("images"))
    with tarfile.open(path, "w:gz") as made:
        made.add(folder, "dtd/images")
    return path


def unpack(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        root = Path(folder, "root")
        root.mkdir()
        with _one_sentence(IMAGE_SETS["dtd"], root, download=True):
            _unpack(IMAGE_SETS["dtd"], path, root)
        outside = [found for found in Path(folder).rglob("*") if not found.resolve().is_relative_to(root.resolve())]
        assert [*outside] in ([], [root]), f"unpacked outside of its folder: {outside}"


def read_study(path: Path) -> None:
    opened = open_study(path.parent)
    engine = open_database(opened)
    try:
        collected(opened, engine)
    finally:
        engine.dispose()


def from_system(format: str):
    make, name = importers.FILES[format]
    return lambda path: make(path.with_name(name)), functools.partial(import_answers, format=format)


def listed(path: Path) -> Path:
    names = [f"in-the-list/{picture.name}" for picture in pictures(path.with_name("in-the-list")).iterdir()]
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def of_folder(build: Callable[[Path], None], name: str) -> Maker:
    """One file of a folder that `build` fills."""

    def make(path: Path) -> Path:
        folder = Path(tempfile.mkdtemp(dir=path.parent))
        build(folder)
        return folder / name

    return make


def features_folder(folder: Path) -> None:
    hostile.features_file(folder / "features.npy")
    (folder / "file_names.txt").write_text("".join(f"{number}.png\n" for number in range(len(hostile.ROWS))))
    (folder / "record.json").write_text(json.dumps({"model": "timm:x", "layers": {"visual": {}}, "preprocessing": "a"}))


def read_features_folder(path: Path) -> None:
    features = Features.load(path.parent)
    hostile.use(features)
    features.network  # noqa: B018  the record


def zarr_folder(folder: Path) -> None:
    hostile.features_file(folder / "features.zarr")


def state_dict(path: Path) -> Path:
    state = torch.nn.Linear(3, 2).state_dict()
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def cifar(path: Path) -> Path:
    labels = [1, 0, 1, 0] * 3
    content = {"filenames": ["a.png"], "fine_labels": [3] * 12, "coarse_labels": labels, "data": np.zeros((2, 9), "u1")}
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def read_cifar(path: Path) -> None:
    with _one_sentence(IMAGE_SETS["cifar100"], path.parent, download=False):
        coarse_labels(path, 12, 2)


def breeds_folder(folder: Path) -> None:
    ancestor, level, classes = TASKS["living17"]
    chain = [ROOT, ancestor, *(f"n{number:08d}" for number in range(level - 1))]
    leaves = [f"n1{number:07d}" for number in range(classes)]
    edges = [*itertools.pairwise(chain), *((chain[-1], leaf) for leaf in leaves)]
    (folder / "class_hierarchy.txt").write_text("".join(f"{above} {below}\n" for above, below in edges))
    (folder / "node_names.txt").write_text("".join(f"{node}\tthing {node}\n" for node in [*chain, *leaves]))
    info = [[number, leaf, f"thing {leaf}"] for number, leaf in enumerate(leaves)]
    (folder / "dataset_class_info.json").write_text(json.dumps(info))


@functools.cache
def outputs() -> Path:
    """The outputs of whole commands on small made inputs."""
    folder = tempfile.TemporaryDirectory(prefix="weather-")
    atexit.register(folder.cleanup)
    made = Path(folder.name) / "made"
    with contextlib.redirect_stdout(sys.stderr):
        make_written(made)
        given = f"--features {made}/features --triplets {made}/triplets.npy --method global --grid {made}/grid.toml"
        assert execute(f"sweep {given} --folds 2 --out {made}/sweep".split()) == 0
    return made


def some_of(name: str, *files: str) -> Callable[[Path], None]:
    """The first files that fit, of an output: what is there besides costs time in each case."""

    def build(folder: Path) -> None:
        for pattern in files:
            file = min((outputs() / name).glob(pattern))
            (folder / file.relative_to(outputs() / name)).parent.mkdir(exist_ok=True)
            shutil.copy(file, folder / file.relative_to(outputs() / name))

    return build


def read_run(path: Path) -> None:
    load_run(path.parent.parent if path.parent.name == "views" else path.parent)


def unfinished_sweep(folder: Path) -> None:
    """As it is left by a process that was killed before the row of a point was written."""
    some_of("sweep", "sweep.json", "original.jsonl", "paths/fold0-global-lmbda0.1.npz")(folder)
    rows = (outputs() / "sweep" / "points.jsonl").read_text().splitlines(keepends=True)
    (folder / "points.jsonl").write_text("".join(rows[:2]))


def read_unfinished_sweep(path: Path) -> None:
    folder = path.parent.parent if path.suffix == ".npz" else path.parent
    config = json.loads((outputs() / "sweep" / "sweep.json").read_text())
    points = [Point(0, "global", False, lmbda, None, None) for lmbda in (3.0, 1.0, 0.1)]
    store = PointStore(folder, config, points, resume=True)
    store.original()
    store.stand(points[-1].unit, points)


def extraction(folder: Path, *, whole: bool) -> FeatureStore:
    source = open_images(str(pictures(outputs() / "three")))
    with FeatureStore(folder, source, ["layer"], chunk_rows=2, identity={"model": "x"}) as store:
        for number, items in enumerate(store.chunks()[: None if whole else 1]):
            rows = {"layer": np.ones((len(items), 4), np.float32)}
            list(store.open([(number, items)]))
            store.save(Chunk(number, items, {"versions": {}}, rows))
        if whole:
            assert store.finish()
    return store


def read_extraction(path: Path) -> None:
    folder = path.parent.parent if path.parent.name == ".extract" else path.parent
    source = open_images(str(outputs() / "three"))
    store = FeatureStore(folder, source, ["layer"], chunk_rows=2, identity={"model": "x"})
    store.record if store.finished else (store.done(), store.items_done())
    store.tasks.close()


def parts_log(folder: Path) -> None:
    tasks = Output(folder / "out", folder).tasks().create()
    for part in range(3):
        tasks.commit({"part": part})


def steps_log(folder: Path) -> None:
    for step in ("inputs", "objects", "sweep"):
        Log(folder).once(step, "0", lambda: ({"found": [1, 2.5]}, []))


FOLDERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], Reader]] = {
    "folder": (features_folder, ("features.npy", "file_names.txt", "record.json"), read_features_folder),
    "zarr": (
        zarr_folder,
        ("features.zarr/zarr.json", "features.zarr/c/0/0"),
        lambda path: hostile.load_features(next(one for one in path.parents if one.suffix == ".zarr")),
    ),
    "breeds": (
        breeds_folder,
        ("class_hierarchy.txt", "node_names.txt", "dataset_class_info.json"),
        lambda path: breeds_task("living17", path.parent),
    ),
    "suite": (some_of("s", "rows.jsonl", "suite.json"), ("rows.jsonl", "suite.json"), read_run),
    "view": (some_of("s", "rows.jsonl", "views/net-global.npz"), ("views/net-global.npz",), read_run),
    "sweep": (some_of("sweep", "points.jsonl", "sweep.json"), ("points.jsonl", "sweep.json"), read_run),
    "tables": (some_of("sweep", "points.jsonl", "means.csv"), ("means.csv",), read_run),
    "unfinished sweep": (
        unfinished_sweep, ("points.jsonl", "sweep.json", "original.jsonl", "paths/fold0-global-lmbda0.1.npz"),
        read_unfinished_sweep,
    ),
    "unfinished extraction": (
        functools.partial(extraction, whole=False), (".extract/done.jsonl", ".extract/run.json"), read_extraction,
    ),
    "extraction": (functools.partial(extraction, whole=True), ("record.json",), read_extraction),
    "unfinished shards": (
        parts_log, ("done.jsonl",), lambda path: Output(path.parent / "out", path.parent).tasks().done(),
    ),
    "study": (
        lambda folder: shutil.copytree(outputs() / "study", folder, dirs_exist_ok=True),
        ("study.json", "secret.json", "answers.sqlite"), read_study,
    ),
    "alignment": (steps_log, ("steps.jsonl",), lambda path: Log(path.parent).rows()),
}  # fmt: skip


MORE: dict[str, tuple[Maker, Reader]] = {
    "shard.tar": (shard, read_images),
    "list.txt": (listed, read_images),
    "captions.txt": (lambda path: hostile.text_file(path, "a cat\na dog\nnaïve café\n"), open_captions),
    "categories.csv": (
        lambda path: hostile.text_file(path, "object,category\nant,animal\nbus,vehicle\n"),
        lambda path: load_categories(path, ("ant", "bus", "cat")),
    ),
    "members.tsv": (
        lambda path: hostile.text_file(path, "animal\tvehicle\n1\t0\n0\t1\n1\t1\n"),
        lambda path: load_categories(path, ("ant", "bus", "cat")),
    ),
    "scheduler.json": (
        lambda path: hostile.text_file(path, '{"type": "Scheduler", "address": "tcp://127.0.0.1:8786", "workers": {}}'),
        lambda path: _address(str(path)),
    ),
    "cell.npz": (lambda path: Path(shutil.copy(min((outputs() / "s" / "cells").glob("*.npz")), path)), load_cell),
    **{
        f"weights.{kind}": (state_dict, lambda path: load_checkpoint(torch.nn.Linear(3, 2), path))
        for kind in ("pt", "safetensors")
    },
    "cifar-100-python": (cifar, read_cifar),
    "downloaded.tar.gz": (archive, unpack),
    **{
        f"{name}/{file}": (of_folder(build, file), read)
        for name, (build, files, read) in FOLDERS.items()
        for file in files
    },
    **{f"import {format}": from_system(format) for format in importers.FILES},
}
