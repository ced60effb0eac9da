"""The page, tables and figures of a run: from the folder alone, whole, harmless, and usable in a browser."""

import base64
import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.world import simulated_world
from glocal.errors import DataError, FileError
from glocal.evaluation.views import BeforeAfter, object_view, save_view
from glocal.results import to_json
from glocal.suite import Plan, run_suite
from glocal.transform import LinearTransform

pytest.importorskip("altair")
pytest.importorskip("vl_convert")
pytest.importorskip("jinja2")

from glocal.report import (
    findings,
    load_run,
    load_thumbnails,
    map_figure,
    matrix_figure,
    report_page,
    save_figures,
    save_page,
    save_tables,
    scores_figure,
    slices_figure,
    spectrum_figure,
    tables,
)
from glocal.report.fronts import fronts
from glocal.report.page import script_json
from glocal.report.palette import places
from glocal.report.words import decimals

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
ARMS = ("original", "global", "glocal", "own")


def row(task, metric, value, arm, **more):
    found = {
        "network": NASTY[1], "task": task, "metric": metric, "value": value, "low": value - 0.02, "high": value + 0.02,
        "n": 100, "split": "heldout", "transform": arm, "p": None, "p_holm": None,
    }  # fmt: skip
    return found | more


def suite_rows():
    rows = []
    for place, arm in enumerate(ARMS):
        rows += [row("heldout", "accuracy_cosine", 0.4 + 0.05 * place, arm), row("heldout", "loss", 1.0, arm)]
        rows.append(row(NASTY[0], "accuracy_logistic", 0.6 - 0.1 * place, arm))
        rows.append(row("near", "neighbours_kept", 1 - 0.1 * place, arm))
        if place:
            rows.append(row("heldout", "accuracy_cosine_difference", 0.05 * place, arm, p=0.001, p_holm=0.004))
            holm = 0.01 * place**2
            rows.append(row(NASTY[0], "accuracy_logistic_difference", -0.1 * place, arm, p=0.001, p_holm=holm))
            rows.append(row("near", "neighbours_kept_difference", -0.1 * place, arm, p=1e-9, p_holm=1e-8))
    return [*rows, row("heldout", "ceiling_majority", 0.7, "people")]


def write_suite(folder, n=60, names=None):
    """A finished suite of one network whose every name is hostile, without data."""
    (folder / "views").mkdir(parents=True)
    (folder / "rows.jsonl").write_text("".join(to_json(line) + "\n" for line in suite_rows()))
    plan = {
        "networks": {NASTY[1]: {"features": "f.npy", "local": None}}, "answers": {}, "baseline": "original", "seed": 1,
        "arms": {arm: {} for arm in ARMS}, "tasks": {"heldout": {"kind": "odd-one-out"}}, "folds": 3, "fold": 0,
    }  # fmt: skip
    record = {"plan": plan, "provenance": {"version": "9.9", "data": {NASTY[0]: "0123abcd" * 8}, "seed": 1}}
    (folder / "suite.json").write_text(to_json(record))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 6))
    names = [*NASTY, *(f"object {i}" for i in range(n - len(NASTY)))] if names is None else names
    categories = [NASTY[i % 3] if i % 5 else "other" for i in range(n)]
    answers = Answers.from_array(np.array([rng.permutation(n)[:3] for _ in range(400)]))
    baseline = None
    for place, arm in enumerate(ARMS):
        W = np.diag(np.linspace(1, 1 + place, 6))
        view = object_view(
            X @ W, names, categories=categories, baseline=baseline, people=answers if baseline is None else None,
            parts=[BeforeAfter(X, X @ W, answers)] if place else [], weights=W if place else None, features=X,
            meta={"network": NASTY[1], "arm": arm, "baseline": "original", "split": "heldout"},
        )  # fmt: skip
        save_view(view, folder / "views" / f"{place}.npz")
        baseline = baseline or view


def write_sweep(folder, method="glocal", points=4):
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for fold in range(2):
        for alpha in np.linspace(0.05, 0.5, points) if method == "glocal" else [None]:
            for lmbda in (0.1, 1.0):
                lines.append({
                    "fold": fold, "method": method, "bias": False, "alpha": alpha, "lmbda": lmbda,
                    "tau": None if alpha is None else 0.25, "accuracy_cosine": 0.5 - 0.1 * (alpha or 0) - 0.01 * fold,
                    "neighbours_kept": 0.6 + 0.5 * (alpha or 0) + 0.01 * rng.random(), "loss": 1.2,
                    "parts": {"global": 1.0986123 if lmbda == 1 and alpha == 0.05 else 1.0}, "chance_loss": 1.0986123,
                    "converged": not (lmbda == 1 and alpha == 0.5), "evaluations": 5, "seconds": 0.1,
                })  # fmt: skip
    (folder / "points.jsonl").write_text("".join(to_json(line) + "\n" for line in lines))
    (folder / "sweep.json").write_text(json.dumps({"data": {"features": "f" * 64}, "seed": 3, "folds": 2}))
    table = pd.DataFrame(lines)
    keys = ["method", "bias", "alpha", "lmbda", "tau"]
    means = (
        table.groupby(keys, dropna=False, sort=False)[["accuracy_cosine", "neighbours_kept", "loss"]]
        .mean()
        .reset_index()
    )
    for name in ("accuracy_cosine", "neighbours_kept", "loss"):
        means[f"{name}_se"] = 0.01
    means["converged"] = True
    means.to_csv(folder / "means.csv", index=False)
    front = means.iloc[:3].copy()
    front.insert(0, "chosen", [False, True, False][: len(front)])
    first = {"chosen": False, "method": "original", "accuracy_cosine": 0.4, "neighbours_kept": 1.0, "loss": 1.09}
    pd.concat([pd.DataFrame([first]), front]).to_csv(folder / "front.csv", index=False)
    best = {key: None if pd.isna(value) else value for key, value in means.iloc[1].to_dict().items()}
    meta = {"sweep": {"rule": "front-knee", "reason": "because", "best": best}, "fit": {"converged": True}}
    LinearTransform(np.eye(3, dtype=np.float32), None, 0.0, 1.0, meta).save(folder / "transform.npz")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("runs")
    write_suite(where / "suite")
    write_sweep(where / "sweep")
    write_sweep(where / "sweep-global", "global")
    return [where / "suite", where / "sweep", where / "sweep-global"]


