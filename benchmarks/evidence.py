"""The measured numbers of README and docs: make evidence.

people   how well people agree with each other, and one fit that overfits
sweep    the default sweep on five networks
arms     the arms and controls of arms.py: agreement, neighbours kept, what each `keep` costs
tasks    few-shot classification, anomaly detection and retrieval by each arm; needs `arms`
maps     linear maps that need no answers, beside the arms; needs `arms`
names    class names beside examples, without and with transforms; needs `arms`
atlas    fits without local images, and the networks at hand in one table
answers  agreement as a function of the number of answers
labelled what one would do anyway beside the arms of `glocal try`, and searches sorted again
front    the head of the README: a real answer, and what its first lines print
pages    docs/all-results.md with its CSV files, from the record alone
figures  the figures of docs/img that show the record, from the record alone

Each part writes its keys of docs/evidence.json. Without a part, all are measured, in two processes.
What was measured before on the same inputs is read from bench-out/evidence: delete this folder to
measure everything anew. With --networks nothing is recorded.

CLIP and BLIP have rows of length 1. Local images are Flickr photographs for CLIP and ImageNet
photographs for the small networks; BLIP has none. Needs GLOCAL_DATA_DIR.

Run: make evidence, or python benchmarks/evidence.py [PART ...] [--networks NAME ...].
"""

import datetime
import fcntl
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import arms
import atlas
import evidence_pages
import front
import labelled
import maps
import names
import numpy as np
import tasks
import workbench
from workbench import LOCAL, data_of, kept, object_ids, real_data

import glocal
from glocal.aligner import cross_score
from glocal.aligner.curve import curve_record, learning_curve
from glocal.evaluation.ceiling import ceiling
from glocal.evaluation.comparison import holm
from glocal.files import make_folder, write_text
from glocal.sweep import sweep

FEW_ANSWERS = 4000
"""The learning curve is that of so many answers, and that of all."""
OVERFITTED = "efficientnet-lite0"
Record = dict[str, Any]


def people(networks: Sequence[str]) -> Record:
    """Ceilings from repeated answers, and a fit with too small a λ."""
    answers = glocal.Answers.load(real_data() / "things" / "repeated_answers.csv")
    ids = object_ids()
    objects = glocal.Features(np.load(real_data() / "things" / "spose_49d.npy"), ids)
    bounds = ceiling(glocal.join(objects, answers, ids).answers)
    assert bounds is not None
    data = data_of(OVERFITTED)
    arm = glocal.ObjectiveSettings(method="global", lmbda=0.1)

    X = glocal.fit(data, arm).transform(data.features.matrix)
    heldout = cross_score(data, arm)
    return {
        "chance": 1 / 3,
        "people": {name: bounds.values[name] for name in ("majority", "leave_one_out")},
        "overfitting": {
            "fitted": glocal.odd_one_out(X, data.answers, interval=False).agreement,
            "heldout": heldout.agreement,
            "heldout_loss": heldout.loss,
        },
    }


def sweeps(networks: Sequence[str]) -> Record:
    """The means of all settings of each network, after those of the original features."""
    rows = []
    for network in networks:
        data = data_of(network)
        data = replace(data, local_features=data.local_features or data.features)
        out = arms.FOLDER / "sweeps" / network
        means = kept(
            out.with_suffix(".json"), data.hashes(local=True), partial(means_of, data, out)
        )
        rows += [{"network": network, **row} for row in means]
    return {"fronts": rows}


def means_of(data: glocal.FitData, out: Path) -> list[Record]:
    """The means of the default sweep over the folds, whose points stay in a folder."""
    columns = ["method", "alpha", "lmbda", "tau"]
    columns += ["agreement", "agreement_se", "neighbours_kept", "neighbours_kept_se", "loss"]
    result = sweep(data, out=out, resume=(out / "points.jsonl").exists())
    means: list[Record] = result.means[columns].to_dict("records")
    return means


def arm_scores(networks: Sequence[str]) -> Record:
    """Agreement and neighbours of each arm, and what each `keep` costs on coarse classes."""
    record: Record = {"arms": [], "keep": [], "lmbda": {}}
    for network in networks:
        curves = arms.make(network)
        record["arms"] += tasks.properties(network)
        record["keep"] += tasks.keep_rows(network, curves)
        record["lmbda"][network] = curves[0]["lmbda"]
    return record


