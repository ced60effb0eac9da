"""Networks compared with each other, on objects that all have and on the same answers or labels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from glocal.data.features import Features
from glocal.data.names import positions_of
from glocal.errors import DataError, DataWarning
from glocal.evaluation.comparison import Result, difference
from glocal.scores import Score
from glocal.suite.table import corrected


def shared_objects(networks: Sequence[Features]) -> list[Features]:
    """Return the rows of the objects that all networks have, in the order of the first one.

    Rows have the names of the first network. If one has no names, row i of each is taken to be the
    same object, with a DataWarning.

    Raises
    ------
    DataError
        No object is in all networks; a name repeats; or one has no names and another number of
        rows.
    """
    unnamed = [features.source for features in networks if features.names is None]
    if unnamed:
        if len({*map(len, networks)}) > 1:
            counts = " and ".join(f"{len(each)} in {each.source}" for each in networks)
            raise DataError(
                f"{unnamed[0]} has no names to join its objects by, and the numbers of rows "
                f"differ: {counts}. Put a file_names.txt with one line per row beside it."
            )
        warnings.warn(
            f"{unnamed[0]} has no names: row i of each network is taken to be the same object.",
            DataWarning,
            stacklevel=3,
        )
        return [*networks]
    first = networks[0].names or ()
    rows_of = [
        positions_of(first, features.names or (), f"names of {features.source}")
        for features in networks
    ]
    shared = [name for name in first if all(name in rows for rows in rows_of)]
    if not shared:
        sources = " and ".join(features.source for features in networks)
        raise DataError(f"no object is in all of {sources}. Name their rows alike.")
    return [
        replace(
            features,
            matrix=np.asarray(features.matrix)[[rows[name] for name in shared]],
            names=tuple(shared),
        )
        for features, rows in zip(networks, rows_of, strict=True)
    ]


def network_differences(results: Mapping[str, Mapping[str, Result]]) -> list[Score]:
    """The scores of each network less the first, arm by arm, on one task and the same data.

    `results` has the results of the arms of each network. P-values are corrected for all of these
    differences.
    """
    first, *others = results
    rows: list[Score] = []
    for arm, baseline in results[first].items():
        for network in others:
            if arm in results[network]:
                pair = difference((arm, results[network][arm]), (arm, baseline))
                rows += [replace(row, network=network, baseline_network=first) for row in pair]
    return corrected(rows)
