"""README, results and the page of all results show the numbers that `make evidence` wrote."""

import filecmp
import importlib
import json
import re
import runpy

import numpy as np
import pytest
from world import ROOT, normal

import glocal
from glocal import few_shot
from glocal.cli.suite import REAL_RESULT
from glocal.report.looks import COLOURS

RECORD = json.loads((ROOT / "docs" / "evidence.json").read_text("utf-8"))
CLIP = "clip-vit-b32"
SCORES = {
    (row["network"], row["task"], row["arm"]): row
    for row in RECORD["scores"]
    if row["base"] == "original"
}
ARMS = {row["arm"]: row for row in RECORD["arms"] if row["network"] == CLIP}
SHOT = {"shots": 1, "probe": "ncm"}
NUMBER = re.compile(r"(?<![\w.])\.(\d{2,3})(?!\d)")
PERCENT = re.compile(r"\b(\d{1,2}\.\d)(?= %| to [\d.]+ %| and [\d.]+ %)")


@pytest.fixture(scope="module")
def evidence():
    """Import benchmarks/NAME.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module


def decimals(value, digits=3):
    return f"{value:.{digits}f}".removeprefix("0")


def rounded(values):
    return {decimals(abs(value), digits)[-digits:] for value in values for digits in (2, 3)}


def test_the_table_of_the_readme_is_that_of_the_record():
    """The table of the README has the numbers of arms on CLIP in the record."""
    columns = ["original", "centred", "keep-0.9"]
    expected = [
        [ARMS[arm]["agreement"] for arm in columns],
        [SCORES[CLIP, "things 1", arm]["value"] for arm in columns],
        [ARMS[arm]["neighbours_kept"] for arm in columns],
        [ARMS[arm]["objects_kept"] for arm in columns],
    ]
    text = (ROOT / "README.md").read_text("utf-8").replace("**", "")
    rows = re.findall(r"(?m)^\|[^|]*" + 3 * r"\| ([\d.]+) % " + r"\|$", text)
    numbers = [[float(number) / 100 for number in row] for row in rows]
    np.testing.assert_allclose(numbers, expected, atol=0.0005001)


def test_the_head_of_the_readme_is_that_of_the_record():
    """The README prints what its lines printed when they were measured, states the share of the gap
    that the matrix closes, and shows the drawing of the record.
    """
    text = (ROOT / "README.md").read_text("utf-8")
    assert f"```text\n{RECORD['try']['prints']}\n```" in text
    assert f"```shell\n{RECORD['try']['command']}\n```" in text
    python = RECORD["python"]
    assert f"# {python['prints']} on {python['images']:,} product photographs" in text
    before, after = (ARMS[arm]["agreement"] for arm in ("original", "keep-0.9"))
    ends = [end[0] for end in RECORD["people"].values()]
    low, high = sorted((after - before) / (end - before) for end in ends)
    assert f"closes {100 * low:.0f} to {100 * high:.0f} % of the gap" in " ".join(text.split())
    figure = runpy.run_path(str(ROOT / "docs" / "front_figure.py"))
    for name, layout in (("front", "WIDE"), ("front-narrow", "NARROW")):
        drawn = figure["drawing"](RECORD, figure[layout])
        assert drawn == (ROOT / f"docs/img/{name}.svg").read_text("utf-8")
    counts = [str(RECORD["answer"][key]) for key in ("became_right", "became_wrong")]
    assert all(count in drawn for count in counts)


def test_what_one_would_do_anyway_is_in_the_record():
    """The table of three sets has the numbers of the record, and the text the shares of the gains
    that sorting candidates again keeps.
    """
    text = (ROOT / "docs" / "should-i-use-it.md").read_text("utf-8")
    section = text.split("## Beside what you would do anyway")[1].split("\n## ")[0]
    cells = [re.findall(r"(?<=[ ])\.\d{3}", line) for line in section.splitlines() if "|" in line]
    rows = {(row["set"], row["arm"]): row for row in RECORD["labelled"]}
    recentred = "clip-vit-b-32-centred, recentred"
    expected = []
    shares = {30: [], 100: [], 300: []}
    among_ten = []
    for (name, arm), row in rows.items():
        if arm not in ("original", "centred", recentred):
            continue
        names = ("ncm_1", "logistic_1", "ncm_5", "logistic_5", "map", "precision_1", "precision_10")
        reranked = {each["candidates"]: each["map"] for each in row["reranked"]}
        numbers = [*(row[column] for column in names), *(reranked[n] for n in shares)]
        expected.append([decimals(number) for number in numbers])
        assert reranked[None] == pytest.approx(row["map"], abs=1e-5)
        if arm != "original":
            before = rows[name, "original"]["map"]
            for n, kept in shares.items():
                kept.append(round(100 * (reranked[n] - before) / (row["map"] - before)))
            before = rows[name, "original"]["precision_10"]
            gain = row["reranked"][0]["precision_10"] - before
            among_ten.append(round(100 * gain / (row["precision_10"] - before)))
    assert [line for line in cells if line] == expected
    for kept in (among_ten, *shares.values()):
        assert f"{min(kept)} to {max(kept)} %" in " ".join(section.split())


def test_candidates_are_sorted_again_before_the_others(evidence):
    """The first candidates by one cosine come in the order of the other, then all others as before,
    and the ranking equals that of a search where all are sorted again.
    """
    labelled = evidence("labelled")
    X, Z = normal(12, 5, seed=1), normal(12, 5, seed=2)
    y = np.repeat([0, 1, 2], 4)
    before, after = labelled.cosines(X), labelled.cosines(Z)
    order = labelled.reordered(before, after, 4)
    first = np.argsort(-before, axis=1)
    for query, results in enumerate(order):
        assert [*results[:4]] == sorted(first[query, :4], key=lambda image: -after[query, image])
        assert [*results[4:]] == [*first[query, 4:]]
    whole = labelled.ranking(labelled.reordered(before, after, None), y)
    expected = glocal.retrieval(Z, y)
    assert whole.map == pytest.approx(expected.values["map"])
    assert whole.precision_10 == pytest.approx(expected.values["precision_10"])


def test_the_demo_names_a_real_result_of_the_record():
    """The last line of the demo has the accuracy with one example a category in the record, before
    and after.
    """
    before, after = (SCORES[CLIP, "things 1", arm]["value"] for arm in ("original", "keep-0.9"))
    assert f"{decimals(after)} instead of {decimals(before)} of unseen objects" in REAL_RESULT
    assert f"each of {RECORD['sizes'][CLIP]['things'][1]} categories" in REAL_RESULT


def test_the_page_of_all_results_and_its_tables_are_those_of_the_record(
    evidence, monkeypatch, tmp_path
):
    """The page, its CSV files and the figures are, byte for byte, what the record makes."""
    pages = evidence("evidence_pages")
    monkeypatch.setattr(pages, "PAGE", tmp_path / "all-results.md")
    monkeypatch.setattr(pages, "IMAGES", tmp_path / "img")
    pages.write_page(RECORD)
    pages.draw(RECORD)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")]
    assert len(written) > 8
    assert filecmp.cmpfiles(tmp_path, ROOT / "docs", written, shallow=False)[1:] == ([], [])


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/results.md"])
def test_every_fraction_of_the_text_is_in_the_record(page):
    """Each fraction in the text, such as .488 or 48.8 %, is a number of the record, rounded."""
    text = (ROOT / page).read_text("utf-8")
    text = re.sub(r"```.*?```|^\|.*\|$|p < \.05", "", text, flags=re.DOTALL | re.MULTILINE)
    values = []
    json.loads(json.dumps(RECORD), parse_float=lambda number: values.append(float(number)))
    percents = {number.replace(".", "").zfill(3) for number in PERCENT.findall(text)}
    assert sorted({*NUMBER.findall(text), *percents} - rounded(values)) == []


def test_a_forest_plot_has_the_interval_of_each_difference(evidence):
    """A figure shows a line for each task, and for each arm a dot and the line of its interval."""
    pages = evidence("evidence_pages")
    record = """{"scores": [{"network": "n", "base": "original", "arm": "keep-0.9", "task":
        "things 1", "difference": 0.085, "difference_low": -0.0764, "difference_high": 0.093}]}"""
    plan = """{"title": "T < U", "note": "", "axis": "gain", "columns": ["keep-0.9"],
        "column": "arm", "lines": "task"}"""
    parts = ["categories of unseen objects<", ">1 example a class<", "T &lt; U", "gain →"]
    parts += ["+10<", COLOURS["keep"], "prefers-color-scheme: dark"]
    for is_narrow in (False, True):
        drawing = pages.drawing(*map(json.loads, (record, plan)), is_narrow=is_narrow)
        assert [part for part in parts if part not in drawing] == []
        tick = {
            text: float(x) for x, text in re.findall(r'x="([\d.]+)" y="\d+" [^>]*>(.*?)<', drawing)
        }
        *_, marks = re.findall(
            r'M([\d.]+),\d+H([\d.]+)"/><path class="mark"[^>]* d="M([\d.]+),', drawing
        )
        gains = [(float(x) - tick["0"]) / (tick["+10"] - tick["0"]) / 10 for x in marks]
        assert gains == pytest.approx([-0.0764, 0.093, 0.085], abs=0.001)


def test_gains_have_one_axis_and_are_sorted(evidence):
    """The four figures of gains on CLIP have the same ticks, and begin with the largest gain;
    controls stand apart from arms that people's answers made.
    """
    pages = evidence("evidence_pages")
    plans = {plan["name"]: plan for plan in pages.PLAN["figures"]}
    names = ("gains-coarse", "gains-fine", "gains-anomalies", "gains-retrieval")
    forests = [pages.forest(RECORD, plans[name]) for name in names]
    assert len({tuple(forest["ticks"]) for forest in forests}) == 1
    for forest in forests:
        largest = [max(row["difference"] for _, row in rows) for _, rows in forest["groups"]]
        assert largest == sorted(largest, reverse=True)
    controls = pages.forest(RECORD, plans["controls"])["groups"]
    assert [name.startswith("From people's") for name, _ in controls] == [True, True, False, False]


@pytest.mark.parametrize("is_narrow", [False, True])
def test_a_setting_outside_the_axis_of_a_front_is_an_arrow(evidence, is_narrow):
    """A front has a mark for each setting from 55 to 100 %, and an arrow for each of the others."""
    pages = evidence("evidence_pages")
    (plan,) = [plan for plan in pages.PLAN["figures"] if plan["name"] == "fronts"]
    drawing = pages.drawing(RECORD, plan, is_narrow=is_narrow)
    naive = [row for row in RECORD["arms"] if row["arm"] == "naive"]
    outside = [row for row in RECORD["fronts"] + naive if row["neighbours_kept"] < 0.55]
    inside = len(RECORD["fronts"]) + len(naive) - len(outside)
    assert drawing.count("l9,-4v3h9v2h-9v3z") == len(outside) > len(naive)
    assert drawing.count('class="mark"') == inside + len(plan["columns"])


@pytest.mark.parametrize("is_narrow", [False, True])
def test_a_map_and_a_trade_show_every_row(evidence, is_narrow):
    """A map has a mark for each object before and after, and for each group of its key; a trade
    has one for each share to keep of a network, and for each network of its key.
    """
    pages = evidence("evidence_pages")
    plans = {plan["name"]: plan for plan in pages.PLAN["figures"]}
    points = RECORD["map"]["points"]
    keeps = [row for row in RECORD["keep"] if row["centre"] == 0]
    expected = {
        "map": 2 * len(points) + len({point["group"] for point in points}),
        "keep-coarse": len(keeps) + len({row["network"] for row in keeps}),
    }
    for name, count in expected.items():
        drawing = pages.drawing(RECORD, plans[name], is_narrow=is_narrow)
        assert drawing.count('class="mark"') == count


def test_the_principal_components_of_a_map_are_those_of_unit_rows(evidence):
    """Rows that vary along two axes have these as their coordinates, up to signs."""
    angles = np.linspace(-0.5, 0.5, 11)
    long, short = np.meshgrid(0.4 * angles, 0.1 * angles)
    places = np.stack([long.ravel(), short.ravel()], axis=1)
    rest = np.sqrt(1 - np.square(places).sum(axis=1, keepdims=True))
    rows = 3 * np.hstack([places, rest])
    components = evidence("front").leading_components(rows)
    np.testing.assert_allclose(np.abs(components), np.abs(places), atol=1e-9)


@pytest.mark.parametrize("kind, options", [("anomaly_of", {}), ("few_shot", SHOT)])
def test_pooled_scores_are_the_mean_of_independent_folds(evidence, kind, options):
    """Folds count alike whatever their size, and their errors add as those of independent means."""
    tasks = evidence("tasks")
    rng = np.random.default_rng(0)
    folds = []
    for n in (20, 20, 30):
        y = np.repeat([0, 1, 2], n)
        X = rng.normal(size=(3 * n, 4)) + np.eye(3, 4)[y]
        folds.append(getattr(tasks, kind)(X, y, **options))
    estimates = [fold.units.estimate() for fold in folds]
    pooled = tasks.pooled(folds).units.estimate()
    assert pooled.mean == pytest.approx(np.mean([each.mean for each in estimates]))
    error = np.linalg.norm([each.error for each in estimates]) / 3
    assert pooled.error == pytest.approx(error, rel=0.2)


def test_the_best_name_decides_between_animals_and_vehicles(evidence):
    """An image is right if the best name is that of any class of its superclass; names are scored
    beside examples on the images that each draw tests.
    """
    names = evidence("names")
    X = np.repeat(np.eye(4), 5, axis=0)
    y = np.repeat(["0", "1", "2", "3"], 5)  # two vehicles, then two animals
    swapped = glocal.Features(np.eye(4)[[1, 0, 2, 3]], ("0", "1", "2", "3"))
    alone = names.by_name(X, y, swapped)
    assert alone.accuracy == 0.5
    assert names.animal_or_vehicle(X, y, swapped).units.values.mean() == 1
    examples = few_shot(X, y, **SHOT)
    shown = names.on_the_images_of(alone, examples).units
    assert shown.estimate().mean == 0.5
    assert (np.isnan(shown.values) == np.isnan(examples.units.values)).all()


def test_maps_that_need_no_answers_do_what_their_names_say(evidence):
    """Whitening evens out the variances, and within classes those about the class means; leading
    components are removed, or alone are left.
    """
    maps = evidence("maps").MAPS
    y = np.repeat(["a", "b"], 200)
    spread = np.geomspace(8, 0.25, 80)
    X = normal(400, 80) * spread + 9 * (y == "a")[:, None] * np.eye(80)[3]
    W = {name: matrix_of(X - X.mean(axis=0), y) for name, matrix_of in maps.items()}

    def ratio(name, rows=X):
        variances = (rows @ W[name]).var(axis=0)
        return variances.max() / variances.min()

    assert ratio("whitened-eighth") > ratio("whitened-quarter") > ratio("whitened-half")
    assert ratio("within-class", X[y == "b"]) < ratio("whitened-eighth", X[y == "b"])
    for name, rank in (("without-1", 79), ("without-3", 77), ("first-64", 64)):
        assert np.linalg.matrix_rank(W[name]) == rank
        np.testing.assert_allclose(W[name] @ W[name], W[name], atol=1e-12)


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.* label i is taken")  # in the order of the rows
def test_what_clip_gains_comes_out_again(evidence, data_dir):
    """The transform in the package has the scores of `keep` 0.9 in the record, and features as they
    are the score on categories of new objects.
    """
    transform = glocal.pretrained("clip-vit-b-32")
    for name, (X, y) in evidence("arms").images(CLIP).items():
        expected = pytest.approx(SCORES[CLIP, f"{name} 1", "keep-0.9"]["value"], abs=0.01)
        assert few_shot(transform(X), y, **SHOT).accuracy == expected
    tasks = evidence("tasks")
    data = tasks.data_of(CLIP)
    original = data.transform(np.eye(data.features.dimensions, dtype=np.float32))
    score = tasks.object_tasks(CLIP)["things 1"](dict.fromkeys("012", original)).scores[0]
    expected = SCORES[CLIP, "things 1", "original"]["value"]
    assert score.value == pytest.approx(expected, abs=0.003)


@pytest.mark.data
def test_clip_and_its_best_global_come_out_again(evidence, data_dir):
    """Three fits on CLIP give the scores of `global` at λ = 1 in the record."""
    from glocal.sweep import sweep

    data = evidence("workbench").data_of(CLIP)
    measured = sweep(data, {"method": ["global"], "lmbda": [1]}).front.set_index("method")
    record = {(row["network"], row["method"], row["lmbda"]): row for row in RECORD["fronts"]}
    for method, lmbda in (("original", None), ("global", 1.0)):
        for axis, error in (("agreement", 0.002), ("neighbours_kept", 0.004)):
            expected = record[CLIP, method, lmbda][axis]
            assert measured.loc[method, axis] == pytest.approx(expected, abs=error)
