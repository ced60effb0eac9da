"""Random command lines end well, on files of every kind and on damaged ones.

``python tests/test_fuzz.py right|wrong SEED CASES`` tries them in this folder, each in a forked
process and in a fresh copy of the files, and prints the lines that ended badly.
"""

import contextlib
import importlib
import itertools
import json
import os
import random
import re
import shlex
import sys
import time
import typing
from pathlib import Path
from unittest import mock

import command_lines
import numpy as np
import processes
import pytest
import world

CASES = int(float(os.environ.get("GLOCAL_TRIES", "0.05")) * 6000)
SECONDS = 180  # of a case
LINES = command_lines.COMMANDS | command_lines.COLLECT
NOT_TRIED = {"help", "jobs", "workers", "scheduler", "device", "download", "solver", "host"}
FEATURES = "x.npy y.npy half.npy whole.npy same.npy big.npy zero.npy"
VALUES = {  # that fit a parameter
    "answers heldout": "t.npz anchors.npz many.npz weights.npz answers.csv",
    "features local_features train test queries gallery recentre": FEATURES,
    "train_labels test_labels labels query_labels gallery_labels": "labels.txt classes.csv:class",
    "transform": "w.npz narrow.npz centred clip-vit-b-32",
    "baseline": "original centred w.npz",
    "centre": "0 0.5 1 auto",
    "object_ids": "ids.txt",
    "order": "order.txt",
    "superclasses": "classes.csv",
    "runs": "run w.npz rows.jsonl study",
    "grid": "grid.toml arms",
    "rdm": "rdm.npy",
    "scores": "rows.jsonl",
    "images local_images thumbnails": "images",
    "out save_transform figures tables": "o.npz o.npy o o.html o.jsonl o.safetensors",
    "select": "loss neighbours_kept>=0.9",
    "column": "a=a odd=odd",
    "layer": "penultimate",
    "shard": "1/2",
}
RIGHT = {name: values.split() for names, values in VALUES.items() for name in names.split()}
JUNK = (None, [], "x", 1, {}, {"a": 1}, [1], True, float("inf"), -1, "<script>alert(1)</script>")
IMPORTED = ("pandas", "scipy.stats", "sklearn.linear_model", "torch", "altair", "uvicorn")
WARNING = re.compile(r"Warning:|\.py:\d")


def write_files(folder):
    """Write the files of right and of wrong command lines, and others of unusual content."""
    from glocal.data.answers import Answers
    from glocal.transform import LinearTransform

    command_lines.write_files(folder)
    rng = np.random.default_rng(0)
    X = np.load(folder / "x.npy")
    n = len(X)
    holes = X.copy()
    holes[3, 5] = np.nan
    answers = Answers.load(folder / "t.npz").objects
    rows = {"answers": answers, "kind": "anchor", "counts": rng.integers(1, 5, (len(answers), 2))}
    np.savez(folder / "anchors.npz", **rows)
    weights = rng.random(len(answers)) * (rng.random(len(answers)) > 0.3)
    row = {"task": "a", "metric": "accuracy", "value": 0.5, "transform": "original", "n": 9}
    world.folder(
        folder,
        half_npy=X.astype("f2"),
        whole_npy=(10 * X).astype(int),
        same_npy=np.ones_like(X),
        big_npy=X.astype("f8") * 1e30,
        zero_npy=X * (np.arange(n) > 0)[:, None],
        holes_npy=holes,
        row_npy=X[:1],
        none_npy=X[:0],
        many_npz=world.answers(200, n, "nearest-of-n"),
        weights_npz=Answers(answers, weights, person=np.arange(len(answers)) % 7),
        narrow_npz=LinearTransform(np.eye(16, 3, dtype="f4"), None, 0.0, 1.0),
        ids_txt="".join(f"object_{i:02d}\n" for i in range(n)),
        order_txt="\n".join(map(str, rng.permutation(n))),
        classes_csv="class,superclass\n" + "\n".join(f"{i % 4},{i % 2}" for i in range(n)),
        rows_jsonl=json.dumps(row) + "\n",
    )
    np.save(folder / "spä ce.npy", X)


def random_value(param, share_wrong, rng):
    """A value of a parameter, which is wrong or unusual with a probability."""
    kind = param.type_descriptor.annotation
    if rng.random() < share_wrong:
        return rng.choice([*command_lines.wrong_values(param), *FEATURES.split(), "row.npy"])
    if choices := typing.get_args(kind):
        choices = [getattr(choice, "value", choice) for choice in choices]
        if all(isinstance(choice, str) for choice in choices):
            return rng.choice(choices)
    if kind in (int, float):
        return rng.choice(["1", "2", "3"] if kind is int else ["0.1", "0.5", "0.9", "1"])
    return rng.choice(RIGHT.get(param.name, ["x.npy", "labels.txt", "1", "missing"]))


