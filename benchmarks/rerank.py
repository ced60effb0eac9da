"""The share of an aligned search that a raw index finds if its candidates are re-ranked (CLIP).

The candidates of the raw index are sorted by the aligned cosine. The benchmark prints a table
as CSV: the share of the ten nearest images by the aligned cosine that a search finds, as a mean
over all images as queries.

Run: GLOCAL_DATA_DIR=/path/to/data python benchmarks/rerank.py
"""

import numpy as np
import pandas as pd
from workbench import data_of, real_data

import glocal
from glocal import Features
from glocal.evaluation.structure import neighbours

NETWORK = "clip-vit-b32"
K = 10
CANDIDATES = (10, 20, 30, 50)


def recall(retrieved: np.ndarray, nearest: np.ndarray) -> float:
    """The mean share of the nearest rows of each query that were retrieved."""
    return float((nearest[:, :, None] == retrieved[:, None]).any(axis=2).mean())


def reranked(transform: glocal.LinearTransform, X: np.ndarray, candidates: int) -> np.ndarray:
    """The ten images that `rerank` selects from the nearest raw ones."""
    raw = neighbours(X, candidates)
    order, _ = transform.rerank(X, X[raw], K)
    return np.take_along_axis(raw, order, axis=1)


def by_query_alone(transform: glocal.LinearTransform, X: np.ndarray) -> np.ndarray:
    """The ten largest x · A z(q) + c · z(q): only the query is aligned, for the raw index."""
    S = X @ (transform(X) @ transform.folded()[0].T).T  # the rows of X are what is searched
    np.fill_diagonal(S, -np.inf)
    return np.argsort(-S.T, axis=1, kind="stable")[:, :K]


def main() -> None:
    """Print the table."""
    data = data_of(NETWORK)
    transforms = {
        "clip-vit-b-32 of the package": glocal.pretrained("clip-vit-b-32"),
        "global, λ 0.3": glocal.fit(data, glocal.Arm(method="global", lmbda=0.3)).transform,
    }
    assert data.local_features is not None
    fashion = Features.load(real_data() / "downstream" / NETWORK / "fashion2000" / "features.npy")
    images = {"Flickr": data.local_features, "fashion": fashion.unit(), "THINGS": data.features}
    rows = []
    for title, features in images.items():
        X = np.asarray(features.matrix, dtype=np.float64)
        for name, transform in transforms.items():
            nearest = neighbours(transform(X), K)
            row = {"images": title, "number": len(X), "transform": name}
            for n in CANDIDATES:
                row[f"of {n}"] = recall(reranked(transform, X, n), nearest)
            row["A z(q) to the raw index"] = recall(by_query_alone(transform, X), nearest)
            rows.append(row)
    print(pd.DataFrame(rows).round(3).to_csv(index=False))


if __name__ == "__main__":
    main()
