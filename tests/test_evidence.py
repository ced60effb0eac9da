"""The README and the results quote the numbers that `make evidence` wrote."""

import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import glocal
from glocal.cli.demo import REAL_RESULT
from glocal.evaluation.anomaly import anomaly
from glocal.evaluation.few_shot import few_shot

ROOT = Path(__file__).parents[1]
RECORD = json.loads((ROOT / "docs" / "evidence.json").read_text(encoding="utf-8"))
COARSE = RECORD.get("coarse", {})
QUOTED_TASKS = (
    "few-shot ncm things 1",
    "few-shot logistic things 2",
    "few-shot ncm animals 1",
    "anomaly animals",
)
"""Of the study of coarse classes: those that other pages than the results quote."""
NUMBER = re.compile(r"(?<![\w.])\.(\d{2,3})(?!\d)")
FILLED = re.compile(r"<!-- evidence: \w+ -->.*?<!-- evidence: end -->", re.DOTALL)


@pytest.fixture(scope="module")
def evidence():
    """Import benchmarks/NAME.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module


def decimals(value, digits=3):
    return f"{value:.{digits}f}".removeprefix("0")


def kept(row):
    return "1" if row["kept"] == 1 else decimals(row["kept"])


def test_the_table_of_the_readme_is_that_of_the_record():
    """The table of the README has the numbers of arms on CLIP in the record."""
    network = "clip-vit-b32"
    columns = ["original", "centred", "glocal", "centred-glocal", "renamed"]
    arms = {row["arm"]: row for row in COARSE["arms"] if row["network"] == network}
    task = "few-shot ncm things 1"
    values = {
        row["arm"]: decimals(row["value"])
        for row in COARSE["rows"]
        if row["network"] == network and row["task"] == task
    }
    expected = [
        [decimals(arms[arm]["agreement"]) for arm in columns],
        [values[arm] for arm in columns],
        [kept(arms[arm]) for arm in columns],
    ]
    text = (ROOT / "README.md").read_text("utf-8").replace("**", "")
    rows = re.findall(r"^\|[^|]*" + 5 * r"\| (\.\d{3}|1) " + r"\|$", text, re.MULTILINE)
    assert list(map(list, rows)) == expected


def test_the_demo_names_a_real_result_of_the_record():
    """The last line of the demo has the one-shot accuracy on categories in the record, before and
    after.
    """
    values = {(row["network"], row["task"], row["arm"]): row["value"] for row in COARSE["rows"]}
    task = ("clip-vit-b32", "few-shot ncm things 1")
    scores = {arm: decimals(values[*task, arm]) for arm in ("original", "glocal")}
    assert f"{scores['glocal']} instead of {scores['original']} of unseen objects" in REAL_RESULT
    assert f"each of {COARSE['sizes']['clip-vit-b32']['things'][1]} categories" in REAL_RESULT


def test_the_tables_of_the_record_are_those_of_the_page(evidence):
    """The tables between comments are, digit for digit, those that the record makes."""
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert len(FILLED.findall(page)) == 17
    assert evidence("evidence").filled(page, RECORD) == page


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_every_fraction_of_the_text_is_in_the_record(page):
    """Each fraction in the text, such as .488, is a number of the record, rounded."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    values = [RECORD["chance"], *RECORD["people"].values(), *RECORD["overfitting"].values()]
    values += [row["value"] for row in (*RECORD["suite"], *RECORD["clip"]["rows"])]
    values += [arm["agreement_fitted"] for arm in RECORD["clip"]["arms"]]
    values += [row[name][1] for row in RECORD["networks"] for name in ("agreement", "agreement_se")]
    values += [row["kept"] for row in RECORD["networks"]]
    values += [abs(row["difference"]) for row in RECORD["clip"]["rows"] if "difference" in row]
    values += [
        row[name]
        for row in RECORD["rows"]
        for name in ("agreement", "agreement_se", "kept", "kept_se")
    ]
    for row in COARSE["arms"]:
        if row["network"] == "clip-vit-b32":
            values += [row["agreement"], row["kept"]]
    for row in COARSE["rows"]:
        if row["network"] == "clip-vit-b32" and row["task"] in QUOTED_TASKS:
            values += [abs(row[name]) for name in ("value", "difference", "half") if name in row]
    rounded = {decimals(value, digits) for value in values for digits in (2, 3)}
    assert sorted({f".{digits}" for digits in NUMBER.findall(text)} - rounded) == []


