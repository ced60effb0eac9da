"""Right command lines of all commands need no network; random ones end well, on files of every
kind.

A case that fails leaves its files in the folder of its test. Another day tries other cases.
"""

import itertools
import json
import os
import random
import re
import time
from pathlib import Path

import command_lines
import numpy as np
import pytest
import systems
import world

from glocal import LinearTransform

CASES = int(float(os.environ.get("GLOCAL_TRIES", "0.05")) * 12_000)
LIMITS = (180, 4 << 30)  # seconds and bytes of a case
NOT_TRIED = "help jobs workers scheduler device download solver host".split()
OUTPUTS = ("--out", "--save-transform", "--figures", "--tables")
FEATURES = "x.npy y.npy half.npy whole.npy same.npy big.npy zero.npy holes.npy row.npy none.npy"
VALUES = """
answers heldout: t.npz anchors.npz many.npz weights.npz answers.csv
train_labels test_labels labels query_labels gallery_labels: labels.txt classes.csv:class
transform: w.npz narrow.npz centred clip-vit-b-32
baseline: original centred w.npz
centre: 0 1 scalar
object_ids: ids.txt
order: order.txt
superclasses: classes.csv
runs: run w.npz rows.jsonl study
grid: grid.toml arms
rdm: rdm.npy
scores: rows.jsonl
images local_images thumbnails: images
out save_transform figures tables: o.npz o.npy o o.html o.jsonl o.safetensors
select: loss neighbours_kept>=0.9
column: a=a odd=odd
layer: penultimate
shard: 1/2
""" + f"features local_features train test queries gallery recentre: {FEATURES}\n"  # fmt: skip
FITTING = {
    name: values.split()
    for names, values in (line.split(": ") for line in VALUES.strip().split("\n"))
    for name in names.split()
}
NUMBERS = "1 2 3 0.1 0.5 0.9 x -1 0 1.5 99999999999999999999 nan inf 1e999 ١".split()
WORDS = "missing/file.npz images empty.npy garbage.npz loop /dev/null nope ../.. hf:// 日本 = a=b"
WRONG = [*NUMBERS, *WORDS.split(), *FEATURES.split(), "", "a" * 300, "\x1b[2J"]


@pytest.fixture
def source(command_files):
    """The files of right command lines, and others of unusual content."""
    X = np.load(command_files / "x.npy")
    n = len(X)
    holes = X.copy()
    holes[3, 5] = np.nan
    row = {"task": "a", "metric": "accuracy", "value": 0.5, "transform": "original", "n": 9}
    return world.folder(
        command_files,
        half_npy=X.astype("f2"),
        whole_npy=(10 * X).astype(int),
        same_npy=np.ones_like(X),
        big_npy=X.astype("f8") * 1e30,
        zero_npy=X * (np.arange(n) > 0)[:, None],
        holes_npy=holes,
        row_npy=X[:1],
        none_npy=X[:0],
        anchors_npz=world.answers(200, n, "anchor"),
        many_npz=world.answers(200, n, "nearest-of-n"),
        weights_npz=world.answers(300, n, weights=np.arange(300) / 9, person=np.arange(300) % 7),
        narrow_npz=LinearTransform(np.eye(16, 3, dtype="f4"), None, 0.0, 1.0),
        ids_txt=[f"object_{i:02d}" for i in range(n)],
        order_txt=range(n)[::-1],
        classes_csv="class,superclass\n" + "\n".join(f"{i % 4},{i % 2}" for i in range(n)),
        rows_jsonl=json.dumps(row) + "\n",
    )


