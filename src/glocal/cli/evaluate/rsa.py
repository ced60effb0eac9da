"""``glocal evaluate rsa``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.cli.answers import names_of
from glocal.cli.command import takes
from glocal.cli.evaluate.common import Scored, record
from glocal.cli.features import FeaturesPath
from glocal.cli.output import interval, progress_bar, say
from glocal.data.rdm import join_rdms, load_index, load_rdms
from glocal.evaluation.rsa import RSA, rsa


@takes(rsa)
def rsa_command(
    given: Scored,
    features: FeaturesPath,
    rdm: Annotated[
        Path, typer.Option("--rdm", help="Human dissimilarities, (n, n) or (people, n, n); NaN for a missing pair.")
    ],
    rdm_index: Annotated[
        Path | None,
        typer.Option(
            "--rdm-index",
            help="Which objects the RDM is about: one index a row, .npy or text; else all of them.",
        ),
    ] = None,
    object_ids: Annotated[
        Path | None,
        typer.Option(
            "--object-ids", help="Names of the objects the index names, one a line; joined with file_names.txt."
        ),
    ] = None,
    **options: Any,
) -> None:
    """Agreement with people: rank correlation with their dissimilarities, interval over objects, noise ceiling.

    Example: glocal evaluate rsa --features features.npy --rdm rdm.npy --transform transform.npz
    """
    loaded = given.load(features)
    names = names_of(object_ids)
    index = None if rdm_index is None else load_index(rdm_index)
    joined = join_rdms(loaded, load_rdms(rdm), index, names)
    if joined.n_dropped:
        say(f"{joined.n_dropped} of {joined.n_dropped + len(joined.rows)} objects of the RDM have no features.")
    Z = given.embedded(loaded)[joined.rows]
    with progress_bar("bootstrap", options["replicates"], unit="replicates") as on_replicate:
        found = rsa(Z, joined.rdms, **options, on_replicate=on_replicate)
    lines = _lines(found, joined.n_dropped, asked=options["replicates"] > 0)
    given.put(found.scores, lines, {**record(found), "n_dropped": joined.n_dropped}, split=rdm.name)


def _lines(found: RSA, n_dropped: int, asked: bool) -> Iterator[str]:
    why = "undefined in most replicates" if asked else None
    yield f"Spearman ({found.kernel})  {interval(found.spearman, found.low, found.high, why)}"
    yield f"Pearson ({found.kernel})  {interval(found.pearson, found.pearson_low, found.pearson_high, why)}"
    if found.ceiling is not None:
        yield f"noise ceiling (Spearman)  {found.ceiling.lower:.3f} to {found.ceiling.upper:.3f}"
    yield f"objects {found.n_objects}, {n_dropped} dropped in the join   people {found.n_people}"
