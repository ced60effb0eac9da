"""The commands that write, with small made inputs, for faults.py; and what their outputs mean."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import re
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import onnx
import pyarrow as pa
import zarr
from google.protobuf.message import DecodeError
from PIL import Image
from pyarrow import parquet as pq
from safetensors import SafetensorError, safe_open

from glocal.aligner import fit_arm
from glocal.cli.app import execute
from glocal.collect import database
from glocal.collect.settings import Settings
from glocal.collect.study import create
from glocal.data.answers import Answers
from glocal.data.world import simulated_world

MODEL = "python:toy_for_faults:net"
_TOY = """
import numpy as np, torch

def pixels(image):
    return torch.from_numpy(np.array(image.convert("L"), dtype=np.float32)).reshape(-1) / 255

def net():
    return torch.nn.Identity(), pixels
"""
_DRAWN_ONCE = """
import hashlib, os, pathlib
import glocal.report.vega as vega
draw = vega._run

def drawn_once(code, given):
    kept = pathlib.Path(__file__).with_name(hashlib.sha256(code.encode() + given).hexdigest())
    if not kept.exists():
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_bytes(draw(code, given))
        part.rename(kept)
    return kept.read_bytes()

vega._run = drawn_once
"""
_CHARTS = "import drawn_once\n"  # vl-convert takes seconds in a process of its own that writes nothing
_ONE_POINT = """
from functools import partial
import glocal.align.run
from glocal.sweep import Sweep
glocal.align.run.Sweep = partial(Sweep, {"method": ["global"], "lmbda": [1]})
"""
_PUBLISHED = {
    f"made/{name}": np.random.default_rng(number).bytes(300_000) for number, name in enumerate(("one", "two"))
}
_REGISTERED = "from glocal.data.datasets.registry import FILES, RemoteFile\n" + "".join(
    f"FILES[{name!r}] = RemoteFile({name!r}, {name!r}, 'http://none.test/', 'sha256:{hashlib.sha256(data).hexdigest()}'"
    f", {len(data)}, 'bytes', 'none', 'nobody')\n"
    for name, data in _PUBLISHED.items()
)
_SET_UP = "import glocal.collect.process\nglocal.collect.process.serve = lambda app, at: None\n"
_SMALL_DEMO = """
from functools import partial
import glocal.suite.demo as demo
demo.GRID = {"method": ["global"], "lmbda": [1.0]}
demo.SUITE = demo.SUITE.split("[tasks.few-shot-class]")[0]
demo.simulated_world = partial(demo.simulated_world, n_triplets=600)
"""
_SUITE = """
[answers]
triplets = "triplets.npy"
[networks.net]
features = "features"
local = "local.npy"
[arms.original]
[arms.global]
method = "global"
lmbda = 0.1
[tasks.heldout]
kind = "odd-one-out"
[tasks.local]
kind = "structure"
features = "local.npy"
k = 5
"""
_LABELLED = "{0} {{made}}/local.npy {0}-labels {{made}}/labels.txt"
_SHOTS = f"{_LABELLED.format('--train')} {_LABELLED.format('--test')}"
_FIT = "--features {made}/features --triplets {made}/triplets.npy --method global"


@dataclass(frozen=True)
class Command:
    """The words of a command, how they differ in an earlier run whose output it replaces, and what it changes.

    `changed` are made inputs that are copied to its folder, for it writes beside or into them. `code` goes before it.
    """

    words: str
    before: str | None = None
    changed: tuple[str, ...] = ()
    code: str = ""

    def given(self, made: Path, *, earlier: bool = False) -> list[str]:
        words = f"{self.words} {self.before or ''}" if earlier else self.words
        address = made / "address.txt"
        site = address.read_text() if address.exists() else ""
        return [word.replace("{made}", str(made)).replace("{site}", site) for word in words.split()]


COMMANDS = {
    "fit": Command(f"fit {_FIT} --holdout 3 --out t.npz", "--lmbda 3"),
    "fit, safetensors": Command(f"fit {_FIT} --out t.safetensors", "--lmbda 3"),
    "fit, minibatch": Command(f"fit {_FIT} --solver minibatch --profile neurips2023 --checkpoints kept --out t.npz"),
    "sweep": Command(f"sweep {_FIT} --grid {{made}}/grid.toml --folds 2 --out s --resume"),
    "evaluate suite": Command("evaluate suite {made}/suite.toml --out s"),
    "evaluate odd-one-out": Command(
        "evaluate odd-one-out --features {made}/features --triplets {made}/triplets.npy --transform {made}/t.npz "
        "--baseline original --flips flips.csv --out scores.jsonl", "--similarity dot",
    ),
    "evaluate people": Command(
        "evaluate people --answers {made}/answers.npz --table people.csv --out scores.jsonl", "--fast 2"
    ),
    "evaluate rsa": Command(
        "evaluate rsa --features {made}/features --rdm {made}/rdm.npy --replicates 100 --out scores.jsonl",
        "--kernel dot",
    ),
    "evaluate ceiling": Command(
        "evaluate ceiling --answers {made}/repeated.npy --features {made}/features --out scores.jsonl",
        "--similarity dot",
    ),
    "evaluate few-shot": Command(f"evaluate few-shot {_SHOTS} --shots 2 --probe ncm --out scores.jsonl", "--shots 1"),
    "evaluate anomaly": Command(f"evaluate anomaly {_SHOTS} --out scores.jsonl", "--k 3"),
    "evaluate structure": Command(
        "evaluate structure --features {made}/local.npy --transform {made}/t.npz --out scores.jsonl", "--k 5"
    ),
    "evaluate scores": Command(
        "evaluate scores --features {made}/local.npy --transform {made}/t.npz --out scores.jsonl", "--threshold 0.7"
    ),
    "evaluate retrieval": Command(
        f"evaluate retrieval --queries {{made}}/local.npy --query-labels {{made}}/labels.txt "
        f"{_LABELLED.format('--gallery')} --out scores.jsonl", "--transform {made}/t.npz",
    ),
    "extract": Command(f"extract {{made}}/images --model {MODEL} --batch-size 2 --chunk-size 2 --out f"),
    "align": Command(
        f"align --model {MODEL} --images {{made}}/images --answers {{made}}/triplets.npy --skip page --out a",
        code=_ONE_POINT,
    ),
    "apply to .npy": Command("apply {made}/t.npz {made}/local.npy --out x.npy", "--strength 0.5"),
    "apply to fewer dimensions": Command(
        "apply {made}/t.npz {made}/local.npy --dimensions 3 --save-transform t.npz --out x.npy", "--strength 0.5"
    ),
    "apply to shards": Command("apply {made}/t.npz {made}/shards --out x", "--strength 0.5"),
    "apply to .parquet": Command("apply {made}/t.npz {made}/shards/0.parquet --out x.parquet", "--strength 0.5"),
    "apply to zarr": Command("apply {made}/t.npz {made}/local.zarr --out x.zarr", "--strength 0.5"),
    "data import": Command(
        "data import {made}/answers.csv --format csv --out a.npz", "--where person=ann"
    ),
    "data export": Command("data export {made}/answers.npz --format csv --out a.csv"),
    "data split": Command(
        "data split --features {made}/features --triplets {made}/triplets.npy --out split", "--fold 1"
    ),
    "data filter": Command(
        "data filter --answers {made}/answers.npz --drop-raters answers<201 --out a.npz", "--drop-raters answers<1"
    ),
    "data check --fix": Command(
        "data check --features features --object-ids ids.txt --triplets turned.npy --fix",
        changed=("features", "ids.txt", "turned.npy"),
    ),
    "data fetch": Command("data fetch made/one made/two --out d", code=_REGISTERED),
    "report": Command("report {made}/s --tables tables --out r.html", "--title Before"),
    "report --figures": Command("report {made}/s --figures figures --out r.html", "--title Before", code=_CHARTS),
    "demo": Command("demo --out d", code=_CHARTS + _SMALL_DEMO),
    "transforms pull": Command("transforms pull {made}/published --out t.npz"),
    "transforms pull of an address": Command("transforms pull {site}/t.npz --out t.npz"),
    "transforms push": Command("transforms push {made}/t.npz folder --licence mit", "--licence cc-by-4.0"),
    "transforms card": Command("transforms card {made}/t.npz --licence mit --out c.md", "--licence cc-by-4.0"),
    "suite template": Command("suite template paper --model clip_ViT-L/14 --out p.toml"),
    "collect": Command("collect {made}/images --out study --people 3 --port 0", code=_SET_UP),
    "collect export": Command("collect export study --csv --out a.npz", changed=("study",)),
    "collect fit": Command("collect fit study", changed=("study",), code=_CHARTS),
}  # fmt: skip


def make(made: Path) -> dict[str, bytes]:
    """All inputs of the commands, in a folder; about a second. What a server has to serve, by its path."""
    world = simulated_world(
        n_superordinate=3, n_category=4, n_object=3, n_local=60, n_triplets=600, dimensions=36, seed=1
    )
    (made / "features").mkdir(parents=True)
    np.save(made / "features" / "features.npy", world.objects.matrix)
    names = [f"{name}.png" for name in world.objects.names]
    (made / "features" / "file_names.txt").write_text("\n".join(names) + "\n")
    (made / "ids.txt").write_text("\n".join(world.objects.names) + "\n")
    np.save(made / "triplets.npy", world.triplets.answers)
    np.save(made / "turned.npy", world.triplets.answers[:, [2, 0, 1]])
    np.save(
        made / "repeated.npy", np.concatenate([world.triplets.answers[:100], world.triplets.answers[:100, [2, 0, 1]]])
    )
    np.save(made / "rdm.npy", 1 - np.corrcoef(world.mind))
    np.save(made / "local.npy", world.local.matrix)
    (made / "labels.txt").write_text("".join(f"class {number // 4}\n" for number in world.local_category))
    zarr.create_array(made / "local.zarr", data=world.local.matrix, chunks=(15, 36))
    (made / "shards").mkdir()
    for number in range(3):
        rows = world.local.matrix[20 * number : 20 * number + 20]
        pq.write_table(pa.table({"features": list(rows)}), made / "shards" / f"{number}.parquet")
    fit_arm(world.objects, world.triplets, method="global", lmbda=0.3).transform.save(made / "t.npz")
    people = np.array(["ann", "ben", "cem"])[np.arange(600) % 3]
    people[::50] = "ben"
    seconds = np.random.default_rng(0).uniform(0.5, 4, 600)
    answers = Answers(world.triplets.objects, person=people, seconds=seconds)
    answers.save(made / "answers.npz")
    rows = [f"{a},{b},{c},{person}" for (a, b, c), person in zip(answers.objects.tolist(), people, strict=True)]
    (made / "answers.csv").write_text("\n".join(["a,b,odd,person", *rows]) + "\n")
    (made / "grid.toml").write_text('method = ["global"]\nlmbda = [0.1, 1.0, 3.0]\n')
    (made / "suite.toml").write_text(_SUITE)
    (made / "images").mkdir()
    for name, row in zip(names, world.objects.matrix, strict=True):
        grey = (255 * (row - row.min()) / (row.max() - row.min())).round().astype(np.uint8)
        Image.fromarray(grey.reshape(6, 6)).save(made / "images" / name)
    (made / "modules").mkdir()
    (made / "modules" / "toy_for_faults.py").write_text(_TOY)
    (made / "modules" / "drawn_once.py").write_text(_DRAWN_ONCE)
    _study(made, answers)
    for words in (f"evaluate suite {made}/suite.toml --out {made}/s",
                  f"transforms push {made}/t.npz {made}/published --licence mit"):  # fmt: skip
        assert execute(words.split()) == 0, words
    return {"/t.npz": (made / "t.npz").read_bytes(), **{f"/{name}": data for name, data in _PUBLISHED.items()}}


def _study(made: Path, answers: Answers) -> None:
    settings = Settings(features=str(made / "features"), order="informative")
    study = create(made / "study", str(made / "images"), settings)
    engine = database.open_database(study)
    with engine.begin() as connection:
        for person in np.unique(answers.person).tolist():
            connection.execute(database.people.insert().values(id=person, made=0.0, consented=1.0))
        for number, (item, person) in enumerate(zip(answers.objects[:50].tolist(), answers.person, strict=False)):
            row = {"person": str(person), "number": number, "images": json.dumps(item), "source": "random", "made": 2.0}
            asked = connection.execute(database.trials.insert().values(**row)).inserted_primary_key
            answer = {"trial": asked[0], "choice": 2, "seconds": 1.5, "time": 3.0 + number}
            connection.execute(database.answers.insert().values(**answer))
    engine.dispose()
    with sqlite3.connect(made / "study" / "answers.sqlite") as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


# what files mean

_CHANGES = re.compile(
    r"seconds|time|when|made|date|began|ended|started|runs|pid|host|hardware|out|path|command|load|^at$"
)


_TIMES = r"""\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?|\d+(\.\d+)? s\b|"seconds": [\d.e-]+|/dev/shm/\S+|/tmp/\S+"""
_DRAWN = {"study.json": "number", "secret.json": "key"}  # anew for each study
_TABLES = {  # without times
    "people": "id, name, consented, finished, code", "trials": "id, person, number, images, source, again",
    "answers": "trial, choice, seconds", "proposals": "images",
}  # fmt: skip


def meaning(path: Path) -> Any:
    """What a file says, without times and places: lists, dicts, numbers, and bytes of all else."""
    data = path.read_bytes()
    try:
        if path.suffix == ".jsonl":
            lines = data.split(b"\n")
            return [_plain(json.loads(line)) for line in lines[:-1]]  # a cut last line is not there yet
        if path.suffix == ".json":
            held = _plain(json.loads(data))
            if path.name in _DRAWN:
                held.pop(_DRAWN[path.name])
            return held
        if path.suffix == ".npz":
            with np.load(io.BytesIO(data)) as held:
                return {name: _array(held[name]) for name in sorted(held)}
        if path.suffix == ".csv":
            return _plain(list(csv.DictReader(io.StringIO(data.decode()))))
        if path.suffix == ".ckpt":  # it holds times and is what a fit goes on from, not its result
            return ZipFile(path).testzip()
        if path.suffix == ".onnx":
            model = onnx.load(path)
            told = {each.key: _array(np.array(each.value)) for each in model.metadata_props}
            return {**told, **{each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}}
        if path.suffix == ".safetensors":
            with safe_open(path, "np") as held:
                told = {key: _array(np.array(text)) for key, text in (held.metadata() or {}).items()}
                return {**told, **{name: held.get_tensor(name) for name in held.keys()}}  # noqa: SIM118  no mapping
        if path.suffix == ".npy":
            return _array(np.load(io.BytesIO(data)))
        if path.suffix == ".sqlite":
            return _database(path)
    except (ValueError, OSError, EOFError, SafetensorError, BadZipFile, sqlite3.Error, DecodeError) as error:
        return f"damaged: {error}"
    text = data.decode(errors="surrogateescape")
    return re.sub(_TIMES, "", text)


def _database(path: Path) -> list[list[Any]]:
    """The rows of a study, read from a copy: whoever opens a database changes what a killed process left beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for each in path.parent.glob(f"{path.name}*"):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile by who closed it
                shutil.copy(each, folder)
        with contextlib.closing(sqlite3.connect(Path(folder, path.name))) as connection:
            made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            return [
                [table, *row] for table, columns in _TABLES.items() if table in made
                for row in connection.execute(f"SELECT {columns} FROM {table}")
            ]  # fmt: skip


def _array(values: np.ndarray) -> Any:
    if values.dtype.kind in "US" and values.ndim == 0 and str(values).startswith("{"):
        return _plain(json.loads(str(values)))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if not _CHANGES.search(str(key))}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    with contextlib.suppress(ValueError, TypeError):  # numbers of a table
        return float(value) if isinstance(value, str) else value
    return "a place" if isinstance(value, str) and value.startswith(("/dev/shm/", "/tmp/")) else value


def same(a: Any, b: Any) -> bool:
    """Whether two meanings agree, numbers to a thousandth: a fit that goes on stops within its tolerance elsewhere."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return np.allclose(a, b, rtol=1e-3, atol=1e-3, equal_nan=True) if a.dtype.kind == "f" else bool((a == b).all())
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-3) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


def files_of(place: Path) -> dict[str, Path]:
    """All files below a folder by their relative names."""
    found = {}
    for folder, _, names in os.walk(place):
        for name in names:
            if name.endswith((".sqlite-wal", ".sqlite-shm")):  # parts of the database beside them
                continue
            path = Path(folder, name)
            found[str(path.relative_to(place))] = path
    return found
