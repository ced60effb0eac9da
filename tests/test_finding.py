"""The sentences at the head of a report are computed from its record, and agree with it."""

import itertools
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fits import heldout

pytest.importorskip("altair")
from world import run

from glocal import Answers, Features, LinearTransform, axes
from glocal.aligner import Arm, FitData
from glocal.aligner.fitting import fit_and_score
from glocal.data.seen import sketch
from glocal.data.splits import question_folds
from glocal.errors import FileError, MissingDependencyError, ParameterError
from glocal.evaluation.agreement import odd_one_out as odd_one_out_scores
from glocal.evaluation.view import View
from glocal.report import Run, findings, load_runs, report_page, save_axes_figure, transform_run
from glocal.report.finding import Headline
from glocal.report.front import summary
from glocal.report.objects import objects_of
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
    """A finished sweep of one setting and the original features."""
    settings = pd.DataFrame(
        {
            "method": ["original", "glocal"],
            "agreement": [0.45, 0.56],
            "kept": [1.0, kept],
            "chosen": [False, True],
        }
    )
    images = {"n": 120, "settings": {"k": 10}}
    for arm, arm_loss, arm_kept in (("original", 1.0, 1.0), ("chosen", loss, kept)):
        scores = [*scores, Score("odd-one-out", "loss", arm_loss, transform=arm)]
        scores.append(Score("structure", "neighbours_kept", arm_kept, transform=arm, **images))
    fit = {"n_answers": 20_000, "n_people": 31, "n_objects": 500, "n_local": 1000}
    return Run(
        "sweep",
        score_frame(scores),
        settings=settings,
        fits={"chosen": fit},
        featured="chosen",
        heldout=heldout,
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
    """The finding and the details of a run of one network."""
    (finding,) = findings(run)
    return finding.sentence, finding.details


def test_a_gain_says_from_where_to_where_of_what_and_what_to_do():
    """A gain is reported with its answers, objects, people, ceiling, interval and neighbours, and
    with the command to use the transform.
    """
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
    """If the interval of the change contains 0, no rise is reported, and the advice is to collect
    more answers.
    """
    sentence, details = of(sweep_run(odd_one_out(0.45, 0.455, -0.01, 0.02)))
    assert "cannot be told from" in sentence
    assert "up from" not in sentence
    assert "collect more answers" in details


def test_a_loss_is_called_one():
    """If agreement certainly falls, the finding says so, and the advice is not to use the
    transform.
    """
    sentence, details = of(sweep_run(odd_one_out(0.45, 0.40, -0.07, -0.03)))
    assert "down from 45.0 %" in sentence
    assert "Do not use it." in details


def test_a_collapse_is_the_finding():
    """If the transform maps all objects to one point, the finding is the collapse, whatever the
    scores.
    """
    views = {"clip": {"original": view("original", collapsed=False)}}
    views["clip"]["chosen"] = view("chosen", collapsed=True)
    sentence, details = of(sweep_run(odd_one_out(0.45, 0.333, -0.2, -0.1), views=views))
    assert "one point" in sentence
    assert "lower --lmbda" in details


def test_an_overfit_is_named_with_its_remedy():
    """If the held-out loss is above that of the features alone, the details call the transform
    overfitted and name the remedy.
    """
    sentence, details = of(sweep_run(odd_one_out(0.45, 0.56, 0.08, 0.14), loss=1.4))
    assert "up from" in sentence
    assert "overfitted" in details
    assert "raise --lmbda" in details


def test_a_task_that_got_worse_is_named_with_its_loss():
    """A task that got worse is named with its loss and excepted from the advice; a task that did
    not is counted.
    """
    rows = odd_one_out(0.45, 0.56, 0.08, 0.14, arm="glocal", split="fold 0 of 3")
    worse = of(suite_run([*rows, *task(0.6, 0.5, 0.001)]))
    assert "It got worse on cifar by 0.100." in worse[1]
    assert "Except for cifar" in worse[1]
    same = of(suite_run([*rows, *task(0.6, 0.59, 0.6)]))
    assert "Nothing else is known to have got worse" in same[1]
    assert "1 task)" in same[1]


def test_a_loss_that_may_be_chance_is_not_denied():
    """A task that is lower by .08, but not for certain, is not said to have lost less than .01."""
    rows = [*odd_one_out(0.45, 0.56, 0.08, 0.14, arm="glocal"), *task(0.60, 0.52, 0.2)]
    _, details = of(suite_run(rows))
    assert "Nothing else is known to have got worse by more than 0.01 (1 task)." in details


def test_simulated_people_are_called_so():
    """The details of simulated data begin with a sentence that says so, and no others have it."""
    run = sweep_run(odd_one_out(0.45, 0.56, 0.08, 0.14), is_simulated=True)
    assert of(run)[1].startswith("These are simulated data")
    assert "simulated" not in of(sweep_run(odd_one_out(0.45, 0.56, 0.08, 0.14)))[1]


def test_questions_that_were_held_out_are_about_the_same_objects():
    """If questions were held out, the finding says that they are about the same objects, and the
    details that the answers are few.
    """
    rows = odd_one_out(0.45, 0.56, 0.02, 0.2, n=90)
    sentence, details = of(sweep_run(rows, heldout="questions"))
    assert "about the same objects" in sentence
    assert "90 held-out answers are too few" in details


def test_an_unfinished_sweep_has_no_finding_yet():
    """The finding of an unfinished sweep counts its points, and the details name the command that
    continues it.
    """
    sentence, details = of(Run("sweep", score_frame([]), n_unfinished=2))
    assert "2 of its points" in sentence
    assert "--resume" in details


def test_scores_without_agreement_say_which_task_is_better():
    """Without agreement, the finding compares tasks, or counts them if nothing was compared."""
    assert "worse on cifar" in of(suite_run(task(0.6, 0.5, 0.001)))[0]
    assert "better on cifar" in of(suite_run(task(0.5, 0.6, 0.001)))[0]
    alone = of(suite_run([Score("cifar", "accuracy_ncm", 0.5)]))[0]
    assert "nothing was compared" in alone
    assert "agree" not in alone


def test_of_several_arms_the_one_that_keeps_neighbours_is_shown():
    """The featured arm is the one with the best agreement among those that keep .9 of the
    neighbours, or the one that keeps most if none does, although `naive` agrees more.
    """
    assert _shown((("naive", 0.6, 0.3), ("glocal", 0.56, 0.92), ("weak", 0.5, 0.99))) == "glocal"
    assert _shown((("naive", 0.6, 0.3), ("glocal", 0.56, 0.82), ("weak", 0.5, 0.88))) == "weak"


def _shown(arms):
    """The featured arm among arms with these agreements and neighbours kept."""
    rows = []
    for arm, agreement, kept in arms:
        rows += odd_one_out(0.45, agreement, arm=arm)
        rows.append(Score("near", "neighbours_kept", kept, transform=arm))
    rows.append(Score("near", "neighbours_kept", 1.0))
    (finding,) = findings(suite_run(rows))
    return finding.arm


# one transform


def single(rows, *, kept=None, fit=None, **fields):
    """The run of a transform, with neighbours kept, a record of its fit, and other fields."""
    if kept is not None:
        rows = [*rows, Score("near", "neighbours_kept", kept, n=50, transform="t")]
    return Run("t", score_frame(rows), fits={"t": fit or {}}, featured="t", **fields)


GAIN = odd_one_out(0.45, 0.56, 0.08, 0.14, arm="t", split="all")
LOSS = odd_one_out(0.5, 0.4, -0.2, -0.1, arm="t", n=90)
OVERFIT = [
    Score("odd-one-out", "loss", loss, transform=arm) for arm, loss in (("original", 1), ("t", 2))
]
WORDS = {
    "objects": "answers about objects that the fit had not seen,",
    "questions": "answers to questions that the fit had not seen, about the same objects,",
    "fitted": "answers that the transform was fitted to,",
    "other": "answers that the fit had not seen,",
    "": "answers,",
}


@pytest.mark.parametrize(("heldout", "words"), WORDS.items())
def test_a_finding_says_which_answers_it_is_about(heldout, words):
    """The sentence says which answers score the transform, as far as that is known."""
    sentence, _ = of(single(GAIN, heldout=heldout))
    assert "56.0 % of 900 " + words in sentence


WARNED = ("is overfitted", "lower agreement with new answers", "too few")
ADVISED = (
    *("raise --lmbda", "pass --answers", "collect more answers", "Do not use it.", "--holdout 3"),
    *("again with --keep 0.9", "--answers EXPORT", "Except for cifar", "glocal apply"),
)


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ([], {}, []),
        ([], {"kept": 0.9}, ["pass --answers"]),
        (GAIN, {}, ["glocal apply"]),
        (GAIN, {"kept": 0.8}, ["glocal apply"]),
        (GAIN, {"kept": 0.79}, ["again with --keep 0.9"]),
        (GAIN, {"heldout": "fitted"}, ["lower agreement with new answers", "--holdout 3"]),
        (LOSS, {}, ["too few", "Do not use it."]),
        (LOSS, {"heldout": "fitted"}, ["lower agreement with new answers", "Do not use it."]),
        (odd_one_out(0.45, 0.46, -0.01, 0.02, arm="t"), {}, ["collect more answers"]),
        (GAIN, {"command": "glocal fit --answers EXPORT"}, ["--answers EXPORT"]),
        ([*GAIN, *task(0.6, 0.5, 0.001, arm="t")], {}, ["Except for cifar", "glocal apply"]),
        ([*GAIN, *OVERFIT], {}, ["is overfitted", "raise --lmbda"]),
    ],
)
def test_each_warning_and_advice_has_its_condition(rows, more, said):
    """The details have these warnings and this advice, and no others."""
    _, details = of(single(rows, **more))
    assert [words for words in WARNED + ADVISED if words in details] == said


