"""Who answers as if at random: people planted in real and in simulated studies.

A tenth of the people of a study get answers at random in place of their own, to the same questions.
The table has, for each study and model, the share of the planted people who are marked beside the
share that the fitted beta-binomial expects, and the share of the others who are marked. Others of
a real study may be careless themselves: the last column leaves out those who are marked in the
study as it is.

videos     108 people × 220 answers about 250 videos; features are ratings
eggs       416 people × 50 answers about 30 drawings
simulated  20 people × 100 answers about 100 THINGS objects, who choose by the softmax of the SPoSE
           similarities; features are those of CLIP

Needs GLOCAL_DATA_DIR, and five minutes of processor time.

Run: python benchmarks/people.py
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import workbench
from scipy.stats import binom

from glocal import Answers, Features, import_answers, people, simulated_answers
from glocal.aligner.people import SIGNIFICANCE, careful_rates, log10_odds

SHARE_PLANTED = 0.1
SEEDS = 5


def videos(_seed: int) -> tuple[Answers, Features]:
    """The answers of the video study, and the ratings of the videos."""
    folder = workbench.real_data() / "videos"
    answers = import_answers(
        folder / "answers.csv", columns={"seconds": "response_seconds"}
    ).answers
    return answers, Features.load(folder / "ratings.npy")


def eggs(_seed: int) -> tuple[Answers, None]:
    """The answers of the study of alien eggs, of which there are no features."""
    folder = workbench.real_data() / "anchors" / "alien_eggs"
    columns = {"reference": "anchor", "seconds": "response_seconds"}
    return import_answers(folder / "answers.csv", columns=columns).answers, None


def simulated(seed: int) -> tuple[Answers, Features]:
    """Answers of 20 people with the same mind about 100 THINGS objects, and features of CLIP."""
    mind = np.load(workbench.real_data() / "things" / "spose_49d.npy")
    objects = np.random.default_rng(seed).choice(len(mind), 100, replace=False)
    answers = simulated_answers(mind[objects], 2000, seed=seed)
    clip = workbench.data_of("clip-vit-b32").features
    names = tuple(workbench.object_ids()[number] for number in objects)
    person = np.arange(2000) % 20
    return replace(answers, person=person, names=names), clip


STUDIES = {"videos": videos, "eggs": eggs, "simulated": simulated}


def planted(answers: Answers, seed: int) -> tuple[Answers, np.ndarray]:
    """The answers with those of a tenth of the people at random, and who these are."""
    rng = np.random.default_rng(seed)
    person = np.asarray(answers.person)
    everybody = np.unique(person)
    careless = rng.choice(everybody, round(SHARE_PLANTED * len(everybody)), replace=False)
    objects = answers.objects.copy()
    first = 0 if answers.kind == "odd-one-out" else 1  # the reference stays
    rows = np.isin(person, careless)
    objects[rows, first:] = rng.permuted(objects[rows, first:], axis=1)
    return replace(answers, objects=objects), careless


def expected_share(table: pd.DataFrame, careless: np.ndarray, chance: float) -> float:
    """The share of people at random who would be marked, by the fitted careful rates."""
    n = table["n"].to_numpy()
    agreeing = (table["model"] * n).round().astype(int).to_numpy()
    rates = careful_rates(agreeing, n, table["is_marked"].to_numpy(), chance)
    shares = []
    for person in np.flatnonzero(table.index.isin(careless)):
        numbers = np.arange(n[person] + 1)
        odds = partial(log10_odds, n=n[person], rates=rates[[person]], chance=chance)
        is_marked = (odds(numbers) > 1) & (odds(round(n[person] * chance)) > 1)
        is_marked &= binom.sf(numbers - 1, n[person], chance) >= SIGNIFICANCE
        shares.append(binom.pmf(numbers, n[person], chance) @ is_marked)
    return float(np.mean(shares))


def scores(study: str, model: str, seed: int) -> dict[str, object]:
    """The shares of one study with planted people."""
    original, features = STUDIES[study](seed)
    answers, careless = planted(original, seed)
    if model == "without features":
        features = None
    table = people(answers, features)
    table["n"] = pd.Series(answers.person).groupby(answers.person).size()
    is_planted = table.index.isin(careless)
    is_marked = table["is_marked"]
    was_marked = people(original, features)["is_marked"]
    return {
        "study": study,
        "model": model,
        "seed": seed,
        "agreement": table["model"][~is_planted].mean(),
        "marked of the planted": is_marked[is_planted].mean(),
        "expected": expected_share(table, careless, answers.chance),
        "marked of the others": is_marked[~is_planted].mean(),
        "newly marked": is_marked[~is_planted & ~was_marked].mean(),
    }


def main() -> None:
    """Print a row for each draw, and the means of each study and model."""
    workbench.parser(__doc__).parse_args()
    rows = []
    for study in STUDIES:
        models = ["without features"] if study == "eggs" else ["without features", "with features"]
        for model in models:
            for seed in range(SEEDS):
                rows.append(scores(study, model, seed))
                print(rows[-1], flush=True)
    means = pd.DataFrame(rows).groupby(["study", "model"], sort=False).mean()
    print(means.drop(columns="seed").round(3).to_string())


if __name__ == "__main__":
    main()
