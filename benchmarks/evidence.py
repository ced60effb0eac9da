"""The measured numbers of README and docs, with the commands that made them: make evidence.

people   how well people agree with each other, and one fit that overfits
fronts   the default `glocal sweep` on five networks (all methods, three folds)
arms     the arms and controls of arms.py: agreement, neighbours kept, what each `keep` costs
tasks    few-shot classification, anomaly detection and retrieval by each arm; needs `arms`
answers  agreement as a function of the number of answers
axes     what the transform in the package amplifies
pages    docs/all-results.md with its CSV files, from the record alone
figures  the figures of docs/img that show the record, from the record alone

Each part writes its keys of docs/evidence.json. Without a part, all are measured, in two processes.
Whatever was measured before on the same inputs is read from bench-out/evidence: delete this folder
to measure everything anew. --quick measures a part of `tasks` from few answers and records nothing.

CLIP and BLIP have rows of length 1. Local images are Flickr photographs for CLIP and ImageNet
photographs for the small networks; BLIP has none. Needs GLOCAL_DATA_DIR.

Run: make evidence, or python benchmarks/evidence.py [PART ...] [--networks NAME ...] [--quick].
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import arms
import evidence_pages
import numpy as np
import pandas as pd
import pretrained
import tasks
from workbench import NETWORKS, ROOT, data_of, kept, real_data

import glocal
from glocal.aligner.curve import curve_record, learning_curve
from glocal.evaluation.intervals import holm
from glocal.files import make_folder, write_text

OUT = arms.FOLDER
GLOCAL = Path(sys.executable).with_name("glocal")
FEW_ANSWERS = 4000
"""The learning curve is that of so many answers, and that of all."""
SETTING = ["method", "alpha", "lmbda", "tau"]
SCORES = ["agreement", "agreement_se", "kept", "kept_se", "loss"]
Record = dict[str, Any]


def run(*arguments: object, unless: Path | None = None) -> tuple[str, str]:
    """Run glocal unless a file exists; return its standard output, and the command to type."""
    words = list(map(str, arguments))
    output = ""
    if unless is None or not unless.exists():
        process = subprocess.run([GLOCAL, *words], check=True, stdout=subprocess.PIPE, text=True)
        output = process.stdout
    command = ["glocal"]
    for word in words:
        portable = word.replace(str(real_data()), "$GLOCAL_DATA_DIR").replace(f"{ROOT}/", "")
        command.append(portable if "$" in portable else shlex.quote(portable))
    return output, " ".join(command)


def answer_options() -> tuple[object, ...]:
    """The options for people's answers."""
    things = real_data() / "things"
    return "--triplets", things / "triplets.npy", "--object-ids", things / "unique_id.txt"


def people(_networks: Sequence[str], _quick: bool) -> Record:
    """Ceilings from repeated answers, and a fit with too small a λ."""
    things = real_data() / "things"
    repeated = (
        "--features",
        things / "spose_49d.npy",
        "--answers",
        things / "repeated_answers.csv",
    )
    output, people_command = run("evaluate", "odd-one-out", *repeated, "--json")
    ceiling = json.loads(output)["ceiling"]
    features = ("--features", things / "features" / "efficientnet-lite0")
    transform = make_folder(OUT) / "overfitting.npz"
    arguments = ["fit", *features, *answer_options(), "--method", "global", "--lmbda", 0.1]
    output, fit_command = run(*arguments, "--holdout", 3, "--out", transform, "--json")
    heldout = json.loads(output)["heldout"]
    options = (*features, *answer_options(), "--transform", transform)
    fitted, _ = run("evaluate", "odd-one-out", *options, "--force", "--json")
    return {
        "chance": 1 / 3,
        "people": {name: ceiling[name] for name in ("majority", "leave_one_out")},
        "overfitting": {
            "fitted": json.loads(fitted)["accuracy"],
            "heldout": heldout["agreement"],
            "heldout_loss": heldout["loss"],
        },
        "commands": {"people": people_command, "overfitting": fit_command},
    }


def fronts(networks: Sequence[str], _quick: bool) -> Record:
    """The means of all settings of each network, after those of the original features."""
    rows: list[Any] = []
    commands = {}
    for network in networks:
        files = arms.write_features(network)
        arguments = ["sweep", "--features", files["objects"], *answer_options()]
        arguments += ["--local-features", files.get("local", files["objects"])]
        out = OUT / "sweeps" / network
        resume = ["--resume"] if (out / "points.jsonl").exists() else []
        _, command = run(*arguments, "--out", out, *resume, unless=out / "front.csv")
        commands[f"sweep {network}"] = command.removesuffix(" --resume")
        means = pd.read_csv(out / "means.csv")[[*SETTING, *SCORES]]
        rows += means.assign(network=network).to_dict("records")
    return {"fronts": rows, "commands": commands}


