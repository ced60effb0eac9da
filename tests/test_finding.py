"""The sentences at the head of a report are computed from its record, and are true of it."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("altair")

from glocal import Answers, Features, LinearTransform, axes
from glocal.data.seen import sketch
from glocal.errors import FileError, MissingDependencyError, ParameterError
from glocal.evaluation.view import View
from glocal.report import Run, findings, load_runs, report_page, save_axes_figure, transform_run
from glocal.results import Score, write_rows
from glocal.suite.table import score_frame


def odd_one_out(before, after, low=None, high=None, *, arm="chosen", n=900, split="all folds"):
    """The rows of agreement before and after, and of the gain."""
    common = {"n": n, "split": split}
    rows = [
        Score("odd-one-out", "accuracy_cosine", before, **common),
        Score("odd-one-out", "accuracy_cosine", after, transform=arm, **common),
    ]
    if low is not None:
        settings = {"baseline": "original"}
        metric = "accuracy_cosine_difference"
        gain = Score(
            "odd-one-out", metric, after - before, low, high, n, transform=arm, settings=settings
        )
        rows.append(gain)
    return rows


def task(before, after, p, *, arm="glocal"):
    """The rows of a few-shot task, and the difference between two arms."""
    rows = [
        Score("cifar", "accuracy_ncm", before),
        Score("cifar", "accuracy_ncm", after, transform=arm),
    ]
    settings = {"baseline": "original"}
    difference = Score(
        "cifar", "accuracy_ncm_difference", after - before, transform=arm, settings=settings
    )
    return [*rows, Score(**{**vars(difference), "p": p, "p_corrected": p})]


def sweep_run(scores, *, kept=0.91, loss=0.9, heldout="objects", **more):
    """A finished sweep of one setting beside the original features."""
    means = pd.DataFrame(
        {
            "method": ["original", "glocal"],
            "accuracy_cosine": [0.45, 0.56],
            "accuracy_cosine_se": [0.01, 0.01],
            "neighbours_kept": [1.0, kept],
            "neighbours_kept_se": [0.0, 0.01],
            "loss": [1.0, loss],
            "front": [False, True],
            "chosen": [False, True],
            "alpha": [np.nan, 0.1],
        }
    )
    points = means.assign(fold=0, status="converged", n_images=120)
    fit = {"n_answers": 20_000, "n_people": 31, "n_objects": 500, "n_local": 1000}
    return Run(
        "sweep",
        score_frame(scores),
        means=means,
        points=points,
        choice={"heldout": heldout, "rule": "loss"},
        fits={"the refitted choice": fit},
        **more,
    )


def suite_run(scores, **more):
    return Run("suite", score_frame(scores), **more)


def view(arm, *, collapsed):
    return View(
        names=("a", "b"),
        categories=None,
        positions=np.zeros((2, 2), np.float32),
        neighbours=np.array([[1], [0]]),
        meta={"arm": arm, "collapsed": collapsed},
    )


def of(run):
    """The two sentences of a run of one network."""
    (finding,) = findings(run)
    return finding.sentence, finding.details


def test_a_gain_says_from_where_to_where_of_what_and_what_to_do():
    """Answers, objects, people, ceiling, interval, neighbours, and the command to use it."""
    people = Score("odd-one-out", "ceiling_majority", 0.672, transform="people")
    rows = [*odd_one_out(0.45, 0.56, 0.08, 0.14), people]
    sentence, details = of(sweep_run(rows, network="clip / visual"))
    for part in ("clip / visual", "56.0 %", "45.0 %", "up from", "900", "not seen", "67.2 %"):
        assert part in sentence
    assert "+8.0 to +14.0 points" in sentence
    assert "91 % of the 10 nearest neighbours of each image (among 120 images)" in sentence
    for part in ("20,000 answers", "31 people", "500 objects", "1,000 images", "glocal apply"):
        assert part in details
    assert "not measured" in details


def test_no_gain_is_called_none():
    """An interval that contains 0 is no rise, and the advice is to ask more people."""
    sentence, details = of(sweep_run(odd_one_out(0.45, 0.455, -0.01, 0.02)))
    assert "cannot be told from" in sentence
    assert "up from" not in sentence
    assert "collect more answers" in details


def test_a_loss_is_called_one():
    """Agreement that certainly falls is not recommended."""
    sentence, details = of(sweep_run(odd_one_out(0.45, 0.40, -0.07, -0.03)))
    assert "down from 45.0 %" in sentence
    assert "Do not use it." in details


def test_a_collapse_is_the_finding():
    """Whatever its scores, a map to one point is said first."""
    views = {"clip": {"original": view("original", collapsed=False)}}
    views["clip"]["chosen"] = view("chosen", collapsed=True)
    sentence, details = of(sweep_run(odd_one_out(0.45, 0.333, -0.2, -0.1), views=views))
    assert "one point" in sentence
    assert "lower --lmbda" in details


def test_an_overfit_is_named_with_its_remedy():
    """A held-out loss above that of the features alone forbids the use."""
    sentence, details = of(sweep_run(odd_one_out(0.45, 0.56, 0.08, 0.14), loss=1.4))
    assert "up from" in sentence
    assert "overfitted" in details
    assert "raise --lmbda" in details


def test_a_task_that_got_worse_is_named_with_its_loss():
    """It is excepted from the advice; another that did not is counted."""
    rows = odd_one_out(0.45, 0.56, 0.08, 0.14, arm="glocal", split="fold 0 of 3")
    worse = of(suite_run([*rows, *task(0.6, 0.5, 0.001)]))
    assert "It got worse on cifar by 0.100." in worse[1]
    assert "Except for cifar" in worse[1]
    same = of(suite_run([*rows, *task(0.6, 0.59, 0.6)]))
    assert "Nothing else got worse" in same[1]
    assert "1 task)" in same[1]


def test_simulated_people_are_called_so():
    """The first thing that is said about the data."""
    run = sweep_run(odd_one_out(0.45, 0.56, 0.08, 0.14), is_simulated=True)
    assert of(run)[1].startswith("These are simulated data")
    assert "simulated" not in of(sweep_run(odd_one_out(0.45, 0.56, 0.08, 0.14)))[1]


def test_questions_that_were_held_out_are_about_the_same_objects():
    """A small study does not claim new objects, and says that its answers are few."""
    rows = odd_one_out(0.45, 0.56, 0.02, 0.2, n=90)
    sentence, details = of(sweep_run(rows, heldout="questions"))
    assert "about the same objects" in sentence
    assert "90 held-out answers are too few" in details


def test_an_unfinished_sweep_has_no_finding_yet():
    """Nothing was chosen, and the command that continues is named."""
    run = sweep_run([])
    unfinished = Run("sweep", run.rows, points=run.points)
    sentence, details = of(unfinished)
    assert "2 of its points" in sentence
    assert "--resume" in details


def test_scores_without_agreement_say_which_task_is_better():
    """No agreement is made up: tasks are compared, or counted where nothing is compared."""
    assert "worse on cifar" in of(suite_run(task(0.6, 0.5, 0.001)))[0]
    assert "better on cifar" in of(suite_run(task(0.5, 0.6, 0.001)))[0]
    alone = of(suite_run([Score("cifar", "accuracy_ncm", 0.5)]))[0]
    assert "nothing was compared" in alone
    assert "agree" not in alone


def test_of_several_arms_the_one_that_keeps_neighbours_is_shown():
    """Naive agrees more, but loses neighbours; the page is about the best that keeps .9, or, where
    none does, about the one that keeps most.
    """
    assert _shown((("naive", 0.6, 0.3), ("glocal", 0.56, 0.92), ("weak", 0.5, 0.99))) == "glocal"
    assert _shown((("naive", 0.6, 0.3), ("glocal", 0.56, 0.82), ("weak", 0.5, 0.88))) == "weak"


def _shown(arms):
    """The arm that a page of these arms, with agreement and neighbours kept, is about."""
    rows = []
    for arm, agreement, kept in arms:
        rows += odd_one_out(0.45, agreement, arm=arm)
        rows.append(Score("near", "neighbours_kept", kept, transform=arm))
    rows.append(Score("near", "neighbours_kept", 1.0))
    (finding,) = findings(suite_run(rows))
    return finding.arm


# one transform


@pytest.fixture
def small():
    """Thirty named objects, a transform of them, and the answers that it agrees with."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 5))
    W = np.diag([4.0, 1, 1, 1, 1]).astype(np.float32)
    objects = np.array([rng.permutation(30)[:3] for _ in range(400)])
    position = X[objects, 0]
    odd = np.abs(position - np.median(position, axis=1, keepdims=True)).argmax(axis=1)
    columns = [[(place + 1) % 3, (place + 2) % 3, place] for place in odd]
    answers = Answers.from_array(np.take_along_axis(objects, np.array(columns), axis=1))
    features = Features(X, tuple(f"thing {i}" for i in range(30)))
    return features, answers, LinearTransform(W, None, 0.0, 1.0)


