"""What ``glocal evaluate odd-one-out --baseline`` says: the paired difference and the answers that flipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.data.answers import COLUMNS, Answers
from glocal.data.features import Features, object_name
from glocal.errors import ParameterError
from glocal.evaluation.flips import Flips
from glocal.files import atomic_write, writable_target

_SHOWN = 5


def check_flips_file(path: Path | None, baseline: str | None) -> None:
    """Say before any work that the flips have no baseline, or nowhere to go."""
    if path is None:
        return
    if baseline is None:
        raise ParameterError("--flips needs a baseline to differ from; pass --baseline original or a transform file.")
    if path.suffix.lower() not in (".npy", ".csv"):
        raise ParameterError(f"--flips is {path}; its extension must be .npy or .csv.")
    writable_target(path, what="--flips")


def save_flips(path: Path, changed: Flips, answers: Answers, numbers: Int[np.ndarray, " t"]) -> None:
    """Write one line a flip: answer, its objects, +1 gained or -1 lost; gained first, each side strongest first.

    `answers` and their `numbers` are those of the triplets file, not those of the join.
    """
    table = changed.table()
    lines = np.concatenate([numbers[table[:, :1]], answers.objects[table[:, 0]], table[:, 1:]], axis=1).astype(np.int64)
    with atomic_write(path) as stream:
        if path.suffix.lower() == ".npy":
            np.save(stream, lines, allow_pickle=False)
        else:
            np.savetxt(stream, lines, fmt="%d", delimiter=",", header=_header(answers), comments="")


def _header(answers: Answers) -> str:
    m = answers.objects.shape[1]
    others = ("reference", "nearest", *(f"other{i}" for i in range(1, m - 1)))
    columns = COLUMNS.get(str(answers.kind), others) if m == 3 else others
    return ",".join(("answer", *columns, "flip"))


def baseline_values(baseline: str, changed: Flips, features: Features, triplets: Answers) -> dict[str, Any]:
    """The JSON of the comparison; examples and objects by name where the features have names."""
    weights = triplets.weights
    difference = changed.difference

    def named(i: int) -> str | int:
        return i if features.names is None else object_name(features.names[i])

    def examples(which: np.ndarray) -> list[list[str | int]]:
        return [[named(int(i)) for i in triplets.objects[row] if i >= 0] for row in which[:_SHOWN]]

    return {
        "transform": baseline,
        "accuracy": float(np.average(changed.before, weights=weights)),
        "difference": difference.difference,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p,
        "n_gained": len(changed.gained),
        "n_lost": len(changed.lost),
        "most_gained": examples(changed.gained),
        "most_lost": examples(changed.lost),
        "objects": [
            {
                "object": named(int(i)),
                "gained": int(changed.gained_by_object[i]),
                "lost": int(changed.lost_by_object[i]),
            }
            for i in changed.objects()[:_SHOWN]
        ],
    }


def baseline_lines(values: dict[str, Any]) -> Iterator[str]:
    """The comparison as text."""
    low, high, p = values["low"], values["high"], values["p"]
    ends = "(no interval: one cluster of answers, or all are equal)" if low is None else f"[{low:+.4f}, {high:+.4f}]"
    yield (
        f"difference to {values['transform']}  {values['difference']:+.4f} {ends}"
        f"   p {'-' if p is None else format(p, '.2g')}   {values['n_gained']} answers gained, {values['n_lost']} lost"
    )
    for side in ("gained", "lost"):
        for chosen, nearest, *others in values[f"most_{side}"]:
            yield f"  {side}: {chosen}, {nearest} | {', '.join(map(str, others))}"
