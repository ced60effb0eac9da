"""The page, figures and tables of runs come from their folders alone, and the page is complete,
harmless and usable in a browser.
"""

import html
import itertools
import json
import re
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fits import fit_record, record_of
from world import folder, matrix, run, table

from glocal import Features, FitData, LinearTransform, simulated_world
from glocal.advice import SituationRow, read_situations
from glocal.errors import DataError, DataWarning, FileError, ParameterError
from glocal.jsonlines import write_rows
from glocal.scores import Score, Scores
from glocal.suite.plan import Plan
from glocal.suite.run import run_suite
from glocal.sweep import sweep

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from glocal.report import (
    Run,
    headlines,
    load_runs,
    load_thumbnails,
    report_page,
    save_page,
    save_tables,
    transform_run,
)
from glocal.report import headline as headline_module
from glocal.report.charts import arm_scales, charts_of, front_points
from glocal.report.looks import COLOURS, INK, looks

NASTY = (
    "</script><script>window.hurt = 1</script>", "<img src=x onerror='window.hurt=2'>",
    "\"quotes\" & 'apostrophes'", "خروف 🐈‍⬛", "x" * 300, "<!-- a", "{{ 7 * 7 }}", "a|b_c$d%",
)  # fmt: skip
SUITE = """
answers = "a.npz"
simulated = true
folds = 2
[networks.net]
features = "x"
[arms.original]
[arms.global]
method = "global"
[arms.centred]
baseline = "centred"
[tasks.agree]
kind = "odd-one-out"
[tasks.near]
kind = "structure"
features = "x"
"""


@pytest.fixture(scope="module")
def made():
    return simulated_world(
        n_superordinate=4, n_category=3, n_object=5, n_local=60, n_answers=2400, dimensions=24
    )


@pytest.fixture(scope="module")
def folders(made, tmp_path_factory):
    """A sweep of three settings on two folds, and a suite of three arms, of the same objects."""
    where = tmp_path_factory.mktemp("runs")
    data = FitData(made.objects, made.answers, made.local)
    grid = {"method": ["global", "glocal"], "lmbda": {"global": [3.0, 1.0], "glocal": 1.0}}
    sweep(data, grid, folds=2, keep=0.5, out=where / "sweep")
    folder(where / "x", features_npy=made.objects.matrix, file_names_txt=made.objects.names)
    folder(where, a_npz=made.answers, suite_toml=SUITE)
    run_suite(Plan.load(where / "suite.toml"), where / "suite")
    return [where / "sweep", where / "suite"]


@pytest.fixture(scope="module")
def pictures(made, folders, tmp_path_factory):
    """The thumbnails of a folder with pictures named like most of the objects, one of them
    damaged.
    """
    pil = pytest.importorskip("PIL.Image")
    where = tmp_path_factory.mktemp("images")
    for i, name in enumerate(made.objects.names[:40]):
        pil.new("RGB", (120, 90), (4 * i, 90, 200)).save(where / f"{name}.png")
    (where / f"{name}.png").write_bytes(b"no image")
    with pytest.warns(DataWarning, match="no readable image"):
        return load_thumbnails(where, load_runs(folders))


@pytest.fixture(scope="module")
def hostile():
    """A page whose arms, tasks, objects and title have hostile names."""
    rng = np.random.default_rng(0)
    W = np.diag([3.0, 1, 1]).astype("f4")
    objects = Features(rng.normal(size=(len(NASTY), 3)), NASTY)
    scores = [Score(NASTY[0], "map", 0.5, transform=arm, network=NASTY[1]) for arm in NASTY]
    runs = [transform_run(NASTY[2], LinearTransform(W, None, 0.0, 1.0), objects)]
    return report_page([*runs, Run(NASTY[3], Scores(scores))], title=NASTY[0])