def test_a_transform_says_whether_it_was_fitted_to_the_answers(small):
    """Its record tells: fitted, not fitted, or unknown."""
    features, answers, transform = small
    records = {
        "fitted to": {"fitted": sketch(features, answers)},
        "had not seen": {"fitted": sketch(features, Answers.from_array([[0, 1, 2]]))},
        "answers,": {},
    }
    for words, meta in records.items():
        run = transform_run(
            "t", LinearTransform(transform.weights, None, 0.0, 1.0, meta), features, answers
        )
        assert words in findings(run)[0].sentence
        page = report_page([run])
        assert ("The transform was fitted to these answers." in page) == (words == "fitted to")


def test_a_transform_with_scores_on_held_out_answers_is_judged_by_them(small):
    """The hold-out in the record of a fit comes before agreement with the answers at hand."""
    features, answers, transform = small
    heldout = {
        "original_accuracy_cosine": 0.41,
        "accuracy_cosine": 0.52,
        "gain_low": 0.05,
        "gain_high": 0.15,
        "n": 300,
        "neighbours_kept": 0.93,
        "k": 7,
        "n_images": 8,
        "loss": 1.0,
        "original_loss": 1.05,
    }
    meta = {"fit": {"n_answers": 400, "holdout": {"of": "objects", "heldout": heldout}}}
    run = transform_run(
        "t", LinearTransform(transform.weights, None, 0.0, 1.0, meta), features, answers
    )
    sentence = findings(run)[0].sentence
    for part in ("52.0 %", "41.0 %", "300 answers", "93 % of the 7 nearest", "among 8 images"):
        assert part in sentence


