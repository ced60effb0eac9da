"""The paper's loop at a tenth of the paper's scale, run to its own end, against the exact solver at full scale.

Simulated people answer on 1854 objects, features have 768 dimensions. The loop (`neurips2023`) runs on 470,000 answers
until its stopping rule, watching answers on 618 further objects, ends it. A step costs the same whatever the number of
answers, and a pass over 4.7 million has ten times as many: so many epochs of such passes are the loop's time at full
scale. The exact solver is run there, and timed when it is as near to its optimum as the loop was to that of the tenth.
For `glocal` the loop is not run to its end: its steps are timed, and its rule's least number of epochs is counted.

Run: python benchmarks/procedure_scale.py --eta 0.01 0.001
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import warnings

import workbench  # isort: skip  before torch

import numpy as np
import torch
from glocal.aligner.profile import NEURIPS2023, profile_of

from glocal.aligner import Fit, Validation, fit_arm
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.world import simulated_answers

N, WATCHED, P, LOCAL, BATCH = 1854, 618, 768, 8 * 1024, 256
FULL = 4_700_000
Curve = list[tuple[float, int, float]]


def world(rng: np.random.Generator) -> tuple[np.ndarray, Features, Features]:
    """What people compare, and features that know a little of it, with a spectrum like that of real networks."""
    mind = np.abs(rng.normal(size=(N + WATCHED, 49))) * 0.5
    seen = np.concatenate([mind, mind[rng.integers(0, N, LOCAL)]])
    mixing = rng.normal(size=(mind.shape[1], P)) / 7
    X = seen @ mixing + rng.normal(size=(len(seen), P)) * np.linspace(2, 0.05, P) ** 2
    X = X.astype(np.float32)
    return mind, Features(X[: N + WATCHED], None, "simulated"), Features(X[N + WATCHED :], None, "simulated")


def timed(objects: Features, answers: Answers, **settings) -> tuple[Fit, Curve]:
    """A fit and the curve of its objective."""
    curve: Curve = []
    began = time.perf_counter()
    fit = fit_arm(
        objects, answers, lmbda=0.1, on_step=lambda n, at: curve.append((time.perf_counter() - began, n, at.value)),
        **settings,
    )  # fmt: skip
    return fit, curve


def loop(eta: float, **changes) -> dict:
    """The settings of the paper's loop."""
    return {"profile": profile_of(dataclasses.replace(NEURIPS2023, **changes), eta=eta)}


def passed(curve: Curve, value: float) -> float:
    """The seconds after which a curve is at or below a value."""
    return next(seconds for seconds, _, at in curve if at <= value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eta", nargs="*", type=float, default=[0.01])
    parser.add_argument("--full", type=int, default=FULL, help="answers of the full scale")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import lightning.pytorch  # noqa: F401  loading it is no part of a fit

    workbench.all_threads()
    mind, objects, images = world(np.random.default_rng(0))
    full = simulated_answers(mind[:N], options.full)
    tenth = full.select(np.arange(options.full // 10))
    watched = Answers(simulated_answers(mind[N:], 50_000, seed=2).answers + N)
    steps = -(-options.full // BATCH)
    print(f"{options.full} answers, {N} objects x {P}, {torch.get_num_threads()} threads; a pass is {steps} steps")
    for method, local in (("global", None), ("glocal", images)):
        whole, curve = timed(objects, full, method=method, local_features=local)
        optimum = whole.record.objective
        print(
            f"{method}: exact at full scale {optimum:.5f} after {curve[-1][0]:.1f} s, {whole.record.evaluations} "
            f"evaluations, {whole.record.status}",
            flush=True,
        )
        if method == "glocal":
            few = full.select(np.arange(min(len(full), 200 * BATCH)))
            _, walked = timed(
                objects, few, method=method, local_features=local, validation=Validation(watched, images),
                **loop(0.01, max_epochs=1, min_epochs=1),
            )  # fmt: skip
            step = walked[-1][0] / walked[-1][1]
            total = step * steps * NEURIPS2023.min_epochs
            print(
                f"  the loop: {1e3 * step:.1f} ms a step, at least {total:.0f} s for {NEURIPS2023.min_epochs} epochs: "
                f"{total / curve[-1][0]:.0f} times the whole exact fit"
            )
            continue
        small, _ = timed(objects, tenth, method=method)
        for eta in options.eta:
            fit, walked = timed(objects, tenth, method=method, **loop(eta), validation=Validation(watched, None))
            seconds, taken, end = walked[-1]
            excess, epochs = end - small.record.objective, fit.record.epochs
            total = seconds / taken * steps * epochs
            there = passed(curve, optimum + excess)
            print(
                f"  the loop at eta {eta:g} on a tenth: {fit.record.status} after {epochs} epochs, {taken} steps, "
                f"{seconds:.0f} s, {1e3 * seconds / taken:.1f} ms a step, {excess:.5f} above the optimum\n"
                f"  at full scale {epochs} epochs are {total:.0f} s; the exact solver is as near after {there:.2f} s: "
                f"{total / there:.0f} times sooner",
                flush=True,
            )


if __name__ == "__main__":
    main()