def test_the_neighbours_that_changed_most_are_shown_first():
    """The object that keeps fewest neighbours comes first, then the one whose lost and gained
    neighbours people judged more often; half of the answers are not most of them.
    """
    before = [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]
    after = [[1, 2], [0, 3], [3, 0], [2, 4], [0, 1]]
    support = np.zeros((5, 2, 2), np.float32)
    support[1, 0] = 2, 2  # of a neighbour that stays
    support[2, 0] = 1, 2
    common = {"categories": None, "positions": np.zeros((5, 2), np.float32)}
    names = tuple("abcde")
    views = {
        "original": View(names=names, neighbours=np.array(before), support=0 * support, **common),
        "t": View(names=names, neighbours=np.array(after), support=support, **common),
    }
    run = replace(single([]), views={"": views})
    (shown,) = objects_of(run, [Headline("", "t", "", "")], {})
    neighbours = shown["neighbours"]
    assert neighbours["changed"][:3] == [3, 2, 1]
    assert neighbours["unchanged"] == pytest.approx(0.4)
    assert neighbours["lists"][1][1:3] == [[[0, 1, 1], [3, 0, 0]], [[3, 0, 2], [0, 1, 0]]]


@pytest.fixture
def small():
    """Thirty named objects, a transform of them, and answers that agree with the transform."""
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
    """The finding says whether the transform was fitted to the answers, or not, or claims neither,
    according to the record.
    """
    features, answers, transform = small
    asked = set(map(frozenset, answers.objects.tolist()))
    others = [q for q in itertools.combinations(range(30), 3) if frozenset(q) not in asked]
    records = {
        "fitted to": {"fitted": sketch(features, answers)},
        "had not seen": {"fitted": sketch(features, Answers.from_array(others[::9]))},
        "answers,": {},
    }
    for words, meta in records.items():
        run = transform_run(
            "t", LinearTransform(transform.weights, None, 0.0, 1.0, meta), features, answers
        )
        assert words in findings(run)[0].sentence
        page = report_page([run])
        assert ("The transform was fitted to these answers." in page) == (words == "fitted to")


