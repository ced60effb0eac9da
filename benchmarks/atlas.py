"""Networks without local images, for `make evidence`: each alone, and those at hand in an atlas.

`alone` are the fits of `keep` to all objects of a network that has published features, with the
scores of their records. The atlas is that of `glocal align`, on the objects that all networks have.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import arms
from workbench import data_of, kept, object_ids, real_data

from glocal import Answers, Features, FitData, Keep, fit
from glocal.align import align_networks
from glocal.scores import Score

PUBLISHED = ("clip-vit-b32", "blip")
"""The networks at hand whose features are published; their rows are fitted as they are."""
KEEP = 0.9
ARMS = {
    "original": "original",
    "mean subtracted": "centred",
    f"keep {KEEP}": f"keep-{KEEP}",
    f"centred keep {KEEP}": f"centred-keep-{KEEP}",
}
"""The arms of the atlas, and their names in the record."""
ORIGINS = {0.0: f"keep-{KEEP}", 1.0: f"centred-keep-{KEEP}"}
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
    objects = {network: features(network) for network in networks}
    made = align_networks(
        objects, answers, arms.FOLDER / "atlas", object_ids=object_ids(), keep=KEEP
    )
    assert not made.failed
    return [
        {"network": network.name, "arm": ARMS[arm]}
        | bounded("agreement", "", network.agreement[arm].scores[0])
        | bounded("neighbours_kept", "neighbours_kept_", network.neighbours[arm].scores[0])
        for network in made.networks
        for arm in network.agreement
    ]


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
