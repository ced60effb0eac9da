"""How much of an aligned search a raw index gives: candidates sorted by their aligned cosine, on CLIP ViT-B/32.

Run: GLOCAL_DATA_DIR=/path/to/data python benchmarks/rerank.py. It prints a table of Markdown: the share of the ten
nearest images by the aligned cosine that a search finds, mean over all images as queries.
"""

from __future__ import annotations

import sys

import pretrained  # isort: skip  before torch

import numpy as np

import glocal
from glocal.evaluation.structure import neighbours

K, CANDIDATES = 10, (10, 20, 30, 50)
_QUERIES = 200  # at a time


def share(found: np.ndarray, wanted: np.ndarray) -> float:
    """The mean share of the wanted rows, of each query, that were found."""
    return float(np.mean([len(np.intersect1d(*pair)) for pair in zip(found, wanted, strict=True)]) / wanted.shape[1])


def reranked(transform: glocal.LinearTransform, X: np.ndarray, candidates: int) -> np.ndarray:
    """The ten that `rerank` makes of the raw nearest ones."""
    raw = neighbours(X, candidates)
    parts = [slice(start, start + _QUERIES) for start in range(0, len(X), _QUERIES)]
    return np.concatenate(
        [np.take_along_axis(raw[part], transform.rerank(X[part], X[raw[part]], K)[0], axis=1) for part in parts]
    )


def by_query_alone(transform: glocal.LinearTransform, X: np.ndarray) -> np.ndarray:
    """The ten with the largest inner product x · A z(q) + c · z(q): the aligned query sent to the raw index."""
    S = X @ (transform(X) @ transform.folded()[0].T).T  # the rows of X are what is searched
    np.fill_diagonal(S, -np.inf)
    return np.argsort(-S.T, axis=1, kind="stable")[:, :K]


def main() -> None:
    """Print the table."""
    data = pretrained.data()
    arm = glocal.fit(data, glocal.Arm("global", lmbda=0.3)).transform
    fashion = pretrained.unit(pretrained.workbench.real_data() / "downstream/clip-vit-b32/fashion2000/features.npy")
    images = {"Flickr": data.local_features, "fashion": fashion, "THINGS": data.features}
    head = ["images", "number", "transform", "raw ten", *(f"of {c}" for c in CANDIDATES[1:]), "A z(q) to the raw index"]
    sys.stdout.write(f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
    for title, features in images.items():
        X = np.asarray(features.matrix, dtype=np.float64)
        for name, transform in (
            ("clip-vit-b-32 of the package", glocal.pretrained(pretrained.NAME)),
            ("global, λ 0.3", arm),
        ):
            wanted = neighbours(transform(X), K)
            shares = [share(reranked(transform, X, candidates), wanted) for candidates in CANDIDATES]
            shares.append(share(by_query_alone(transform, X), wanted))
            sys.stdout.write(f"| {title} | {len(X):,} | {name} | {' | '.join(f'{one:.3f}' for one in shares)} |\n")


if __name__ == "__main__":
    main()