def test_hostile_names_do_nothing(hostile):
    """Names are escaped: they add no script, no image, no comment and no result of a template to
    the page. No element or style rule of it names another file or site, and its policy forbids
    every request.
    """
    assert hostile.count("<script>") == 2
    assert [part for part in ("<img src=x", "<!-- a") if part in hostile] == []
    assert "49" not in re.findall(r"<bdi>(.*?)</bdi>", hostile)
    (shown,) = re.findall(r'id="shown">(.*?)</script>', hostile, flags=re.S)
    assert json.loads(shown)["objects"]["0-0"]["names"][1:] == [*NASTY[1:]]
    assert not set("<>&") & set(shown)
    markup = re.sub(r"<script.*?</script>", "", hostile, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!data:|#)', markup)
    assert not re.search(r"@import|url\(", hostile.split("</style>")[0])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', hostile)[1]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_a_page_has_one_result(folders):
    """The headline, the table and the front of a sweep show the same agreement and neighbours, and
    only the original and the choice have intervals, since the folds are few; a point that another
    one beats in both is weak.
    """
    (swept,) = load_runs(folders[0])
    points = front_points(swept)
    chosen = points[points["chosen"]].iloc[0]
    page = report_page([swept])
    (headline,) = headlines(swept)
    for number in (chosen["agreement"], chosen["neighbours_kept"]):
        assert f"{100 * number:.1f} %" in headline.sentence
        assert f">{number:.3f} [" in page
    has_interval = points["agreement_low"] < points["agreement_high"]
    assert (has_interval == (points["chosen"] | (points["method"] == "original"))).all()
    assert shlex.split(headline.command)[2:4] == [f"{folders[0]}/transform.npz", "features.npy"]
    values = [0.5, 0.5, 0.6, 0.6]
    moved = swept.settings.assign(agreement=values, neighbours_kept=values)
    weaker = front_points(replace(swept, settings=moved))
    assert weaker["strong"].tolist() == [True, False, True, True]


def test_the_arms_of_a_suite_are_points_of_a_front(folders):
    """Each arm of a suite for which agreement and neighbours were both measured is a point, and its
    data are called simulated.
    """
    (suite,) = load_runs(folders[1])
    points = front_points(suite)
    assert points["method"].tolist() == ["original", "global", "centred"]
    assert points["strong"].all()
    page = report_page([suite])
    parts = ("agree", "near", "0-front-net", "These are simulated data")
    assert [part for part in parts if part not in page] == []


def test_warnings_are_those_of_the_arm_that_is_recommended():
    """A loss is a warning; those of other arms fold away."""
    values = {"original": 0.5, "bad": 0.5, "good": 0.6}
    scores = [Score("t", "map", value, transform=arm) for arm, value in values.items()]
    loss = Score("t", "map_difference", -0.1, transform="bad", p_corrected=0)
    scores.append(replace(loss, settings={"baseline": "original"}))
    fit = record_of(fit=fit_record(converged=False, status="budget")).fit
    fits = {("", "good"): fit}
    compared = Run("scores", Scores(scores), fits=fits)
    (headline,) = headlines(compared)
    assert headline.arm == "good"
    assert headline.warnings == ("Not converged: good ended as budget.",)
    page = report_page([compared])
    assert page.index("Other methods: 1 warning") < page.index("Caution: bad")


def test_every_file_of_scores_has_a_page():
    """Scores of the features alone, scores without a network beside those of one, and a network
    with the name of a front each have a page; the notes are those of its charts and axes.
    """
    score = Score("retrieval", "map", 0.5, 0.4, 0.6, 9)
    arms = [score, replace(score, transform="w")]
    pages = [
        report_page([Run("s", Scores(rows))])
        for rows in (
            [score],
            [*arms, *(replace(row, network="net") for row in arms)],
            [replace(row, network="waterfront") for row in arms],
        )
    ]
    assert "nothing was compared" in pages[0]
    assert "<figcaption><bdi>net</bdi></figcaption>" in pages[1]
    assert "Up and to the right" not in pages[2]
    rng = np.random.default_rng(0)
    objects = Features(rng.normal(size=(12, 3)), tuple(f"unsure {i}" for i in range(12)))
    stretched = LinearTransform(np.diag([3.0, 1, 1]).astype("f4"), None, 0.0, 1.0)
    assert "An axis is unsure" not in report_page([transform_run("t", stretched, objects)])


@pytest.mark.usefixtures("without_type_checks")
def test_the_page_of_try_is_its_screen(here):
    """Each sentence, command and heading that `try` prints stands on the page of its file, beside
    the choice, and the scores of each column of labels stand below them, without a chart; the page
    is named for the images, and other scores of the file have a part of their own.
    """
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 20)
    clarity = np.exp(rng.normal(size=(len(y), 1)))
    X = 9 + clarity * (np.eye(8)[y] + 0.3 * rng.normal(size=(len(y), 8)))
    labels = "\n".join(["kind,sort", *(f"kind {k},{'ab'[k % 2]}" for k in y)])
    folder(here / "birds", features_npy=X.astype("f4"), labels_csv=labels)
    assert run("evaluate structure --features birds --out scores.jsonl").code == 0
    words = "try birds --labels birds/labels.csv:kind,sort --out scores.jsonl"
    screen = run(words).out.splitlines()
    printed = run("report scores.jsonl --out page.html").out
    page = (here / "page.html").read_text("utf-8")
    markup = re.sub(r"<(style|script).*?</\1>", "", page, flags=re.S)
    text = " ".join(html.unescape(re.sub("<[^>]*>", " ", markup)).split())
    parts = []
    for line in screen:  # a line that ends with a colon lists situations, or names the labels
        words = (
            line.removesuffix(":").split(", ") if line.endswith(":") else re.split(" {2,}", line)
        )
        parts += [word.strip() for word in words]
    assert [part for part in parts if part not in text] == []
    assert len({*parts}) > 12
    situations = read_situations("scores.jsonl")
    choices = re.findall(r'<div class="(\w+)">\n<dt>', markup)
    assert choices == [row.choice.value for row in situations]
    assert all(f"What to use on birds: {row.split}" in printed for row in situations)
    titles = re.findall(r"<h2 id=.*?<bdi>(.*?)</bdi>", markup)
    assert titles == ["What to use on birds: kind", "What to use on birds: sort", "scores"]
    assert ["1 label a class" in table for table in markup.split("<table")[1:]] == [
        True,
        True,
        False,
    ]
    assert markup.count("data-chart") == 0


