"""The sentences at the head of a report are computed from its scores, and agree with them."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from fits import fit_record, heldout, keep_record, record_of

pytest.importorskip("altair")

from world import answers as random_answers
from world import chosen, matrix, normal, table

from glocal import Answers, Features, LinearTransform, axes, odd_one_out
from glocal.advice import Choice, recorded_scores
from glocal.advice.sentences import scored_on
from glocal.data.seen import sketch
from glocal.data.splits import question_folds
from glocal.errors import MissingDependencyError
from glocal.evaluation.axes import FoldTransform
from glocal.evaluation.view import View
from glocal.files import array_sha256
from glocal.report import Run, axes_svg, headlines, report_page, save_figure, transform_run
from glocal.report.headline import Headline, featured_arm, methods_paragraph
from glocal.report.objects import objects_of
from glocal.scores import HELD_OUT_OBJECTS, Score, Scores

X = normal(30, 5)
OBJECTS = Features(X, tuple(f"thing {i}" for i in range(30)))
ANSWERS = chosen(random_answers(400, 30), 9 * X[:, :1])
"""Answers of people who look at the first column alone."""
GAIN = "agreement .45 .56 .08 .14"


def transform(first, **meta):
    """A transform that multiplies the first column, with a record."""
    W = np.diag([first, 1, 1, 1, 1]).astype(np.float32)
    return LinearTransform(W, None, 0.0, 1.0, record_of(**meta))


RECORD = fit_record(heldout=heldout(n=300))
SEEN = vars(sketch(OBJECTS, ANSWERS))


METRICS = {"agreement": "agreement", "kept": "neighbours_kept", "loss": "loss", "fpr95": "fpr95"}


def scores(text):
    """Score rows of a transform `t` from lines such as ``agreement .45 .56 .08 .14``: before,
    after, and the interval of the gain; ``kept 1 .9``; ``task .6 .5 .001``, whose last is p.
    """
    rows = []
    text = text.replace("GAIN", GAIN).replace("NONE", "agreement .45 .455 -.01 .02")
    for line in text.split("; "):
        name, *words = line.split()
        before, after, *rest = map(float, words)
        metric = METRICS.get(name, "map")
        settings = {"k": 10} if name == "kept" else {}
        row = Score(name, metric, before, n=900, settings=settings, split=HELD_OUT_OBJECTS)
        moved = replace(row, value=after, transform="t")
        rows += [row, moved]
        if rest:
            low, high, p = [*rest, None] if rest[1:] else [None, None, *rest]
            gain = {"metric": f"{metric}_difference", "value": after - before, "p_corrected": p}
            rows.append(replace(moved, **gain, low=low, high=high))
    return Scores(rows)


def run_of(rows, fit=None, **options):
    """A run of one transform `t`, with the record of its fit."""
    if fit and "keep" in fit:
        fit = fit | {"keep": keep_record(keep=fit["keep"] or None)}
    whole = record_of(fit=fit_record(**fit)).fit if fit else None
    fits = {("", "t"): whole} if whole else {}
    return Run("t", rows, fits=fits, featured="t", **options)


# scores, the choice, numbers and names in the words about it, and fields of the record of the fit
CASES = """
GAIN | use | 56.0 %; 900; 45.0 %; +8.0; +14.0
GAIN | use | 50.0 % | {"chance": 0.5}
GAIN; kept 1 .91 | use | 91.0 %; 10
GAIN; kept 1 .8 | use | 80.0 %
GAIN; kept 1 .79 | use, not for search | --keep 0.9
GAIN; cars .6 .5 .001 | use, with exceptions | cars
GAIN; cars .6 .52 .2 | use |
NONE | uncertain | 45.5 %; 45.0 %
agreement .45 .46 0 .02 | uncertain |
NONE | uncertain | 45.5 % | {"n_answers": 9000}
agreement .45 .45 | unchanged | 45.0 % | {"status": "unchanged"}
NONE | moved | only moves the origin | {"status": "unchanged", "centre": 1.0}
agreement .45 .40 -.07 -.03 | worse | 45.0 %; 40.0 %
kept 1 .9 | not measured | 90.0 %; --answers
cars .6 .5 .001 | not compared | original; worse on cars
kept 1 .9; cars .5 .6 .001 | not compared | better on cars; 90.0 %
cars .6 .5 | not compared |
cars .5 .509 1e-9 | not compared | neither
cars 0 .01 1e-9 | not compared | neither
fpr95 .5 .4 .001 | not compared | better on fpr95
cars .5 .52 .06 | not compared | neither
cars .5 .52 .04 | not compared | better on cars
GAIN; loss 1 1 | use |
loss .5 .6 .001 | overfitted | worse on loss
GAIN; loss 1 2 | overfitted | overfitted; not converged | {"converged": false}
"""


@table("text, choice, words, fit", CASES)
def test_a_finding_says_what_changed_and_what_to_do(text, choice, words, fit):
    """The head has the choice to make, the numbers before and after, the interval and warnings; a
    loss above that of the features alone forbids the use, and a command only follows a use.
    """
    run = run_of(scores(text), json.loads(fit or "{}"), commands={("", "t"): "go"})
    (headline,) = headlines(run)
    assert headline.choice == choice
    assert headline.command == ("go" if choice.startswith("use") else None)
    parts = [headline.sentence, headline.action, headline.details, *headline.warnings]
    head = " ".join(parts).lower()
    assert [part for part in words.split("; ") if part not in head] == []


def test_few_answers_are_too_few_to_tell():
    """The same uncertain gain is called early for a fit to few answers, and not for one to many."""
    sentences = [
        headlines(run_of(scores("NONE"), fit))[0].sentence
        for fit in ({"n_answers": 4999}, {"n_answers": 5000})
    ]
    assert ["early" in sentence for sentence in sentences] == [True, False]


SEEN_SHARES = """
null | null | it is not known
0.0  | null | that the fit had not seen
0.0  | 0.0  | about objects that the fit had not seen
0.62 | null | had seen 62 %
0.62 | 0.9  | had seen 62 %
"""


@table("seen_answers, seen_objects, words", SEEN_SHARES)
def test_a_sentence_says_what_the_fit_had_seen(seen_answers, seen_objects, words):
    """Unless it is known that no object was seen, nothing is said about the objects."""
    seen = {"seen_answers": json.loads(seen_answers), "seen_objects": json.loads(seen_objects)}
    sentence = scored_on(Score("odd-one-out", "agreement", 0.5, **seen))
    assert words in sentence
    assert ("about objects" in sentence) == (seen_objects == "0.0")


BEHIND = """
NONE           | {"n": 29}        | too few answers
NONE           | {"n": 30}        | uncertain
GAIN; loss 1 2 | {"split": "all"} | use
"""


@table("text, changes, choice", BEHIND)
def test_a_choice_depends_on_the_answers_behind_the_scores(text, changes, choice):
    """At least 30 answers measure agreement, and a loss that was not measured on folds says
    nothing.
    """
    rows = Scores(replace(row, **json.loads(changes)) for row in scores(text))
    assert headlines(run_of(rows))[0].choice == choice


def test_a_record_gives_each_score_its_own_interval():
    """Agreement before and after, the gain and the neighbours kept have the ends that the record
    has for them.
    """
    rows = recorded_scores(record_of(fit=fit_record(heldout=heldout())).fit, "t")
    tasks = ("odd-one-out", "structure")
    shown = [rows.score("", tasks[0], "original")]
    shown += [rows.score("", task, "t") for task in tasks] + [
        rows.gain("", tasks[0], "t", "original")
    ]
    ends = [(score.low, score.high) for score in shown]
    assert ends == [(0.39, 0.43), (0.5, 0.54), (0.92, 0.94), (0.08, 0.14)]


def test_a_collapse_forbids_the_use():
    """The headline of a transform that maps all objects to one point forbids its use."""
    zero = replace(transform(1), weights=np.zeros((5, 5), np.float32))
    (headline,) = headlines(transform_run("t", zero, OBJECTS, ANSWERS))
    assert headline.choice == "collapsed"


BEST = """
glocal | original agreement .7, original kept 1, naive agreement .6, naive kept .3, \
glocal agreement .56, glocal kept .92, weak agreement .5, weak kept .99
weak | original agreement .7, original kept 1, naive agreement .6, naive kept .3, \
weak agreement .5, weak kept .88
naive | naive agreement .6, weak agreement .5
b | a x 1, b x 2, a y 3
b | a x 3, b x 2, b kept .95
"""


@table("featured, cells", BEST)
def test_of_several_arms_the_one_that_keeps_neighbours_is_shown(featured, cells):
    """The featured arm has the best agreement among those that keep .9 of the neighbours, or keeps
    most if none does; without neighbours it has the best agreement, or is best on the first task,
    among arms whose neighbours were counted if there are such.
    """
    rows = [
        Score(task, METRICS.get(task, "map"), float(value), transform=arm)
        for arm, task, value in map(str.split, cells.split(","))
    ]
    assert featured_arm(Run("", Scores(rows)), "") == featured


# one transform


@pytest.mark.parametrize(
    "meta, words",
    [
        ({"fitted": vars(sketch(OBJECTS, random_answers(200, 30, seed=9))), "fit": RECORD},
         "HERE of 400 answers of which the fit had seen 5 %, up"),
        ({"fit": RECORD}, "HERE of 400 answers (it is not known whether"),
        ({"fitted": SEEN, "fit": RECORD}, "52.0 % of 300 answers about objects"),
        ({"fitted": SEEN}, "The transform of the network keeps"),
    ],
)  # fmt: skip
def test_answers_that_the_fit_has_not_seen_are_the_result(meta, words):
    """Unseen answers are the result; else the held-out scores of the record; fitted answers have no
    scores, and are called so.
    """
    run = transform_run("t", transform(4, **meta), OBJECTS, ANSWERS)
    here = f"{100 * odd_one_out(transform(4)(X), ANSWERS).agreement:.1f} %"
    assert words.replace("HERE", here) in headlines(run)[0].sentence
    page = report_page([run])
    was_fitted = "The transform was fitted to these answers." in page
    assert was_fitted == (meta.get("fitted") == SEEN)


# scores, the record of the fit, and what the paragraph to copy says
PARAGRAPHS = """
GAIN | {} | seen, up from 45.0 % (95 % interval of the change +8.0 to +14.0 points
GAIN; kept 1 .91 | {} | keeps 91.0 % of the 10 nearest neighbours of each image
GAIN; cars .6 .5 .001 | {} | The score of cars changed by -0.100 (p 0.001, corrected by Holm).
GAIN | {"n_answers": 9000, "n_objects": 50, "method": "global", "lmbda": 0.3} | to 9,000 answers about 50 objects by
GAIN | {"method": "global", "lmbda": 0.3, "provenance": {"version": "9.9"}} | glocal 9.9 (global lmbda 0.3)
GAIN | {"method": "global", "keep": 0.9} | chosen to keep 90 % of each image
GAIN | {"method": "global", "keep": 0} | λ was chosen on held-out questions
GAIN | {"status": "unchanged", "method": null} | no transform was better
GAIN | {} | Muttenthaler, L."""  # noqa: E501


@table("text, fit, words", PARAGRAPHS)
def test_a_paragraph_to_copy_has_the_fit_the_results_and_the_reference(text, fit, words):
    """The paragraph states the design, how the transform was fitted, each result with its interval,
    and the source; it begins with the design of a study, and a page shows it.
    """
    run = run_of(scores(text), json.loads(fit), design=("Ten people.",))
    paragraph = methods_paragraph(run, headlines(run))
    assert words in paragraph
    assert paragraph.startswith("Ten people. ")
    assert ("A linear transform" in paragraph) == (fit != "{}")


def test_a_paragraph_states_the_level_of_corrected_intervals():
    """The level of an interval stands beside it if the row states one; others are 95 %."""
    gain = Score("cars", "map_difference", 0.1, 0.02, 0.18, transform="t", p=0.01, p_corrected=0.03)
    settings = {"baseline": "original", "level": 1 - 0.05 / 3}
    score = Score("cars", "map", 0.5)
    rows = (replace(score, transform=arm) for arm in ("original", "t"))
    run = run_of(Scores([*rows, replace(gain, settings=settings)]))
    assert "(98.3 % interval, p 0.03, corrected" in methods_paragraph(run, headlines(run))


def test_a_ceiling_of_few_answers_is_not_to_copy():
    """A paragraph has the ceiling of 200 repeated answers, and none of fewer."""
    details = {"transform": "people", "settings": {"answers_a_question": 2}}
    ceiling = Score("odd-one-out", "ceiling_leave_one_out", 0.6, **details)
    for n in (199, 200):
        run = run_of(Scores([*scores("GAIN"), replace(ceiling, n=n)]))
        paragraph = methods_paragraph(run, headlines(run))
        assert ("People agree with each other" in paragraph) == (n == 200)


def test_nothing_is_to_copy_where_nothing_was_compared():
    """Without results there is no paragraph."""
    run = run_of(scores("kept 1 .9"))
    assert methods_paragraph(run, headlines(run)) == ""
    assert "to copy" not in report_page([run])


def test_held_out_scores_of_centred_features_name_both_counts():
    """The sentence has the neighbours of the raw and of the centred features, and their number."""
    scores = heldout(of="questions", neighbours_kept_centred=0.9, gain_low=None, gain_high=None)
    run = transform_run("t", transform(1, fit=fit_record(heldout=scores)), OBJECTS)
    for part in (
        "to questions that the fit had not seen, about the same objects, up from 41.0 %",
        "keeps 93.0 % of the 7 nearest neighbours",
        "of each image, 90.0 % of those in the centred features (among 8 images)",
    ):
        assert part in headlines(run)[0].sentence


def test_answers_are_scored_by_the_fit_that_has_not_seen_them():
    """With folds, each answer is scored by the fit without its fold, and the ceiling is stated."""
    repeated = Answers.from_array(np.tile(ANSWERS.objects[:60], (6, 1)))
    parts = map(repeated.select, question_folds(repeated))
    folds = [(FoldTransform(transform(4 + k), 300), part) for k, part in enumerate(parts)]
    (headline,) = headlines(transform_run("fit", transform(1), OBJECTS, repeated, folds=folds))
    right = sum(len(part) * odd_one_out(fold.transform(X), part).agreement for fold, part in folds)
    assert f"{100 * right / 360:.1f} % of 360 answers to questions" in headline.sentence
    ceiling = "People agree with each other on 100.0 to 100.0 % of 360 answers (6 answers a"
    assert ceiling in headline.details


@pytest.mark.parametrize("data", [{"features": array_sha256(OBJECTS.matrix)}, {}])
def test_the_network_is_named_if_the_features_are_of_it(data):
    """The network of the record is named for the features of the fit, and for no others."""
    meta = {
        "source": {"model": "net"},
        "fit": fit_record(provenance={"version": "1", "data": data}),
    }
    run = transform_run("t", transform(2, **meta), OBJECTS)
    assert ("network net" in headlines(run)[0].sentence) == bool(data)
    assert "on features of net" in report_page([run]) or data


def test_a_network_without_a_record_has_the_name_of_its_file(tmp_path):
    """A paragraph to copy names the network by its file, or by the folder of features.npy."""
    for name in ("near.npy", "near/features.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, X)
        features = Features.load(tmp_path / name)
        run = transform_run("t", transform(4), features, ANSWERS)
        assert "the network near agrees" in methods_paragraph(run, headlines(run))


def test_guessing_gives_what_it_gives_for_the_kind_of_the_answers():
    """Half for an anchor, by the answers, and by scores."""
    rows = Scores(replace(row, settings={"chance": 0.5}) for row in scores(GAIN))
    for run in (
        transform_run("t", transform(4), OBJECTS, replace(ANSWERS, kind="anchor")),
        run_of(rows),
    ):
        assert "Guessing gives 50.0 %." in headlines(run)[0].sentence


def test_a_transform_without_answers_has_axes_and_neighbours_and_no_vega():
    """The page of a transform without answers has axes and neighbours, but neither charts, nor the
    library that draws them, nor a claim of agreement; one that changes nothing has no empty lists.
    """
    page = report_page([transform_run("t", transform(4), OBJECTS)])
    parts = ("What people’s answers amplify", "nearest neighbours of these 30 objects")
    assert [part for part in parts if part not in page] == []
    assert [part for part in ("agrees with people", "unsafe-eval") if part in page] == []
    assert len(page) < 200_000
    page = report_page([transform_run("t", transform(1), OBJECTS, ANSWERS)])
    assert "Nothing changed: each of the 30 objects keeps its 10 nearest neighbours." in page
    assert [part for part in ("Became right", "changed most", "amplify") if part in page] == []


def test_the_neighbours_that_changed_most_are_shown_first():
    """The object that keeps fewest neighbours comes first, and neighbours that stay are marked."""
    view = lambda text: View(names=(*"abcde",), neighbours=matrix(text, int))
    views = {"original": view("1 2; 0 2; 0 1; 0 1; 0 1"), "t": view("1 2; 0 3; 3 0; 2 4; 0 1")}
    run = Run("t", featured="t", views={"": views})
    (shown,) = objects_of(run, [Headline(Choice.USE, "", arm="t")])
    neighbours = shown.neighbours
    assert neighbours.changed == [3, 1, 2]
    assert neighbours.kept == pytest.approx(0.6)
    lists = np.reshape(neighbours.lists[1][1:3], (2, 4))
    np.testing.assert_array_equal(lists, matrix("0 1 3 0; 3 0 0 1"))


def test_axes_are_drawn_as_svg_without_the_library_that_draws_charts(tmp_path, monkeypatch):
    """Without vl-convert, axes are drawn as SVG, and a PDF is refused with the name of the
    library.
    """
    drawing = axes_svg(axes(transform(4), OBJECTS), "Axes")
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    save_figure(drawing, tmp_path / "axes.svg")
    assert "thing" in (tmp_path / "axes.svg").read_text("utf-8")
    with pytest.raises(MissingDependencyError, match="vl-convert"):
        save_figure(drawing, tmp_path / "axes.pdf")
