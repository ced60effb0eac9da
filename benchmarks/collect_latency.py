"""How long a trial and an answer take with 50 people at once, and while a fit runs.

    python benchmarks/collect_latency.py [--people 50] [--images 5000] [--seconds 60] [--think 1.5] [--database URL]

Makes a study of random pictures, serves it by ``glocal collect`` in a process of its own, and lets simulated people
look at trials, load their images and answer after `--think` seconds in the mean (0: at once). One line of JSON for each
run: latencies in milliseconds as a client on this machine sees them. Then the same while ``glocal fit`` runs again and
again, on random features of as many objects.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

GLOCAL = [sys.executable, "-m", "glocal"]


def draw_images(folder: Path, number: int) -> None:
    """Pictures of the size of photographs on a page: noise that is smooth, so that it compresses as they do."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(number):
        small = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=80)


def serve(images: Path, study: Path, *options: str) -> tuple[subprocess.Popen, dict]:
    """The server, and its links once it has printed them."""
    command = [*GLOCAL, "collect", str(images), "--out", str(study), "--port", "0", "--json", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return server, json.loads(server.stdout.readline())


async def person(link: str, until: float, think: float, seen: dict[str, list[float]], seed: int) -> None:
    """One person: consents, then looks, loads and answers until the time is over."""
    draw = random.Random(seed)
    async with httpx.AsyncClient(base_url=link.rsplit("/r/", 1)[0], timeout=60, verify=False) as client:
        path = "/r/" + link.rsplit("/r/", 1)[1]
        await asyncio.sleep(draw.random() * think)
        (await client.post(f"{path}/consent")).raise_for_status()
        loaded: set[str] = set()
        while time.monotonic() < until:
            trial = await timed(client.get(f"{path}/trial"), seen["trial"])
            if trial["trial"] is None:
                return
            for url in [*(item["url"] for item in trial["items"]), *trial["next"]]:
                if url not in loaded:  # a browser keeps them
                    loaded.add(url)
                    began = time.perf_counter()
                    (await client.get(url)).raise_for_status()
                    seen["image"].append(time.perf_counter() - began)
            await asyncio.sleep(draw.expovariate(1 / think) if think else 0)
            body = {"choice": draw.randrange(3), "seconds": think}
            await timed(client.post(f"{path}/trial/{trial['trial']}", json=body), seen["answer"])


async def timed(request, into: list[float]) -> dict:
    began = time.perf_counter()
    reply = await request
    into.append(time.perf_counter() - began)
    return reply.raise_for_status().json()


async def owner(link: str, until: float, seen: dict[str, list[float]]) -> None:
    """The owner's page, which asks for the state of the study every five seconds."""
    async with httpx.AsyncClient(timeout=60, verify=False) as client:
        while time.monotonic() < until:
            await timed(client.get(f"{link}/state"), seen["state"])
            await asyncio.sleep(5)


async def crowd(printed: dict, seconds: float, think: float) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {"trial": [], "answer": [], "image": [], "state": []}
    until = time.monotonic() + seconds
    people = [person(link, until, think, seen, seed) for seed, link in enumerate(printed["people"].values())]
    await asyncio.gather(*people, owner(printed["owner"], until, seen))
    return seen


def report(what: str, seen: dict[str, list[float]], seconds: float, **more: object) -> None:
    row: dict[str, object] = {"run": what, **more, "answers": len(seen["answer"])}
    row["answers_per_second"] = round(len(seen["answer"]) / seconds, 1)
    for name, values in seen.items():
        if values:
            p50, p99, most = (1000 * np.quantile(values, q) for q in (0.5, 0.99, 1))
            row[name] = {"p50": round(p50, 1), "p99": round(p99, 1), "max": round(most, 1)}
    print(json.dumps(row), flush=True)


def fitting(folder: Path, objects: int) -> subprocess.Popen:
    """A shell that fits again and again, below the server in priority, as the server starts its fits."""
    rng = np.random.default_rng(0)
    np.save(folder / "features.npy", rng.standard_normal((objects, 512)).astype(np.float32))
    np.save(folder / "answers.npy", np.array([rng.permutation(objects)[:3] for _ in range(20_000)]))
    fit = " ".join([*GLOCAL, "fit", "--features", "features.npy", "--triplets", "answers.npy", "--method", "global",
                    "--out", "fit.npz"])  # fmt: skip
    command = f"while :; do nice -n 10 {fit} > fit.log 2>&1 || exit 1; done"
    return subprocess.Popen(["bash", "-c", command], cwd=folder, start_new_session=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--think", type=float, default=1.5)
    parser.add_argument("--database")
    parser.add_argument("--folder", type=Path, help="where the images and the study go; kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True, parents=True)
        if not (folder / "images").exists():
            draw_images(folder / "images", given.images)
        options = ["--people", str(given.people), "--per-person", "1000", "--fastest", "0"]
        options += ["--database", given.database] if given.database else []
        began = time.perf_counter()
        server, printed = serve(folder / "images", folder / "study", *options)
        about = {"people": given.people, "images": printed["images"], "think": given.think, "cores": os.cpu_count()}
        print(json.dumps({"run": "start", "seconds": round(time.perf_counter() - began, 1)}), flush=True)
        try:
            report("alone", asyncio.run(crowd(printed, given.seconds, given.think)), given.seconds, **about)
            fit = fitting(folder, given.images)
            try:
                time.sleep(5)
                report("while fitting", asyncio.run(crowd(printed, given.seconds, given.think)), given.seconds, **about)
                assert fit.poll() is None, (folder / "fit.log").read_text()
            finally:
                os.killpg(fit.pid, 9)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
