"""``glocal evaluate retrieval``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.cli.command import takes
from glocal.cli.evaluate.common import Scored, with_ends
from glocal.cli.output import interval, progress_bar
from glocal.data.labels import load_labels
from glocal.errors import ParameterError
from glocal.evaluation.retrieval import Retrieval, retrieval


@takes()
def retrieval_command(
    given: Scored,
    queries: Annotated[Path, typer.Option("--queries", help="Feature file of the queries.")],
    query_labels: Annotated[Path, typer.Option("--query-labels", help="One label a query.")],
    gallery: Annotated[
        Path, typer.Option("--gallery", help="Feature file searched in; the same file leaves each query itself out.")
    ],
    gallery_labels: Annotated[
        Path, typer.Option("--gallery-labels", help="One label a gallery row: its class, or the image of a caption.")
    ],
) -> None:
    """Retrieval by cosine: recall at 1, 5 and 10 and mean average precision, with intervals over queries.

    A gallery row is relevant if it has the label of the query. The same transform, with its scalars, maps both sides,
    captions too. Without one both files are standardized by the two scalars of the gallery.

    Example: glocal evaluate retrieval --queries test.npy --query-labels test_labels.npy --gallery train.npy
    --gallery-labels train_labels.npy --transform transform.npz
    """
    Q, G = (given.load(path) for path in (queries, gallery))
    labels = load_labels(query_labels, len(Q))
    others = load_labels(gallery_labels, len(G))
    alone = queries.samefile(gallery)
    if alone and not np.array_equal(labels, others):
        raise ParameterError("queries and gallery are one file but their labels differ; give one label file twice.")
    for features in (Q, G):
        features.check_finite()
    rows = given.embedded(Q, G.standardization)
    with progress_bar("searching", len(Q), unit="queries") as progress:
        if alone:
            result = retrieval(rows, labels, progress=progress)
        else:
            result = retrieval(rows, labels, given.embedded(G, G.standardization), others, progress=progress)
    counts = {name: getattr(result, name) for name in ("n", "n_gallery", "n_without")}
    given.put(result.scores, _lines(result), {**with_ends(result.scores), **counts}, split=queries.name)


def _lines(result: Retrieval) -> Iterator[str]:
    for rank, (value, low, high) in result.recall.items():
        yield f"R@{rank}  {interval(value, low, high)}"
    yield f"mAP  {interval(*result.mean_average_precision)}"
    yield f"queries {result.n}, {result.n_without} without a relevant row left out   gallery {result.n_gallery}"
