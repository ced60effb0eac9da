"""The page, figures and tables of runs come from the folders alone, and the page is complete,
harmless and usable in a browser.
"""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from fits import fit_record
from world import run

from glocal.errors import (
    DataError,
    DataWarning,
    FileError,
    MissingDependencyError,
    ParameterError,
)
from glocal.evaluation.view import object_view, save_view
from glocal.results import append_rows, to_json
from glocal.suite.table import score_table
from glocal.transform import LinearTransform

pytest.importorskip("altair")
pytest.importorskip("vl_convert")
pytest.importorskip("jinja2")

from glocal.report import (
    findings,
    front_chart,
    load_runs,
    load_thumbnails,
    report_page,
    save_figure,
    save_page,
    save_tables,
    warnings_of,
)
from glocal.report.charts import arm_scales
from glocal.report.front import direction, front_points, summary
from glocal.report.page import script_json

NASTY = [
    "</script><script>window.hurt = 1</script>",
    "<img src=x onerror='window.hurt=2'>",
    "\"quotes\" & 'apostrophes'",
    "cat 🐈‍⬛ emoji",
    "خروف عربي",
    "x" * 300,
    "<!-- a comment",
    "{{ 7 * 7 }}",
    "a|b_c$d%",
    "tab\there",
]
ARMS = ("original", "global", "glocal")


def lines(path, rows):
    path.write_text("".join(to_json(row) + "\n" for row in rows), encoding="utf-8")


