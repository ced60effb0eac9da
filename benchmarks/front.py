"""Does glocal keep more neighbours than global at equal agreement? Rows with errors, a figure for each network.

The glocal settings are read from a finished sweep of the paper's grid (benchmarks/sweep.py real --keep DIR); a path of
`global` through thirteen λ is swept here on the same folds. In each fold the path of `global` is interpolated at the
agreement of a glocal setting; the difference in neighbours kept is given with its standard error over folds.
Run: python benchmarks/front.py DIR [--network NAME].
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd
from sweep import NETWORKS, real

from glocal.report import front_figure, save_figure
from glocal.sweep import pareto_front, sweep
from glocal.sweep.choice import means_over_folds

_X, _Y = "accuracy_cosine", "neighbours_kept"
LMBDA = tuple(float(f"{value:.3g}") for value in np.logspace(-2, 2, 13))


def differences(glocal: pd.DataFrame, path: pd.DataFrame, original: pd.DataFrame) -> pd.DataFrame:
    """Neighbours kept by each glocal setting less those kept by `global` at equal agreement, fold by fold."""
    found = []
    for fold, settings in glocal.groupby("fold"):
        line = pareto_front(pd.concat([original[original["fold"] == fold], path[path["fold"] == fold]]))
        equal = np.interp(
            settings[_X], line[_X], line[_Y], right=np.nan
        )  # beyond its best agreement global has nothing
        found.append(settings.assign(difference=settings["neighbours_kept"] - equal))
    return pd.concat(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of benchmarks/sweep.py real --keep")
    parser.add_argument("--network", choices=NETWORKS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for network in [options.network] if options.network else NETWORKS:
        here, there = options.folder / network, options.folder / f"{network}-global"
        if not (here / "front.csv").exists():
            continue
        data = real(workbench.real_data(), network)
        found = sweep(data, {"method": "global", "lmbda": list(LMBDA)}, select="loss", out=there, resume=True)
        glocal = pd.read_json(here / "points.jsonl", lines=True)
        original, glocal = (glocal[glocal["method"] == name] for name in ("original", "glocal"))
        rows = differences(glocal, found.points[found.points["method"] == "global"], original)
        save_figure(front_figure([here, there], title=network), options.folder / f"{network}.png")
        means = means_over_folds(glocal.to_dict("records"), 3)
        front = pareto_front(means)
        print(f"\n{network}: original {original[_X].mean():.3f} / 1; global, by λ: agreement, neighbours kept")
        for _, line in found.means[found.means["method"] == "global"].sort_values("lmbda").iterrows():
            print(f"{line['lmbda']:8g}  {_mean(line, _X)}  {_mean(line, _Y)}")
        print("front of glocal: α, λ, τ: agreement, neighbours kept, how many more than global at equal agreement")
        for _, line in front.iterrows():
            same = (rows[["alpha", "lmbda", "tau"]] == line[["alpha", "lmbda", "tau"]].astype(float)).all(axis=1)
            gain = rows["difference"][same].to_numpy()
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            setting = f"{line['alpha']:5g} {line['lmbda']:5g} {line['tau']:5g}"
            print(f"{setting}  {_mean(line, _X)}  {_mean(line, _Y)}  {gain.mean():+.3f} ± {error:.3f}")


def _mean(line: pd.Series, metric: str) -> str:
    return f"{line[metric]:.3f} ± {line[metric + '_se']:.3f}"


if __name__ == "__main__":
    main()