def test_a_single_arm_has_a_table_and_no_chart():
    """Arms are drawn beside each other, and so are differences between networks: one alone is a
    number in a table.
    """
    score = Score("retrieval", "map", 0.5, 0.4, 0.6, 9, network="near")
    other = replace(score, task="structure", metric="cka")
    single = Run("s", Scores([score, other]))
    assert charts_of(single) == []
    page = report_page([single])
    assert 'class="chart"' not in page
    assert "0.500 [0.400, 0.600]" in page
    gain = replace(score, metric="map_difference", baseline_network="far")
    for gains, titles in ([gain], []), ([gain, replace(gain, transform="w")], ["networks"]):
        charts = charts_of(Run("s", Scores([score, *gains])))
        assert [chart.title for chart in charts] == titles


def test_a_page_judges_each_set_of_answers_by_itself():
    """Two sets of answers in one file have a headline, a column and a line of the table each; what
    is good on one is not hidden by the other.
    """
    before = Score("odd-one-out", "agreement", 0.4, 0.38, 0.42, 900, "old.npz")
    after = replace(before, value=0.5, transform="t", seen_answers=0.0)
    gain = replace(after, metric="agreement_difference", value=0.1, low=0.05, high=0.15)
    worse = {"split": "new.npz"}
    rows = [before, after, gain, replace(before, **worse), replace(after, value=0.3, **worse)]
    rows.append(replace(gain, value=-0.1, low=-0.15, high=-0.05, **worse))
    compared = Run("s", Scores(rows))
    assert [headline.choice for headline in headlines(compared)] == ["use", "worse"]
    page = report_page([compared])
    titles = re.findall(r'<th scope="col"><bdi>(.*?)</bdi>', page)
    assert titles == ["odd-one-out (old.npz)", "odd-one-out (new.npz)"]
    assert "50.0 % of 900 answers of odd-one-out (old.npz)" in page
    assert "30.0 % of 900 answers of odd-one-out (new.npz)" in page


def test_a_report_is_judged_once(tmp_path, monkeypatch):
    """Page, figures, tables and what the command prints share the headlines of a run."""
    judged = []
    advise = headline_module.advise
    monkeypatch.setattr(headline_module, "advise", lambda *arm: judged.append(arm) or advise(*arm))
    score = Score("r", "map", 0.5, 0.4, 0.6, 9)
    write_rows(tmp_path / "s.jsonl", [score.row(), replace(score, transform="w").row()])
    folders = ("--out", tmp_path / "r.html", "--figures", tmp_path)
    assert run("report", tmp_path / "s.jsonl", *folders).code == 0
    assert len(judged) == 1


def test_an_arm_looks_alike_everywhere():
    """Each method has one colour whatever the other arms are; an arm without a method has one that
    no other has; lines differ by the share of neighbours.
    """
    arms = ["original", "mine", "glocal", "keep 0.8", "keep-0.9", "centred", "centred-keep-0.6"]
    styles = looks(arms)
    assert {arm: looks([arm])[arm] for arm in arms if arm != "mine"}.items() <= styles.items()
    assert styles["keep 0.8"].colour == styles["keep-0.9"].colour == COLOURS["keep"]
    assert len(set(styles.values())) == len(arms)
    assert len({style.colour for style in styles.values()}) == len(arms) - 1
    scales = [channel.to_dict()["scale"]["range"] for channel in arm_scales("arm", arms)]
    assert scales[0] == [style.colour for style in styles.values()]