def write_views(folder, arms, names, **meta):
    """Write views of random objects in three categories, before and after transforms."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    baseline = None
    X = rng.normal(size=(len(names), 6)) + 3 * np.eye(6)[np.arange(len(names)) % 3]
    for place, arm in enumerate(arms):
        W = np.diag(np.linspace(1, 1 + place, 6))
        view = object_view(
            X @ W,
            names,
            categories=[NASTY[i % 3] if i % 5 else "other" for i in range(len(names))],
            baseline=baseline,
            meta={"arm": arm, "baseline": "original", **meta},
        )
        save_view(view, folder / f"{arm}.npz")
        baseline = baseline or view


def write_suite(folder, **changes):
    """Write a finished suite of one network, most of whose names are hostile."""
    write_views(
        folder / "views",
        ARMS,
        [*NASTY, *(f"object {i}" for i in range(50))],
        network=NASTY[1],
        **changes,
    )
    rows = []
    for place, arm in enumerate(ARMS):
        for task, metric, value, change in (
            ("heldout", "accuracy_cosine", 0.4, 0.05),
            (NASTY[0], "accuracy_logistic", 0.6, -0.1),
            ("near", "neighbours_kept", 1.0, -0.1),
        ):
            row = {"network": NASTY[1], "task": task, "metric": metric, "n": 100, "transform": arm}
            middle = value + change * place
            difference_value = change * place
            rows.append(row | {"value": middle, "low": middle - 0.02, "high": middle + 0.02})
            difference = {
                "metric": f"{metric}_difference",
                "value": difference_value,
                "p": 0.001,
                "p_corrected": 0.02 * place,
            }
            rows += [row | difference] if place else []
    people = {
        "network": NASTY[1],
        "task": "heldout",
        "metric": "ceiling_majority",
        "value": 0.7,
        "transform": "people",
    }
    lines(folder / "rows.jsonl", [*rows, people])
    plan = {
        "networks": {NASTY[1]: {}},
        "baseline": "original",
        "arms": {arm: {} for arm in ARMS},
        "tasks": {},
    }
    (folder / "suite.json").write_text(
        to_json({"plan": plan, "provenance": {"data": {NASTY[0]: "0123abcd" * 8}}})
    )
    return folder


def write_sweep(folder, *, finished=True):
    """Write a sweep of two methods on two folds."""
    folder.mkdir()
    settings = [
        {
            "method": "original",
            "agreement": 0.45,
            "kept": 1.0,
            "loss": 1.05,
            "status": "none",
        }
    ]
    for method, largest in (("global", 0.85), ("glocal", 0.95)):
        for place, lmbda in enumerate((0.1, 0.3, 1.0, 3.0)):
            settings.append(
                {
                    "method": method,
                    "lmbda": lmbda,
                    "mix": 1.0,
                    "alpha": 0.1 if method == "glocal" else None,
                    "tau": 0.25 if method == "glocal" else None,
                    "agreement": 0.56 - 0.02 * place,
                    "kept": largest - 0.05 * (3 - place),
                    "loss": 1.0,
                }
            )
    lines(
        folder / "points.jsonl",
        [{"fold": f, "status": "converged"} | row for f in range(2) for row in settings],
    )
    (folder / "sweep.json").write_text(
        json.dumps({"folds": 2, "seed": 3, "data": {"features": "f" * 64}})
    )
    if finished:
        means = pd.DataFrame(settings).assign(front=True, chosen=False, converged=True)
        means.loc[6, "chosen"] = True
        means[[f"{name}_se" for name in ("agreement", "kept", "loss")]] = 0.005
        means.to_csv(folder / "means.csv", index=False)
        chosen = {"keep": None, "reason": "smallest mean held-out loss, 0.825 nats"}
        meta = {"sweep": chosen, "fit": fit_record()}
        LinearTransform(np.eye(3, dtype=np.float32), None, 0.0, 1.0, meta).save(
            folder / "transform.npz"
        )
        row = {"task": "odd-one-out", "metric": "accuracy_cosine", "n": 900, "transform": "chosen"}
        before = row | {"transform": "original", "value": 0.45, "low": 0.43, "high": 0.47}
        gain = row | {
            "metric": "accuracy_cosine_difference",
            "value": 0.09,
            "p": 1e-4,
            "p_corrected": 1e-3,
        }
        lines(
            folder / "rows.jsonl", [before, row | {"value": 0.54, "low": 0.52, "high": 0.56}, gain]
        )
        write_views(folder / "views", ("original", "chosen"), [f"object {i}" for i in range(60)])
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("runs")
    return [write_sweep(where / "sweep"), write_suite(where / "suite")]


@pytest.fixture(scope="module")
def page(folders):
    return report_page(load_runs(folders))


def test_of_rows_that_were_appended_twice_the_last_counts(tmp_path):
    """Of rows that were appended twice, the table shows the last."""
    row = {"task": "rsa", "metric": "spearman", "n": 9, "transform": "w"}
    lines(tmp_path / "rows.jsonl", [row | {"value": value} for value in (0.1, 0.2)])
    assert score_table(load_runs(tmp_path)[0].rows)["rsa"].tolist() == ["0.200 (no interval)"]


def test_an_effect_is_called_one_where_it_is_certain_and_not_small():
    """A difference counts if it exceeds 0.01 and its corrected p is below 0.05; a lower loss is
    better.
    """
    cases = (
        ("map", 0.02, 0.04),
        ("map", -0.02, 0.04),
        ("map", 0.02, 0.06),
        ("map", 0.009, 1e-9),
        ("loss", 0.02, 0.04),
    )
    directions = [
        direction({"metric": metric, "difference": by, "p_corrected": p}) for metric, by, p in cases
    ]
    assert directions == ["better", "worse", "same", "same", "worse"]


# the page


@pytest.mark.parametrize(
    ("module", "noun"), [("jinja2", "jinja2"), ("altair", "altair"), ("vl_convert", "vl-convert")]
)
def test_what_a_page_is_made_with_is_named_where_it_is_missing(folders, monkeypatch, module, noun):
    """The error for a missing library names it, and the extra that brings it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=noun) as caught:
        report_page(load_runs(folders))
    assert ".[report]" in str(caught.value)


def test_simulated_data_are_called_so(tmp_path):
    """A finding calls data simulated if the plan of the suite does."""

    def are_simulated(path):
        return "These are simulated data" in findings(load_runs(path)[0])[0].details

    folder = write_suite(tmp_path / "suite")
    assert not are_simulated(folder)
    record = json.loads((folder / "suite.json").read_text())
    record["plan"]["simulated"] = True
    (folder / "suite.json").write_text(json.dumps(record))
    assert are_simulated(folder)