@pytest.fixture(scope="module")
def page(folders):
    return report_page(load_run(folders))


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_a_page_is_written_without_torch_and_without_data(folders, tmp_path):
    """The library reads folders and makes a page in a process that never loads torch or scikit-learn."""
    code = (
        "import sys; from glocal.report import load_run, report_page, save_page\n"
        f"save_page(report_page(load_run({list(map(str, folders))!r})), {str(tmp_path / 'r.html')!r})\n"
        "assert not {'torch', 'sklearn', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "r.html").stat().st_size < 2_000_000


def test_the_page_asks_nothing_of_the_network(page):
    """No element and no rule of the page names another place, and its policy forbids every request."""
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert len(re.findall(r'(?:src|href)="(?:data:|#)', markup)) > 3
    assert not re.search(r'(?:src|href)="(?!data:|#)', markup)
    assert not re.search(r"@import|url\(", page.split("</style>")[0])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src &#39;none&#39;")
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_names_do_not_become_markup(page):
    """Hostile names stand escaped: three script elements, no image, no comment, no template result."""
    assert len(re.findall(r"<script\b", page.split("window.vegaEmbed")[0])) == 2
    assert page.count("<script>") == 2
    assert "<img src=x" not in page
    assert "<!-- a comment" not in page
    assert data_of(page)["objects"]["networks"][0]["names"][:10] == NASTY


def test_json_in_a_script_is_the_same_json():
    """Escaping changes no value, and leaves no angle bracket or ampersand."""
    text = script_json(NASTY)
    assert json.loads(text) == NASTY
    assert not set("<>&") & set(text)
    assert text.isascii()


def test_every_score_is_in_the_table_of_the_page(page):
    """Each main value stands in the page with its interval; those that are significant by more than .01 are marked."""
    table = re.search(r"<table>.*?</table>", page, re.S)[0]
    for line in suite_rows():
        if line["metric"] in ("accuracy_cosine", "accuracy_logistic", "neighbours_kept"):
            assert f"{line['value']:.3f}" in table
            assert f"[{line['low']:.3f}, {line['high']:.3f}]" in table
    assert table.count("significantly higher") == 3
    assert table.count("significantly lower") == 5  # two of three tasks, and all of neighbours kept


def test_a_small_difference_is_not_marked(tmp_path):
    """A change of .01 or less bears no mark in the table, however significant; a larger one does."""
    marks = []
    for change in (0.0099, 0.0101):
        folder = tmp_path / str(change)
        folder.mkdir()
        lines = [row("t", "auroc", 0.5, "original"), row("t", "auroc", 0.5 - change, "own")]
        lines.append(row("t", "auroc_difference", -change, "own", p=1e-9, p_holm=1e-9))
        (folder / "scores.jsonl").write_text("".join(to_json(line) + "\n" for line in lines))
        marks.append(report_page(load_run(folder)).count('aria-label="significantly lower"'))
    assert marks == [0, 1]


def test_a_score_without_an_interval_has_no_line_for_one(tmp_path):
    """Where no arm has an interval the chart has points alone; a single value is told as it is, not as the highest."""
    lines = [row("t", "neighbours_kept", 0.9, "own", low=None, high=None)]
    (tmp_path / "scores.jsonl").write_text("".join(to_json(line) + "\n" for line in lines))
    data = data_of(page := report_page(load_run(tmp_path)))
    assert [layer["mark"]["type"] for layer in data["charts"]["task-0"]["layer"]] == ["point"]
    assert "t: .900 with own" in page


def test_the_front_marks_original_front_and_choice(folders):
    """Points are the means; original, front and choice of each sweep are marked; sweeps of the same data share one."""
    (front,) = fronts(load_run(folders))
    assert [p["method"] for p in front.points].count("original") == 1
    assert [(p["method"], p["settings"]["λ (lmbda)"]) for p in front.points if p["chosen"]] == [
        ("glocal", 1.0), ("global", 1.0),
    ]  # fmt: skip
    assert sum(p["front"] for p in front.points if p["method"] == "glocal") == 3
    means = pd.read_csv(folders[1] / "means.csv")
    np.testing.assert_allclose([p["accuracy"] for p in front.points[:8]], means["accuracy_cosine"])
    assert [p["number"] for p in front.points] == list(range(11))


def test_a_slice_changes_one_parameter_alone(folders):
    """Slices through the choice hold every fold's point at each value, the other parameters as chosen."""
    slices = {(sweep, name): rows for sweep, name, rows in fronts(load_run(folders))[0].slices}
    assert set(slices) == {("sweep", "alpha"), ("sweep", "lmbda"), ("sweep-global", "lmbda")}
    rows = slices["sweep", "alpha"]
    points = [json.loads(line) for line in (folders[1] / "points.jsonl").read_text().splitlines()]
    expected = sorted((p["fold"], p["alpha"], p["accuracy_cosine"]) for p in points if p["lmbda"] == 1)
    assert sorted((int(r["fold"]), r["value"], r["accuracy"]) for r in rows) == expected


def test_findings_say_what_is_amiss(folders):
    """Harm downstream, unconverged and collapsed points and overfitting are said, neighbours once, gains not."""
    said = findings(load_run(folders))
    harm = [sentence for sentence in said if "hurts downstream" in sentence]
    assert [sentence.split(" ")[0] for sentence in harm] == ["global", "glocal"]  # p of the third is 0.09
    assert "changes by -.100 [-.120, -.080]" in harm[0]
    assert any(s.startswith("Unconverged: 2 of 16 points of sweep (fold 0 glocal α 0.5 λ 1 τ 0.25;") for s in said)
    assert any(s.startswith("Collapsed: 2 of 16 points of sweep") for s in said)
    assert any(s.startswith("Overfitted: the choice of sweep ") for s in said)
    (price,) = [sentence for sentence in said if "neighbours are kept" in sentence]
    assert price.startswith("Price: fewer neighbours are kept than by original in 3 of 3 comparisons, most by own")
    assert not any("+." in sentence for sentence in said)


def test_findings_name_wrong_files_and_collapsed_arms(tmp_path):
    """What the view of an arm notes about its transform is a warning of the page."""
    write_suite(tmp_path / "s")
    view = object_view(
        np.ones((60, 2)), [str(i) for i in range(60)],
        meta={"network": "n", "arm": "published", "notes": ["it is another one's."]},
    )  # fmt: skip
    record = json.loads((tmp_path / "s" / "suite.json").read_text())
    record["plan"]["networks"]["n"], record["plan"]["arms"]["published"] = {}, {}
    (tmp_path / "s" / "suite.json").write_text(json.dumps(record))
    save_view(view, tmp_path / "s" / "views" / "z.npz")
    said = findings(load_run(tmp_path / "s"))
    assert said[0] == "Wrong file: it is another one's."
    assert said[1].startswith("Collapsed: published maps all objects of n to one point")


def test_each_warning_has_its_cause(tmp_path):
    """A sweep and a suite without faults have no warning; each fault alone brings its own and no other."""
    write_suite(tmp_path / "suite")
    write_sweep(tmp_path / "sweep")
    rows = [line for line in suite_rows() if line["task"] == "heldout"]
    (tmp_path / "suite" / "rows.jsonl").write_text("".join(to_json(line) + "\n" for line in rows))
    points = [json.loads(line) for line in (tmp_path / "sweep" / "points.jsonl").read_text().splitlines()]
    points = [{**point, "converged": True, "parts": {"global": 1.0}} for point in points]
    front = pd.read_csv(tmp_path / "sweep" / "front.csv").assign(loss=1.25)
    front.to_csv(tmp_path / "sweep" / "front.csv", index=False)

    def said(**changed):
        lines = [{**points[0], **changed}, *points[1:]]
        (tmp_path / "sweep" / "points.jsonl").write_text("".join(to_json(line) + "\n" for line in lines))
        return findings(load_run([tmp_path / "suite", tmp_path / "sweep"]))

    assert said() == []
    assert [s.split(":")[0] for s in said(converged=False)] == ["Unconverged"]
    assert [s.split(":")[0] for s in said(parts={"global": 1.0986123})] == ["Collapsed"]
    # of two candidate pairs log 2 is chance, of three it is learned
    assert [s.split(":")[0] for s in said(parts={"global": 0.6931472}, chance_loss=0.6931472)] == ["Collapsed"]
    assert said(parts={"global": 0.6931472}) == []
    harm = row("few", "accuracy_logistic_difference", -0.1, "global", p=0.001, p_holm=0.004)
    (tmp_path / "suite" / "rows.jsonl").write_text("".join(to_json(line) + "\n" for line in [*rows, harm]))
    (found,) = said()
    assert found.startswith("global hurts downstream")
    assert f"<bdi>{found.split('<')[0][:20]}" in report_page(load_run(tmp_path / "suite"))


def test_an_unfinished_sweep_has_a_page(tmp_path):
    """Points without means: the page says that the sweep is unfinished."""
    write_sweep(tmp_path / "s")
    for name in ("means.csv", "front.csv", "transform.npz"):
        (tmp_path / "s" / name).unlink()
    assert "This sweep is unfinished" in report_page(load_run(tmp_path / "s"))


def test_what_is_no_run_is_said(tmp_path):
    """A folder without scores or points, and damaged files, are one sentence each."""
    with pytest.raises(FileError, match="is not a run folder"):
        load_run(tmp_path)
    write_sweep(tmp_path / "s")
    (tmp_path / "s" / "sweep.json").write_text("[1")
    with pytest.raises(FileError, match=r"sweep\.json is damaged") as caught:
        load_run(tmp_path / "s")
    assert "\n" not in str(caught.value)


def test_settings_without_scores_have_a_page(tmp_path):
    """A setting whose means are undefined is no point of the front."""
    write_sweep(tmp_path / "s")
    means = pd.read_csv(tmp_path / "s" / "means.csv")
    means.loc[0, "accuracy_cosine"] = np.nan
    means.to_csv(tmp_path / "s" / "means.csv", index=False)
    run = load_run(tmp_path / "s")
    assert len(fronts(run)[0].points) == len(means)  # one less, and the original
    save_page(report_page(run), tmp_path / "page.html")


def test_folders_that_do_not_belong_on_one_page_are_said(tmp_path):
    """Two folders with scores of the same arms and tasks, other baselines and versions are three warnings."""
    for name, baseline in (("a", "original"), ("b", "global")):
        write_suite(tmp_path / name, n=12, names=[f"o{i}" for i in range(12)])
        record = json.loads((tmp_path / name / "suite.json").read_text())
        record["plan"]["baseline"], record["provenance"]["version"] = baseline, name
        (tmp_path / name / "suite.json").write_text(to_json(record))
    mixed = [one for one in findings(load_run([tmp_path / "a", tmp_path / "b"])) if one.startswith("Mixed")]
    assert [text.split(";")[0] for text in mixed] == [
        "Mixed: b scores the same arms in the same tasks as another folder",
        "Mixed: the folders compare with global and original",
        "Mixed: the folders are of glocal a and b, which may differ in what they measure.",
    ]
    assert not [one for one in findings(load_run(tmp_path / "a")) if one.startswith("Mixed")]


def test_a_half_written_run_has_page_figures_and_tables(tmp_path):
    """A last line cut by a killed writer is left out; a sweep without means, a suite without views: what there is."""
    write_sweep(tmp_path / "sweep")
    for name in ("means.csv", "front.csv", "transform.npz"):
        (tmp_path / "sweep" / name).unlink()
    with (tmp_path / "sweep" / "points.jsonl").open("a") as stream:
        stream.write('{"fold": 1, "met')
    write_suite(tmp_path / "suite")
    shutil.rmtree(tmp_path / "suite" / "views")
    with (tmp_path / "suite" / "rows.jsonl").open("a") as stream:
        stream.write('{"task"')
    for name, figures, held in (("sweep", 0, []), ("suite", 4, ["scores", "differences"])):
        run = load_run(tmp_path / name)
        assert "<main" in report_page(run)
        assert len(save_figures(run, tmp_path / "f")) == figures
        assert list(tables(run)) == held


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Pictures of the first objects in folders of their own: red above blue, one of them lying on its side."""
    Image = pytest.importorskip("PIL.Image")
    where = tmp_path_factory.mktemp("images")
    for place, name in enumerate([NASTY[2], NASTY[3], NASTY[4], "object 0", "object 1"]):
        image = Image.new("RGB", (100, 200), (255, 0, 0))
        image.paste((0, 0, 255), (0, 100, 100, 200))
        exif = Image.Exif()
        if name == "object 0":
            image = image.transpose(Image.Transpose.ROTATE_90)
            exif[0x0112] = 6
        (where / str(place)).mkdir()
        image.save(where / str(place) / f"{name}.JPG", exif=exif)
    (where / "object 1.png").write_bytes((where / "4" / "object 1.JPG").read_bytes())
    (where / "object 2.jpg").write_bytes((where / "0" / f"{NASTY[2]}.JPG").read_bytes()[:300])
    (where / "nobody.png").write_bytes(b"not read")
    return where


def test_pictures_are_joined_by_name(folders, images):
    """Folder and extension do not count; missing, damaged and several images are a sentence each; others are unread."""
    found = load_thumbnails(images, load_run(folders))
    assert list(found.pictures) == [NASTY[2], NASTY[3], NASTY[4], "object 0", "object 1"]
    missing, damaged, several = found.said
    assert missing.startswith("Pictures: 54 of 60 objects have no image of their name (</script>")
    assert damaged.startswith("Pictures: 1 of 60 are left out because the image object 2.jpg is damaged: ")
    assert "first is shown (object 1)" in several
    assert all("nobody" not in sentence for sentence in found.said)


def test_a_picture_is_small_and_upright(folders, images):
    """At most 64 pixels, sides in proportion, turned as the camera says, without anything else of the file."""
    from PIL import Image

    for uri in load_thumbnails(images, load_run(folders)).pictures.values():
        assert re.match(r"data:image/(webp|jpeg);base64,[\w+/=]+$", uri)
        assert len(uri) < 2000
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
            assert image.size == (32, 64)
            assert not image.getexif()
            red, blue = (image.convert("RGB").getpixel((16, y)) for y in (10, 54))
        assert red[0] > 180 > red[2]
        assert blue[2] > 180 > blue[0]


def test_pictures_that_fit_nothing_are_an_error(folders, images, tmp_path):
    """No image of any object's name, no image at all, and a run without objects are one sentence each."""
    run = load_run(folders)
    (tmp_path / "other.png").write_bytes((images / "object 1.png").read_bytes())
    with pytest.raises(DataError, match=r"has the name of an object: images are named like other\.png, objects like"):
        load_thumbnails(tmp_path, run)
    (tmp_path / "other.png").unlink()
    with pytest.raises(FileError, match="there is no image"):
        load_thumbnails(tmp_path, run)
    with pytest.raises(DataError, match="no objects in this run"):
        load_thumbnails(images, load_run(folders[1]))


def test_a_page_with_pictures_is_as_harmless(folders, images):
    """Pictures are data of the page like names; the policy is the same, and networks share them."""
    run = load_run(folders)
    page = report_page(run, thumbnails=load_thumbnails(images, run))
    assert page.count("<script>") == 2
    assert "<img src=x" not in page
    assert "54 of 60 objects have no image" in page
    objects = data_of(page)["objects"]
    assert len(objects["pictures"]) == 5
    assert objects["networks"][0]["pictures"][:12] == [-1, -1, 0, 1, 2, -1, -1, -1, -1, -1, 3, 4]


def test_an_arm_looks_alike_everywhere():
    """Methods keep their colours whatever else is in the report, and no two of the first eight arms share one."""
    assert places(["original", "glocal", "a", "b", "c", "global", "naive", "d"]) == {
        "original": 3, "glocal": 0, "a": 4, "b": 5, "c": 6, "global": 1, "naive": 2, "d": 7,
    }  # fmt: skip
    assert len(places([str(i) for i in range(30)])) == 30


def test_tables_say_the_same_in_three_formats(folders, tmp_path):
    """CSV reads back; Markdown has as many bars in every line; LaTeX has no bare special character."""
    run = load_run(folders)
    written = save_tables(run, tmp_path)
    assert {path.name for path in written} == {
        f"{name}.{ending}" for name in ("scores", "differences", "front-sweep", "front-sweep-global")
        for ending in ("csv", "md", "tex")
    }  # fmt: skip
    scores = tables(run)["scores"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "scores.csv").astype(str), scores.astype(str))
    assert scores["heldout"].tolist() == [
        "0.400 [0.380, 0.420]", "0.450 [0.430, 0.470]*", "0.500 [0.480, 0.520]*", "0.550 [0.530, 0.570]*"
    ]  # fmt: skip
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in (tmp_path / "scores.md").read_text().splitlines()}
    assert len(bars) == 1
    body = (tmp_path / "scores.tex").read_text()
    assert not re.search(r"(?<!\\)[_%$#]", body)


