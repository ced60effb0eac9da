"""Careless people of a study: how many are marked, and how many careful people are too.

People answer questions about 100 THINGS objects by the softmax of the SPoSE-49 similarities, and
careless people answer at random. A fifth of the trials repeats an earlier question, half of these a
question of the same person, as in a study of glocal collect. `participants` marks people with the
features of a network, and without features.

Run: python benchmarks/careless.py [--seeds 10] [--models CLIP efficientnet-lite0 none]. Needs
GLOCAL_DATA_DIR.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd

from glocal.aligner.participants import participants
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import feature_rows
from glocal.data.people import questions
from glocal.data.world import simulated_answers
from glocal.files import read_lines

OBJECTS = 100
SHARE_REPEATED = 0.2
STUDIES = (
    (10, 200, 0.1),
    (20, 100, 0.1),
    (20, 100, 0.2),
    (20, 200, 0.1),
    (60, 200, 0.1),
    (20, 50, 0.1),
)
"""The people, the answers of each, and the share of careless people."""


def simulated_study(
    mind: np.ndarray, n_people: int, each: int, n_careless: int, seed: int
) -> Answers:
    """The answers of a study whose first people are careless."""
    n_repeats = round(SHARE_REPEATED * each / 2)
    n_new = each - 2 * n_repeats
    rng = np.random.default_rng(seed)
    asked = simulated_answers(mind, n_people * n_new, seed=seed).objects
    parts = []
    for person in range(n_people):
        own = asked[person * n_new : (person + 1) * n_new]
        repeated = np.concatenate([rng.choice(own, n_repeats), rng.choice(asked, n_repeats)])
        objects = np.concatenate([own, chosen(mind, repeated, rng)])
        parts.append(rng.permuted(objects, axis=1) if person < n_careless else objects)
    return Answers(np.concatenate(parts), person=np.repeat(np.arange(n_people), each))


def chosen(mind: np.ndarray, objects: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Careful answers to the questions about these objects."""
    shown = Answers(questions(Answers(objects))[0])
    pairs = [mind[shown.objects[:, i]] * mind[shown.objects[:, j]] for i, j in shown.pairs]
    S = np.stack([pair.sum(axis=1) for pair in pairs], axis=1)
    choice = (S + rng.gumbel(size=S.shape)).argmax(axis=1)
    orders = np.stack([shown.with_choice(j) for j in range(3)])
    return orders[choice, np.arange(len(choice))]


def rows(model: str, seeds: int) -> Iterator[dict[str, object]]:
    """The counts for each design of a study, over all seeds."""
    things = workbench.real_data() / "things"
    mind = np.load(things / "spose_49d.npy")
    ids = read_lines(things / "unique_id.txt", what="object ids")
    features = workbench.unit_features(things / "features" / "clip-vit-b32")
    if model not in ("CLIP", "none"):
        features = Features.load(things / "features" / model)
    row_of = feature_rows(features, ids)
    for n_people, each, share in STUDIES:
        n_careless = round(share * n_people)
        caught = wrong = 0
        start = time.process_time()
        for seed in range(seeds):
            rng = np.random.default_rng((seed, n_people, each))
            objects = rng.choice(np.flatnonzero(row_of >= 0), OBJECTS, replace=False)
            answers = simulated_study(mind[objects], n_people, each, n_careless, seed)
            matrix = np.asarray(features.matrix[row_of[objects]], dtype=np.float64)
            table = participants(answers, None if model == "none" else Features(matrix))
            caught += int(table["is_marked"][:n_careless].sum())
            wrong += int(table["is_marked"][n_careless:].sum())
        yield {
            "model": model,
            "people × answers": f"{n_people} × {each}",
            "careless": f"{share:.0%}",
            "recall": f"{caught} of {seeds * n_careless}",
            "precision": f"{caught / max(1, caught + wrong):.2f}",
            "careful ones marked": f"{wrong} of {seeds * (n_people - n_careless)}",
            "processor s": round((time.process_time() - start) / seeds, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--models", nargs="+", default=["CLIP", "efficientnet-lite0", "none"])
    options = parser.parse_args()
    for model in options.models:
        for row in rows(model, options.seeds):
            print(pd.Series(row).to_frame().T.to_string(index=False, header=False), flush=True)


if __name__ == "__main__":
    main()
