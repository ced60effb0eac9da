"""The demo: a suite over a simulated world, every number with its interval, and a page."""

import json
import re
import sys

import pytest

from glocal.aligner import FitData
from glocal.cli.app import execute
from glocal.data.world import simulated_world
from glocal.evaluation.agreement import odd_one_out
from glocal.report import load_runs
from glocal.results import read_rows
from glocal.suite import Plan

ARMS = ["original", "naive", "global", "glocal"]
MEASURES = {
    "odd-one-out": "accuracy_cosine", "few-shot-class": "accuracy_logistic", "few-shot-category": "accuracy_ncm",
    "anomaly": "auroc", "structure": "neighbours_kept",
}  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert execute(["demo", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def scores(ran):
    return {(row["transform"], row["task"], row["metric"]): row for row in read_rows(ran / "rows.jsonl")}


def test_every_arm_has_every_measure_with_an_interval(scores):
    """Agreement, few-shot, anomaly detection and neighbours kept of each arm have low ≤ value ≤ high, low < high."""
    for arm in ARMS:
        for task, metric in MEASURES.items():
            row = scores[arm, task, metric]
            if (arm, metric) == ("original", "neighbours_kept"):  # all of every image: there is no spread
                assert (row["value"], row["low"], row["high"]) == (1, None, None)
                continue
            assert row["low"] <= row["value"] <= row["high"], row
            assert row["low"] < row["high"] or row["value"] == 1
    people = scores["people", "odd-one-out", "ceiling_people"]
    assert people["low"] > scores["naive", "odd-one-out", "accuracy_cosine"]["value"]


def test_the_trade_off_of_the_paper_shows(scores):
    """All arms agree better than the original; glocal keeps most neighbours; naive loses categories, glocal less."""
    value = {arm: {task: scores[arm, task, metric]["value"] for task, metric in MEASURES.items()} for arm in ARMS}
    assert min(value[arm]["odd-one-out"] for arm in ARMS[1:]) > value["original"]["odd-one-out"] + 0.1
    kept = [value[arm]["structure"] for arm in ARMS]
    assert kept[0] == 1
    assert kept[3] > kept[2] > kept[1]
    assert value["naive"]["few-shot-category"] < value["glocal"]["few-shot-category"] - 0.03
    assert value["glocal"]["few-shot-class"] > value["original"]["few-shot-class"] + 0.1


def test_the_people_are_scored_on_the_same_held_out_answers(scores):
    """By the similarities that they used; every held-out row names the fold."""
    world = simulated_world(n_local=1800)
    heldout = FitData(world.objects, world.answers).fold(0, 3)[1]
    people = scores["people", "odd-one-out", "ceiling_people"]
    assert people["value"] == pytest.approx(odd_one_out(world.mind, heldout, similarity="dot").accuracy)
    rows = [people, scores["glocal", "odd-one-out", "accuracy_cosine"]]
    assert {(row["n"], row["split"]) for row in rows} == {(len(heldout), "fold 0 of 3")}


def test_the_folder_is_that_of_a_suite(ran):
    """rows.jsonl, views and suite.toml are there; the report counts each score once, and the people as a ceiling."""
    assert {path.stem for path in (ran / "views/simulated").iterdir()} == set(ARMS)
    assert list(Plan.load(ran / "suite.toml").arms) == ARMS
    run = load_runs(ran)[0]
    assert set(run.rows["transform"]) == {*ARMS, "people"}
    assert len(run.rows) == len(read_rows(ran / "rows.jsonl"))


def test_the_table_and_json(ran, capsys):
    """The table has a line for each arm and one for the people, each cell an interval; original keeps all."""
    assert execute(["demo", "--out", str(ran)]) == 0
    text = capsys.readouterr().out
    assert "SIMULATED" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()[:1] and "[" in line}
    for arm in ARMS:
        assert len(re.findall(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", lines[arm])) == 5 - (arm == "original")
    assert len(re.findall(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", lines["people"])) == 1
    assert execute(["demo", "--out", str(ran), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["simulated"] is True
    assert len(told["rows"]) == len(read_rows(ran / "rows.jsonl"))


def test_the_page_tells_of_the_simulated_world(ran):
    """report.html holds title, every arm and every task, and says that the data are simulated."""
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    page = (ran / "report.html").read_text(encoding="utf-8")
    assert "simulated data, not people" in page
    for name in [*ARMS, *MEASURES]:
        assert name in page


def test_without_the_extra_the_page_is_left_out(ran, tmp_path, capsys, monkeypatch):
    """Where jinja2 is not installed one sentence says what to install, no page is written, and the exit code is 0."""
    for name in ("world", "cells", "transforms", "views"):
        (tmp_path / name).symlink_to(ran / name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setitem(sys.modules, "altair", None)
    assert execute(["demo", "--out", str(tmp_path), "--json"]) == 0
    streams = capsys.readouterr()
    said = [line for line in streams.err.splitlines() if "report.html" in line]
    wanted = "a report needs jinja2, which is not installed. Install it: pip install 'glocal[report]'."
    assert said == [f"report.html is left out: {wanted}"]
    assert json.loads(streams.out)["report"] is None
    assert not (tmp_path / "report.html").exists()


def test_a_sweep_of_all_arms_lies_beside_the_suite(ran):
    """sweep/ is the folder of a finished sweep of every arm, of which glocal keeps most neighbours and naive fewest."""
    (run,) = load_runs(ran / "sweep")
    means = run.means
    assert set(means["method"]) == set(ARMS)
    kept = means.groupby("method")["neighbours_kept"].max()
    assert kept["glocal"] > kept["global"] > kept["naive"] + 0.1
    assert means["chosen"].sum() == 1
