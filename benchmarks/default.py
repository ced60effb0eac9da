"""The default fit: compared with the best λ in hindsight on small studies, and its promises.

studies  the default, λ 0.1, no fit, and every λ of a grid, on draws of
         CLIP, EfficientNet  THINGS objects and answers of simulated people, who choose by the
                             softmax of the SPoSE-49 similarities
         material, videos    real answers, about the same objects alone
         null                features whose scaled identity is the way people answer, so that there
                             is nothing to gain
         Scores are on other answers about the same and about new objects. *Regret* is the
         agreement that the best λ or no fit would add.
nested   for each network, the agreement and the neighbours that each `keep` promises, and those of
         choices without each of three folds, on the part that they have not seen

Results are kept in bench-out/default. Needs GLOCAL_DATA_DIR.

Run: python benchmarks/default.py studies|nested [--sets NAME ...] [--draws 5] [--first-draw 0]
"""

import itertools
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import workbench
from workbench import LOCAL, OUT, data_of, kept, real_data

from glocal.aligner import Arm, Exact, FitData, Keep, cross_score, fit
from glocal.aligner.heldout import scaled_identity
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import feature_rows
from glocal.data.people import question_numbers
from glocal.data.world import simulated_answers
from glocal.evaluation.agreement import odd_one_out
from glocal.results import UNCHANGED
from glocal.transform import LinearTransform

THINGS_SETS = {"CLIP": "clip-vit-b32", "EfficientNet": "efficientnet-lite0"}
OBJECTS = {"material": (100,), "videos": (250,), "null": (60, 200)}
"""The numbers of objects of the studies; those of THINGS are (30, 60, 100, 200, 500)."""
SETS = (*OBJECTS, *THINGS_SETS)
ANSWERS = (200, 500, 1000, 2000, 5000)
NEW_OBJECTS = 500
SCORED_ANSWERS = 20_000
"""Of simulated people about each kind of objects."""
GRID = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
HINDSIGHT = "λ in hindsight"
KEEPS = (0.95, 0.9, 0.85, 0.8)
Row = dict[str, Any]


Study = tuple[FitData, dict[str, tuple[np.ndarray, Answers]]]
"""The data of a fit, and other answers about the same and about new objects with their features."""


