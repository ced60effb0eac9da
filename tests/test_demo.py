"""The demo: a suite on a simulated world in which the local term matters, a page, and
files for the next steps.
"""

import itertools
import re
import sys

import numpy as np
import pytest
from world import run

from glocal import Features
from glocal.data.labels import load_labels
from glocal.evaluation.view import load_view
from glocal.files import file_name
from glocal.jsonlines import read_rows
from glocal.scores import read_scores
from glocal.suite.demo import write_demo
from glocal.suite.table import long_scores

pytestmark = pytest.mark.timeout(600)  # on a busy machine
ARMS = ["original", "keep 0.8"]
OTHER_ARMS = ["naive", "global", "glocal"]
MEASURES = {
    "agreement": "agreement",
    "1 example a kind": "accuracy_ncm",
    "names of kinds": "accuracy_ncm",
    "anomalies of a kind": "auroc",
    "anomalies of a category": "auroc",
    "neighbours kept": "neighbours_kept",
}


def test_the_suite_of_the_demo_reads_the_world_beside_it(tmp_path):
    """Before any fit, the demo writes all files that suite.toml names, with a label for each row
    and a text for each kind; with all arms, the same folder gets three more.
    """
    plan, _ = write_demo(tmp_path)
    assert list(plan.arms) == ARMS
    assert set(plan.tasks) == set(MEASURES)
    assert len(plan.sources("simulated").heldout_answers) > 500
    for part, labels in itertools.product(("train", "test"), ("kind", "category")):
        rows = Features.load(tmp_path / f"world/{part}.npy")
        assert load_labels(tmp_path / f"world/{part}_{labels}.txt", rows).features is rows
    texts = Features.load(tmp_path / "world/texts.npy")
    kinds = (tmp_path / "world/test_kind.txt").read_text("utf-8").split()
    assert set(texts.names) == set(kinds)
    assert Features.load(tmp_path / "world/train.npy").names is None
    assert list(write_demo(tmp_path, all_arms=True)[0].arms) == ARMS + OTHER_ARMS


@pytest.fixture(scope="module")
def ran(tmp_path_factory, without_type_checks):
    """The folder of the demo with all arms."""
    folder = tmp_path_factory.mktemp("demo")
    ended = run("demo --all --out", folder)
    assert ended.code == 0, ended.err
    return folder


def values_of(folder):
    """The scores of a demo by task, metric and arm."""
    scores = long_scores(read_scores(folder / "rows.jsonl"))
    return scores.set_index(["task", "metric", "arm"])["value"].sort_index()


@pytest.mark.nightly
def test_at_equal_agreement_glocal_keeps_what_global_destroys(ran):
    """`glocal` agrees as well as `global` and keeps more neighbours, and `naive` keeps fewest."""
    scores = values_of(ran)
    agreement, shot, kept = (
        scores[task, MEASURES[task]]
        for task in ("agreement", "1 example a kind", "neighbours kept")
    )
    assert agreement["glocal"] > agreement["global"] - 0.02 > agreement["original"] + 0.1
    assert kept["glocal"] > kept["global"] + 0.03 > kept["naive"] + 0.2
    assert shot["glocal"] > shot["original"] + 0.03


@pytest.mark.nightly
def test_the_demo_shows_what_the_method_is_for(tmp_path, as_a_user):
    """It prints six lines of scores: `keep` keeps its share of neighbours, gains in agreement, with
    one example and in finding other kinds, and loses among categories; names alone beat one
    example, and are the same for all arms.
    """
    ended = run("demo --out", tmp_path)
    title, *lines, where = ended.out.splitlines()
    assert title.split() == "SIMULATED DATA, not people original keep 0.8".split()
    assert [line.split("  ")[0] for line in lines] == [*MEASURES]
    assert "report.html" in where
    assert max(map(len, lines)) <= 80
    scores = values_of(tmp_path)
    before, after = (
        {task: scores[task, metric, arm] for task, metric in MEASURES.items()} for arm in ARMS
    )
    gain = {task: after[task] - before[task] for task in MEASURES}
    assert gain["agreement"] > 0.08
    assert gain["1 example a kind"] > 0.01
    assert gain["anomalies of a kind"] > 0.04
    assert gain["anomalies of a category"] < -0.01
    assert gain["names of kinds"] == 0
    assert before["names of kinds"] > after["1 example a kind"]
    assert after["neighbours kept"] >= 0.79


@pytest.mark.nightly
def test_the_page_tells_of_the_simulated_world(ran):
    """The page has every arm, every task and every drawing, and says that the data are simulated;
    neighbours of the same colour become neighbours of the same kind, which is what it begins with.
    """
    page = (ran / "report.html").read_text("utf-8")
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[:2] == ["Neighbours before and after", "Scores"]
    assert len(headings) == len({*headings})
    parts = ["simulated data, not people", *ARMS, *OTHER_ARMS, *MEASURES]
    assert [part for part in parts if part not in page] == []
    assert page.count("data:image/svg+xml,") == 180
    alike = []
    for arm in ("original", "keep 0.8"):
        view = load_view(ran / f"views/simulated/{file_name(arm)}.npz")
        words = np.array([name.split()[:2] for name in view.names])
        alike.append((words[view.neighbours[:, :10]] == words[:, None]).mean(axis=(0, 1)))
    (colours, kinds), (colours_after, kinds_after) = np.array(alike) * 10
    assert colours > colours_after + 1
    assert kinds_after > kinds + 1


@pytest.mark.nightly
def test_without_the_extra_the_page_is_left_out(ran, tmp_path, as_a_user, monkeypatch):
    """Without jinja2, one sentence says what to install for the page, and the rows are
    in the JSON.
    """
    for name in ("suite.toml", "world", "cells", "transforms", "views"):
        (tmp_path / name).symlink_to(ran / name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setitem(sys.modules, "altair", None)
    ended = run("demo --all --json --out", tmp_path)
    assert re.search(r"(?m)^.*report\.html.*\.\[report\].*$", ended.err)
    assert ended.json["simulated"] is True
    assert ended.json["report"] is None
    assert len(ended.json["rows"]) == len(read_rows(ran / "rows.jsonl"))