def random_line(style, parameters, rng):
    """A right command line with other values of some parameters, and in the wrong style with wrong
    values, without some words, and with others.
    """
    name = rng.choice([name for name in parameters if name != "demo" or rng.random() < 0.1])
    is_wrong = style == "wrong"
    words = LINES[name].replace("--dry-run", rng.choice(["", "--dry-run"])).split()
    not_tried = NOT_TRIED if is_wrong else NOT_TRIED | {"out", "layer", "model"}
    params = [param for param in parameters[name] if param.name not in not_tried]
    words += ["--json"] if rng.random() < 0.4 else []
    for param in params:
        if rng.random() < (0.3 if param.name in RIGHT else 0.12):
            value = random_value(param, 0.4 if is_wrong else 0.02, rng)
            if getattr(param, "is_flag", False) and not is_wrong:
                words.append(param.opts[0])
            else:
                words = command_lines.changed(words, params, param, value)
    if is_wrong and rng.random() < 0.1:
        words.pop(rng.randrange(len(words))) if words else None
        words.insert(rng.randint(0, len(words)), rng.choice(["--nope", "--", "-h", "extra", "-v"]))
    return [*name.split(), *words]


def spoil(folder, rng):
    """Damage one file, or replace a part of what the transform says about itself."""
    from test_hostile import damaged, damaged_member

    if rng.random() < 0.3:
        with np.load(folder / "run" / "transform.npz") as saved:
            arrays = dict(saved)
        meta = json.loads(arrays["meta"].item())
        place = meta
        while isinstance(place, dict) and place:
            parent = place
            key = rng.choice(sorted(place))
            place = place[key] if rng.random() < 0.7 else None
        parent[key] = rng.choice(JUNK)
        np.savez(folder / "w.npz", **arrays | {"meta": np.array(json.dumps(meta))})
        return
    path = rng.choice(sorted(path for path in folder.iterdir() if path.is_file()))
    data = path.read_bytes()
    damage = damaged_member if data.startswith(b"PK") and rng.random() < 0.5 else damaged
    if data:
        path.write_bytes(damage(data, rng))


def run_line(words, folder):
    """Run one command line in this process, without a network and without a server, and exit."""
    from glocal.cli.app import main
    from glocal.suite.demo import drawn_world

    small = drawn_world(n_triplets=3000)
    os.chdir(folder)
    with (
        mock.patch("uvicorn.run"),
        mock.patch("uvicorn.Server.run"),
        mock.patch("glocal.suite.demo.drawn_world", return_value=small),
        command_lines.without_network(),
    ):
        main(words)


def content(folder):
    """The bytes of each file in a folder, and nothing else of it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def faults(words, code, out, err, changed):
    """What is wrong with the end of a command."""
    lists_findings = code == 1 and (words[:2] == ["data", "check"] or words[0] == "extract")
    if code not in (0, 1, 2) or "Traceback" in err:
        yield f"exit code {code}"
    if WARNING.search(err):
        yield "a raw warning"
    if code and not lists_findings and (err.count("error:") != 1 or out.strip()):
        yield "not one sentence"
    if "--json" in words and not code and not {"-h", "--help"} & {*words}:
        try:
            assert isinstance(json.loads(out, parse_constant=pytest.fail), dict)
        except (ValueError, AssertionError, pytest.fail.Exception) as error:
            yield f"no JSON object: {error}"
    if changed:
        yield f"changed or left: {changed}"


def changed_files(words, before, after):
    """The inputs that a command changed, and the unfinished files that it left."""
    options = ("--out", "--save-transform", "--figures", "--tables")
    outputs = {value for option, value in itertools.pairwise(words) if option in options}
    inputs = {value for option, value in itertools.pairwise(words) if option not in options}
    for name in before | after:
        root = name.split("/")[0]
        is_output = root in outputs - inputs or root == "study"
        is_unfinished = name not in before and Path(name).name.startswith(".")
        if is_unfinished or (name in before and not is_output and before[name] != after.get(name)):
            yield name


def main(style, seed, cases):
    """Try random command lines, and print those that ended badly."""
    folder = Path.cwd()
    source = folder / "source"
    source.mkdir()
    os.environ |= {"GLOCAL_CACHE": str(folder / "cache"), "GLOCAL_OFFLINE": "1"}
    sys.path.insert(0, str(source))
    for name in IMPORTED:
        importlib.import_module(name)  # once, not in each fork
    out, err = folder / "out", folder / "err"
    assert processes.forked(lambda: write_files(source), out, err, SECONDS) == 0, err.read_text()
    parameters = command_lines.parameters()
    copy = folder / "copy"
    failures = 0
    for case in range(cases):
        rng = random.Random(f"{style} {seed} {case}")
        words = random_line(style, parameters, rng)
        command_lines.copy(source, copy)
        if style == "wrong" and rng.random() < 0.2:
            spoil(copy, rng)
        before = content(copy)
        code = processes.forked(lambda words=words: run_line(words, copy), out, err, SECONDS)
        changed = sorted(changed_files(words, before, content(copy)))
        printed = [path.read_text(errors="replace") for path in (out, err)]
        if found := list(faults(words, code, *printed, changed)):
            failures += 1
            message = (
                f"case {case}: glocal {shlex.join(words)}\n    {found}\n    {printed[1][-800:]}\n"
            )
            sys.stdout.write(message)
    return int(failures > 0)


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("style", ["right", "wrong"])
def test_random_command_lines_end_well(style, tmp_path):
    """Each ends in time, with exit code 0, 1 or 2, with one sentence if it fails and one strict
    JSON object if it was asked for, and with all of its inputs as they were.
    """
    pytest.importorskip("glocal_collect")
    day = int(time.time() // 86400)
    command = [sys.executable, __file__, style, str(day), str(CASES)]
    ended = processes.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"seed {day}\n{ended.stdout}{ended.stderr}"


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