def test_an_agreement_that_is_not_defined_is_left_out(tmp_path):
    """Null in a file of scores is no number of a sentence."""
    for value in (0.5, float("nan")):
        write_rows(tmp_path / "scores.jsonl", [row.row() for row in odd_one_out(0.4, value)])
        (run,) = load_runs([tmp_path / "scores.jsonl"])
        sentence = findings(run)[0].sentence
        assert "nan" not in sentence
        assert ("agrees with people" in sentence) == (value == 0.5)


@pytest.mark.parametrize(
    "fit",
    [
        {"holdout": {"heldout": {"original_accuracy_cosine": 0.41}}},
        {"holdout": {"heldout": {"original_accuracy_cosine": 0.41, "accuracy_cosine": None}}},
        {"holdout": {"heldout": {"loss": None, "original_loss": 1.0}}},
        {"keep": {"keep": 0.9, "original": 0.41, "expected": {"agreement": 0.52}}},
        {"keep": {"keep": 0.9, "original": 0.41, "expected": {"agreement": None}}},
    ],
)
def test_a_record_that_lacks_scores_has_a_page(small, fit):
    """Scores that the hold-out or `keep` of a record lacks are left out of the finding."""
    features, answers, transform = small
    run = transform_run(
        "t", LinearTransform(transform.weights, None, 0.0, 1.0, {"fit": fit}), features, answers
    )
    page = report_page([run])
    assert "nan" not in findings(run)[0].sentence
    assert findings(run)[0].sentence in page.replace("&#39;", "'")


