"""The page of a study: its sections and sentences, and the errors of one sentence."""

import json
import re
import sys

import numpy as np
import pytest
from world import answers, folder, run

from glocal.results import Score
from glocal_collect.report import advise
from glocal_collect.settings import Settings
from glocal_collect.study import create

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

N_OBJECTS = 40
N_TRIALS = 120
SECTIONS = """Participants
Learning curve
What people’s answers amplify
Neighbours before and after
Answers that flipped
Provenance"""
SENTENCES = """5 participants took part.
Answering as if at random: p5;
to questions that the fit had not seen, about the same objects, up from
People agree with each other on at least
answers.npz --out transform.npz
and twice as many, from 5 more people like these"""  # p6 never began


@pytest.mark.nightly
def test_the_page_of_a_study_has_its_people_and_what_a_transform_gains(answered, tmp_path):
    """The page has its sections in order, the sentences on people, ceiling and more answers, and
    its pictures.
    """
    page = tmp_path / "page.html"
    ended = run("collect report", answered, "--features", answered.parent, "--out", page, "--json")
    summary = ended.json["study"]
    html = page.read_text(encoding="utf-8")
    assert re.findall("<h2>([^<]*)</h2>", html.split("<script")[0]) == SECTIONS.split("\n")
    for sentence in SENTENCES.split("\n"):
        assert sentence in html
    shown = json.loads(re.search(r'id="shown">(.*?)</script>', html)[1])
    assert shown["pictures"].keys() == {f"image{i}" for i in range(12)}
    assert "0-Learning curve" in shown["charts"]
    marked = {person["person"]: person["is_marked"] for person in summary["participants"]}
    assert marked == dict.fromkeys(["p1", "p2", "p3", "p4"], False) | {"p5": True}
    assert not {"name", "code"} & summary["participants"][0].keys(), "the page may be published"
    before, after = (score["value"] for score in (summary["curve"][0], summary["curve"][-1]))
    assert after > before


@pytest.mark.nightly
def test_excluded_people_are_shown_and_not_fitted(answered, tmp_path):
    """After an exclusion, the fit uses the answers of the others, and the table has all people."""
    page = tmp_path / "page.html"
    assert run("collect people", answered, "--exclude", "p5").code == 0
    code, output, _ = run("collect report", answered, "--features", answered.parent, "--out", page)
    assert run("collect people", answered, "--include", "p5").code == code == 0
    n_similarity = 4 * N_TRIALS - 4 * round(0.05 * N_TRIALS)
    assert f"The fit uses {n_similarity} answers from 4 of them; excluded: p5." in output
    assert "as if at random:" not in output
    html = page.read_text(encoding="utf-8")
    assert re.search(r"<bdi>p5</bdi>.*<bdi>excluded</bdi>", html)


def test_what_a_page_of_a_study_lacks_is_said(images, tmp_path, monkeypatch):
    """Missing features, answers or libraries are refused in a sentence, before any fit, and `glocal
    report` names the command for a study.
    """
    create(tmp_path / "study", str(images), Settings())
    folder(tmp_path, features_npy=np.random.default_rng(0).normal(size=(12, 4)))
    monkeypatch.chdir(tmp_path)
    report = "collect report study --out page.html"
    for line, code, words in (
        (report, 2, "--features of the images"),
        ("report study --out page.html", 1, "glocal collect report"),
        (f"{report} --features features.npy", 1, "0 answers .* needs at least 60"),
    ):
        ended = run(line)
        assert (ended.code, bool(re.search(words, ended.err))) == (code, True), ended.err
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    ended = run(f"{report} --features features.npy")
    assert (ended.code, "[report]" in ended.err) == (1, True)
    assert not (tmp_path / "page.html").exists()


# the interval of the last doubling, the gain that is attainable, and the advice
ADVICE = """
.01 .05 nan | Go on collecting
-.01 .05 nan | It is open
-.01 .05 .4 | Go on collecting
-.01 .05 .04 | Stop collecting
-.004 .004 nan | Stop collecting
.001 .004 .4 | Stop collecting
nan nan nan | It is open"""


@pytest.mark.parametrize("row", ADVICE.strip().split("\n"))
def test_the_formula_and_the_last_doubling_decide_whether_to_go_on(row):
    """If the formula or the last doubling promises less than a point of agreement, the advice is to
    stop; else it is to go on, or open if neither is certain.
    """
    numbers, verdict = row.split(" | ")
    low, high, attainable = (None if np.isnan(x) else x for x in map(float, numbers.split()))
    value = 0.02 if low is None else (low + high) / 2
    gain = Score("odd-one-out", "accuracy_cosine_difference", value, low, high, 1000)
    advice, reason = advise(gain, answers(1000, N_OBJECTS, person=np.arange(1000) % 4), attainable)
    assert advice.startswith(verdict)
    assert ("95 % interval" in reason) == (low is not None)


@pytest.mark.parametrize("n", [200, 1000, 8000])
def test_twice_as_many_answers_add_what_the_formula_of_the_plan_says(n):
    """The advice states the shares that n and 2n answers attain by the formula of the plan, and
    their difference times the attainable gain.
    """
    gain = Score("odd-one-out", "accuracy_cosine_difference", 0.03, 0.02, 0.04, n)
    advice, reason = advise(gain, answers(n, N_OBJECTS, person=np.arange(n) % 4), 0.4)
    shares = [1 / (1 + (25 * N_OBJECTS / t) ** 0.8) for t in (n, 2 * n)]
    assert f"would add about {40 * (shares[1] - shares[0]):.1f} points" in advice
    assert "from 4 more people like these" in reason
    assert re.findall(r"([0-9]+) %(?: of what|\.)", reason) == [f"{100 * x:.0f}" for x in shares]
