"""The page of a study: its sections and sentences, and the errors of one sentence."""

import itertools
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from world import folder, run, table

from glocal.advice import attained_sentence, attained_shares, doubling_sentence, has_gained
from glocal.advice.subject import Agreement
from glocal.scores import Score
from glocal_collect.settings import Settings
from glocal_collect.study import create

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

SECTIONS = """Participants
Learning curve
What people’s answers amplify
Neighbours before and after
Answers that flipped
Methods and results, to copy
Provenance"""
SENTENCES = """5 participants took part. The fit uses 456 answers from 4 of them; excluded: p4.
Answering as if at random: p5;
to questions that the fit had not seen, about the same objects
People agree with each other on at least
answers.npz --out transform.npz
Twice as many fitted answers changed agreement by
5 participants saw 600 trials of three of 12 images and named the odd one out
Number of participants who were excluded: 1; who answered as if at random"""  # p6 never began


@pytest.mark.nightly
def test_the_page_of_a_study_has_its_people_and_what_a_transform_gains(answered, tmp_path):
    """The page has its sections in order, the sentences on people, ceiling and more answers, and
    its pictures; a person who is excluded is shown and not fitted.
    """
    page = tmp_path / "page.html"
    assert run("collect people", answered, "--exclude", "p4").code == 0
    options = ("--features", answered.parent, "--tables", tmp_path, "--out", page, "--json")
    ended = run("collect report", answered, *options)
    assert run("collect people", answered, "--include", "p4").code == 0
    summary = ended.json["study"]
    html = page.read_text("utf-8")
    assert re.findall("<h2>([^<]*)</h2>", html.split("<script")[0]) == SECTIONS.split("\n")
    for sentence in SENTENCES.split("\n"):
        assert sentence in html
    assert re.search("<bdi>p4</bdi>.*?<bdi>excluded; ", html, re.DOTALL)
    shown = json.loads(re.search(r'id="shown">(.*?)</script>', html)[1])
    assert shown["pictures"].keys() == {f"image{i}" for i in range(12)}
    assert "0-Learning curve" in shown["charts"]
    assert not {"name", "code"} & summary["participants"][0].keys(), "the page may be published"
    before, after = (score["value"] for score in (summary["curve"][0], summary["curve"][-1]))
    assert after > before
    table = pd.read_csv(tmp_path / "participants.csv").set_index("person")
    is_random = table["judgement"].str.startswith("as if at random")
    assert table.index[is_random].tolist() == ["p5"]
    standing = summary["standing"]
    assert standing["before"] < standing["after"]
    assert html.count("of what is attainable") <= 1, "one measured sentence, and no forecast"
    assert html.count("Twice as many fitted answers") == 1
    assert standing["has_gained"]
    assert len(standing["attained"]) in (1, 2)


@pytest.mark.nightly
def test_the_page_of_a_study_passes_axe(answered, browser, tmp_path):
    """On a phone and a desktop, light and dark, axe finds nothing, and nothing scrolls sideways."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = tmp_path / "page.html"
    words = ("collect report", answered, "--features", answered.parent, "--out", page)
    assert run(*words).code == 0
    for width, scheme in itertools.product((390, 1280), ("light", "dark")):
        visitor = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        tab = visitor.new_page()
        tab.goto(page.as_uri())
        charts = "[...document.querySelectorAll('[data-chart]')]"
        tab.wait_for_function(f"{charts}.every(chart => chart.dataset.drawn)")
        report = axe.run(tab)
        assert report.violations_count == 0, report.generate_report()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        visitor.close()


LACKS = """
collect report study                         | --features of the images
report study                                 | glocal collect report
collect report study --features features.npy | needs at least 60
"""


def test_what_a_page_of_a_study_lacks_is_said(images, tmp_path, monkeypatch):
    """Missing features, answers or libraries are refused in a sentence, before any fit, and `glocal
    report` names the command for a study.
    """
    create(tmp_path / "study", str(images), Settings())
    folder(tmp_path, features_npy=np.ones((12, 4)))
    monkeypatch.chdir(tmp_path)
    for row in LACKS.strip().split("\n"):
        line, words = row.split("|")
        code, _, messages = run(f"{line} --out page.html")
        assert (code > 0, words.strip() in messages) == (True, True), messages
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert "[report]" in run("collect report study --out page.html").err
    assert not (tmp_path / "page.html").exists()


# the interval of the last doubling, and the advice
ADVICE = """
0.01 0.05 | go on collecting
-0.01 0.05 | it is open
-0.004 0.004 | stop collecting
0.001 0.004 | stop collecting
null null | it is open"""


@table("interval, advice", ADVICE)
def test_the_last_doubling_decides_whether_to_go_on(interval, advice):
    """The advice is to stop if the last doubling certainly added less than a point of agreement, to
    go on if it certainly added some, and open otherwise.
    """
    low, high = map(json.loads, interval.split())
    gain = Score("odd-one-out", "agreement_difference", 0.02, low, high, 1000)
    assert advice in doubling_sentence(gain)
    assert ("95 % interval" in doubling_sentence(gain)) == (low is not None)


# agreement before and after in per cent, the least gain, the ends of the ceiling, and the sentence
ATTAINED = """
48 75 5 78 nan | The gain is at most 90 % of what is attainable.
48 75 5 78 84 | The gain is 75 to 90 % of what is attainable.
48 75 5 70 72 | The gain is 100 % of what is attainable.
48 75 5 70 nan | The gain is at most 100 % of what is attainable.
48 75 5 nan nan |
48 75 -1 78 84 |
48 75 nan 78 84 |"""


@table("numbers, sentence", ATTAINED)
def test_a_study_has_a_share_of_the_gain_that_the_ceiling_allows(numbers, sentence):
    """The share is the gain over the difference of the ceiling and the agreement before; without an
    upper end it is the largest possible one, and without a certain gain or a ceiling there is none.
    """
    before, after, low, *ends = (float(number) / 100 for number in numbers.split())
    low = None if np.isnan(low) else low
    scores = (Score("odd-one-out", "agreement", value) for value in (before, after))
    gain = Score("odd-one-out", "agreement_difference", after - before, low, 0.3, 1000)
    agreement = Agreement(*scores, gain)
    shares = attained_shares(agreement, [end for end in ends if not np.isnan(end)])
    assert attained_sentence(shares) == sentence
    assert has_gained(agreement) == (low is not None and low > 0)
