"""The numbers that the README and the first page of the docs quote are those that `make evidence` wrote."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
RECORD = json.loads((ROOT / "docs" / "evidence.json").read_text(encoding="utf-8"))
NUMBER = re.compile(r"(?<![\w.])\.(\d{2,3})(?!\d)")


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


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_every_row_of_a_table_of_scores_is_in_the_record(page):
    """Each table row with an agreement and its error is, digit for digit, a row that `make evidence` wrote."""
    made = {
        (setting(row), f"{decimals(row['agreement'])} ± {decimals(row['agreement_se'])}", kept(row))
        for row in RECORD["rows"]
    }
    quoted = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if re.match(r"\|.* ± ", line)]
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
    values += [row["value"] for row in RECORD["suite"]]
    values += [row[name] for row in RECORD["rows"] for name in ("agreement", "agreement_se", "kept", "kept_se")]
    known = {decimals(value, digits) for value in values for digits in (2, 3)}
    assert sorted({f".{found}" for found in NUMBER.findall(text)} - known) == []


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
