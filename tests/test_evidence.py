"""The numbers that the README and the pages of results quote are those that `make evidence` wrote."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

import glocal
from glocal.evaluation.anomaly import anomaly
from glocal.evaluation.few_shot import few_shot

ROOT = Path(__file__).parents[1]
RECORD = json.loads((ROOT / "docs" / "evidence.json").read_text(encoding="utf-8"))
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


def setting(row):
    """The setting of a row as the tables of the docs have it."""
    signs = {"α": row["alpha"], "λ": row["lmbda"], "τ": row["tau"]}
    return ", ".join(
        [f"`{row['method']}`", *(f"{sign} {value:g}" for sign, value in signs.items() if value is not None)]
    )


def kept(row):
    return "1" if row["kept"] == 1 else decimals(row["kept"])


def kept_nine_of_ten():
    """The row of CLIP with `keep` 0.9."""
    (row,) = (row for row in RECORD["networks"] if row["network"] == "clip-vit-b32")
    error = decimals(row["agreement_se"][1])
    return "`glocal`, `keep` 0.9", f"{decimals(row['agreement'][1])} ± {error}", decimals(row["kept"])


def test_the_tasks_of_the_readme_are_in_the_record():
    """The last two columns of its table are the one-shot accuracy and the AUROC of each method on CIFAR-10."""
    found = {(row["task"], row["arm"]): decimals(row["value"]) for row in RECORD["clip"]["rows"]}
    rows = re.findall(r"^\| `(\w+)`.* \| (\S+) \| (\S+) \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [row[0] for row in rows] == ["original", "naive", "global", "glocal"]
    assert rows == [(arm, found["few-shot ncm cifar10 1", arm], found["anomaly cifar10", arm]) for arm, *_ in rows]


def test_the_tables_of_the_record_are_those_of_the_page(evidence):
    """The tables between comments are, digit for digit, what the record makes of them."""
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert len(FILLED.findall(page)) == 6
    assert evidence("evidence").filled(page, RECORD) == page


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_every_row_of_a_table_of_scores_is_in_the_record(page):
    """Each other table row with an agreement and its error is, digit for digit, a row that `make evidence` wrote."""
    made = {
        (setting(row), f"{decimals(row['agreement'])} ± {decimals(row['agreement_se'])}", kept(row))
        for row in RECORD["rows"]
    } | {kept_nine_of_ten()}
    text = FILLED.sub("", (ROOT / page).read_text(encoding="utf-8"))
    quoted = [line for line in text.splitlines() if re.match(r"\|.* ± ", line)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in quoted]
    assert len(rows) > 3
    assert [row for row in rows if (row[0].partition(": ")[0], *row[1:3]) not in made] == []


def test_the_fronts_are_those_of_the_record():
    """Each row of the table of five networks has the agreement and the neighbours kept of its setting in the record."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^\| setting \|.*\n(?:\|.*\n)+", text, re.MULTILINE)
    networks, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
    made = {(row["network"], setting(row)): f"{decimals(row['agreement'])}, {kept(row)}" for row in RECORD["rows"]}
    quoted = {
        (network, label): cell
        for label, *cells in lines
        for network, cell in zip(networks[1:], cells, strict=True)
    }  # fmt: skip
    assert {at: made.get(at) for at in quoted} == quoted


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_every_fraction_of_the_text_is_in_the_record(page):
    """Each fraction such as .488 that the text quotes is a number of the record, rounded to as many digits."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    values = [RECORD["chance"], *RECORD["people"].values(), *RECORD["overfitting"].values()]
    values += [row["value"] for row in (*RECORD["suite"], *RECORD["clip"]["rows"])]
    values += [arm["agreement_fitted"] for arm in RECORD["clip"]["arms"]]
    values += [row[name][1] for row in RECORD["networks"] for name in ("agreement", "agreement_se")]
    values += [row["kept"] for row in RECORD["networks"]]
    values += [abs(row["difference"]) for row in RECORD["clip"]["rows"] if "difference" in row]
    values += [row[name] for row in RECORD["rows"] for name in ("agreement", "agreement_se", "kept", "kept_se")]
    known = {decimals(value, digits) for value in values for digits in (2, 3)}
    assert sorted({f".{found}" for found in NUMBER.findall(text)} - known) == []


def test_scores_over_draws_and_images_are_those_of_the_package(evidence):
    """Balanced classes: accuracy and AUROC are those of `few_shot` and `anomaly`; their image terms sum to 0."""
    study, rng = evidence("evidence_clip"), np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    Z = rng.normal(size=(60, 8)) + 1.2 * np.eye(3, 8)[y]
    found = study.few_shot_cell(Z, y, 2, "ncm")
    expected = few_shot(Z, y, Z, y, shots=2, draws=40, probe="ncm", leave_out_shots=True)
    assert found["draws"] == pytest.approx(expected.per_draw)
    assert found["images"].sum() == pytest.approx(0, abs=1e-12)
    found, shown = study.anomaly_cell(Z, y), study.halves(y, 0)
    assert found["draws"][0] == pytest.approx(anomaly(Z[shown], y[shown], Z[~shown], y[~shown]).auroc)
    assert found["images"].sum() == pytest.approx(0, abs=1e-12)
    assert study.estimate(found, found).mean == 0


def test_an_interval_over_draws_and_images_is_as_wide_as_both_vary(evidence):
    """The error is the root of the two variances: over repeated worlds the interval holds the mean in about 95 %."""
    study, rng, inside = evidence("evidence_clip"), np.random.default_rng(1), 0
    for _ in range(400):
        of_draws, of_images = rng.normal(size=20), rng.normal(size=60)
        draws = 0.3 * of_draws + of_images.mean()
        found = study.estimate({"draws": draws, "images": (of_images - of_images.mean()) / 60})
        inside += abs(found.mean) <= found.half
    assert 0.92 <= inside / 400 <= 0.98


@pytest.mark.data
def test_what_clip_gains_comes_out_again(evidence, data_dir, monkeypatch):
    """The transform of the package has the few-shot and anomaly scores that the record has for `glocal`."""
    study, box = evidence("evidence_clip"), glocal.pretrained("clip-vit-b-32")
    monkeypatch.setattr(study.workbench, "DATA", data_dir)
    found = {(row["task"], row["arm"]): row["value"] for row in RECORD["clip"]["rows"]}
    for name in ("cifar10", "cars"):
        X, y = study.images(name)
        few, far = study.few_shot_cell(box(X), y, 1, "ncm"), study.anomaly_cell(box(X), y)
        assert few["draws"].mean() == pytest.approx(found[f"few-shot ncm {name} 1", "glocal"], abs=0.002)
        assert far["draws"].mean() == pytest.approx(found[f"anomaly {name}", "glocal"], abs=0.002)


@pytest.mark.data
def test_clip_and_its_best_global_come_out_again(data_dir):
    """Three fits on CLIP give the agreement and the neighbours kept that the record has for `global` at λ 1."""
    from glocal import Answers, Features, join
    from glocal.aligner import FitData
    from glocal.files import read_lines
    from glocal.sweep import sweep

    def unit(folder):
        found = Features.load(folder)
        X = np.asarray(found.matrix, np.float64)
        return Features((X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), found.names, "unit rows")

    things = data_dir / "things"
    objects, local = (unit(data_dir / where / "clip-vit-b32") for where in ("things/features", "local"))
    ids = read_lines(things / "unique_id.txt", what="object ids")
    answers = join(objects, Answers.load(things / "triplets.npy"), ids).answers
    found = sweep(FitData(objects, answers, local), {"method": ["global"], "lmbda": [1]})
    measured = {line["method"]: line for line in found.front.to_dict("records")}
    for method, lmbda in (("original", None), ("global", 1.0)):
        (row,) = (
            row for row in RECORD["rows"]
            if (row["network"], row["method"], row["lmbda"]) == ("clip-vit-b32", method, lmbda)
        )  # fmt: skip
        assert measured[method]["accuracy_cosine"] == pytest.approx(row["agreement"], abs=0.002)
        assert measured[method]["neighbours_kept"] == pytest.approx(row["kept"], abs=0.004)