def task_scores(networks: Sequence[str]) -> Record:
    """The scores of all arms in all tasks; Holm's correction is over all comparisons."""
    rows: list[Record] = []
    sizes = {}
    for network in networks:
        sizes[network] = arms.write_data(network)
        folds = tasks.objects(network)
        sizes[network]["things"] = [sum(len(y) for _, y in folds), len(np.unique(folds[0][1]))]
        rows += tasks.measure(network)
    return {"scores": corrected(rows), "sizes": sizes}


def corrected(rows: list[Record]) -> list[Record]:
    """The rows with the p of their differences corrected for each other."""
    tested = [row for row in rows if row.get("p") is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_corrected"] = p
    return rows


def map_scores(networks: Sequence[str]) -> Record:
    """The scores of maps that need no answers."""
    return {"maps": [row for network in networks for row in maps.measure(network)]}


def name_scores(networks: Sequence[str]) -> Record:
    """The scores of class names beside examples; Holm's correction is over these alone."""
    return {"names": corrected(names.measure())}


def atlas_scores(networks: Sequence[str]) -> Record:
    """Networks without local images, alone and on the objects that all have."""
    return atlas.measure(list(networks))


def answers(networks: Sequence[str]) -> Record:
    """Learning curves: agreement with answers to other questions about the same objects."""
    rows = []
    for network in networks:
        data = data_of(network)
        order = np.random.default_rng(0).permutation(len(data.answers))
        for number in (FEW_ANSWERS, len(order)):
            part = data.answers.select(order[:number])
            file = arms.FOLDER / "answers" / f"{network}-{number}.json"
            curve = kept(file, data.hashes(local=False), partial(curve_of, data.features, part))
            rows += [{"network": network, **point} for point in curve["curve"]]
    return {"answers": rows}


def curve_of(features: glocal.Features, part: glocal.Answers) -> Record:
    """The learning curve of some answers, as it is kept."""
    scores = learning_curve(features, part)
    return {**curve_record(scores)}


def labelled_sets(networks: Sequence[str]) -> Record:
    """The scores of what one would do anyway, and of searches that are sorted again."""
    return {"labelled": labelled.measure()}


def head_of_readme(networks: Sequence[str]) -> Record:
    """The answer that the README shows, and what its first lines print."""
    return front.measure()


PARTS: dict[str, Callable[[Sequence[str]], Record]] = {
    "people": people,
    "sweep": sweeps,
    "arms": arm_scores,
    "tasks": task_scores,
    "maps": map_scores,
    "names": name_scores,
    "atlas": atlas_scores,
    "answers": answers,
    "labelled": labelled_sets,
    "front": head_of_readme,
}
SHOWN = {"pages": evidence_pages.write_page, "figures": evidence_pages.draw}
CHAINS = (
    ("arms tasks maps names",),
    ("arms tasks maps --networks efficientnet-lite0", "sweep people atlas answers labelled front"),
)
"""What is measured side by side if no part is named; the largest network is shared out."""


def update(part: str, measured: Record) -> None:
    """Write the measurements of a part, one part at a time."""
    with open(make_folder(arms.FOLDER) / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = evidence_pages.load()
        dates = {**record.get("dates", {}), part: datetime.date.today().isoformat()}
        record |= {"made_by": "make evidence", "dates": dates, **measured}
        text = json.dumps(evidence_pages.rounded(record), indent=1, ensure_ascii=False)
        write_text(evidence_pages.RECORD, text + "\n")


def run_chains() -> None:
    """Measure all parts, with one process for each chain, which has its share of the cores."""
    cores = sorted(os.sched_getaffinity(0))
    processes = []
    for number, chain in enumerate(CHAINS):
        os.sched_setaffinity(0, cores[number :: len(CHAINS)] or cores)
        commands = [f"{sys.executable} {__file__} {line}" for line in chain]
        processes.append(subprocess.Popen(" && ".join(commands), shell=True))
    os.sched_setaffinity(0, cores)
    statuses = [process.wait() for process in processes]
    if any(statuses):
        sys.exit("a part has failed; what was measured is kept")


def main() -> None:
    """Measure the parts in turn, and write after each."""
    parser = workbench.parser(__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS, *SHOWN], default=[])
    parser.add_argument("--networks", nargs="+", choices=LOCAL, default=list(LOCAL))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if not options.parts:
        run_chains()
    for part in options.parts or SHOWN:
        if part in SHOWN:
            SHOWN[part](evidence_pages.load())
            continue
        measured = PARTS[part](options.networks)
        if len(options.networks) == len(LOCAL):
            update(part, measured)


if __name__ == "__main__":
    main()