def test_figures_are_written_once_each(folders, tmp_path):
    """Scores, fronts, slices, maps, matrices and spectra come as PNG and PDF, hostile names or not."""
    run = load_run(folders[:2])
    network, views = next(iter(run.views.items()))
    some = dataclasses.replace(run, views={network: dict(list(views.items())[:2])})
    written = save_figures(some, tmp_path)
    names = {path.stem for path in written}
    assert sorted(name.split("-")[0] for name in names) == ["front", "map", "matrix", "scores", "slices", "spectrum"]
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"%PDF")


def layers(figure):
    """The layers of all panels of a figure that are drawn with a colour of their own scale."""
    return [layer for panel in figure["concat"] for layer in panel["layer"] if "color" in layer["encoding"]]


def map_numbers(before, after):
    """What titles say of two views: correlations with people's matrix, and how many of ten neighbours stay."""
    people, m = before.people.values(), len(before.people.cells)
    found = []
    for values in (before.rdm.values(), after.rdm.values()):
        pairs = []
        for i in range(m):
            for j in range(i + 1, m):
                cells = [
                    values[a, b] for a in range(len(values)) for b in range(len(values))
                    if (a * m // len(values), b * m // len(values)) == (i, j)
                ]  # fmt: skip
                if not np.isnan(people[i, j]):
                    pairs.append((np.mean(cells), people[i, j]))
        found.append(decimals(np.corrcoef(np.transpose(pairs))[0, 1]))
    stays = [len(set(a) & set(b)) for a, b in zip(before.neighbours.tolist(), after.neighbours.tolist(), strict=True)]
    return found, f"{np.mean(stays):.1f}"


def test_figures_name_what_they_show(folders):
    """Scores have the ceiling of people, slices a legend of folds, matrices the names of categories and of the unit.

    The titles of maps and matrices say how many neighbours stay, and how dissimilarities correlate with people's.
    """
    run = load_run(folders)
    views = run.views[NASTY[1]]
    assert "ceiling_majority" in json.dumps(scores_figure(run).to_dict())
    assert all(layer["encoding"]["color"]["title"] == "fold" for layer in layers(slices_figure(run).to_dict()))
    matrices = matrix_figure(views["original"], views["own"]).to_dict()
    text = json.dumps(matrices)
    assert all(json.dumps(category) in text for category in {*NASTY[:3], "other"})
    correlation, kept = map_numbers(views["original"], views["own"])
    assert (
        matrices["title"]
        == f"Correlation with people's dissimilarities: {correlation[0]} before and {correlation[1]} after"
    )
    assert map_figure(views["original"], views["own"]).to_dict()["title"].endswith(f" {kept} stay with own")
    units = [layer["encoding"]["color"]["title"] for layer in layers(matrices)]
    assert units == ["1 - cosine", "1 - cosine", "share that found another pair more alike"]
    with pytest.raises(DataError, match="original has no spectrum"):
        spectrum_figure(views["original"])


def test_matrices_before_and_after_share_a_scale(folders):
    """The same colour is the same dissimilarity in both, and the pictures are the matrices, to the 8 bits of each."""
    views = load_run(folders).views[NASTY[1]]
    figure = matrix_figure(views["original"], views["own"]).to_dict()
    (low, high), after, _ = (layer["encoding"]["color"]["scale"]["domain"] for layer in layers(figure))
    assert after == [low, high]
    urls = re.findall(r"data:image/png;base64,([\w+/=]+)", json.dumps(figure))
    Image = pytest.importorskip("PIL.Image")
    for url, matrix in zip(urls, (views["original"].rdm, views["own"].rdm), strict=False):
        with Image.open(io.BytesIO(base64.b64decode(url))) as picture:
            shown = low + np.asarray(picture) / 254 * (high - low)
        np.testing.assert_allclose(shown, matrix.values(), atol=0.51 * (high - low) / 254)


def test_the_command_writes_page_figures_and_tables(folders, tmp_path, capsys):
    """--json is one object that names every file; warnings are in it and nothing else is on standard output."""
    out = tmp_path / "r.html"
    assert execute(["report", *map(str, folders), "--out", str(out), "--tables", str(tmp_path / "t"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == out.stat().st_size
    assert all(Path(path).is_file() for path in told["files"])
    assert len(told["files"]) == 13
    assert told["warnings"] == findings(load_run(folders))
    assert "pictures" not in told
    assert execute(["report", str(tmp_path), "--out", str(out)]) == 1
    assert "is not a run folder" in capsys.readouterr().err
    assert execute(["report", str(folders[0])]) == 2


SUITE = """
categories = "c.csv"
[answers]
triplets = "t.npy"
[networks.net]
features = "net"
[arms.original]
[arms.global]
method = "global"
lmbda = 0.1
[tasks.heldout]
kind = "odd-one-out"
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The files of a small suite, and the suite."""
    where = tmp_path_factory.mktemp("small")
    made = simulated_world(
        n_superordinate=3, n_category=4, n_object=4, n_local=40, n_triplets=6_000, dimensions=24, seed=3
    )
    (where / "net").mkdir()
    np.save(where / "net" / "features.npy", made.objects.matrix)
    (where / "net" / "file_names.txt").write_text("\n".join(made.objects.names) + "\n")
    np.save(where / "t.npy", made.triplets.answers)
    lines = [f"{name},kind{i // 16}\n" for i, name in enumerate(made.objects.names)]
    (where / "c.csv").write_text("object,category\n" + "".join(lines))
    (where / "suite.toml").write_text(SUITE)
    return where


def test_a_suite_writes_what_its_report_reads(small, tmp_path):
    """Views of every arm and the provenance lie in the folder; a second run leaves views of the same content alone."""
    plan = Plan.load(small / "suite.toml")
    result = run_suite(plan, tmp_path)
    run = load_run(tmp_path)
    assert list(run.views["net"]) == ["original", "global"]
    view = run.views["net"]["global"]
    differences = result.rows[result.rows["metric"] == "accuracy_cosine_difference"]
    assert view.meta["difference"][0] == pytest.approx(differences["value"].iloc[0])
    assert set(view.categories) == {"kind0", "kind1", "kind2"}
    assert run.suites[tmp_path.name]["provenance"]["data"].keys() == {"net", "t.npy", "c.csv"}
    assert run.fits[tmp_path.name]["net, global"]["converged"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "views").iterdir()}
    run_suite(plan, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "views").iterdir()} == before
    changed = (small / "suite.toml").read_text().replace("lmbda = 0.1", "lmbda = 1.0")
    (small / "changed.toml").write_text(changed)
    run_suite(Plan.load(small / "changed.toml"), tmp_path)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "views").iterdir()}
    assert [path.name for path in after if after[path] != before[path]] == ["net-global.npz"]
    assert "net" in report_page(load_run(tmp_path))