@pytest.mark.nightly
def test_a_page_is_written_without_torch_and_without_data(folders, tmp_path):
    """Importing the page loads neither the objective nor the solver, the aligner or the sweep, and
    making one loads neither torch nor scikit-learn nor numba.
    """
    code = (
        "import sys; from glocal.report import load_runs, report_page, save_page\n"
        "parts = {name.split('.')[1] for name in sys.modules if name.startswith('glocal.')}\n"
        "assert not parts & {'objective', 'solver', 'aligner', 'sweep'}\n"
        f"page = report_page(load_runs({list(map(str, folders))!r}))\n"
        f"save_page(page, {str(tmp_path / 'r.html')!r})\n"
        "assert not {'torch', 'sklearn', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "r.html").stat().st_size < 2_000_000


def test_the_page_asks_nothing_of_the_network(page):
    """No element or style rule of the page names another file or site, and its policy forbids every
    request.
    """
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!data:|#)', markup)
    assert not re.search(r"@import|url\(", page.split("</style>")[0])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src &#39;none&#39;")
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_names_do_not_become_markup(page):
    """Hostile names are escaped: they add no script, no image, no comment and no result of a
    template to the page.
    """
    assert page.count("<script>") == 2
    assert "<img src=x" not in page
    assert "<!-- a comment" not in page
    assert "49" not in re.findall(r"<bdi>(.*?)</bdi>", page)
    hostile = {"key <&>": NASTY}
    assert json.loads(script_json(hostile)) == hostile
    assert not set("<>&") & set(script_json(hostile))


def test_every_score_is_in_the_table(page):
    """The table has scores with their intervals, and marks significant differences in words too."""
    assert "0.450 [0.430, 0.470]" in page
    assert 'aria-label="significantly better"' in page
    assert 'aria-label="significantly worse"' in page


# front, summary and warnings


def test_the_summary_compares_methods_at_equal_agreement(folders):
    """The summary shows each method at the setting that the rule chooses, and the neighbours that
    its front keeps at a common agreement.
    """
    run = load_runs(folders[0])[0]
    table = summary(run).set_index("method")
    assert list(table.index) == ["original", "global", "glocal"]
    assert table.loc["glocal", "setting"] == "α 0.1, λ 0.3, τ 0.25"
    assert table.loc["glocal", "agreement"] == "0.540 [0.535, 0.545]"
    column = "neighbours kept at agreement 0.540"
    assert (
        table.loc["global", column],
        table.loc["glocal", column],
        table.loc["original", column],
    ) == (
        "0.750",
        "0.850",
        "",
    )
    run.choice["keep"] = 0.79
    assert summary(run).set_index("method").loc["global", "setting"] == "λ 1"


def test_the_arms_of_a_suite_are_points_of_a_front(folders):
    """Each arm of a suite for which agreement and neighbours were both measured is a point with
    intervals. A setting of a sweep that another setting of its method beats is not on the front.
    """
    points = front_points(load_runs(folders[1])[0])
    assert list(points["method"]) == list(ARMS)
    assert points["strong"].all()
    assert points["kept_low"].tolist() == pytest.approx([0.98, 0.88, 0.78])
    sweep = load_runs(folders[0])[0]
    sweep.settings.loc[2, "kept"] = 0.1  # worse in both than another of its method
    assert front_points(sweep)["strong"].tolist() == [True, True, False, *[True] * 6]
    assert not len(
        front_points(
            load_runs(folders[1])[0].__class__("empty", load_runs(folders[1])[0].rows.iloc[:0])
        )
    )


def test_warnings_say_what_is_wrong(tmp_path):
    """A wrong file, an arm that is worse on a task, an unfinished sweep and an overfitted choice
    each have a warning.
    """
    suite = load_runs(write_suite(tmp_path / "suite", notes=["a.npz is that of other-net"]))[0]
    sentences = warnings_of(suite)
    assert "Wrong file: a.npz is that of other-net" in sentences
    assert [line.split()[1] for line in sentences if line.startswith("Worse")] == [
        "global",
        "glocal",
    ]
    assert (
        "no choice yet" in warnings_of(load_runs(write_sweep(tmp_path / "a", finished=False))[0])[0]
    )
    sweep = write_sweep(tmp_path / "b")
    assert warnings_of(load_runs(sweep)[0]) == []
    for arm, loss in (("original", 1.05), ("chosen", 2.0)):
        row = {"task": "odd-one-out", "metric": "loss", "value": loss, "transform": arm}
        append_rows(sweep / "rows.jsonl", [row])
    assert [line.split()[0] for line in warnings_of(load_runs(sweep)[0])] == ["Overfitted:"]


def test_an_arm_looks_alike_everywhere():
    """Each method has the same colour and shape whatever the other arms are, and the baseline is
    black.
    """
    arms = ["original", "mine", "glocal", "naive"]
    colours, shapes = (
        part.to_dict()["scale"]["range"] for part in arm_scales("arm", arms, "original", None)
    )
    assert (
        colours[2:]
        == arm_scales("arm", ["glocal", "naive"], "x", None)[0].to_dict()["scale"]["range"]
    )
    assert len(set(colours)) == len(set(shapes)) == 4
    assert colours[0] == "#1b1f24"


# folders


def test_files_of_several_runs_are_numbered(folders, tmp_path):
    """Runs with the same name write no file twice, and a run that lies in a folder is not read with
    it.
    """
    (tmp_path / "other").mkdir()
    paths = [folders[0], write_sweep(tmp_path / "other/sweep"), write_suite(tmp_path / "suite")]
    write_sweep(tmp_path / "suite/sweep")
    runs = load_runs(paths)
    assert [run.name for run in runs] == ["sweep", "sweep", "suite"]
    files = save_tables(runs, tmp_path / "tables")
    assert len(files) == len(set(files)) == len(list((tmp_path / "tables").iterdir())) == 12
    assert tmp_path / "tables/2-methods.csv" in files


def test_an_unfinished_sweep_has_a_page(tmp_path):
    """The page of an unfinished sweep says that nothing is chosen yet."""
    assert "no choice yet" in report_page(load_runs(write_sweep(tmp_path / "half", finished=False)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", "{no json}"),
        ("suite.json", "{"),
        ("suite.json", '{"plan": 3}'),
        ("suite.json", '{"plan": {"arms": {}, "networks": [], "tasks": {}}}'),
        ("suite.json", '{"plan": {"arms": {}, "networks": {}, "tasks": {}}, "provenance": 5}'),
        ("sweep.json", '{"plan": 5}'),
        ("sweep.json", '{"chance": "x"}'),
        ("sweep.json", '{"n_people": "x"}'),
        ("points.jsonl", '{"fold": 1, "method": "global", "status": []}\n'),
        ("means.csv", "a,b\n1,2\n"),
        ("points.jsonl", '{"fold": 1}\n'),
        ("views/x.npz", "PK"),
        ("transform.npz", "PK"),
    ],
)
def test_a_damaged_run_is_one_sentence(tmp_path, name, content):
    """The error for a damaged file is one line that names the file."""
    folder = (write_suite if name in ("rows.jsonl", "suite.json") else write_sweep)(
        tmp_path / "run"
    )
    (folder / name).write_text(content)
    with pytest.raises(FileError, match=name) as caught:
        load_runs(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("method", ""), ("chosen", "x"), ("chosen", True), ("chosen", False), ("lmbda", "x")),
        *(("agreement", "high"), ("kept_se", "</b>")),
    ],
)
def test_means_of_other_types_are_refused(tmp_path, column, value):
    """A column of a sweep's means holds what the page reads, and one setting is chosen."""
    folder = write_sweep(tmp_path / "run")
    means = pd.read_csv(folder / "means.csv")
    means.assign(**{column: value}).to_csv(folder / "means.csv", index=False)
    with pytest.raises(FileError, match="means"):
        load_runs(folder)


