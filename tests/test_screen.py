"""What commands and results print fits the screen, and no number on it is shortened."""

import functools
import html
import inspect
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import squareform
from world import folder, run, table

import glocal
from glocal import (
    Answers,
    FitData,
    ObjectiveSettings,
    fit,
    learning_curve,
    simulated_world,
    structure,
    verdict,
)
from glocal.scores import Score, Scores
from glocal.screen import Cell, Printable, block, text_table, wrapped
from glocal.suite.plan import Plan
from glocal.suite.run import run_suite
from glocal.suite.table import score_lines

MADE = simulated_world(n_superordinate=4, n_category=3, n_object=5, n_answers=2000, dimensions=24)
SOME = MADE.answers.select(np.arange(240))
LABELS = np.arange(60) % 4
SUITE = """
answers = "t.npy"
folds = 2
[networks.net]
features = "x.npy"
[arms.original]
[arms.an-arm-whose-name-is-long-enough-to-fill-a-good-part-of-any-line]
baseline = "centred"
[tasks.agreement]
kind = "odd-one-out"
[tasks.few-shot-of-many-kinds]
kind = "few-shot"
train = "x.npy"
train_labels = "y.npy"
draws = 4
shots = 1
[tasks.near]
kind = "structure"
features = "x.npy"
"""
LINES = """
fit --features x.npy --answers t.npy --method global --lmbda 3 --holdout 2 --out w.npz
suite suite.toml --out out
evaluate odd-one-out --features x.npy --answers t.npy --baseline centred
evaluate few-shot --train x.npy --train-labels y.npy --baseline centred --baseline pca --probe ncm
sweep --features x.npy --answers t.npy --grid grid.toml --folds 2 --resume --out sweep
try x.npy --labels y.npy
try x.npy --labels y.npy --all
data curve --features x.npy --answers t.npy
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return folder(
        tmp_path_factory.mktemp("screen"),
        x_npy=MADE.objects.matrix, t_npy=MADE.answers.objects, y_npy=LABELS,
        suite_toml=SUITE, grid_toml='method = "global"\nlmbda = [10.0]',
    )  # fmt: skip


@pytest.fixture(scope="module")
def curve():
    """The learning curve, which takes seconds, of the first call for all of them."""
    return functools.cache(lambda *_, **__: learning_curve(MADE.objects, SOME))


@pytest.fixture
def narrow(files, curve, as_a_user, monkeypatch):
    """A function that runs a command line on a screen of so many columns."""
    monkeypatch.chdir(files)
    monkeypatch.setattr("glocal.aligner.curve.learning_curve", curve)

    def run_on(line, columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        return run(line)

    return run_on


def assert_fits(printed, columns):
    """Assert that no line but a command is wider than the screen, and that no number is cut."""
    assert printed.code == 0, printed.err
    lines = [line for line in printed.out.splitlines() if not line.startswith("glocal ")]
    assert [line for line in lines if len(line) > columns] == []
    assert not re.search(r"\d…", printed.out)


@table("line", LINES)
def test_no_line_is_wider_than_the_screen(narrow, line):
    """At 80 and 60 columns every line of a result fits, and all numbers of the wide table are
    there.
    """
    wide = narrow(line, 10_000).out
    numbers = sorted(re.findall(r"[-+]?\d\.\d{3}", wide))
    for columns in (80, 60):
        printed = narrow(line, columns)
        assert_fits(printed, columns)
        assert {*numbers} <= {*re.findall(r"[-+]?\d\.\d{3}", printed.out)}


@pytest.mark.nightly
def test_the_demo_fits_the_screen(narrow):
    """The demo fits too; its folder is made once."""
    for columns in (80, 60):
        assert_fits(narrow("demo --out demo", columns), columns)


TABLES = """
apply w.npz x.npy --out a.csv | name d1 d24 | 60
evaluate structure --features x.npy --k 3 --out e.csv | task metric value split settings | 2
try x.npy --labels y.npy --out t.csv | task transform value baseline features | 15
data curve --features x.npy --answers t.npy --out c.csv | answers value low high | 4
"""


@table("line, titles, n", TABLES)
def test_commands_write_tables_for_other_programs(narrow, line, titles, n):
    """A file called .csv has titles and the lines of the result."""
    transform = fit(
        FitData(MADE.objects, MADE.answers), ObjectiveSettings("global", lmbda=3.0)
    ).transform
    transform.save("w.npz")
    assert narrow(line, 80).code == 0
    rows = pd.read_csv(line.split()[-1])
    assert {*titles.split()} <= {*rows}
    assert len(rows) >= int(n)


def test_json_does_not_depend_on_the_screen(narrow):
    """The JSON object is one line, whatever the width."""
    line = "evaluate structure --features x.npy --k 3 --json"
    assert narrow(line, 40).out == narrow(line, 200).out


BLOCK = """
61 | title;  a long name  0.500 [0.400, 0.600]  +0.100 [+0.050, +0.150]*
50 | title;  a long name           0.500             +0.100
30 | title;  a long name
"""


def test_a_block_puts_intervals_and_then_names_on_lines_of_their_own():
    """A line holds value, interval and difference if the screen is wide enough."""
    cells = [Cell("0.500", "[0.400, 0.600]"), Cell("+0.100", "[+0.050, +0.150]*")]
    for row in BLOCK.strip().split("\n"):
        width, first_lines = row.split(" | ")
        printed = block("title", [("a long name", cells)], int(width))
        assert printed[:2] == first_lines.split(";")
        assert [part for cell in cells for part in cell if part not in " ".join(printed)] == []


def test_lines_break_at_words_alone():
    """An indent is repeated, a long word stays whole, and a number stays beside its unit."""
    assert wrapped("  one two", 6) == ["  one", "  two"]
    assert wrapped("a/long/path", 4) == ["a/long/path"]
    assert wrapped("are 9.5 %", 8) == ["are", "9.5 %"]
    assert wrapped("", 8) == [""]
    assert text_table([["数", "1"], ["b", "10"]]) == ["数   1", "b   10"]


def test_an_arm_that_was_not_scored_has_no_line():
    """A block has the arms of its task, with the star of a corrected difference."""
    before = Score("search", "map", 0.5, 0.4, 0.6)
    gain = replace(before, metric="map_difference", transform="all", p_corrected=0.01)
    tasks = [replace(before, task=f"another task {k}") for k in range(4)]
    scores = Scores([before, replace(before, transform="all"), gain, *tasks])
    first, _, changed, *rest = score_lines(scores, "original", 76)
    assert first == "search"
    assert changed.endswith("*")
    assert [line.split()[0] for line in rest if line] == ["another", "original"] * 4


def calls(folder):
    """A small call of each public function, by its name."""
    X = MADE.objects.matrix
    person = np.arange(len(SOME)) % 6
    asked = Answers(SOME.objects, person=person)
    data = FitData(MADE.objects, SOME)
    weak = glocal.Exact(tol=1e-2)
    fitted = fit(data, ObjectiveSettings("global", lmbda=3.0), weak)
    return {
        "anomaly": lambda: glocal.anomaly(X, LABELS, X[:20], LABELS[:20]),
        "anomaly_scores": lambda: glocal.anomaly_scores(X[:30], X[30:]),
        "answer_credit": lambda: glocal.answer_credit(X, SOME),
        "axes": lambda: glocal.axes(fitted.transform, MADE.objects),
        "cross_score": lambda: glocal.cross_score(
            data, ObjectiveSettings("global", lmbda=3.0), weak
        ),
        "few_shot": lambda: glocal.few_shot(X, LABELS, draws=2, probe="ncm"),
        "find_anomalies": lambda: glocal.find_anomalies(X[:30], X[30:]),
        "fit": lambda: fitted,
        "import_answers": lambda: glocal.import_answers(folder / "t.npy"),
        "join": lambda: glocal.join(MADE.objects, SOME),
        "learning_curve": lambda: learning_curve(MADE.objects, SOME),
        "model_rdm": lambda: glocal.model_rdm(X),
        "neighbours_kept": lambda: glocal.neighbours_kept(X, X),
        "object_folds": lambda: glocal.object_folds(60),
        "odd_one_out": lambda: glocal.odd_one_out(X, SOME),
        "people": lambda: glocal.people(asked, judge=False),
        "plan_study": lambda: glocal.plan_study(60),
        "pretrained": lambda: glocal.pretrained("clip-vit-b-32"),
        "reliability": lambda: glocal.reliability(asked, splits=3),
        "retrieval": lambda: glocal.retrieval(X, LABELS),
        "rsa": lambda: glocal.rsa(X, squareform(glocal.model_rdm(X))),
        "simulated_answers": lambda: glocal.simulated_answers(X, 9),
        "simulated_world": lambda: MADE,
        "split_answers": lambda: glocal.split_answers(SOME, 60),
        "structure": lambda: structure(X, X),
        "verdict": lambda: verdict(MADE.objects, LABELS),
    }


@pytest.mark.filterwarnings("ignore")
def test_the_result_of_every_public_function_prints(files):
    """Whatever a public function returns has a text. That of a result, a record and a suite is its
    sentence and at most eight lines of its table, its `repr` is short, and `table` and a notebook
    show all of it, also of the reliability of answers that tell nothing.
    """
    of_name = calls(files)
    objects = {name: getattr(glocal, name) for name in glocal.__all__}
    functions = [name for name, thing in objects.items() if callable(thing)]
    public = {name for name in functions if not inspect.isclass(objects[name])}
    assert of_name.keys() == public - {"align"}  # which needs images
    nothing = Answers.from_array([[0, 1, 2], [3, 4, 5]], person=np.arange(2))
    results = {name: call() for name, call in of_name.items()}
    suite = run_suite(Plan.load(files / "suite.toml"), files / "printed")
    others = (glocal.reliability(nothing), results["fit"].record, suite)
    for result in (*results.values(), *others):
        lines = str(result).splitlines()
        assert lines
        assert repr(result)
        if isinstance(result, Printable):
            assert max(map(len, lines)) <= 80
            assert " ".join(lines).endswith(result.summary())
            assert len(lines) <= 8 + 1 + len(wrapped(result.summary(), 80))
            assert ("… .table() has all" in lines) == (len(result.text_lines()) > 8)
            assert len(repr(result)) <= 200
            page = result._repr_html_()
            assert result.summary() in html.unescape(page)
            assert page.count("<tr") == len(result.table()) + 1
    assert len(results["reliability"].table()) == 2