def test_no_two_arms_share_a_file_and_an_arm_that_is_gone_is_not_shown(small, tmp_path):
    """Networks a and a-b with arms b-c, c and b/c have views and fits of their own; a removed arm has none."""
    arms = '[arms.b-c]\nmethod = "global"\nlmbda = 0.5\n[arms.c]\n[arms."b/c"]\nmethod = "global"\nlmbda = 2.0\n'
    networks = '[networks.a]\nfeatures = "net"\n[networks.a-b]\nfeatures = "net"\n'
    text = SUITE[: SUITE.index("[networks")] + networks + arms + SUITE[SUITE.index("[tasks") :]
    text = 'baseline = "c"\n' + text
    (small / "pairs.toml").write_text(text)
    run_suite(Plan.load(small / "pairs.toml"), tmp_path)
    run = load_run(tmp_path)
    for network in ("a", "a-b"):
        assert list(run.views[network]) == ["c", "b-c", "b/c"]
        for arm, view in run.views[network].items():
            assert (view.meta["network"], view.meta["arm"]) == (network, arm)
        assert run.views[network]["c"].axes is None
        assert {arm: view.meta["settings"].get("lmbda") for arm, view in run.views[network].items()} == {
            "c": None, "b-c": 0.5, "b/c": 2.0,
        }  # fmt: skip
        assert [run.fits[tmp_path.name][f"{network}, {arm}"]["lmbda"] for arm in ("b-c", "b/c")] == [0.5, 2.0]
    written = {path.stem for path in save_figures(run, tmp_path / "figures")}
    assert len([name for name in written if name.startswith("map-")]) == 4
    (small / "fewer.toml").write_text(text.replace(arms[arms.index('[arms."b/c"]') :], ""))
    run_suite(Plan.load(small / "fewer.toml"), tmp_path)
    fewer = load_run(tmp_path)
    assert {network: list(views) for network, views in fewer.views.items()} == {"a": ["c", "b-c"], "a-b": ["c", "b-c"]}
    assert set(fewer.fits[tmp_path.name]) == {"a, b-c", "a-b, b-c"}


