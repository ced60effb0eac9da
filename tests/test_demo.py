"""The demo: a suite on a simulated world in which the local term matters, a page, and
files for the next steps.
"""

import contextlib
import io
import json
import re
import sys

import numpy as np
import pytest
from jaxtyping import config

from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.labels import load_labels
from glocal.report import load_runs
from glocal.results import read_rows
from glocal.suite.demo import write_demo
from glocal.suite.plan import Plan

pytestmark = pytest.mark.timeout(600)  # on a busy machine
ARMS = ["original", "naive", "global", "glocal", "keep-8-of-10"]
MEASURES = {
    "odd-one-out": "accuracy_cosine",
    "few-shot-kind": "accuracy_logistic",
    "few-shot-category": "accuracy_ncm",
    "anomaly": "auroc",
    "structure": "neighbours_kept",
}


def test_the_suite_of_the_demo_reads_the_world_beside_it(tmp_path):
    """Before any fit, the demo writes all files that suite.toml names, with a label for
    each row.
    """

    plan, _ = write_demo(tmp_path)
    assert list(plan.arms) == ARMS
    assert set(plan.tasks) == set(MEASURES)
    assert len(plan.sources("simulated").heldout) > 500
    for part in ("train", "test"):
        rows = np.load(tmp_path / f"world/{part}.npy")
        for labels in ("kind", "category"):
            assert len(load_labels(tmp_path / f"world/{part}_{labels}.txt")) == len(rows)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The folder and the output of the demo, run as by a user, without type checks."""
    folder = tmp_path_factory.mktemp("demo")
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(text):
        patch.setattr(config, "jaxtyping_disable", True)
        assert execute(["demo", "--out", str(folder)]) == 0
    return folder, text.getvalue()


@pytest.fixture(scope="module")
def ran(printed):
    return printed[0]


@pytest.fixture(scope="module")
def scores(ran):
    return {
        (row["transform"], row["task"], row["metric"]): row for row in read_rows(ran / "rows.jsonl")
    }


@pytest.mark.nightly
def test_at_equal_agreement_glocal_keeps_what_global_destroys(scores):
    """`glocal` agrees as well as `global` and keeps more neighbours, `naive` keeps
    fewest, and `keep` keeps its share.
    """
    value = {
        arm: {task: scores[arm, task, metric]["value"] for task, metric in MEASURES.items()}
        for arm in ARMS
    }
    kept = {arm: value[arm]["structure"] for arm in ARMS}
    assert (
        value["glocal"]["odd-one-out"]
        > value["global"]["odd-one-out"] - 0.01
        > value["original"]["odd-one-out"] + 0.1
    )
    assert kept["glocal"] > kept["global"] + 0.03 > kept["naive"] + 0.2
    assert value["glocal"]["few-shot-kind"] > value["original"]["few-shot-kind"] + 0.05
    assert kept["keep-8-of-10"] >= 0.79
    assert value["keep-8-of-10"]["odd-one-out"] > value["original"]["odd-one-out"] + 0.08


@pytest.mark.nightly
def test_the_folder_is_that_of_a_suite(ran):
    """The folder has views and suite.toml, the report counts each score once, and the objects have
    names.
    """
    assert {path.stem for path in (ran / "views/simulated").iterdir()} == set(ARMS)
    assert list(Plan.load(ran / "suite.toml").arms) == ARMS
    run = load_runs(ran)[0]
    assert set(run.rows["transform"]) == {*ARMS}
    assert run.is_simulated
    assert len(run.rows) == len(read_rows(ran / "rows.jsonl"))
    assert len(Features.load(ran / "world/objects").names) == 180


@pytest.mark.nightly
def test_the_table_has_a_line_for_each_arm(printed):
    """The table has a line for each arm; its cells have intervals, except the neighbours that
    `original` keeps.
    """
    assert "SIMULATED" in printed[1]
    lines = {
        line.split()[1]: line for line in printed[1].splitlines() if line.startswith("simulated")
    }
    for arm, cells in {**dict.fromkeys(ARMS, 5), "original": 4}.items():
        assert len(re.findall(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", lines[arm])) == cells


@pytest.mark.nightly
def test_the_page_tells_of_the_simulated_world(ran):
    """The page has every arm, every task and every drawing, says that the data are simulated, and
    that neighbours of the same colour become neighbours of the same kind.
    """
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    page = (ran / "report.html").read_text(encoding="utf-8")
    assert "simulated data, not people" in page
    for name in [*ARMS, *MEASURES]:
        assert name in page
    assert page.count("data:image/svg+xml,") == 180
    (words,) = re.findall(r"Of the ten nearest drawings, .*?\. The", page, re.DOTALL)
    colours, kinds, colours_after, kinds_after = map(float, re.findall(r"\d+\.\d", words))
    assert colours > colours_after + 2
    assert kinds_after > kinds + 2


@pytest.mark.nightly
def test_without_the_extra_the_page_is_left_out(ran, tmp_path, capsys, as_a_user, monkeypatch):
    """Without jinja2, one sentence says what to install for the page, and the rows are
    in the JSON.
    """
    for name in ("suite.toml", "world", "cells", "transforms", "views"):
        (tmp_path / name).symlink_to(ran / name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setitem(sys.modules, "altair", None)
    assert execute(["demo", "--out", str(tmp_path), "--json"]) == 0
    streams = capsys.readouterr()
    assert [
        line for line in streams.err.splitlines() if "report.html" in line and ".[report]" in line
    ]
    record = json.loads(streams.out)
    assert (record["simulated"], record["report"]) == (True, None)
    assert len(record["rows"]) == len(read_rows(ran / "rows.jsonl"))
