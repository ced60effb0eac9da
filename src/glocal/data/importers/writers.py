"""Answers as other systems read them."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.answers import COLUMNS, Answers
from glocal.data.importers.columns import NONE, shown_in
from glocal.data.importers.trials import whole_numbers
from glocal.errors import DataError, DataWarning
from glocal.extras import needed
from glocal.files import PathLike, atomic_write


def write_csv(answers: Answers, path: PathLike) -> None:
    """One row an answer: a, b, odd, or reference, closer, farther, farther2, …; then weight, person and seconds."""
    kind = _one_kind(answers, "csv", "odd-one-out", "anchor", "nearest-of-n")
    _check_texts(answers)
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
    _check_texts(answers)
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


def _check_texts(answers: Answers) -> None:
    """Raise a DataError where a name of an object or a person would come back from a table as another one."""
    if answers.names is not None:
        names = [answers.names[i] for i in answers.named().tolist()]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if changed := twice or [name for name in names if not _stays(name)]:
            raise DataError(
                f"an object is named {changed[0]!r}, which does not come back from a table as it is. Rename it: names "
                f"of a table are unique UTF-8 text, without HTML, brackets or blanks at the ends, and none of "
                f"{', '.join(NONE)}."
            )
        if whole_numbers(np.array(names)) is not None:
            warnings.warn(
                "the names of the objects are whole numbers, which readers of the table take for indices. Give them "
                "the list of names too: --object-ids of data import.",
                DataWarning,
                stacklevel=4,
            )
    if answers.person is not None:
        people = np.unique(answers.person.astype(str))
        back = np.array(["" if one in NONE else one.strip() for one in people.tolist()])
        numbers = whole_numbers(back)
        if len(np.unique(back if numbers is None else numbers)) < len(people) or not all(map(_is_text, people)):
            raise DataError(
                f"two persons of {', '.join(map(repr, people.tolist()))[:200]} would come back from a table as the "
                "same one. Name them by letters or by whole numbers."
            )


def _stays(name: str) -> bool:
    plain = name == name.strip() and "\r" not in name and not name.startswith("[") and shown_in(name) == name
    return bool(name) and plain and name not in NONE and _is_text(name)


def _is_text(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


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
