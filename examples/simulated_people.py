"""Simulated people answer a study of ``glocal collect run`` over HTTP.

    glocal collect run images --out study --people 5 --json > links.json &
    python examples/simulated_people.py links.json --mind mind.npy --images images

Each person has a link. ``--mind`` defines which images they find alike. It has a row for each
image, whose similarities are the cosines of the centred rows, or it is a square matrix of
dissimilarities. Rows are in the order of the file names of ``--images``, with numbers by value. A
person chooses by the softmax of these similarities, or at random with the probability ``--lapse``.
Catch trials, which show one image twice, are answered like the others. The share ``--careless`` of
the people, the last ones, answer every question at random and fast. The first ``--skip`` links are
left to you.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

_PATIENCE = 60.0  # seconds in which the server may start


def similarities(mind: np.ndarray) -> np.ndarray:
    """The cosines of the centred rows, or the negative of a matrix of dissimilarities."""
    is_symmetric = mind.shape[0] == mind.shape[1] and np.allclose(mind, mind.T)
    if is_symmetric and np.allclose(np.diag(mind), 0):
        return -mind / mind.std()
    rows = mind - mind.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


class Person:
    """A person with a link, similarities of the images, a share of random answers, and a seed."""

    def __init__(
        self,
        link: str,
        S: np.ndarray,
        row_of: dict[str, int],
        options: argparse.Namespace,
        seed: int,
    ):
        self.link = link
        self.S = S
        self.row_of = row_of
        self.options = options
        self.lapse = options.lapse
        self.rng = np.random.default_rng([options.seed, seed])

    def answer_all(self) -> int:
        """Consent, answer every trial, and return the number of trials."""
        self._call("/consent", {})
        n_answers = 0
        while (trial := self._call("/trial"))["trial"] is not None:
            rows = [self.row_of[item["name"]] for item in trial["items"]]
            choice = self.choice(trial["kind"], rows)
            seconds = float(self.rng.lognormal(0.7 if self.lapse < 1 else 0.0, 0.4))
            self._call(f"/trial/{trial['trial']}", {"choice": choice, "seconds": seconds})
            n_answers += 1
        return n_answers

    def choice(self, kind: str, rows: list[int]) -> int:
        """The position chosen: the odd one of three, or the one more like the first."""
        a, b, c = rows
        similarity = {0: self.S[b, c], 1: self.S[a, c], 2: self.S[a, b]}  # of the other two
        if kind == "anchor":
            similarity = {1: self.S[a, b], 2: self.S[a, c]}  # of the reference and the choice
        positions = list(similarity)
        if self.rng.random() < self.lapse:
            return int(self.rng.choice(positions))
        # noise of this distribution turns the largest into a draw from the softmax
        noise = self.rng.gumbel(size=len(positions))
        scores = self.options.certainty * np.array(list(similarity.values())) + noise
        return positions[int(np.argmax(scores))]

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.link + path, data, {"Content-Type": "application/json"}
        )
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    content: dict[str, Any] = json.load(reply)
                    return content
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    raise
                time.sleep(float(error.headers.get("Retry-After", 1)))
            except urllib.error.URLError:  # the server is starting
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)


def links_in(path: Path) -> list[str]:
    """The links of people in the output of ``glocal collect run --json``, as soon as it exists."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return list(json.loads(path.read_text(encoding="utf-8"))["people"].values())
        except (FileNotFoundError, json.JSONDecodeError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def natural(name: str) -> list[Any]:
    """The sort key of a file name: numbers by value, letters without case."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", name)]


def main() -> None:
    """Answer the questions of every link."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("links", type=Path, help="the output of glocal collect run --json")
    parser.add_argument(
        "--mind", type=Path, required=True, help="(n, d) rows or (n, n) dissimilarities, .npy"
    )
    parser.add_argument(
        "--images", type=Path, required=True, help="the folder of images; row i is image i"
    )
    parser.add_argument("--certainty", type=float, default=6.0, help="factor on the similarities")
    parser.add_argument("--lapse", type=float, default=0.05, help="share of answers at random")
    parser.add_argument(
        "--careless", type=float, default=0.0, help="share of people who answer at random"
    )
    parser.add_argument("--skip", type=int, default=0, help="number of links that nobody answers")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    names = sorted((path.name for path in options.images.iterdir()), key=natural)
    mind = np.load(options.mind, allow_pickle=False).astype(np.float64)
    if len(mind) != len(names):
        parser.error(
            f"{options.mind} has {len(mind)} rows but {options.images} has {len(names)} images"
        )
    S = similarities(mind)
    row_of = {name: row for row, name in enumerate(names)}
    links = links_in(options.links)[options.skip :]
    people = [Person(link, S, row_of, options, seed) for seed, link in enumerate(links)]
    for person in people[len(people) - round(options.careless * len(people)) :]:
        person.lapse = 1.0
    with ThreadPoolExecutor(len(people)) as pool:
        answered = list(pool.map(Person.answer_all, people))
    print(f"{len(people)} people answered {sum(answered)} trials")


if __name__ == "__main__":
    main()
