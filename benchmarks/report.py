"""Build time, size and opening time of the page of a large run: 1854 objects, 4 arms, a sweep of 80 points on 3 folds.

    python benchmarks/report.py [--thumbnails]

The run is made up (random features); the page is opened in Chromium where that and playwright are installed.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from glocal.data.answers import Answers
from glocal.evaluation.views import BeforeAfter, object_view, save_view
from glocal.report import Thumbnails, load_run, load_thumbnails, report_page, save_page
from glocal.results import to_json
from glocal.transform import LinearTransform

N, P, POINTS, FOLDS = 1854, 768, 80, 3
ARMS = ("original", "naive", "global", "glocal")


def write_suite(folder: Path) -> None:
    """Scores of eight tasks and a view of every arm."""
    rng = np.random.default_rng(0)
    (folder / "views").mkdir(parents=True)
    lines = [
        {"network": "net", "task": f"task {t}", "metric": "accuracy_cosine", "value": 0.5, "low": 0.4, "high": 0.6,
         "n": 100, "split": "heldout", "transform": arm, "p": None, "p_holm": None}
        for t in range(8) for arm in ARMS
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(to_json(line) + "\n" for line in lines))
    X = rng.normal(size=(N, P))
    names = [f"object{i:04d}" for i in range(N)]
    categories = [f"category {i % 27}" for i in range(N)]
    answers = Answers.from_array(np.array([rng.choice(N, 3, replace=False) for _ in range(20_000)]))
    first = None
    for place, arm in enumerate(ARMS):
        W = np.diag(np.linspace(1, 1 + place, P))
        view = object_view(
            X @ W, names, categories=categories, baseline=first,
            parts=[BeforeAfter(X, X @ W, answers)] if place else [],
            people=None if place else answers, weights=W if place else None, features=X, kind="pca",
            meta={"network": "net", "arm": arm, "baseline": "original", "split": "heldout"},
        )  # fmt: skip
        save_view(view, folder / "views" / f"{place}.npz")
        first = first or view


def write_sweep(folder: Path) -> None:
    """Points, means, front and choice of a grid of 80 settings, all of them on the front."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    lines = []
    for fold in range(FOLDS):
        for alpha in (0.05, 0.1, 0.25, 0.5, 1.0):
            for lmbda in (0.01, 0.1, 1.0, 10.0):
                for tau in (0.1, 0.25, 0.5, 1.0):
                    kept = 0.4 + 0.4 * alpha + 0.02 * np.log10(lmbda) + 0.01 * tau + 1e-3 * rng.random()
                    lines.append({
                        "fold": fold, "method": "glocal", "bias": False, "alpha": alpha, "lmbda": lmbda, "tau": tau,
                        "accuracy_cosine": 0.9 - 0.5 * kept, "neighbours_kept": kept, "loss": 1.0,
                        "parts": {"global": 1.0}, "converged": True, "evaluations": 5, "seconds": 0.1,
                    })  # fmt: skip
    (folder / "points.jsonl").write_text("".join(to_json(line) + "\n" for line in lines))
    (folder / "sweep.json").write_text(json.dumps({"data": {"features": "f" * 64}, "seed": 1, "folds": FOLDS}))
    keys, scores = ["method", "bias", "alpha", "lmbda", "tau"], ["accuracy_cosine", "neighbours_kept", "loss"]
    means = pd.DataFrame(lines).groupby(keys, sort=False)[scores].mean().reset_index()
    means[[f"{name}_se" for name in scores]] = 0.01
    means["converged"] = True
    means.to_csv(folder / "means.csv", index=False)
    front = means.copy()
    front.insert(0, "chosen", [number == POINTS // 2 for number in range(len(front))])
    first = {"chosen": False, "method": "original", "accuracy_cosine": 0.4, "neighbours_kept": 1.0, "loss": 1.1}
    pd.concat([pd.DataFrame([first]), front]).to_csv(folder / "front.csv", index=False)
    best = means.iloc[POINTS // 2].to_dict()
    meta = {"sweep": {"rule": "front-knee", "reason": "", "best": best}, "fit": {"converged": True}}
    LinearTransform(np.eye(3, dtype=np.float32), None, 0.0, 1.0, meta).save(folder / "transform.npz")


def write_images(folder: Path) -> None:
    """A smooth picture of 480 pixels with a little noise for every object, as a photograph has it."""
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(2)
    for i in range(N):
        coarse = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).resize((480, 480))
        noisy = np.clip(np.asarray(coarse) + rng.normal(0, 8, (480, 480, 1)), 0, 255).astype(np.uint8)
        drawn = io.BytesIO()
        Image.fromarray(noisy).save(drawn, format="jpeg")
        (folder / f"object{i:04d}.jpg").write_bytes(drawn.getvalue())


def opening_seconds(path: Path) -> tuple[float, float] | None:
    """From asking for the page until every chart is drawn, and of the page's processor; None without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable")
        began = time.perf_counter()
        tab.goto(path.as_uri())
        tab.wait_for_selector("html[data-drawn]", timeout=120_000)
        seconds = time.perf_counter() - began
        metrics = {line["name"]: line["value"] for line in session.send("Performance.getMetrics")["metrics"]}
        browser.close()
    return seconds, metrics["ProcessTime"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--thumbnails", action="store_true", help="with a picture of every object")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        write_suite(folder / "suite")
        write_sweep(folder / "sweep")
        if wanted.thumbnails:
            write_images(folder / "images")
        began, before = time.perf_counter(), time.process_time()
        run = load_run([folder / "suite", folder / "sweep"])
        pictures: Thumbnails | None = load_thumbnails(folder / "images", run) if wanted.thumbnails else None
        shrunk, between = time.perf_counter(), time.process_time()
        page = report_page(run, thumbnails=pictures)
        save_page(page, folder / "report.html")
        built, after = time.perf_counter(), time.process_time()
        opened = opening_seconds(folder / "report.html")
        # on a busy machine the seconds of the processor are those to go by
        print(f"read and shrunk {shrunk - began:.1f} s ({between - before:.1f} s of processor)")
        print(f"built           {built - shrunk:.1f} s ({after - between:.1f} s of processor)")
        print(f"size            {(folder / 'report.html').stat().st_size / 1e6:.2f} MB")
        print(
            "opened          "
            + ("no browser" if opened is None else f"{opened[0]:.1f} s ({opened[1]:.1f} s of processor)")
        )


if __name__ == "__main__":
    main()