def test_what_is_not_a_run_is_said(tmp_path):
    """A folder without scores is refused, and so is a path that does not exist."""
    with pytest.raises(FileError, match="run folder"):
        load_runs(tmp_path)
    with pytest.raises(ParameterError, match="no file"):
        load_runs(tmp_path / "none")


# pictures, figures, tables


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with pictures named like most of the objects, and a damaged file."""
    folder = tmp_path_factory.mktemp("images")
    pil = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for i in range(40):
        colours = np.full((90, 120, 3), rng.integers(0, 256, 3), dtype=np.uint8)
        pil.fromarray(colours).save(folder / f"object {i}.png")
    (folder / "object 41.png").write_bytes(b"no image")
    return folder


def test_pictures_are_joined_by_name(folders, images, tmp_path):
    """Each object gets the thumbnail of its name; a warning names objects without one, and it is an
    error if all lack one.
    """
    with pytest.warns(DataWarning, match="no readable image"):
        pictures = load_thumbnails(images, load_runs(folders))
    assert sorted(pictures) == sorted(f"object {i}" for i in range(40))
    assert all(
        uri.startswith("data:image/webp;base64,") and len(uri) < 3000 for uri in pictures.values()
    )
    assert pictures["object 3"] in report_page(load_runs(folders), pictures=pictures)
    (tmp_path / "other.png").write_bytes((images / "object 3.png").read_bytes())
    with pytest.raises(DataError, match="name of an object"):
        load_thumbnails(tmp_path, load_runs(folders))


def test_a_chart_is_saved_as_svg(folders, tmp_path):
    """A chart of the front is saved as an SVG file."""
    save_figure(
        front_chart(front_points(load_runs(folders[0])[0]), "original"), tmp_path / "front.svg"
    )
    assert (tmp_path / "front.svg").read_bytes().startswith(b"<svg")


def test_the_command_writes_page_figures_and_tables(folders, images, tmp_path):
    """`report --figures` writes the page, each chart as PNG and PDF, and each table as CSV and
    LaTeX.
    """
    out = tmp_path / "r.html"
    code, output, err = run("report", *folders, "--out", out, "--figures", tmp_path / "f", "--json")
    assert code == 0, err
    files = [path.name for path in (tmp_path / "f").iterdir()]
    assert len(files) == len(json.loads(output)["files"]) - 1
    assert {"1-front.png", "1-front.pdf", "1-methods.csv", "2-scores.tex"} <= set(files)
    assert all(
        (tmp_path / "f" / name).read_bytes()[:4] == b"\x89PNG"
        for name in files
        if name.endswith("png")
    )
    for name, spread in (("1", "one standard error over folds"), ("2", "95 % interval")):
        assert spread in (tmp_path / f"f/{name}-methods.tex").read_text("utf-8").replace("\\", "")
    table = pd.read_csv(tmp_path / "f/1-methods.csv")
    assert table["method"].tolist() == ["original", "global", "glocal"]
    assert r"\$" in (tmp_path / "f/2-scores.tex").read_text(encoding="utf-8") or len(
        json.loads(output)["warnings"]
    )


# in a browser


@pytest.fixture
def visit(browser, folders, images, tmp_path):
    """A function that opens the page in Chromium; an error of the page or a request to a site fails
    the test.
    """
    with pytest.warns(DataWarning):
        pictures = load_thumbnails(images, load_runs(folders))
    save_page(report_page(load_runs(folders), pictures=pictures), tmp_path / "r.html")
    opened = []

    def go(**options):
        context = browser.new_context(**options)
        tab = context.new_page()
        errors = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on(
            "request",
            lambda request: (
                errors.append(request.url) if request.url[:4] not in ("file", "data") else None
            ),
        )
        tab.goto((tmp_path / "r.html").as_uri())
        tab.wait_for_function(
            "[...document.querySelectorAll('[data-chart]')].every(one => one.dataset.drawn)"
        )
        opened.append((context, errors))
        return tab

    yield go
    for context, errors in opened:
        context.close()
        assert errors == []


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_whole_and_accessible(visit, scheme, width):
    """On a phone and a desktop, light and dark, the page draws all charts, does not scroll
    sideways, runs no hostile script, and passes axe.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert tab.evaluate("window.hurt") is None
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator(".chart svg, .chart canvas").count() == tab.locator(".chart").count()
    violations = axe.run(tab).response["violations"]
    assert [
        (violation["id"], [node["html"][:200] for node in violation["nodes"]])
        for violation in violations
    ] == []


