"""Answers as other systems read them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.answers import Answers
from glocal.data.answers_file import COLUMNS
from glocal.errors import DataError
from glocal.extras import needed
from glocal.files import PathLike, atomic_write


def write_csv(answers: Answers, path: PathLike) -> None:
    """One row an answer: a, b, odd, or reference, closer, farther, farther2, …; then weight, person and seconds."""
    kind = _one_kind(answers, "csv", "odd-one-out", "anchor", "nearest-of-n")
    width = answers.objects.shape[1]
    columns = COLUMNS.get(kind, COLUMNS["anchor"]) + tuple(f"farther{i}" for i in range(2, width - 1))
    shown = _shown(answers)
    _write_table(path, {name: shown[:, i] for i, name in enumerate(columns)} | _told(answers, "seconds"))


def write_things(answers: Answers, path: PathLike) -> None:
    """Lines of three numbers, 0-based, the odd one last."""
    _one_kind(answers, "things", "odd-one-out")
    _without_weights(answers, "lines of three numbers")
    with atomic_write(path) as stream:
        np.savetxt(stream, answers.objects, fmt="%d")


def write_salmon(answers: Answers, path: PathLike) -> None:
    """Columns head, left, right, winner, loser, puid and response_time; the winner stands left and right in turn."""
    _one_kind(answers, "salmon", "anchor")
    _without_weights(answers, "salmon's responses")
    head, winner, loser = answers.objects.T
    even = np.arange(len(answers)) % 2 == 0
    left, right = np.where(even, winner, loser), np.where(even, loser, winner)
    table = {"head": head, "left": left, "right": right, "winner": winner, "loser": loser}
    if answers.names is not None:
        names = np.array(answers.names, dtype=object)
        table |= {f"{name}_html": names[column] for name, column in table.items()}
    told = _told(answers, "response_time")
    if "person" in told:
        table["puid"] = told.pop("person")
    _write_table(path, table | told)


def write_cblearn(answers: Answers, path: PathLike) -> None:
    """Comparisons: ``.npy`` in list-order, ``.npz`` with query and response, the weights, in list-count."""
    _one_kind(answers, "cblearn", "anchor")
    weights = np.ones(len(answers)) if answers.weights is None else answers.weights
    ordered = Path(path).suffix.lower() == ".npy"
    if ordered and (weights != 1).any():
        raise DataError("the answers have weights, which an array in list-order cannot hold. Write .npz.")
    if (weights != np.round(weights)).any():
        raise DataError("the answers have weights that are not whole numbers; responses of cblearn count answers.")
    with atomic_write(path) as stream:
        if ordered:
            np.save(stream, answers.objects, allow_pickle=False)
        else:
            np.savez_compressed(stream, allow_pickle=False, query=answers.objects, response=weights.astype(np.int64))


def write_psiz(answers: Answers, path: PathLike) -> None:
    """Rankings with one selection each: the datasets of PsiZ in ``.h5``, or arrays of the same names in ``.npz``."""
    _one_kind(answers, "psiz", "anchor", "nearest-of-n")
    t = len(answers)
    datasets: dict[str, Any] = {
        "trial_type": "RankObservations",
        "stimulus_set": answers.objects,
        "n_select": np.ones(t, dtype=np.int32),
        "is_ranked": np.ones(t, dtype=bool),
        "group_id": np.zeros(t, dtype=np.int32),
        "agent_id": np.zeros(t, dtype=np.int32),
        "session_id": np.zeros(t, dtype=np.int32),
        "weight": np.ones(t) if answers.weights is None else answers.weights,
        "rt_ms": -np.ones(t) if answers.seconds is None else np.nan_to_num(answers.seconds * 1e3, nan=-1.0),
    }
    if answers.person is not None:
        whole = answers.person.dtype.kind in "iu" and int(answers.person.min()) >= 0
        datasets["agent_id"] = answers.person if whole else np.unique(answers.person, return_inverse=True)[1]
    with atomic_write(path) as stream:
        if Path(path).suffix.lower() == ".npz":
            np.savez_compressed(stream, allow_pickle=False, **datasets)
            return
        h5py, buffer = needed("h5py", "PsiZ's format"), io.BytesIO()
        with h5py.File(buffer, "w") as file:
            for name, values in datasets.items():
                file.create_dataset(name, data=values)
        stream.write(buffer.getvalue())


def _one_kind(answers: Answers, format: str, *kinds: str) -> str:
    kind = answers.kind
    if isinstance(kind, str) and kind in kinds:
        return kind
    held = kind if isinstance(kind, str) else " and ".join(np.unique(kind))
    raise DataError(f"the answers are of the kind {held}; the format {format} holds {' or '.join(kinds)}.")


def _without_weights(answers: Answers, what: str) -> None:
    if answers.weights is not None:
        raise DataError(f"the answers have weights, which {what} cannot hold. Write csv.")


def _shown(answers: Answers) -> np.ndarray:
    """The objects by name, or by index where they have none; empty where a row is shorter."""
    if answers.names is None:
        texts = answers.objects.astype(object)
    else:
        texts = np.array([*answers.names, ""], dtype=object)[answers.objects]
    texts[answers.objects < 0] = ""
    return texts


def _told(answers: Answers, seconds: str) -> dict[str, np.ndarray]:
    columns = {"weight": answers.weights, "person": answers.person, seconds: answers.seconds}
    return {name: values for name, values in columns.items() if values is not None}


def _write_table(path: PathLike, table: dict[str, np.ndarray]) -> None:
    import pandas as pd

    with atomic_write(path) as stream:
        stream.write(pd.DataFrame(table).to_csv(index=False).encode())
