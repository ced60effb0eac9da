"""The demo: a suite on a simulated world in which the local term matters, a page, and
files for the next steps.
"""

import itertools
import re
import sys

import pytest
from jaxtyping import config
from world import run

from glocal.data.features import Features
from glocal.data.labels import load_labels
from glocal.scores import read_rows, read_scores
from glocal.suite.demo import write_demo
from glocal.suite.table import long_scores

pytestmark = pytest.mark.timeout(600)  # on a busy machine
ARMS = "original naive global glocal keep-8-of-10".split()
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
    assert (list(plan.arms), set(plan.tasks)) == (ARMS, set(MEASURES))
    assert len(plan.sources("simulated").heldout) > 500
    for part, labels in itertools.product(("train", "test"), ("kind", "category")):
        rows = Features.load(tmp_path / f"world/{part}.npy")
        assert load_labels(tmp_path / f"world/{part}_{labels}.txt", rows).features is rows


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of the demo, run as by a user, without type checks."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "jaxtyping_disable", True)
        ended = run("demo --out", folder)
    assert (ended.code, "SIMULATED" in ended.out) == (0, True)
    return folder


@pytest.mark.nightly
def test_at_equal_agreement_glocal_keeps_what_global_destroys(ran):
    """`glocal` agrees as well as `global` and keeps more neighbours, `naive` keeps
    fewest, and `keep` keeps its share.
    """
    scores = long_scores(read_scores(ran / "rows.jsonl"))
    scores = scores.set_index(["task", "metric", "arm"])["value"].sort_index()
    agreement, kinds, kept = (
        scores[task, MEASURES[task]] for task in ("odd-one-out", "few-shot-kind", "structure")
    )
    assert agreement["glocal"] > agreement["global"] - 0.01 > agreement["original"] + 0.1
    assert kept["glocal"] > kept["global"] + 0.03 > kept["naive"] + 0.2
    assert kinds["glocal"] > kinds["original"] + 0.05
    assert kept["keep-8-of-10"] >= 0.79
    assert agreement["keep-8-of-10"] > agreement["original"] + 0.08


@pytest.mark.nightly
def test_the_page_tells_of_the_simulated_world(ran):
    """The page has every arm, every task and every drawing, says that the data are simulated, and
    that neighbours of the same colour become neighbours of the same kind.
    """
    page = (ran / "report.html").read_text(encoding="utf-8")
    parts = ["simulated data, not people", *ARMS, *MEASURES]
    assert [part for part in parts if part not in page] == []
    assert page.count("data:image/svg+xml,") == 180
    (words,) = re.findall(r"(?s)Of the ten nearest drawings, .*?\. The", page)
    colours, kinds, colours_after, kinds_after = map(float, re.findall(r"\d+\.\d", words))
    assert colours > colours_after + 2
    assert kinds_after > kinds + 2


@pytest.mark.nightly
def test_without_the_extra_the_page_is_left_out(ran, tmp_path, as_a_user, monkeypatch):
    """Without jinja2, one sentence says what to install for the page, and the rows are
    in the JSON.
    """
    for name in ("suite.toml", "world", "cells", "transforms", "views"):
        (tmp_path / name).symlink_to(ran / name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setitem(sys.modules, "altair", None)
    ended = run("demo --json --out", tmp_path)
    assert re.search(r"(?m)^.*report\.html.*\.\[report\].*$", ended.err)
    assert (ended.json["simulated"], ended.json["report"]) == (True, None)
    assert len(ended.json["rows"]) == len(read_rows(ran / "rows.jsonl"))
