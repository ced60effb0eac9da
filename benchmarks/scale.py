"""Timings at full scale, beside the authors' mini-batch step re-implemented; all ratios come from one interleaved run.

4.7 M simulated answers (drawn from a published SPoSE embedding where the data folder has it, else from a random one of
the same size) on 1854 objects × 768 dimensions. Run: make bench, or python benchmarks/scale.py [--quick].
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
from glocal.objective import ChoiceLoss, LocalLoss, Workers, blas_alone

N, P, BATCH, LOCAL = 1854, 768, 256, 1024
GLOCAL = Path(sys.executable).with_name("glocal")


def authors_step(
    X: torch.Tensor, local: torch.Tensor | None, alpha: float = 0.1, tau: float = 0.25, lmbda: float = 0.1
):
    """One optimiser step as their scripts take it.

    A batch of triplets as dense one-hot rows picks from the re-projected whole matrix; for the local term a
    block of local images with its teacher recomputed; penalty; backward; SGD with momentum.
    """
    W = torch.nn.Parameter(1e-3 * torch.eye(X.shape[1]))
    optimiser = torch.optim.SGD([W], lr=1e-3, momentum=0.9)
    one_hot, generator = torch.eye(len(X)), torch.Generator().manual_seed(0)
    off_diagonal = ~torch.eye(LOCAL, dtype=torch.bool)

    def similarities(Z: torch.Tensor) -> torch.Tensor:
        Z = torch.nn.functional.normalize(Z, dim=1)
        return (Z @ Z.T)[off_diagonal].reshape(LOCAL, -1) / tau

    def step() -> None:
        triplets = torch.randint(0, len(X), (BATCH, 3), generator=generator)
        batch = torch.stack([one_hot[triplet] for triplet in triplets]).reshape(-1, len(X))
        anchor, positive, negative = (batch @ (X @ W)).reshape(BATCH, 3, -1).unbind(1)
        dots = torch.stack([(anchor * positive).sum(1), (anchor * negative).sum(1), (positive * negative).sum(1)])
        loss = (torch.log(torch.exp(dots).sum(0)) - dots[0]).mean()
        if local is not None:
            block = local[torch.randint(0, len(local) // LOCAL, (1,), generator=generator).item() * LOCAL :][:LOCAL]
            teacher = torch.softmax(similarities(block), dim=-1)
            loss = (1 - alpha) * loss + alpha * torch.nn.functional.cross_entropy(similarities(block @ W), teacher)
        shrunk = W - torch.eye(X.shape[1]) * W.diagonal().mean()
        (loss + lmbda * (shrunk**2).sum()).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each task, the tasks taking turns."""
    for task in tasks.values():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def command(*arguments: str) -> tuple[float, float, dict]:
    """Seconds, peak resident gigabytes and the JSON of a whole ``glocal`` command."""
    began = time.perf_counter()
    process = subprocess.Popen([GLOCAL, *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(process.stderr.read().decode() if process.stderr else "glocal failed")
    return time.perf_counter() - began, usage.ru_maxrss / 2**20, json.loads(answer)


def gradient(X: np.ndarray, answers: Answers, blocks: list[np.ndarray], rounds: int) -> None:
    """One exact gradient against the authors' step and against its own four matrix products."""
    W = 0.05 * np.eye(P, dtype=np.float32)
    Z, G = X @ W, np.random.default_rng(0).normal(size=(N, N)).astype(np.float32)

    def products() -> None:
        X @ W
        Z @ Z.T
        X.T @ (G @ Z)

    with blas_alone() as most:
        workers = Workers.of(X.shape, len(answers), map(len, blocks), most)
        loss = ChoiceLoss(X, answers.objects, answers.pairs, workers=workers)
        local = LocalLoss(blocks, 0.25, workers=workers)

        def alone(function: Callable[[np.ndarray], object]) -> Callable[[], object]:
            def call() -> object:
                with blas_alone():
                    return function(W)

            return call

    seconds = interleaved(
        {
            "authors' step, global": authors_step(torch.from_numpy(X), None),
            "authors' step, glocal": authors_step(torch.from_numpy(X), torch.from_numpy(np.concatenate(blocks))),
            "exact gradient of L_global": alone(loss),
            "its four matrix products": products,
            "exact gradient of L_local, 8 × 1024": alone(local),
        },
        rounds,
    )
    flops = 2 * N * P * (2 * P + 2 * N)
    for name, value in seconds.items():
        print(f"{name:40s} {1e3 * value:8.1f} ms")
    exact, step, four = (
        seconds[k] for k in ("exact gradient of L_global", "authors' step, global", "its four matrix products")
    )
    print(f"exact gradient / authors' step           {exact / step:8.2f}   (at most 4)")
    print(f"exact gradient / its matrix products     {exact / four:8.2f}   (at most 2)")
    print(f"arithmetic rate of the exact gradient    {flops / exact / 1e9:8.0f} Gflop/s of {flops / four / 1e9:.0f}")


def scoring(X: np.ndarray, triplets: Answers) -> None:
    seconds = interleaved({"score": lambda: odd_one_out(X, triplets, interval=False)}, 3)["score"]
    print(f"scoring {len(triplets)} answers          {seconds:8.2f} s     (below 1)")


def whole_fits(folder: Path, X: np.ndarray, blocks: list[np.ndarray], rounds: int) -> None:
    """The whole command against the authors' step, taking turns."""
    rows, images = torch.from_numpy(X), torch.from_numpy(np.concatenate(blocks))
    steps = {"global": authors_step(rows, None), "glocal": authors_step(rows, images)}
    common = (
        "fit",
        "--features",
        str(folder / "x.npy"),
        "--triplets",
        str(folder / "t.npy"),
        "--out",
        str(folder / "w.npz"),
    )
    for method, extra in (("global", ()), ("glocal", ("--local-features", str(folder / "local.npy")))):
        ratios, peaks, result = [], [], {}
        for _ in range(rounds):
            step = interleaved({"step": steps[method]}, 15)["step"]
            seconds, peak, result = command(*common, "--method", method, *extra)
            step = (step + interleaved({"step": steps[method]}, 15)["step"]) / 2
            ratios.append(seconds / step)
            peaks.append(peak)
            print(
                f"  fit {method}: {seconds:.1f} s = {seconds / step:.0f} steps, {result['status']} after "
                f"{result['evaluations']} evaluations, objective {result['objective']:.6f}"
            )
        print(f"whole fit, {method:30s} {statistics.median(ratios):8.0f} authors' steps (at most 300)")
        print(f"peak memory                              {max(peaks):8.2f} GB    (below 2)")


def application(folder: Path, rows: int) -> None:
    """`glocal apply` from and to npy against an in-memory product and writing its result."""
    rng = np.random.default_rng(0)
    path, out = folder / "many.npy", folder / "many_out.npy"
    X = rng.standard_normal((rows, P), dtype=np.float32)
    np.save(path, X)
    W = rng.standard_normal((P, P), dtype=np.float32)
    ratios, anonymous = [], 0.0
    for _ in range(3):
        began = time.perf_counter()
        Z = X @ W
        with open(folder / "plain.bin", "wb") as stream:
            Z.tofile(stream)
            stream.flush()
            os.fsync(stream.fileno())
        plain = time.perf_counter() - began
        del Z
        (folder / "plain.bin").unlink()
        began = time.perf_counter()
        process = subprocess.Popen([GLOCAL, "apply", folder / "w.npz", path, "--out", out], stdout=subprocess.DEVNULL)
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            anonymous = max(
                [anonymous, *(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("RssAnon"))]
            )
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        ratios.append(seconds / plain)
        print(f"  apply {seconds:.2f} s, in memory and written {plain:.2f} s")
        out.unlink()
    print(f"glocal apply, {rows} rows / in memory   {statistics.median(ratios):8.2f}   (at most 1.3)")
    print(f"peak anonymous resident memory           {anonymous:8.0f} MB   (below 600)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the answers and rows, one round")
    parser.add_argument("--only", choices=["gradient", "scoring", "fit", "apply"])
    options = parser.parse_args()
    scale, rounds = (0.1, 1) if options.quick else (1.0, 3)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rng = np.random.default_rng(0)
    mind = workbench.embedding(rng, N)
    print(f"simulated answers, {torch.get_num_threads()} threads")
    triplets = simulated_answers(mind, int(4.7e6 * scale))
    # features that know the answers a little: the embedding in noise, with a spectrum like that of real networks
    mixing = rng.normal(size=(mind.shape[1], P)) / 7
    noise = rng.normal(size=(N + 8 * LOCAL, P)) * np.linspace(2, 0.05, P) ** 2
    everything = np.concatenate([mind, mind[rng.integers(0, N, 8 * LOCAL)]]) @ mixing + noise
    everything = ((everything - everything[:N].mean()) / everything[:N].std()).astype(np.float32)
    X, blocks = everything[:N].copy(), np.split(everything[N:], 8)
    with tempfile.TemporaryDirectory(dir=os.environ.get("GLOCAL_BENCH_DIR")) as name:
        folder = Path(name)
        np.save(folder / "x.npy", X)
        np.save(folder / "local.npy", everything[N:])
        np.save(folder / "t.npy", triplets.objects)
        if options.only in (None, "gradient"):
            gradient(X, triplets, blocks, 9)
        if options.only in (None, "scoring"):
            scoring(X, triplets)
        if options.only in (None, "fit"):
            whole_fits(folder, X, blocks, rounds)
        if options.only in (None, "apply"):
            if not (folder / "w.npz").exists():
                np.savez(folder / "w.npz", weights=np.eye(P, dtype=np.float32), mean=0.0, std=1.0)
            application(folder, int(1e6 * scale))
    print(
        f"(largest resident memory of this script: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB)"
    )


if __name__ == "__main__":
    main()
