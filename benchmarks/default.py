"""The default fit: compared with the best λ in hindsight on small studies, and its promises.

studies  the default, λ 0.1, no fit, and every λ of a grid, on draws of THINGS objects and answers
         of simulated people, who choose by the softmax of the SPoSE-49 similarities. Scores are on
         other answers about the same and about new objects. *Regret* is the agreement that the
         best λ or no fit would add.
nested   for each network, the agreement and the neighbours that each `keep` promises, and those of
         choices without each of three folds, on the part that they have not seen

Results are kept in bench-out/default. Needs GLOCAL_DATA_DIR.

Run: python benchmarks/default.py studies|nested [--networks NAME ...]
"""

import itertools
import warnings
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import workbench
from workbench import LOCAL, OUT, data_of, kept, real_data

from glocal.aligner import Exact, FitData, Keep, ObjectiveSettings, cross_score, fit
from glocal.aligner.heldout import scaled_identity
from glocal.data.features import Features
from glocal.data.join import feature_rows
from glocal.data.world import simulated_answers
from glocal.evaluation.agreement import odd_one_out
from glocal.results import UNCHANGED

OBJECTS = (30, 60, 100, 200, 500)
ANSWERS = (200, 500, 1000, 2000, 5000)
NEW_OBJECTS = 500
DRAWS = 5  # of each study
SCORED_ANSWERS = 20_000
"""Of simulated people about each kind of objects."""
GRID = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
KEEPS = (0.95, 0.9, 0.85, 0.8)
Row = dict[str, Any]


@cache
def simulated_objects(network: str) -> tuple[np.ndarray, np.ndarray]:
    """The features of the THINGS objects by a network, and by people: SPoSE."""
    mind = np.load(real_data() / "things" / "spose_49d.npy")
    features = data_of(network).features
    rows = feature_rows(features, workbench.object_ids())
    return np.asarray(features.matrix)[rows[rows >= 0]], mind[rows >= 0]


def study(network: str, n_objects: int, n_answers: int, draw: int) -> list[Row]:
    """The agreement of each arm about the same and about new objects, for answers of one draw."""
    X, mind = simulated_objects(network)
    rng = np.random.default_rng((draw, n_objects, n_answers))
    same, new, _ = np.split(rng.permutation(len(X)), [n_objects, n_objects + NEW_OBJECTS])
    data = FitData(Features(X[same]), simulated_answers(mind[same], n_answers, seed=draw))
    sides = {
        side: (X[rows], simulated_answers(mind[rows], SCORED_ANSWERS, seed=1000 + draw))
        for side, rows in {"same": same, "new": new}.items()
    }
    results = {
        "default": fit(data),
        "λ 0.1": fit(data, ObjectiveSettings(method="global", lmbda=0.1)),
    }
    for lmbda in GRID:
        results[f"grid {lmbda}"] = fit(
            data, ObjectiveSettings(method="global", lmbda=lmbda), Exact(tol=1e-4)
        )
    transforms = {"no fit": scaled_identity(data, 0)}
    for arm, result in results.items():
        is_unchanged = result.record.status == UNCHANGED  # W is then I, whose scale is arbitrary
        transforms[arm] = scaled_identity(data, 0) if is_unchanged else result.transform
    return [
        {
            "arm": arm,
            "side": side,
            "agreement": odd_one_out(transform(Z), answers, interval=False).agreement,
        }
        for arm, transform in transforms.items()
        for side, (Z, answers) in sides.items()
    ]


def studies(networks: list[str]) -> pd.DataFrame:
    """The change of each arm from no fit, and its regret; means over draws with their errors."""
    parts = []
    for draw, network, t, n in itertools.product(range(DRAWS), networks, ANSWERS, OBJECTS):
        file = OUT / "default" / f"{network}-{n}-{t}-{draw}.json"
        rows = pd.DataFrame(kept(file, None, partial(study, network, n, t, draw)))
        agreement = rows.pivot(index="arm", columns="side", values="agreement")
        change = (agreement - agreement.loc["no fit"]).add_prefix("change, ")
        table = change.join((agreement.max() - agreement).add_prefix("regret, "))
        parts.append(table.loc[["default", "λ 0.1"]].assign(network=network, n=n, t=t))
    groups = pd.concat(parts).groupby(["network", "n", "t", "arm"], sort=False)
    return groups.mean().join(groups.sem(), rsuffix=" ±").round(4)


def nested(networks: list[str]) -> pd.DataFrame:
    """Agreement and neighbours kept as a fit promises them, and as nested folds measure them."""
    rows = []
    for network, keep in itertools.product(networks, KEEPS):
        file = OUT / "default" / f"{network}-{keep}.json"
        row = kept(file, None, partial(nested_row, data_of(network), Keep(keep=keep)))
        rows.append({"network": network, "keep": keep, **row})
    return pd.DataFrame(rows).round(4)


def nested_row(data: FitData, keep: Keep) -> Row:
    """The promise of a fit, and the scores of fits that choose anew without each fold."""
    promised = fit(data, keep).record.heldout
    assert promised is not None
    measured = cross_score(data, keep)
    row: Row = {"original": measured.original}
    for name in ("agreement", "neighbours_kept"):
        row |= {f"promised {name}": getattr(promised, name), name: getattr(measured, name)}
    return row


def main() -> None:
    """Measure, and print a table as CSV."""
    parser = workbench.parser(__doc__)
    parser.add_argument("part", choices=("studies", "nested"))
    parser.add_argument("--networks", nargs="+", choices=LOCAL, default=list(LOCAL))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    measure = studies if options.part == "studies" else nested
    print(measure(options.networks).to_csv())


if __name__ == "__main__":
    main()
