"""The head of the README: a real answer, and what its first lines print on real images."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import silhouette_score
from workbench import category_table, data_of, heldout_objects, real_data, texts_by_row

import glocal
from glocal.aligner.folds import Fold, fit_folds
from glocal.data.names import object_name

NETWORK = "clip-vit-b32"
KEEP = 0.9
ANSWER = ("dice", "ladder", "rabbit")
"""A chosen answer of fold 0: a person left out the last of these objects, and CLIP another one."""
IMAGES = "downstream/clip-vit-b32/fashion2000"
"""Photographs of products, on which the lines of the README run."""
COLUMN = "masterCategory"
GROUPS = {
    "animals": ["animal", "bird", "insect"],
    "food and drink": ["food", "dessert", "fruit", "vegetable", "drink"],
    "vehicles": ["vehicle", "part of car"],
    "tools": ["tool", "kitchen tool", "weapon"],
    "clothing": ["clothing", "clothing accessory"],
    "electronics": ["electronic device", "kitchen appliance", "office supply"],
}
"""The groups of the map, merged from categories of THINGS; an object is in its first group."""
Record = dict[str, Any]


def measure() -> Record:
    """The answer with its fold, and what the Python lines and `glocal try` print."""
    data = data_of(NETWORK)
    fold = fit_folds(data, 3, "objects")[0]
    fitted = glocal.FitData(
        data.features, fold.data.answers, data.local_features, normalize=data.normalize
    )
    transform = glocal.fit(fitted, glocal.Keep(keep=KEEP)).transform
    X = data.features.unit().matrix.astype(np.float64)
    Z = transform(X)
    return {
        "answer": example(fold, X, Z),
        "map": unseen_objects(heldout_objects(data, fold), X, Z),
        **printed(),
    }


def example(fold: Fold, X: np.ndarray, Z: np.ndarray) -> Record:
    """What a person and both embeddings leave out, and how the other answers of the fold change."""
    names = [Path(name).stem for name in fold.data.features.names or ()]
    rows = [names.index(name) for name in ANSWER]
    asked = np.sort(fold.answers.objects, axis=1) == np.sort(rows)
    (number,) = np.flatnonzero(asked.all(axis=1))
    before, after = (glocal.answer_credit(rows_of, fold.answers) == 1 for rows_of in (X, Z))
    return {
        "objects": [*ANSWER],
        "person": names[fold.answers.objects[number, 2]],
        "network": odd_one(X, rows, names),
        "matrix": odd_one(Z, rows, names),
        "fold": 0,
        "answers": len(fold.answers),
        "became_right": int((after & ~before).sum()),
        "became_wrong": int((before & ~after).sum()),
    }


def odd_one(Z: np.ndarray, rows: list[int], names: list[str]) -> str:
    """The name of the row that is least like the two others, by cosine."""
    unit = Z[rows] / np.linalg.norm(Z[rows], axis=1, keepdims=True)
    similarity_of_others = unit @ (unit.sum(axis=0) - unit).T
    return names[rows[int(np.argmin(np.diag(similarity_of_others)))]]


def unseen_objects(rows: np.ndarray, X: np.ndarray, Z: np.ndarray) -> Record:
    """The places of the held-out objects in two maps, before and after, from 0 to 1.

    The silhouettes are of the groups in the cosines of the whole rows.
    """
    groups = groups_of_objects()[rows]
    is_shown = groups != ""
    before, after = (leading_components(E[rows])[is_shown] for E in (X, Z))
    U, _, Vt = np.linalg.svd(after.T @ before)
    places = np.stack([before, after @ (U @ Vt)])
    places /= np.sqrt(np.mean(places**2, axis=(1, 2), keepdims=True))
    reach = 1.05 * np.abs(places).max()
    places = 0.5 + places / (2 * reach)
    names = np.array([object_name(name) for name in data_of(NETWORK).features.names or ()])
    points = zip(names[rows[is_shown]], groups[is_shown], *places.round(3).tolist(), strict=True)
    columns = ("object", "group", "before", "after")
    silhouettes = [
        silhouette_score(E[rows[is_shown]], groups[is_shown], metric="cosine") for E in (X, Z)
    ]
    return {
        "objects": len(rows),
        "silhouette": [float(value) for value in silhouettes],
        "points": [dict(zip(columns, point, strict=True)) for point in points],
    }


def groups_of_objects() -> np.ndarray:
    """The group of each object of the network, or an empty string."""
    table = category_table()
    groups = np.full(len(table), "", dtype="U20")
    for name, categories in reversed(GROUPS.items()):
        groups[table[categories].any(axis=1)] = name
    return texts_by_row(NETWORK, groups)


def leading_components(rows: np.ndarray) -> np.ndarray:
    """The coordinates of the unit rows along their first two principal components."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    deviations = unit - unit.mean(axis=0)
    return deviations @ np.linalg.svd(deviations, full_matrices=False)[2][:2].T


def printed() -> Record:
    """What the Python lines and `glocal try` print on real images."""
    source = real_data() / IMAGES
    with tempfile.TemporaryDirectory() as folder:
        embeddings = Path(folder) / "embeddings.npy"
        shutil.copy(source / "features.npy", embeddings)
        shutil.copy(source / "labels.csv", folder)
        X = np.load(embeddings)
        kept = glocal.neighbours_kept(X, glocal.pretrained("clip-vit-b-32")(X))
        command = ["try", "embeddings.npy", "--labels", f"labels.csv:{COLUMN}"]
        ended = subprocess.run(
            [sys.executable, "-m", "glocal", *command],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    return {
        "python": {"images": len(X), "prints": round(float(kept), 3)},
        "try": {"command": " ".join(["glocal", *command]), "prints": ended.stdout.rstrip()},
    }