@pytest.mark.parametrize(
    ("scores", "parts"),
    [
        ({}, ["300 answers about objects", "93 % of the 7 nearest", "among 8 images"]),
        ({"of": "questions"}, ["300 answers to questions"]),
        ({"kept_raw": 0.75}, ["in the centred features, 75 % in the raw ones"]),
        ({"kept": None, "kept_raw": None}, ["100 % of the 10 nearest"]),
        ({"gain_low": None, "gain_high": None}, ["guessing gives 33.3 %), and"]),
    ],
)
def test_a_transform_with_held_out_scores_in_its_record_is_judged_by_them(small, scores, parts):
    """The held-out scores of a record take precedence over the answers and the images at hand, and
    what the record lacks is measured at hand or left out.
    """
    features, answers, _ = small
    meta = {"fit": {"n_answers": 400, "heldout": heldout(n=300, **scores)}}
    run = transform_run("t", identity(meta), features, answers)
    sentence = findings(run)[0].sentence
    for part in ("52.0 %", "up from 41.0 %", *parts):
        assert part in sentence
    table = summary(run).set_index("method")["agreement"]
    assert table.to_dict() == {"original": "0.410", "t": "0.520 [0.500, 0.540]"}
    assert report_page([run])


def identity(meta):
    """The identity with a record."""
    return LinearTransform(np.eye(5, dtype=np.float32), None, 0.0, 1.0, meta)