def test_a_view_is_of_all_that_it_shows(small, tmp_path):
    """Names of objects that were mended are in the next view, though the numbers are the same."""
    shutil.copytree(small, tmp_path / "files")
    names = tmp_path / "files" / "file_names.txt"
    shutil.move(tmp_path / "files" / "net" / "features.npy", tmp_path / "files" / "o.npy")
    shutil.move(tmp_path / "files" / "net" / "file_names.txt", names)
    text = SUITE.replace('"net"', '"o.npy"').replace('categories = "c.csv"\n', "")
    (tmp_path / "files" / "suite.toml").write_text(text)
    plan = Plan.load(tmp_path / "files" / "suite.toml")
    run_suite(plan, tmp_path / "s")
    names.write_text(names.read_text().replace("object", "thing"))
    run_suite(plan, tmp_path / "s")
    assert all(name.startswith("thing") for name in load_run(tmp_path / "s").views["net"]["global"].names)


def test_an_unknown_map_of_a_suite_is_said(small):
    """The suite names the maps there are."""
    (small / "map.toml").write_text('map = "tsne"\n' + SUITE)
    from glocal.errors import ParameterError

    with pytest.raises(ParameterError, match="map 'tsne'; allowed are auto, pca, umap"):
        Plan.load(small / "map.toml")


