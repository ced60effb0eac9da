"""Networks without local images, for `make evidence`: each alone, and those at hand in an atlas.

`alone` are the fits of `keep` to all objects of a network that has published features, with the
scores of their records. The atlas is on the objects that all networks have.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import arms
import numpy as np
from workbench import data_of, kept, object_ids, real_data

from glocal import Answers, Features, FitData, Keep, LinearTransform, fit, join
from glocal.aligner import KeepCurve, keep_curve
from glocal.aligner.data import Centre
from glocal.aligner.heldout import FoldScorer
from glocal.evaluation.agreement import credit_units
from glocal.evaluation.intervals import ItemValues
from glocal.scores import AGREEMENT, KEPT, Score
from glocal.suite.sources import shared_objects

PUBLISHED = ("clip-vit-b32", "blip")
"""The networks at hand whose features are published; their rows are fitted as they are."""
KEEP = 0.9
ARMS = ("original", "centred", f"keep-{KEEP}", f"centred-keep-{KEEP}")
"""The arms of the atlas."""
ORIGINS: dict[Centre, str] = {0: f"keep-{KEEP}", 1: f"centred-keep-{KEEP}"}
Row = dict[str, Any]


def alone(network: str) -> list[Row]:
    """The held-out scores of fits without local images, from the share of the means subtracted."""
    data = data_of(network)
    data = FitData(features(network), data.answers)
    rows = []
    for centre, arm in ORIGINS.items():
        record = fit(replace(data, centre=centre), Keep(keep=KEEP)).record
        assert record.heldout is not None
        rows.append({"network": network, "arm": arm, **record.heldout.model_dump()})
    return rows


def features(network: str) -> Features:
    """The rows of the objects, as they are."""
    return Features.load(real_data() / "things" / "features" / network)


def atlas(networks: list[str]) -> list[Row]:
    """Agreement and neighbours kept of each arm of each network, on the same answers."""
    answers = Answers.load(real_data() / "things" / "triplets.npy")
    objects = shared_objects([features(network) for network in networks])
    rows: list[Row] = []
    for network, rows_of_network in zip(networks, objects, strict=True):
        joined = join(rows_of_network, answers, object_ids())
        data = FitData(rows_of_network, joined.answers, n_dropped=joined.n_dropped)
        curves = [keep_curve(replace(data, centre=centre), keep=KEEP) for centre in ORIGINS]
        heldout = curves[0].search.heldout
        for arm, transforms in zip(ARMS, arm_transforms(*curves), strict=True):
            scores = bounded("agreement", "", _agreement(heldout, transforms))
            kept_rows = _neighbours(heldout, transforms)
            scores |= bounded("neighbours_kept", "neighbours_kept_", kept_rows)
            rows.append({"network": network, "arm": arm, **scores})
    return rows


def arm_transforms(plain: KeepCurve, centred: KeepCurve) -> list[Sequence[LinearTransform]]:
    """The transforms of the folds of each arm, in the order of `ARMS`."""
    columns = np.eye(plain.data.features.dimensions)
    n = len(plain.search.folds)
    centring = centred.data.transform(columns)
    as_given = replace(plain.data.transform(columns), bias=None, mean=0.0, std=1.0)
    fitted = [curve.fold_transforms(curve.choose(KEEP)) for curve in (plain, centred)]
    return [[as_given] * n, [centring] * n, *fitted]


def _agreement(heldout: FoldScorer, transforms: Sequence[LinearTransform]) -> Score:
    """The agreement of the transform of each fold with the answers that the fold holds out."""
    credit, _ = heldout.credit_and_loss(transforms)
    bounds = credit_units(credit, heldout.answers).bounded()
    return Score("agreement", AGREEMENT[0], *bounds, len(credit))


def _neighbours(heldout: FoldScorer, transforms: Sequence[LinearTransform]) -> Score:
    """The neighbours of the rows as given that the images of each fold keep."""
    Z = [t.map_rows(X) for t, X in zip(transforms, heldout.images, strict=True)]
    bounds = ItemValues(values=heldout.kept(Z)).bounded()
    return Score("neighbours kept", KEPT, *bounds, round(np.mean([*map(len, heldout.images)])))


def bounded(name: str, prefix: str, score: Score) -> Row:
    """A score with its interval and the number of its answers or images."""
    names = (name, f"{prefix}low", f"{prefix}high", f"{prefix}n")
    return dict(zip(names, (score.value, score.low, score.high, score.n), strict=True))


def measure(networks: list[str]) -> Row:
    """All rows, read from their files if they were made of the same inputs."""
    rows = []
    for network in PUBLISHED:
        file = arms.FOLDER / "alone" / f"{network}.json"
        rows += kept(file, data_of(network).hashes(local=False), partial(alone, network))
    inputs = [data_of(network).hashes(local=False) for network in networks]
    file = arms.FOLDER / "atlas.json"
    return {"alone": rows, "atlas": kept(file, inputs, partial(atlas, networks))}