def test_the_text_of_the_results_quotes_the_tables():
    """Each fraction in the text of the page is in one of its tables or in the record, rounded."""
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    printed = set(NUMBER.findall("".join(FILLED.findall(page))))
    values = [float(f".{digits}") for digits in printed]
    values += [*RECORD["people"].values(), *RECORD["overfitting"].values()]
    values += [value for interval in RECORD["people_intervals"].values() for value in interval]
    values += RECORD["naming"]["original"]
    values += [abs(row["difference"]) for row in RECORD["suite"] if "difference" in row]
    printed |= {decimals(value, digits)[1:] for value in values for digits in (2, 3)}
    text = re.sub(r"p < \.05", "", FILLED.sub("", page).replace("\n", " "))
    quoted = set(NUMBER.findall(text))
    assert len(quoted) > 30
    assert sorted(quoted - printed) == []


@pytest.mark.nightly
def test_every_benchmark_loads():
    """Every name that a benchmark imports from the package or from another benchmark exists."""
    names = [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py"))]
    assert len(names) > 12
    code = f"import sys; sys.path.insert(0, 'benchmarks'); import {', '.join(names)}"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_scores_over_draws_and_images_are_those_of_the_package(evidence):
    """With balanced classes, the scores are those of `few_shot` and `anomaly`, and image terms sum
    to 0.
    """
    study = evidence("evidence_clip")
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    Z = rng.normal(size=(60, 8)) + 1.2 * np.eye(3, 8)[y]
    cell = study.few_shot_cell(Z, y, 2, "ncm")
    score = few_shot(Z, y, Z, y, shots=2, draws=40, probe="ncm", leave_out_shots=True)
    assert cell["draws"] == pytest.approx(score.per_draw)
    assert cell["images"].sum() == pytest.approx(0, abs=1e-12)
    cell = study.anomaly_cell(Z, y)
    shown = study.halves(y, 0)
    score = anomaly(Z[shown], y[shown], Z[~shown], y[~shown])
    assert cell["draws"][0] == pytest.approx(score.auroc)
    assert cell["images"].sum() == pytest.approx(0, abs=1e-12)
    assert study.estimate(cell, cell).mean == 0


def test_scores_of_superclasses_are_those_of_the_package(evidence):
    """With classes in balanced superclasses, the scores are those of the package on the
    same draws.
    """
    study = evidence("evidence_clip")
    rng = np.random.default_rng(0)
    members = np.repeat(np.arange(6), 10)
    y = members // 3
    Z = rng.normal(size=(60, 8)) + np.eye(6, 8)[members] + np.eye(2, 8)[y]
    cell = study.few_shot_cell(Z, y, 2, "ncm", members=members)
    superclass_of = {name: "ab"[name // 3] for name in range(6)}
    settings = {"shots": 2, "draws": 40, "probe": "ncm", "superclasses": superclass_of}
    score = few_shot(Z, members, Z, members, leave_out_shots=True, **settings)
    assert cell["draws"] == pytest.approx(score.per_draw)
    assert cell["images"].sum() == pytest.approx(0, abs=1e-12)
    cell = study.anomaly_cell(Z, y, members=members)
    shown = study.member_halves(y, members, 0)
    assert sorted(y[np.isin(members, np.unique(members[shown]))]) == [0] * 10 + [1] * 10
    score = anomaly(Z[shown], y[shown], Z[~shown], y[~shown])
    assert cell["draws"][0] == pytest.approx(score.auroc)
    assert cell["images"].sum() == pytest.approx(0, abs=1e-12)


def test_an_interval_over_draws_and_images_is_as_wide_as_both_vary(evidence):
    """Over repeated worlds, the interval covers the mean in about 95 % of cases, since it has both
    variances.
    """
    study = evidence("evidence_clip")
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        draws = 0.3 * rng.normal(size=20)
        images = rng.normal(size=60)
        cell = {"draws": draws + images.mean(), "images": (images - images.mean()) / 60}
        estimate = study.estimate(cell)
        inside += abs(estimate.mean) <= estimate.half
    assert 0.92 <= inside / 400 <= 0.98


@pytest.mark.data
def test_what_clip_gains_comes_out_again(evidence, data_dir, monkeypatch):
    """The transform in the package has the scores of `glocal` in the record."""
    study = evidence("evidence_clip")
    transform = glocal.pretrained("clip-vit-b-32")
    monkeypatch.setattr(study.workbench, "DATA", data_dir)
    values = {(row["task"], row["arm"]): row["value"] for row in RECORD["clip"]["rows"]}
    for name in ("cifar10", "cars"):
        X, y = study.images(name)
        scores = {
            f"few-shot ncm {name} 1": study.few_shot_cell(transform(X), y, 1, "ncm"),
            f"anomaly {name}": study.anomaly_cell(transform(X), y),
        }
        for task, cell in scores.items():
            assert cell["draws"].mean() == pytest.approx(values[task, "glocal"], abs=0.002)


@pytest.mark.data
def test_clip_and_its_best_global_come_out_again(data_dir):
    """Three fits on CLIP give the scores of `global` at λ = 1 in the record."""
    from glocal import Answers, Features, join
    from glocal.aligner import FitData
    from glocal.files import read_lines
    from glocal.sweep import sweep

    def unit(folder):
        features = Features.load(folder)
        X = np.asarray(features.matrix, np.float64)
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
        return Features(X.astype(np.float32), features.names, "unit rows")

    things = data_dir / "things"
    objects = unit(things / "features/clip-vit-b32")
    local = unit(data_dir / "local/clip-vit-b32")
    ids = read_lines(things / "unique_id.txt", what="object ids")
    answers = join(objects, Answers.load(things / "triplets.npy"), ids).answers
    result = sweep(FitData(objects, answers, local), {"method": ["global"], "lmbda": [1]})
    measured = {line["method"]: line for line in result.front.to_dict("records")}
    record = {(row["network"], row["method"], row["lmbda"]): row for row in RECORD["rows"]}
    for method, lmbda in (("original", None), ("global", 1.0)):
        row = record["clip-vit-b32", method, lmbda]
        assert measured[method]["agreement"] == pytest.approx(row["agreement"], abs=0.002)
        assert measured[method]["kept"] == pytest.approx(row["kept"], abs=0.004)


def test_the_figure_of_the_axes_shows_the_record(evidence):
    """The figure has each factor and the first names at both ends that `make figure`
    would write.
    """
    study = evidence("axes")
    drawing = study.FIGURE.read_text("utf-8")
    for row in RECORD["axes"]["rows"]:
        if row["factor"] > 1:
            assert f"×{row['factor']:.2f}<" in drawing
            assert row["high"][0].replace("_", " ") in drawing
            assert row["low"][0].replace("_", " ") in drawing
    assert "prefers-color-scheme:dark" in drawing


@pytest.mark.data
def test_the_categories_of_objects_come_out_again(evidence, data_dir, monkeypatch):
    """Features, raw and centred, have the scores on new objects that are in the record."""
    study = evidence("coarse")
    monkeypatch.setattr(study.workbench, "DATA", data_dir)
    network = "clip-vit-b32"
    data = study.data_of(network)
    values = {(row["network"], row["task"], row["arm"]): row["value"] for row in COARSE["rows"]}
    task = "few-shot ncm things 1"
    identity = np.eye(data.features.dimensions, dtype=np.float32)
    for arm, centre in (("original", 0.0), ("centred", 1.0)):
        transform = replace(data, centre=centre).transform(identity)
        cell = study.tasks(network)[task]([transform] * (study.FOLDS + 1))
        assert cell["draws"].mean() == pytest.approx(values[network, task, arm], abs=0.003)