@pytest.fixture
def visit(browser, page, tmp_path):
    """Open the page; yields it with what the console said and what was requested."""
    contexts = []

    def opened(content=page, **options):
        save_page(content, tmp_path / "r.html")
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.said, tab.asked = [], []
        tab.on("console", lambda message: tab.said.append(message.text))
        tab.on("pageerror", lambda error: tab.said.append(str(error)))
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.goto((tmp_path / "r.html").as_uri())
        tab.wait_for_selector("html[data-drawn]", timeout=30_000)
        return tab

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_page_opens_whole(visit, scheme, width):
    """Every chart is drawn, the console is silent, nothing leaves the machine, no name ran, nothing is cut off."""
    tab = visit(color_scheme=scheme, viewport={"width": width, "height": 800})
    assert tab.said == []
    assert [url for url in tab.asked if not url.startswith(("data:", "file:"))] == []
    places, marks = tab.evaluate(
        "[document.querySelectorAll('[data-chart]').length, [...document.querySelectorAll('[data-chart]')].filter("
        "(p) => p.querySelector('canvas, svg .mark-symbol path, svg .mark-line path')).length]"
    )
    assert places == marks == 3 + 1 + 3 + 4
    assert tab.evaluate("window.hurt") is None
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_search_finds_an_object_and_its_neighbours(visit, folders):
    """A name typed by keyboard shows that object's neighbours before and after, and its flips alone if asked."""
    tab = visit()
    views = load_run(folders).views[NASTY[1]]
    tab.select_option("#arm", label="own")
    for object_, name in ((0, NASTY[0]), (4, NASTY[4]), (20, "object 10")):
        tab.fill("#search", name)
        tab.keyboard.press("Enter")
        for when, view in (("before", views["original"]), ("after", views["own"])):
            shown = tab.eval_on_selector_all(f"#neighbours-{when} button", "(all) => all.map((b) => b.textContent)")
            assert shown == [view.names[i] for i in view.neighbours[object_]]
    tab.check("#flips-of-object")
    rows = tab.eval_on_selector_all("#gained tbody tr", "(all) => all.map((row) => row.textContent)")
    assert len(rows) == max(1, sum(20 in answer for answer in views["own"].gained.tolist()))
    tab.fill("#search", "nothing of this name")
    assert tab.text_content("#found") == "No object has this in its name."
    assert tab.said == []
    assert tab.evaluate("window.hurt") is None


