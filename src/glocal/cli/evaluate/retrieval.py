"""``glocal evaluate retrieval``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.cli.evaluate.common import ScoresOut, check_scores_out, embedded, put_result, with_ends
from glocal.cli.features import LayerName, ModelName, load_features
from glocal.cli.options import AsJson, TransformPath
from glocal.cli.output import interval, progress_bar
from glocal.data.features import Features, Standardization
from glocal.data.labels import load_labels
from glocal.errors import ParameterError
from glocal.evaluation.retrieval import Retrieval, concatenated, retrieval
from glocal.transform import LinearTransform


def retrieval_command(
    queries: Annotated[Path, typer.Option("--queries", help="Feature file of the queries.")],
    query_labels: Annotated[Path, typer.Option("--query-labels", help="One label a query.")],
    gallery: Annotated[
        Path, typer.Option("--gallery", help="Feature file searched in; the same file leaves each query itself out.")
    ],
    gallery_labels: Annotated[
        Path, typer.Option("--gallery-labels", help="One label a gallery row: its class, or the image of a caption.")
    ],
    transform: TransformPath = None,
    concat_weight: Annotated[
        float, typer.Option("--concat-weight", help="Weight of the transform beside the original, 0 to 1.")
    ] = 1.0,
    model: ModelName = None,
    layer: LayerName = None,
    out: ScoresOut = None,
    as_json: AsJson = False,
) -> None:
    """Retrieval by cosine: recall at 1, 5 and 10 and mean average precision, with intervals over queries.

    A gallery row is relevant if it has the label of the query. The same transform, with its scalars, maps both sides,
    captions too. Without one both files are standardized by the two scalars of the gallery. With --concat-weight w the
    similarity is (1 - w) times the cosine before the transform plus w times the cosine after.

    Example: glocal evaluate retrieval --queries test.npy --query-labels test_labels.npy --gallery train.npy
    --gallery-labels train_labels.npy --transform transform.npz
    """
    check_scores_out(out)
    if transform is None and concat_weight != 1:
        raise ParameterError(f"concat_weight is {concat_weight} but there is no transform to weigh. Pass --transform.")
    Q, G = (load_features(path, model, layer) for path in (queries, gallery))
    labels = load_labels(query_labels, len(Q))
    others = load_labels(gallery_labels, len(G))
    alone = queries.samefile(gallery)
    if alone and not np.array_equal(labels, others):
        raise ParameterError("queries and gallery are one file but their labels differ; give one label file twice.")
    rows = _rows(Q, G, transform, concat_weight)
    with progress_bar("searching", len(Q), unit="queries") as progress:
        if alone:
            result = retrieval(rows, labels, progress=progress)
        else:
            result = retrieval(rows, labels, _rows(G, G, transform, concat_weight), others, progress=progress)
    counts = {name: getattr(result, name) for name in ("n", "n_gallery", "n_without")}
    put_result(
        result.scores, _lines(result), {**with_ends(result.scores), "concat_weight": concat_weight, **counts},
        out=out, as_json=as_json, transform=transform, split=queries.name,
        settings={} if concat_weight == 1 else {"concat_weight": concat_weight},
    )  # fmt: skip


def _rows(features: Features, gallery: Features, transform: Path | None, weight: float) -> np.ndarray:
    features.check_finite()
    if transform is None:
        return embedded(features, None, gallery.standardization)
    Z = embedded(features, transform)
    if weight == 1:
        return Z
    scalars: Standardization = LinearTransform.load(transform).standardization
    return concatenated(scalars(features.matrix, "float64"), Z, weight)


def _lines(result: Retrieval) -> Iterator[str]:
    for rank, (value, low, high) in result.recall.items():
        yield f"R@{rank}  {interval(value, low, high)}"
    yield f"mAP  {interval(*result.mean_average_precision)}"
    yield f"queries {result.n}, {result.n_without} without a relevant row left out   gallery {result.n_gallery}"
