"""README, results and the page of all results show the numbers that `make evidence` wrote."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import glocal
from glocal.cli.demo import REAL_RESULT
from glocal.evaluation.few_shot import few_shot

ROOT = Path(__file__).parents[1]
RECORD = json.loads((ROOT / "docs" / "evidence.json").read_text(encoding="utf-8"))
CLIP = "clip-vit-b32"
SCORES = {
    (row["network"], row["task"], row["arm"]): row
    for row in RECORD["scores"]
    if row["base"] == "original"
}
ARMS = {row["arm"]: row for row in RECORD["arms"] if row["network"] == CLIP}
NUMBER = re.compile(r"(?<![\w.])\.(\d{2,3})(?!\d)")


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


def numbers(value):
    """All numbers in a value of JSON."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [number for part in parts for number in numbers(part)]
    return [value] if isinstance(value, float) else []


def test_the_table_of_the_readme_is_that_of_the_record():
    """The table of the README has the numbers of arms on CLIP in the record."""
    columns = ["original", "centred", "keep-0.9", "centred-keep-0.9"]
    kept = [decimals(ARMS[arm]["kept"]) for arm in columns[1:]]
    expected = [
        [decimals(ARMS[arm]["agreement"]) for arm in columns],
        [decimals(SCORES[CLIP, "things 1", arm]["value"]) for arm in columns],
        ["1", *kept],
    ]
    text = (ROOT / "README.md").read_text("utf-8").replace("**", "")
    rows = re.findall(r"^\|[^|]*" + 4 * r"\| (\.\d{3}|1) " + r"\|$", text, re.MULTILINE)
    assert list(map(list, rows)) == expected


def test_the_demo_names_a_real_result_of_the_record():
    """The last line of the demo has the one-shot accuracy on categories in the record, before and
    after.
    """
    before, after = (
        decimals(SCORES[CLIP, "things 1", arm]["value"]) for arm in ("original", "keep-0.9")
    )
    assert f"{after} instead of {before} of unseen objects" in REAL_RESULT
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
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 8
    for path in written:
        committed = ROOT / "docs" / path.relative_to(tmp_path)
        assert committed.read_text("utf-8") == path.read_text("utf-8"), path.name


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/results.md"])
def test_every_fraction_of_the_text_is_in_the_record(page):
    """Each fraction in the text, such as .488, is a number of the record, rounded."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"```.*?```|^\|.*\|$|p < \.05", "", text, flags=re.DOTALL | re.MULTILINE)
    assert sorted(set(NUMBER.findall(text)) - rounded(numbers(RECORD))) == []


def test_a_forest_plot_has_the_interval_of_each_difference(evidence):
    """A figure shows a line for each task, a dot for each arm, and the text of its interval."""
    pages = evidence("evidence_pages")
    row = {"network": "n", "base": "original", "arm": "keep-0.9", "task": "things 1"}
    row |= {"difference": 0.085, "difference_low": -0.0764, "difference_high": 0.093}
    plan = {"title": "T < U", "columns": ["keep-0.9"], "column": "arm", "lines": "task"}
    drawing = pages.forest({"scores": [row]}, plan)
    assert "categories of unseen objects, 1 image a class<" in drawing
    assert "+.085 [−.076, .093]" in drawing
    assert "T &lt; U" in drawing
    assert "prefers-color-scheme: dark" in drawing


@pytest.mark.nightly
def test_every_benchmark_loads():
    """Every name that a benchmark imports from the package or from another benchmark exists."""
    names = [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py"))]
    assert len(names) > 10
    code = f"import sys; sys.path.insert(0, 'benchmarks'); import {', '.join(names)}"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_pooled_scores_are_the_mean_of_independent_folds(evidence):
    """Folds count alike whatever their size, and their errors add as those of independent means."""
    tasks = evidence("tasks")
    rng = np.random.default_rng(0)
    for score in (tasks.anomaly_of, lambda Z, y: tasks.few_shot_of(Z, y, shots=1, probe="ncm")):
        folds = []
        for n in (20, 20, 30):
            y = np.repeat([0, 1, 2], n)
            folds.append(score(rng.normal(size=(3 * n, 4)) + np.eye(3, 4)[y], y))
        estimates = [fold.units.estimate() for fold in folds]
        pooled = tasks.pooled(folds).units.estimate()
        assert pooled.mean == pytest.approx(np.mean([each.mean for each in estimates]))
        error = np.linalg.norm([each.error for each in estimates]) / 3
        assert pooled.error == pytest.approx(error, rel=0.2)


@pytest.mark.data
def test_what_clip_gains_comes_out_again(evidence, data_dir, monkeypatch):
    """The transform in the package has the scores of `keep` 0.9 in the record."""
    arms = evidence("arms")
    monkeypatch.setenv("GLOCAL_DATA_DIR", str(data_dir))
    transform = glocal.pretrained("clip-vit-b-32")
    for name, (X, y) in arms.images(CLIP).items():
        Z = transform(X)
        score = few_shot(Z, y, shots=1, probe="ncm")
        expected = SCORES[CLIP, f"{name} 1", "keep-0.9"]["value"]
        assert score.accuracy == pytest.approx(expected, abs=0.01)


@pytest.mark.data
def test_clip_and_its_best_global_come_out_again(evidence, data_dir, monkeypatch):
    """Three fits on CLIP give the scores of `global` at λ = 1 in the record."""
    from glocal.sweep import sweep

    monkeypatch.setenv("GLOCAL_DATA_DIR", str(data_dir))
    data = evidence("workbench").data_of(CLIP)
    result = sweep(data, {"method": ["global"], "lmbda": [1]})
    measured = {line["method"]: line for line in result.front.to_dict("records")}
    record = {(row["network"], row["method"], row["lmbda"]): row for row in RECORD["fronts"]}
    for method, lmbda in (("original", None), ("global", 1.0)):
        row = record[CLIP, method, lmbda]
        assert measured[method]["agreement"] == pytest.approx(row["agreement"], abs=0.002)
        assert measured[method]["kept"] == pytest.approx(row["kept"], abs=0.004)


@pytest.mark.data
def test_the_categories_of_objects_come_out_again(evidence, data_dir, monkeypatch):
    """Features as they are have the score on new objects that is in the record."""
    tasks = evidence("tasks")
    monkeypatch.setenv("GLOCAL_DATA_DIR", str(data_dir))
    data = tasks.data_of(CLIP)
    transform = data.transform(np.eye(data.features.dimensions, dtype=np.float32))
    score = tasks.object_tasks(CLIP)["things 1"](dict.fromkeys("012", transform))
    expected = SCORES[CLIP, "things 1", "original"]["value"]
    assert score.scores[0].value == pytest.approx(expected, abs=0.003)