@cache
def simulated_objects(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The features of the THINGS objects by a network, and by people: SPoSE."""
    mind = np.load(real_data() / "things" / "spose_49d.npy")
    if name == "null":
        return np.concatenate([mind, -mind], axis=1).astype(np.float32), mind
    features = data_of(THINGS_SETS[name]).features
    rows = feature_rows(features, workbench.object_ids())
    return np.asarray(features.matrix)[rows[rows >= 0]], mind[rows >= 0]


def simulated(name: str, n_objects: int, n_answers: int, draw: int) -> Study:
    """Objects drawn from THINGS, and answers of simulated people."""
    X, mind = simulated_objects(name)
    rng = np.random.default_rng((draw, n_objects, n_answers))
    order = rng.permutation(len(X))
    parts = {"same": order[:n_objects], "new": order[n_objects : n_objects + NEW_OBJECTS]}
    fitted = parts["same"]
    answers = simulated_answers(mind[fitted], n_answers, seed=draw)
    sides = {
        side: (X[rows], simulated_answers(mind[rows], SCORED_ANSWERS, seed=1000 + draw))
        for side, rows in parts.items()
    }
    return FitData(Features(X[fitted]), answers), sides


@cache
def real_answers(name: str) -> tuple[np.ndarray, Answers]:
    """Rendered materials with every vote as a weight, or short videos with every valid answer."""
    if name == "material":
        folder = real_data() / "anchors" / "material"
        features = Features.load(folder / "features" / "efficientnet-lite0")
        arrays = np.load(folder / "train.npz")
        votes = Answers.from_array(arrays["answers"], kind="anchor", counts=arrays["counts"])
        return np.asarray(features.matrix), votes
    folder = real_data() / "videos"
    trials = pd.read_csv(folder / "answers.csv")
    trials = trials[trials[["a", "b", "c"]].nunique(axis=1) == 3]  # others are catch trials
    objects = trials[["a", "b", "c"]].to_numpy()
    odd = trials["odd"].to_numpy()
    pair = objects[objects != odd[:, None]].reshape(-1, 2)
    answers = Answers(np.column_stack([pair, odd]), person=trials["person"].to_numpy())
    return np.load(folder / "ratings.npy").astype(np.float32), answers


def real(name: str, _n_objects: int, n_answers: int, draw: int) -> Study:
    """One answer to each of some questions; the answers to all other questions score the fit."""
    X, answers = real_answers(name)
    questions = question_numbers(answers)
    rng = np.random.default_rng((draw, n_answers))
    order = np.argsort(rng.exponential(size=len(answers)) / answers.all_weights)
    order = order[np.sort(np.unique(questions[order], return_index=True)[1])]
    sample = answers.select(order[:n_answers])
    single = Answers(sample.objects, kind=sample.kind, person=sample.person)
    others = answers.select(~np.isin(questions, questions[order[:n_answers]]))
    return FitData(Features(X), single), {"same": (X, others)}


def arm_rows(make: Callable[[], Study]) -> list[Row]:
    """The scores of each arm on both sides of a study; the λ of the grid come last."""
    data, sides = make()
    rows = [{"arm": "no fit", **side_scores(sides, scaled_identity(data))}]
    for name, what in (("default", None), ("λ 0.1", Arm(method="global", lmbda=0.1))):
        result = fit(data, what)
        is_unchanged = result.record.status == UNCHANGED  # W is then I, whose scale is arbitrary
        transform = scaled_identity(data) if is_unchanged else result.transform
        rows.append({"arm": name, **side_scores(sides, transform)})
    for lmbda in GRID:
        arm = Arm(method="global", lmbda=lmbda)
        transform = fit(data, arm, Exact(tol=1e-4)).transform
        rows.append({"arm": HINDSIGHT, **side_scores(sides, transform)})
    return rows


def side_scores(sides: Any, transform: LinearTransform) -> Row:
    """Agreement and loss on answers about the same and about new objects."""
    row: Row = {}
    for side, (X, answers) in sides.items():
        result = odd_one_out(transform(X), answers, interval=False)
        row |= {f"agreement {side}": result.accuracy, f"loss {side}": result.loss}
    return row


def studies(sets: list[str], draws: range) -> pd.DataFrame:
    """The change of each arm from no fit, and its regret; means over draws with their errors."""
    parts = []
    for draw, name, t in itertools.product(draws, [s for s in SETS if s in sets], ANSWERS):
        for n in OBJECTS.get(name, (30, 60, 100, 200, 500)):
            kind = real if name in ("material", "videos") else simulated
            make = partial(arm_rows, partial(kind, name, n, t, draw))
            rows = pd.DataFrame(kept(OUT / "default" / f"{name}-{n}-{t}-{draw}.json", None, make))
            scores = rows.set_index("arm")
            change = scores - scores.loc["no fit"]
            agreement = scores.filter(like="agreement")
            regret = agreement.loc[["no fit", HINDSIGHT]].max() - agreement
            table = change.join(regret.add_prefix("regret, ")).loc[["default", "λ 0.1"]]
            parts.append(table.reset_index().assign(set=name, n=n, t=t))
    groups = pd.concat(parts).groupby(["set", "n", "t", "arm"], sort=False)
    return groups.mean().join(groups.sem(), rsuffix=" ±").round(4)


def nested(sets: list[str], _draws: range) -> pd.DataFrame:
    """Agreement and neighbours kept as a fit promises them, and as nested folds measure them."""
    rows = []
    for network, keep in itertools.product([name for name in LOCAL if name in sets], KEEPS):
        file = OUT / "default" / f"{network}-{keep}.json"
        row = kept(file, None, partial(nested_row, data_of(network), keep))
        rows.append({"network": network, "keep": keep, **row})
    return pd.DataFrame(rows).round(4)


def nested_row(data: FitData, keep: float) -> Row:
    """The promise of a fit, and the scores of fits that choose anew without each fold."""
    promised = fit(data, Keep(keep=keep)).record.heldout
    assert promised is not None
    measured = cross_score(data, Keep(keep=keep))
    row: Row = {"original": measured.original}
    for name in ("agreement", "kept"):
        row |= {f"promised {name}": getattr(promised, name), name: getattr(measured, name)}
    return row


def main() -> None:
    """Measure, and print a table as CSV."""
    parser = workbench.parser(__doc__)
    parser.add_argument("part", choices=("studies", "nested"))
    parser.add_argument("--sets", nargs="+", choices=(*SETS, *LOCAL), default=[*SETS, *LOCAL])
    parser.add_argument("--draws", type=int, default=5, help="draws of each study")
    parser.add_argument("--first-draw", type=int, default=0, help="seed of the first draw")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    measure = studies if options.part == "studies" else nested
    draws = range(options.first_draw, options.first_draw + options.draws)
    print(measure(options.sets, draws).to_csv())


if __name__ == "__main__":
    main()
