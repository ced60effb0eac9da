"""A file of answers whose rows cannot all be answers: what is left without them."""

from __future__ import annotations

from typing import Any

import numpy as np

from glocal.data.answers import Answers
from glocal.data.answers_file import read_answers
from glocal.errors import GLocalError
from glocal.files import PathLike


def usable(path: PathLike, **stated: Any) -> Answers | None:
    """The answers of a file without rows that repeat an object or name a negative one; whole numbers are integers.

    None where that does not help.
    """
    try:
        found = read_answers(path)
        table = found.pop("answers")
        if table.ndim != 2 or table.shape[1] != 3 or table.dtype.kind not in "iuf":
            return None
        whole = np.isfinite(table).all(axis=1)
        whole &= np.where(whole[:, None], np.round(table) == table, False).all(axis=1)
        a, b, c = table.T
        kept = whole & (a != b) & (a != c) & (b != c) & (table >= stated.get("base", 0)).all(axis=1)
        found = {
            name: value[kept] if getattr(value, "shape", ())[:1] == (len(table),) else value
            for name, value in found.items()
        }
        answers = Answers.from_array(table[kept].astype(np.int64), **stated, **found)
    except GLocalError:
        return None
    return answers if len(answers) else None
