"""Timings at full scale compared with the authors' mini-batch step; runs are interleaved.

There are 4.7 M simulated answers on 1,854 objects × 768 dimensions. They are drawn from a published
SPoSE embedding if the data folder has it, otherwise from a random embedding of the same size.

Run: make bench, or python benchmarks/scale.py [--quick].
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import workbench  # isort: skip  before torch

import numpy as np
import torch

from glocal.data.answers import Answers
from glocal.data.world import simulated_answers
from glocal.evaluation.agreement import odd_one_out
from glocal.objective import ChoiceLoss, LocalLoss, Workers, single_threaded_blas

N_OBJECTS = 1854
N_DIMENSIONS = 768
BATCH_SIZE = 256
BLOCK_SIZE = 1024
GLOCAL = Path(sys.executable).with_name("glocal")


def authors_step(
    X: torch.Tensor,
    local: torch.Tensor | None,
    alpha: float = 0.1,
    tau: float = 0.25,
    lmbda: float = 0.1,
):
    """One optimiser step as in the authors' scripts.

    A batch of triplets as dense one-hot rows selects from the projected whole matrix. With the
    local term there is also a block of local images, whose teacher is recomputed. Then come the
    penalty, the backward pass, and SGD with momentum.
    """
    W = torch.nn.Parameter(1e-3 * torch.eye(X.shape[1]))
    optimiser = torch.optim.SGD([W], lr=1e-3, momentum=0.9)
    one_hot = torch.eye(len(X))
    generator = torch.Generator().manual_seed(0)
    off_diagonal = ~torch.eye(BLOCK_SIZE, dtype=torch.bool)

    def similarities(Z: torch.Tensor) -> torch.Tensor:
        Z = torch.nn.functional.normalize(Z, dim=1)
        return (Z @ Z.T)[off_diagonal].reshape(BLOCK_SIZE, -1) / tau

    def step() -> None:
        triplets = torch.randint(0, len(X), (BATCH_SIZE, 3), generator=generator)
        batch = torch.stack([one_hot[triplet] for triplet in triplets]).reshape(-1, len(X))
        anchor, positive, negative = (batch @ (X @ W)).reshape(BATCH_SIZE, 3, -1).unbind(1)
        dots = torch.stack(
            [(anchor * positive).sum(1), (anchor * negative).sum(1), (positive * negative).sum(1)]
        )
        loss = (torch.log(torch.exp(dots).sum(0)) - dots[0]).mean()
        if local is not None:
            number = torch.randint(0, len(local) // BLOCK_SIZE, (1,), generator=generator).item()
            block = local[number * BLOCK_SIZE :][:BLOCK_SIZE]
            teacher = torch.softmax(similarities(block), dim=-1)
            student = similarities(block @ W)
            local_loss = torch.nn.functional.cross_entropy(student, teacher)
            loss = (1 - alpha) * loss + alpha * local_loss
        shrunk = W - torch.eye(X.shape[1]) * W.diagonal().mean()
        (loss + lmbda * (shrunk**2).sum()).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median seconds of each task; the tasks take turns."""
    for task in tasks.values():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def command(*arguments: str) -> tuple[float, float, dict]:
    """The seconds, peak resident gigabytes and JSON of a whole ``glocal`` command."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [GLOCAL, *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(process.stderr.read().decode() if process.stderr else "glocal failed")
    return time.perf_counter() - start, usage.ru_maxrss / 2**20, json.loads(text)


def gradient(X: np.ndarray, answers: Answers, blocks: list[np.ndarray], rounds: int) -> None:
    """One exact gradient, compared with the authors' step and with its own four matrix products."""
    W = 0.05 * np.eye(N_DIMENSIONS, dtype=np.float32)
    Z = X @ W
    G = np.random.default_rng(0).normal(size=(N_OBJECTS, N_OBJECTS)).astype(np.float32)

    def products() -> None:
        X @ W
        Z @ Z.T
        X.T @ (G @ Z)

    with single_threaded_blas() as threads:
        workers = Workers.of(X.shape, len(answers), map(len, blocks), threads)
        loss = ChoiceLoss(X, answers.objects, answers.pairs, workers=workers)
        local = LocalLoss(blocks, 0.25, workers=workers)

        def alone(function: Callable[[np.ndarray], object]) -> Callable[[], object]:
            def call() -> object:
                with single_threaded_blas():
                    return function(W)

            return call

    rows = torch.from_numpy(X)
    tasks = {
        "authors' step, global": authors_step(rows, None),
        "authors' step, glocal": authors_step(rows, torch.from_numpy(np.concatenate(blocks))),
        "exact gradient of L_global": alone(loss),
        "its four matrix products": products,
        "exact gradient of L_local, 8 × 1024": alone(local),
    }
    seconds = interleaved(tasks, rounds)
    for name, value in seconds.items():
        print(f"{name:40s} {1e3 * value:8.1f} ms")
    exact = seconds["exact gradient of L_global"]
    step_ratio = exact / seconds["authors' step, global"]
    product_ratio = exact / seconds["its four matrix products"]
    rate = 2e-9 * N_OBJECTS * N_DIMENSIONS * (2 * N_DIMENSIONS + 2 * N_OBJECTS) / exact
    print(f"exact gradient / authors' step           {step_ratio:8.2f}   (at most 4)")
    print(f"exact gradient / its matrix products     {product_ratio:8.2f}   (at most 2)")
    print(
        f"arithmetic rate of the exact gradient    {rate:8.0f} Gflop/s "
        f"of {rate * product_ratio:.0f}"
    )