def random_line(rng, parameters, share_wrong):
    """The words of a right command line with other values of some parameters, of which a share is
    wrong or unusual; where some are wrong, words may be exchanged for others too.
    """
    name = rng.choice([name for name in parameters if name != "demo"])
    words = command_lines.COMMANDS[name].split() + ["--json"] * (rng.random() < 0.4)
    not_tried = NOT_TRIED + ["out", "layer", "model"] * (share_wrong < 0.1)
    params = [param for param in parameters[name] if param.name not in not_tried]
    arguments = [param for param in params if param.param_type_name == "argument"]
    for param in params:
        if rng.random() > (0.3 if param.name in FITTING else 0.12):
            continue
        kind = param.type_descriptor.annotation
        numbers = NUMBERS[:3] if kind is int else NUMBERS[:6] if kind is float else ["x.npy"]
        choices = getattr(param.type_descriptor, "choices", None)
        fitting = FITTING.get(param.name) or choices or numbers
        value = str(rng.choice(WRONG if rng.random() < share_wrong else [*fitting]))
        if param in arguments:
            place = arguments.index(param)
            words[place : place + 1] = [value]
        else:
            is_flag = getattr(param, "is_flag", False)
            words += [max(param.opts, key=len)] if is_flag else [max(param.opts, key=len), value]
    if words and rng.random() < share_wrong / 4:
        words[rng.randrange(len(words))] = rng.choice(["--nope", "--", "-h", "extra", "-v"])
    return [*name.split(), *words]


def faults(words, ended, before, after):
    """What is wrong with the end of a command, and with the files that it changed or left."""
    lists_findings = ended.code == 1 and (words[:2] == ["data", "check"] or words[0] == "extract")
    if ended.code not in (0, 1, 2):
        yield f"exit code {ended.code}"
    if re.search(r"Warning:|\.py:\d|Traceback", ended.err):
        yield "a raw warning"
    if ended.code and not lists_findings and (ended.err.count("error:") != 1 or ended.out.strip()):
        yield "not one sentence"
    if "--json" in words and not ended.code and not {"-h", "--help"} & {*words}:
        assert isinstance(json.loads(ended.out, parse_constant=pytest.fail), dict)
    options = [*itertools.pairwise(words)]
    outputs = {value for option, value in options if option in OUTPUTS} | {"study"}
    inputs = {value for option, value in options if option not in OUTPUTS} - {"study"}
    for name in before | after:
        is_output = name.split("/")[0] in outputs - inputs
        if name in before and not is_output and before[name] != after.get(name):
            yield f"changed {name}"
        if name not in before and Path(name).name.startswith("."):
            yield f"left {name}"


def test_every_command_has_a_right_command_line():
    """Every command has a right command line, so that none is left out of the tests below."""
    assert {*command_lines.parameters()} <= {*command_lines.COMMANDS}


@pytest.mark.nightly
@pytest.mark.timeout(1200)  # the demo fits and draws
@pytest.mark.parametrize("name", command_lines.COMMANDS)
def test_no_command_needs_a_network(name, command_files, tmp_path, monkeypatch):
    """All commands except downloads succeed without trying to open a connection."""
    if name not in command_lines.parameters():
        pytest.skip("glocal-collect is not installed")
    command_lines.copy(command_files, tmp_path)
    monkeypatch.chdir(tmp_path)
    with command_lines.without_network() as tries:
        ended = command_lines.run(f"{name} {command_lines.COMMANDS[name]}")
    # a new study has no answers
    assert ended.code == (name in ("collect export", "collect report")), ended.err
    tries.assert_not_called()


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
@pytest.mark.filterwarnings("default", "ignore::DeprecationWarning")
def test_random_command_lines_end_well(source, tmp_path, monkeypatch):
    """Each ends in time, with exit code 0, 1 or 2, with one sentence if it fails and one strict
    JSON object if it was asked for, and with all of its inputs as they were.
    """
    pytest.importorskip("glocal_collect")
    monkeypatch.setenv("GLOCAL_OFFLINE", "1")
    parameters = command_lines.parameters()
    folder = tmp_path / "copy"
    for case in range(CASES):
        rng = random.Random(f"{time.time() // 86400} {case}")
        share_wrong = rng.choice([0.02, 0.4])
        words = random_line(rng, parameters, share_wrong)
        command_lines.copy(source, folder)
        before = world.contents(folder)
        monkeypatch.chdir(folder)
        with command_lines.without_network(), systems.limits(*LIMITS):
            ended = command_lines.run(words[0], *words[1:])
        assert [*faults(words, ended, before, world.contents(folder))] == [], (words, ended)