SEEN_BY = {  # Machado et al. (2009), on linear RGB
    "all": np.eye(3),
    "protanopes": matrix("0.1523 1.0526 -0.2049; 0.1145 0.7863 0.0992; -0.0039 -0.0481 1.0520"),
    "deuteranopes": matrix("0.3673 0.8606 -0.2280; 0.2801 0.6725 0.0474; -0.0118 0.0429 0.9689"),
}
TO_XYZ = matrix("0.4125 0.3576 0.1804; 0.2127 0.7152 0.0722; 0.0193 0.1192 0.9503")


def linear(colour):
    """The linear RGB of a colour such as #ff0000."""
    share = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB of linear RGB."""
    x, y, z = np.cbrt(TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("page, ink", [("#ffffff", "#1b1f24"), ("#15181c", "#e8eaed")])
def test_colours_differ_for_all_colour_vision_on_light_and_dark_pages(page, ink):
    """Each colour has a contrast of 3 : 1 on the page, and two differ by 20 units of CIELAB for
    normal vision, protanopes and deuteranopes.
    """
    colours = [linear(ink if colour == INK else colour) for colour in COLOURS.values()]
    for rgb in colours:
        dark, light = sorted(np.array([linear(page), rgb]) @ TO_XYZ[1])
        assert (light + 0.05) / (dark + 0.05) >= 3
    for vision in SEEN_BY.values():
        seen = [lab(vision @ rgb) for rgb in colours]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20


# folders and files


def test_an_unfinished_sweep_has_a_page(tmp_path):
    """The page of an unfinished sweep counts its points, and says how to go on."""
    folder(
        tmp_path,
        points_jsonl='{"fold": 0, "method": "global", "status": "converged"}\n',
        sweep_json='{"version": "9.8.7", "seed": 5, "data": {"answers": "6c62"}}',
    )
    (headline,) = headlines(load_runs(tmp_path)[0])
    assert "1 of its points" in headline.sentence
    assert "--resume" in headline.action
    page = report_page(load_runs(tmp_path))
    assert headline.sentence in page
    assert all(part in page for part in ("glocal 9.8.7.", "Seed 5.", "hashes of answers."))


DAMAGES = r"""
rows.jsonl | {no json}
sweep.json | {"plan": {"arms": {}, "networks": [], "tasks": {}}}
sweep.json | {"provenance": 5}
means.csv | method,chosen,agreement,kept,converged\nglobal,True,high,1,True\n
means.csv | method,chosen,agreement,kept,converged\nglobal,False,1,1,True\n
views/chosen.npz | PK
transform.npz | PK
"""


@table("name, content", DAMAGES)
def test_a_damaged_run_is_one_sentence(folders, tmp_path, name, content):
    """The error for a damaged file is one line that names the file."""
    run_folder = shutil.copytree(folders[name == "rows.jsonl"], tmp_path / "run")
    (run_folder / name).write_text(content.replace(r"\n", "\n"), "utf-8")
    with pytest.raises(FileError, match=rf"^.*{name}.*\Z"):
        load_runs(run_folder)


def test_what_is_not_a_run_is_said(made, folders, tmp_path):
    """Folders without scores, missing paths, a transform without features, and features without a
    transform are refused.
    """
    for arguments, error, noun in (
        ([tmp_path], FileError, "run folder"),
        (["none"], ParameterError, "no file"),
        ([folders[0] / "transform.npz"], ParameterError, "features"),
        ([folders[0], made.objects], ParameterError, "transform"),
    ):
        with pytest.raises(error, match=noun):
            load_runs(*arguments)


@pytest.mark.nightly
def test_pictures_are_joined_by_name(folders, pictures, tmp_path):
    """Each object gets the thumbnail of its name; a warning names objects without one, and it is an
    error if all lack one.
    """
    runs = load_runs(folders)
    page = report_page(runs, pictures=pictures)
    uris = [uri for uri in pictures.values() if uri.startswith("data:image/webp;base64,")]
    assert [uri in page for uri in uris] == [True] * 39
    pytest.importorskip("PIL.Image").new("RGB", (9, 9)).save(tmp_path / "other.png")
    with pytest.raises(DataError, match="name of an object"):
        load_thumbnails(tmp_path, runs)


@pytest.mark.nightly
def test_the_command_writes_page_figures_and_tables(folders, tmp_path):
    """`report --figures` draws the front and the axes of a sweep, and the scores of a file with an
    arm a line, as PNG, PDF and SVG, beside tables as CSV and LaTeX.
    """
    score = Score("r", "map", 0.5, 0.4, 0.6, 9)
    scores = [score, replace(score, transform="w"), replace(score, task="s")]
    write_rows(tmp_path / "scores.jsonl", [score.row() for score in scores])
    drawn = tmp_path / "f"
    words = (folders[0], tmp_path / "scores.jsonl", "--out", tmp_path / "r.html")
    record = run("report --json", *words, "--figures", drawn).json
    files = {path.name for path in drawn.iterdir()}
    assert len(files) == len(record["files"]) - 1
    for stem in ("1-front", "2-axes-chosen", "3-scores"):
        assert (drawn / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert (drawn / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
    assert "object" in (drawn / "2-axes-chosen.svg").read_text("utf-8")
    assert {"1-scores.csv", "2-scores.tex"} <= files
    axes = pd.read_csv(drawn / "axes.csv")
    assert axes["factor"].tolist() == [axis["factor"] for axis in record["axes"][0]["axes"]]
    assert record["axes"][0]["axes"][0]["factor"] > 1


# tables


def test_tables_are_numbers_for_programs_and_latex_for_papers(tmp_path):
    """The CSV has a row for each network, arm, task and metric, and a difference has its corrected
    p; in LaTeX special characters are escaped.
    """
    score = Score("a & b_c", "map", 0.613, 0.1, 0.7, 50, transform="x")
    difference = Score("a & b_c", "map_difference", 0.1, transform="x", p=0.001, p_corrected=0.002)
    scores = Scores([replace(score, transform="a_1"), score, difference])
    save_tables([Run("net_1", scores)], tmp_path)
    table = pd.read_csv(tmp_path / "1-scores.csv").set_index("metric")
    row = table.loc["map_difference"]
    assert row["network"] == "net_1"
    assert row["value"] == 0.1
    assert row["p"] == 0.002
    assert row["baseline"] == "original"
    assert pd.isna(table.loc["map", "baseline"]).all()
    assert set(table["split"]) == {"all"}
    text = (tmp_path / "1-scores.tex").read_text("utf-8")
    for words in (r"a \& b\_c", r"a\_1", "0.613 [0.100, 0.700]*"):
        assert words in text


# in a browser


def tried_run():
    """The run of a file that `try` wrote, with a command that is wider than a phone."""
    command = f"glocal apply centred {'a' * 200}.npy --out aligned.npy"
    rows = (
        SituationRow("search", "to search", "recommend", ("centred", "+0.1"), "centred", command),
        SituationRow("all", "with all labels", "nothing", ("leave the features as they are",)),
        SituationRow("five", "with 5 labels", "undecided", ("no class has enough images",)),
    )
    arms = (
        Score("search", "map", 0.5, 0.4, 0.6, 9, transform=arm) for arm in ("original", "centred")
    )
    return Run("What to use on birds", Scores(arms), situations=rows)


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_whole_and_accessible(
    browser, folders, pictures, hostile, made, tmp_path, scheme, width
):
    """On a phone and a desktop, light and dark, the page draws all charts, does not scroll
    sideways, runs no hostile script, asks no site, has few ticks, and passes axe, and so do a page
    that begins with neighbours, as of the demo, and one of `try`; a phone first shows the headline
    and the numbers. The search box shows the ten neighbours of an object before and after.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    save_page(report_page(load_runs(folders), pictures=pictures), tmp_path / "r.html")
    save_page(hostile, tmp_path / "hostile.html")
    begins = replace(load_runs(folders[1])[0], begins_with_neighbours=True)
    save_page(report_page([begins], pictures=pictures), tmp_path / "demo.html")
    save_page(report_page([tried_run()]), tmp_path / "try.html")
    errors = []
    visitor = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    for name in ("hostile.html", "demo.html", "try.html", "r.html"):
        tab = visitor.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda asked: errors.append(asked.url))
        tab.goto((tmp_path / name).as_uri())
        charts = "[...document.querySelectorAll('[data-chart]')]"
        tab.wait_for_function(f"{charts}.every(chart => chart.dataset.drawn)")
        assert tab.evaluate("window.hurt") is None
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator(".chart svg").count() == tab.locator(".chart").count()
        violations = axe.run(tab).response["violations"]
        assert [(broken["id"], broken["nodes"][0]["html"]) for broken in violations] == []
        ticks = "[...document.querySelectorAll('.role-axis-label')].map(g => g.children.length)"
        assert max(tab.evaluate(ticks), default=0) <= 8
    assert tab.locator("table").first.bounding_box()["y"] < 800
    box = tab.locator("[data-find]").last
    box.fill(made.objects.names[1])
    match = tab.locator(".change.match")
    assert match.locator("li").count() == 20
    box.fill("no such name")
    assert match.count() == 0
    visitor.close()
    assert [error for error in errors if not error.startswith(("file:", "data:"))] == []