def test_a_point_of_the_front_shows_its_settings(visit):
    """Choosing from the list and clicking a point both show that point's settings."""
    tab = visit(viewport={"width": 1280, "height": 900})
    label = tab.eval_on_selector("#point-0 option:nth-child(4)", "(o) => o.textContent")
    tab.select_option("#point-0", label=label)
    alpha = re.search(r"α ([\d.]+)", label)[1]
    assert f"α (alpha){float(alpha):g}"[:12] in tab.text_content("#settings-0")
    marks = tab.locator('[data-chart="front-0"] .mark-symbol path')
    marks.first.scroll_into_view_if_needed()
    before = tab.text_content("#settings-0")
    for place in range(marks.count()):
        marks.nth(place).click(force=True)
        if tab.text_content("#settings-0") != before:
            break
    assert tab.text_content("#settings-0") != before
    assert tab.said == []


def test_arrow_keys_go_along_the_front(visit):
    """From the list or the chart every point of the front is reached by keys: right goes to more neighbours kept."""
    tab = visit()
    points = tab.evaluate("page.fronts[0]")
    strong = sorted((p for p in points if p["strong"] or p["chosen"]), key=lambda p: (p["kept"], p["accuracy"]))
    tab.focus("figure.front")
    tab.keyboard.press("Home")
    for point in strong:
        assert tab.input_value("#point-0") == str(point["number"])
        assert point["method"] in tab.text_content("#settings-0")
        tab.keyboard.press("ArrowRight")
    assert tab.input_value("#point-0") == str(strong[-1]["number"])
    tab.keyboard.press("ArrowLeft")
    assert tab.input_value("#point-0") == str(strong[-2]["number"])
    assert tab.said == []


