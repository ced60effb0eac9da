"""The page of a study: its sections and sentences, and the errors of one sentence."""

import json
import re
import sys

import numpy as np
import pytest
from world import answers, folder, run

from glocal.scores import Score
from glocal_collect.report import advise
from glocal_collect.settings import Settings
from glocal_collect.study import create

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

SECTIONS = """Participants
Learning curve
What people’s answers amplify
Neighbours before and after
Answers that flipped
Provenance"""
SENTENCES = """5 participants took part. The fit uses 456 answers from 4 of them; excluded: p4.
Answering as if at random: p5;
to questions that the fit had not seen, about the same objects
People agree with each other on at least
answers.npz --out transform.npz
and twice as many, from 4 more people like these"""  # p6 never began


@pytest.mark.nightly
def test_the_page_of_a_study_has_its_people_and_what_a_transform_gains(answered, tmp_path):
    """The page has its sections in order, the sentences on people, ceiling and more answers, and
    its pictures; a person who is excluded is shown and not fitted.
    """
    page = tmp_path / "page.html"
    assert run("collect people", answered, "--exclude", "p4").code == 0
    ended = run("collect report", answered, "--features", answered.parent, "--out", page, "--json")
    assert run("collect people", answered, "--include", "p4").code == 0
    summary = ended.json["study"]
    html = page.read_text(encoding="utf-8")
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


# the interval of the last doubling, the gain that is attainable, and the advice
ADVICE = """
.01 .05 nan | Go on collecting
-.01 .05 nan | It is open
-.01 .05 .4 | Go on collecting: twice as many answers about these images would add about 5.4 points
-.01 .05 .04 | Stop collecting
-.004 .004 nan | Stop collecting
.001 .004 .4 | Stop collecting
nan nan nan | It is open"""


@pytest.mark.parametrize("row", ADVICE.strip().split("\n"))
def test_the_formula_and_the_last_doubling_decide_whether_to_go_on(row):
    """If the formula or the last doubling promises less than a point of agreement, the advice is to
    stop; else it is to go on, or open if neither is certain.

    By the formula of the plan, 1,000 and 2,000 answers about 40 images attain 1 / (1 + (25 * 40 /
    1000)^0.8) = 50 % and 63.5 %, and the difference of these shares is gained.
    """
    numbers, verdict = row.split(" | ")
    low, high, attainable = (None if np.isnan(x) else x for x in map(float, numbers.split()))
    gain = Score("odd-one-out", "accuracy_cosine_difference", 0.02, low, high, 1000)
    advice, reason = advise(gain, answers(1000, 40, person=np.arange(1000) % 4), attainable)
    assert advice.startswith(verdict)
    assert "give about 50 % of what" in reason
    assert "from 4 more people like these, 64 %." in reason
    assert ("95 % interval" in reason) == (low is not None)