def test_a_transform_without_answers_has_axes_and_neighbours_and_no_vega(small, tmp_path):
    """Its page has neither charts nor the library that draws them, nor a claim of agreement."""
    features, _, transform = small
    transform.save(tmp_path / "t.npz")
    (run,) = load_runs([tmp_path / "t.npz"], features)
    page = report_page([run])
    assert re.fullmatch(
        r"The transform of the network keeps \d+ % of the 10 nearest .*\(among 30 images\)\.",
        findings(run)[0].sentence,
    )
    assert "agrees with people" not in page
    assert "×" in page
    assert "Neighbours before and after" in page
    assert "vegaEmbed=" not in page
    assert len(page) < 200_000
    assert "unsafe-eval" not in page
    shown = re.search(r'id="shown">(.*?)</script>', page, re.DOTALL)[1]
    assert set(json.loads(shown)["objects"]) == {"0-0"}


def test_axes_are_drawn_as_svg_without_the_library_that_draws_charts(small, tmp_path, monkeypatch):
    """Only PNG and PDF need it: they are refused with its name."""
    features, _, transform = small
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    save_axes_figure(axes(transform, features), "Axes", tmp_path / "axes.svg")
    assert "thing" in (tmp_path / "axes.svg").read_text("utf-8")
    with pytest.raises(MissingDependencyError, match="vl-convert"):
        save_axes_figure(axes(transform, features), "Axes", tmp_path / "axes.pdf")


def test_files_of_scores_and_folders_of_transforms_are_read(small, tmp_path):
    """A file of evaluate --out is a section; a pushed folder is its transform; features without a
    transform, and a transform without features, are refused.
    """
    features, _, transform = small
    transform.save_pretrained(tmp_path / "pushed")
    write_rows(tmp_path / "scores.jsonl", [row.row() for row in task(0.5, 0.6, 0.001)])
    runs = load_runs([tmp_path / "scores.jsonl", tmp_path / "pushed"], features)
    assert [run.name for run in runs] == ["scores", "pushed"]
    assert "0.600" in report_page(runs)
    with pytest.raises(ParameterError, match="features"):
        load_runs([tmp_path / "pushed"])
    with pytest.raises(ParameterError, match="transform"):
        load_runs([tmp_path / "scores.jsonl"], features)
    (tmp_path / "none").mkdir()
    with pytest.raises(FileError, match="no run"):
        load_runs([tmp_path / "none"])


def test_the_command_prints_the_finding_and_draws_the_axes(small, tmp_path, run):
    """`--json` has findings and axes; `--figures` has these as SVG, PDF and PNG; answers without
    features are refused before any work.
    """
    features, answers, transform = small
    (tmp_path / "x").mkdir()
    np.save(tmp_path / "x" / "features.npy", features.matrix)
    (tmp_path / "x" / "file_names.txt").write_text("\n".join(features.names) + "\n")
    answers.save(tmp_path / "a.npz")
    transform.save(tmp_path / "t.npz")
    options = ("--answers", tmp_path / "a.npz", "--out", tmp_path / "r.html")
    objects = ("--features", tmp_path / "x")
    code, output, err = run(
        "report", tmp_path / "t.npz", *objects, *options, "--figures", tmp_path / "f", "--json"
    )
    assert code == 0, err
    record = json.loads(output)
    assert record["findings"][0]["arm"] == "t"
    (axes,) = record["axes"]
    assert axes["chance"] is None
    assert axes["axes"][0]["factor"] > 1
    assert axes["axes"][0]["low"][0].startswith("thing")
    assert {"axes-t.svg", "axes-t.pdf", "axes-t.png"} <= {
        f.name for f in (tmp_path / "f").iterdir()
    }
    assert (tmp_path / "f" / "axes-t.pdf").read_bytes().startswith(b"%PDF")
    assert "thing" in (tmp_path / "f" / "axes-t.svg").read_text("utf-8")
    code, _, err = run("report", tmp_path / "t.npz", *options)
    assert code == 2
    assert "--features" in err