def arm_scores(networks: Sequence[str], quick: bool) -> Record:
    """Agreement and neighbours of each arm, and what each `keep` costs on coarse classes."""
    record: Record = {"arms": [], "keep": [], "lmbda": {}}
    for network in networks:
        curves = arms.make(network, quick)
        record["arms"] += tasks.properties(network)
        record["keep"] += tasks.keep_rows(network, curves)
        record["lmbda"][network] = curves[""]["lmbda"]
    return record


def task_scores(networks: Sequence[str], quick: bool) -> Record:
    """The scores of all arms in all tasks; Holm's correction is over all comparisons."""
    shutil.copytree(
        ROOT / "benchmarks" / "superclasses", arms.DATA / "superclasses", dirs_exist_ok=True
    )
    rows: list[Record] = []
    sizes = {}
    for network in networks:
        sizes[network] = arms.write_data(network)
        folds = tasks.objects(network)
        sizes[network]["things"] = [sum(len(y) for _, y in folds), len(np.unique(folds[0][1]))]
        rows += tasks.measure(network, quick)
    tested = [row for row in rows if row.get("p") is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_corrected"] = p
    return {"scores": rows, "sizes": sizes}


def answers(networks: Sequence[str], _quick: bool) -> Record:
    """Learning curves: agreement with answers to other questions about the same objects."""
    rows = []
    for network in networks:
        data = data_of(network)
        order = np.random.default_rng(0).permutation(len(data.answers))
        for number in (FEW_ANSWERS, len(order)):

            def curve(data: glocal.FitData = data, part: np.ndarray = order[:number]) -> Record:
                return curve_record(learning_curve(data.features, data.answers.select(part)))

            file = OUT / "answers" / f"{network}-{number}.json"
            points = kept(file, data.hashes(local=False), curve)["curve"]
            rows += [{"network": network, **point} for point in points]
    return {"answers": rows}


def axes(_networks: Sequence[str], _quick: bool) -> Record:
    """The axes of the transform in the package, with their stability over folds."""
    data = pretrained.data()
    transform = glocal.pretrained("clip-vit-b-32")
    table = glocal.axes(transform, data.features, folds=pretrained.folds(transform, data))
    rows = json.loads(table.to_json(orient="records"))
    return {"axes": {"chance": table.attrs["chance"], "rows": rows}}


def pages(_networks: Sequence[str], _quick: bool) -> Record:
    """Write the page of all results from the record."""
    evidence_pages.write_page(evidence_pages.load())
    return {}


def figures(_networks: Sequence[str], _quick: bool) -> Record:
    """Draw the figures from the record."""
    evidence_pages.draw(evidence_pages.load())
    return {}


PARTS: dict[str, Callable[[Sequence[str], bool], Record]] = {
    "people": people,
    "fronts": fronts,
    "arms": arm_scores,
    "tasks": task_scores,
    "answers": answers,
    "axes": axes,
    "pages": pages,
    "figures": figures,
}
CHAINS = (("arms", "tasks"), ("fronts", "people", "answers", "axes"))
"""What is measured side by side if no part is named."""


def update(part: str, measured: Record) -> None:
    """Write the measurements of a part, one part at a time."""
    if not measured:
        return
    with open(make_folder(OUT) / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = evidence_pages.load()
        commands = {**record.get("commands", {}), **measured.pop("commands", {})}
        dates = {**record.get("dates", {}), part: datetime.date.today().isoformat()}
        record |= {"made_by": "make evidence", "commands": commands, "dates": dates, **measured}
        text = json.dumps(evidence_pages.rounded(record), indent=1, ensure_ascii=False)
        write_text(evidence_pages.RECORD, text + "\n")


def run_chains(options: list[str]) -> None:
    """Measure all parts, with one process for each chain, which has its share of the cores."""
    cores = sorted(os.sched_getaffinity(0))
    processes = []
    for number, chain in enumerate(CHAINS):
        os.sched_setaffinity(0, cores[number :: len(CHAINS)] or cores)
        processes.append(subprocess.Popen([sys.executable, __file__, *chain, *options]))
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
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument(
        "--quick", action="store_true", help="a small sample, which is not recorded"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if not options.parts:
        run_chains(["--quick"] if options.quick else [])
    for part in options.parts or ("pages", "figures"):
        measured = PARTS[part](options.networks, options.quick)
        if not options.quick and len(options.networks) == len(NETWORKS):
            update(part, measured)


if __name__ == "__main__":
    main()