def test_guessing_gives_what_it_gives_for_the_kind_of_the_answers(small):
    """Half for an anchor: by the record of a fit, or of the choice of a sweep, and by scores."""
    features, answers, _ = small
    anchor = Answers.from_array(answers.objects, kind="anchor")
    fitted = fit_and_score(FitData(features, anchor), Arm("global", lmbda=1.0), None).transform
    score = odd_one_out_scores(fitted(np.asarray(features.matrix)), anchor, interval=False)
    rows = [replace(row, transform=arm) for arm in ("original", "t") for row in score.scores]
    sweep = sweep_run(odd_one_out(0.5, 0.6))
    runs = [
        transform_run("fitted", fitted, features),
        Run("scores", score_frame(rows)),
        replace(sweep, fits={"chosen": fitted.meta["fit"]}),
    ]
    assert ["guessing gives 50.0 %" in findings(run)[0].sentence for run in runs] == [True] * 3
    assert "guessing gives 33.3 %" in findings(sweep)[0].sentence


def test_an_agreement_that_is_not_defined_is_left_out(tmp_path):
    """Null in a file of scores is no number of a sentence."""
    for value in (0.5, float("nan")):
        write_rows(tmp_path / "scores.jsonl", [row.row() for row in odd_one_out(0.4, value)])
        (run,) = load_runs([tmp_path / "scores.jsonl"])
        sentence = findings(run)[0].sentence
        assert "nan" not in sentence
        assert ("agrees with people" in sentence) == (value == 0.5)


def test_a_transform_without_answers_has_axes_and_neighbours_and_no_vega(small, tmp_path):
    """The page of a transform without answers has axes and neighbours, but neither charts, nor the
    library that draws them, nor a claim of agreement.
    """
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
    """Without vl-convert, axes are drawn as SVG, and a PDF is refused with the name of the
    library.
    """
    features, _, transform = small
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    save_axes_figure(axes(transform, features), "Axes", tmp_path / "axes.svg")
    assert "thing" in (tmp_path / "axes.svg").read_text("utf-8")
    with pytest.raises(MissingDependencyError, match="vl-convert"):
        save_axes_figure(axes(transform, features), "Axes", tmp_path / "axes.pdf")


def test_files_of_scores_and_folders_of_transforms_are_read(small, tmp_path):
    """A file of scores is a section, and a pushed folder is a transform; features without a
    transform, a transform without features, and an empty folder are refused.
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
    with pytest.raises(FileError, match="run folder"):
        load_runs([tmp_path / "none"])


def test_the_command_prints_the_finding_and_draws_the_axes(small, tmp_path):
    """`--json` has the findings and the axes, and `--figures` draws the axes as SVG, PDF and PNG;
    answers without features are refused.
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
    assert {"1-axes-t.svg", "1-axes-t.pdf", "1-axes-t.png"} <= {
        f.name for f in (tmp_path / "f").iterdir()
    }
    assert (tmp_path / "f" / "1-axes-t.pdf").read_bytes().startswith(b"%PDF")
    assert "thing" in (tmp_path / "f" / "1-axes-t.svg").read_text("utf-8")
    code, _, err = run("report", tmp_path / "t.npz", *options)
    assert code == 2
    assert "--features" in err


def test_answers_are_scored_by_the_fit_that_has_not_seen_them(small):
    """With folds, each answer is scored by the fit without its fold, not by the whole fit."""
    features, answers, _ = small
    rng = np.random.default_rng(1)

    def transform():
        return LinearTransform(rng.normal(size=(5, 5)).astype(np.float32), None, 0.0, 1.0)

    whole = replace(transform(), meta={"fitted": sketch(features, answers)})
    folds = [(transform(), answers.select(rows)) for rows in question_folds(answers)]
    run = transform_run("fit", whole, features, answers, folds=folds)
    rows = run.rows
    assert run.heldout == "questions"
    X = np.asarray(features.matrix)
    right = sum(len(part) * odd_one_out_scores(fit.apply(X), part).accuracy for fit, part in folds)
    is_agreement = (rows["transform"] == "fit") & (rows["metric"] == "accuracy_cosine")
    (agreement,) = rows.loc[is_agreement, "value"]
    assert agreement == pytest.approx(right / len(answers))
    assert agreement != pytest.approx(odd_one_out_scores(whole.apply(X), answers).accuracy)