def test_pictures_are_shown_beside_names(visit, folders, images):
    """The object looked for, its neighbours, flips and what the pointer is on in a map have their pictures."""
    run = load_run(folders)
    tab = visit(
        content=report_page(run, thumbnails=load_thumbnails(images, run)), viewport={"width": 1280, "height": 900}
    )
    assert tab.is_hidden("#portrait")
    tab.fill("#search", "object 0")
    assert tab.get_attribute("#portrait", "alt") == "picture of object 0"
    assert tab.evaluate("document.getElementById('portrait').naturalHeight") == 64
    assert tab.locator("#hover").is_hidden()
    tab.locator('[data-chart="map-before"]').scroll_into_view_if_needed()
    x, y = tab.evaluate(
        "(() => { const v = views.get('map-before'), box = document.querySelector('[data-chart=map-before] canvas')"
        ".getBoundingClientRect(), row = v.data('objects')[10], o = v.origin();"
        "return [box.x + o[0] + v.scale('x')(row.x), box.y + o[1] + v.scale('y')(row.y)]; })()"
    )
    tab.mouse.move(x, y)
    tab.wait_for_selector("#hover img:not([hidden])")
    assert tab.text_content("#hover p") == "object 0"
    tab.mouse.move(0, 0)
    tab.wait_for_selector("#hover", state="hidden")
    near = load_run(folders).views[NASTY[1]]["original"].neighbours
    with_pictures = next(i for i in range(60) if {2, 3, 4, 10, 11} & set(near[i].tolist()))
    tab.evaluate(f"choose({with_pictures})")
    shown = tab.locator("#neighbours-before .thumb").count()
    assert shown == len({2, 3, 4, 10, 11} & set(near[with_pictures].tolist()))
    assert tab.locator("#gained .thumb, #lost .thumb").count() > 0
    assert tab.said == []
    assert tab.evaluate("window.hurt") is None


def test_the_theme_is_switched_by_its_button(visit):
    """The button turns the page dark, and every chart with it."""
    tab = visit(color_scheme="light")
    tab.click("#theme")
    tab.wait_for_timeout(300)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"
    colours = "[...document.querySelectorAll('svg .role-axis-title text')].map((t) => t.getAttribute('fill'))"
    tab.wait_for_function(f"{colours}.every((c) => c === '#e8eaed')")


def test_a_dark_page_is_printed_light(visit):
    """Before printing every chart is drawn in the colours of white paper, afterwards in those of the page again."""
    tab = visit(color_scheme="dark")
    colours = "[...document.querySelectorAll('svg .role-axis-title text')].map((t) => t.getAttribute('fill'))"
    for event, ink in (("beforeprint", "#1b1f24"), ("afterprint", "#e8eaed")):
        tab.evaluate(f"dispatchEvent(new Event('{event}'))")
        tab.wait_for_function(f"{colours}.every((c) => c === '{ink}')", timeout=30_000)
    assert len(tab.evaluate(colours)) > 3


def test_the_page_is_accessible(visit):
    """The checks of axe-core, where GLOCAL_AXE names its script, find nothing serious."""
    script = os.environ.get("GLOCAL_AXE")
    if not script:
        pytest.skip("GLOCAL_AXE is unset: it names axe.min.js")
    for scheme in ("light", "dark"):
        tab = visit(color_scheme=scheme)
        run = "(source) => { (0, eval)(source); return axe.run(document); }"
        found = tab.evaluate(run, Path(script).read_text(encoding="utf-8"))
        assert len(found["passes"]) > 15
        assert [(v["id"], v["impact"]) for v in found["violations"] if v["impact"] in ("serious", "critical")] == []
