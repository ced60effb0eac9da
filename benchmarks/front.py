"""The head of the README: a real answer, and what its first lines print on real images."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from workbench import data_of, real_data

import glocal
from glocal.aligner.folds import Fold, fit_folds

NETWORK = "clip-vit-b32"
KEEP = 0.9
ANSWER = ("dice", "ladder", "rabbit")
"""A chosen answer of fold 0: a person left out the last of these objects, and CLIP another one."""
IMAGES = "downstream/clip-vit-b32/fashion2000"
"""Photographs of products, on which the lines of the README run."""
COLUMN = "masterCategory"
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
    return {"answer": example(fold, X, transform(X)), **printed()}


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