def scoring(X: np.ndarray, triplets: Answers) -> None:
    seconds = interleaved({"score": lambda: odd_one_out(X, triplets, interval=False)}, 3)["score"]
    print(f"scoring {len(triplets)} answers          {seconds:8.2f} s     (below 1)")


def whole_fits(folder: Path, X: np.ndarray, blocks: list[np.ndarray], rounds: int) -> None:
    """The whole command compared with the authors' step, in turns."""
    rows = torch.from_numpy(X)
    images = torch.from_numpy(np.concatenate(blocks))
    steps = {"global": authors_step(rows, None), "glocal": authors_step(rows, images)}
    files = {"features": "x.npy", "triplets": "t.npy", "out": "w.npz"}
    for method, step in steps.items():
        if method == "glocal":
            files["local-features"] = "local.npy"
        arguments = ["fit", "--method", method]
        for option, name in files.items():
            arguments += [f"--{option}", str(folder / name)]
        ratios = []
        peaks = []
        for _ in range(rounds):
            before = interleaved({"step": step}, 15)["step"]
            seconds, peak, record = command(*arguments)
            after = interleaved({"step": step}, 15)["step"]
            ratios.append(seconds / ((before + after) / 2))
            peaks.append(peak)
            print(
                f"  fit {method}: {seconds:.1f} s = {ratios[-1]:.0f} steps, {record['status']} "
                f"after {record['evaluations']} evaluations, objective {record['objective']:.6f}"
            )
        print(
            f"whole fit, {method:30s} {statistics.median(ratios):8.0f} authors' steps (at most 300)"
        )
        print(f"peak memory                              {max(peaks):8.2f} GB    (below 2)")


def application(folder: Path, rows: int) -> None:
    """`glocal apply` on .npy files, compared with a product in memory and writing its result."""
    rng = np.random.default_rng(0)
    path = folder / "many.npy"
    out = folder / "many_out.npy"
    product = folder / "product.bin"
    X = rng.standard_normal((rows, N_DIMENSIONS), dtype=np.float32)
    np.save(path, X)
    W = rng.standard_normal((N_DIMENSIONS, N_DIMENSIONS), dtype=np.float32)
    ratios = []
    peaks = []
    for _ in range(3):
        start = time.perf_counter()
        Z = X @ W
        with open(product, "wb") as stream:
            Z.tofile(stream)
            stream.flush()
            os.fsync(stream.fileno())
        product_seconds = time.perf_counter() - start
        del Z
        product.unlink()
        start = time.perf_counter()
        process = subprocess.Popen(
            [GLOCAL, "apply", folder / "w.npz", path, "--out", out], stdout=subprocess.DEVNULL
        )
        peaks.append(peak_anonymous_mb(process))
        seconds = time.perf_counter() - start
        ratios.append(seconds / product_seconds)
        print(f"  apply {seconds:.2f} s, in memory and written {product_seconds:.2f} s")
        out.unlink()
    print(
        f"glocal apply, {rows} rows / in memory   {statistics.median(ratios):8.2f}   (at most 1.3)"
    )
    print(f"peak anonymous resident memory           {max(peaks):8.0f} MB   (below 600)")


def peak_anonymous_mb(process: subprocess.Popen) -> float:
    """The peak of the anonymous memory of a process until it ends, sampled every 20 ms."""
    peak = 0.0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        for line in status.splitlines():
            if line.startswith("RssAnon"):
                peak = max(peak, int(line.split()[1]) / 1e3)
        time.sleep(0.02)
    return peak


def features(mind: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Objects and local images: an embedding in noise, with a spectrum like that of networks."""
    n = N_OBJECTS + 8 * BLOCK_SIZE
    mixing = rng.normal(size=(mind.shape[1], N_DIMENSIONS)) / 7
    noise = rng.normal(size=(n, N_DIMENSIONS)) * np.linspace(2, 0.05, N_DIMENSIONS) ** 2
    minds = np.concatenate([mind, mind[rng.integers(0, N_OBJECTS, 8 * BLOCK_SIZE)]])
    rows = minds @ mixing + noise
    objects = rows[:N_OBJECTS]
    rows = ((rows - objects.mean()) / objects.std()).astype(np.float32)
    return rows[:N_OBJECTS].copy(), rows[N_OBJECTS:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the answers and rows, one round"
    )
    parser.add_argument("--only", choices=["gradient", "scoring", "fit", "apply"])
    options = parser.parse_args()
    scale, rounds = (0.1, 1) if options.quick else (1.0, 3)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rng = np.random.default_rng(0)
    mind = workbench.embedding(rng, N_OBJECTS)
    print(f"simulated answers, {torch.get_num_threads()} threads")
    triplets = simulated_answers(mind, int(4.7e6 * scale))
    X, local = features(mind, rng)
    blocks = np.split(local, 8)
    with tempfile.TemporaryDirectory(dir=os.environ.get("GLOCAL_BENCH_DIR")) as name:
        folder = Path(name)
        np.save(folder / "x.npy", X)
        np.save(folder / "local.npy", local)
        np.save(folder / "t.npy", triplets.objects)
        if options.only in (None, "gradient"):
            gradient(X, triplets, blocks, 9)
        if options.only in (None, "scoring"):
            scoring(X, triplets)
        if options.only in (None, "fit"):
            whole_fits(folder, X, blocks, rounds)
        if options.only in (None, "apply"):
            if not (folder / "w.npz").exists():
                weights = np.eye(N_DIMENSIONS, dtype=np.float32)
                np.savez(folder / "w.npz", weights=weights, mean=0.0, std=1.0)
            application(folder, int(1e6 * scale))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"(largest resident memory of this script: {peak:.1f} GB)")


if __name__ == "__main__":
    main()