@pytest.mark.nightly
def test_a_name_that_is_searched_is_shown(visit):
    """The search box can be reached with the keyboard, and shows the neighbours of an object before
    and after, and a ring around it in both maps.
    """
    tab = visit(viewport={"width": 1280, "height": 900})
    box = tab.locator("[data-find]").last
    for _ in range(30):
        tab.keyboard.press("Tab")
        if box.evaluate("box => box === document.activeElement"):
            break
    tab.keyboard.type("object 1")
    match = tab.locator(".change.match")
    assert match.locator("h4").inner_text() == "object 1"
    assert match.locator("li").count() == 12
    assert tab.locator(".hit.lit").count() == 2
    box.fill("no such name")
    assert match.count() == 0


@pytest.mark.nightly
def test_few_pictures_are_on_the_map_from_the_start(visit):
    """With at most 200 objects, every object with a picture is drawn as one, and none is cut."""
    tab = visit(viewport={"width": 390, "height": 900})
    drawn = tab.locator(".map").last.locator("image")
    assert drawn.count() == 40
    assert tab.evaluate(
        """[...document.querySelectorAll(".map image")].every((image) => {
        const [inner, outer] = [image, image.ownerSVGElement].map((x) => x.getBoundingClientRect());
        return inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top
            && inner.bottom <= outer.bottom && image.getAttribute("href").startsWith("data:");
        })"""
    )


@pytest.mark.nightly
def test_axes_have_at_most_six_ticks(visit):
    """No axis of a chart has more than six ticks, on a phone or on a desktop."""
    for width in (390, 1280):
        tab = visit(viewport={"width": width, "height": 900})
        counts = tab.evaluate(
            """[...document.querySelectorAll(".role-axis-label")].map(
            (group) => group.querySelectorAll("text").length)"""
        )
        assert len(counts) > 3
        assert max(counts) <= 6
