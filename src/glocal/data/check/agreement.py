"""Whether features favour another column of the answers, in all of the file or in a part, or know nothing of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.check.finding import Finding, warn
from glocal.data.features import Features
from glocal.similarity import choice, of_pairs, pair_tolerance

MANY_ANSWERS = 200_000
_ANSWERS_BEFORE_A_FIT = 20_000  # enough for a difference of .017 between two columns
_MANY_COLUMNS = 9
_APART = 0.05  # two right readings of the material answers differ by .015 in favour of the wrong one
_RUNS, _RUN = 10, 1500
_SURE = 5.0  # standard errors


def check_agreement(features: Features, triplets: Answers, at_most: int = MANY_ANSWERS) -> Iterator[Finding]:
    """Findings about answers that name rows of these features."""
    answers = spaced(triplets, at_most)
    known = named_rows(features, answers.named())
    table = shares_of_pairs(known, answers)
    w = np.ones(len(answers)) if answers.weights is None else answers.weights
    shares = w @ table / w.sum()
    chance = answers.chance
    error = math.sqrt(chance * (1 - chance) * (w @ w)) / w.sum()
    best = int(shares.argmax())
    evidence = {"agreement": float(shares[0]), "chance": chance, "answers": len(answers)}
    other = _other_reference(known, answers)
    if other is not None and other[2] - max(shares) > max(_SURE * error, _APART):
        reference, chosen, share = other
        columns = [reference, chosen, *(j for j in range(answers.objects.shape[1]) if j not in (reference, chosen))]
        yield Finding(
            "warning",
            "reference",
            f"answers: the features agree with {share:.3f} of them if column {reference} is the reference and column "
            f"{chosen} the chosen one, and with {shares[0]:.3f} as stated (columns 0 and 1)",
            "check which column holds the reference: it is first, the chosen one second",
            evidence | {"otherwise": share},
            lambda case: case.with_columns(columns),
        )
        return
    if answers.weights is None:
        parts = list(_runs(table, answers))
        yield from parts
        if any(finding.check == "mixed columns" for finding in parts):
            return
    if best and shares[best] - shares[0] > _SURE * error:
        evidence |= {"otherwise": float(shares[best])}
        if answers.kind == "odd-one-out":
            odd = 2 - best
            yield Finding(
                "warning",
                "odd column",
                f"triplets: the features find column {odd} of the answers odd in {shares[best]:.3f} of them, "
                f"the stated odd one in {shares[0]:.3f}",
                "check the convention of the file and state it with --odd-column",
                evidence,
                lambda case: case.with_columns([*(j for j in range(3) if j != odd), odd]),
            )
        else:
            m = answers.objects.shape[1]
            yield Finding(
                "warning",
                "alternatives",
                f"answers: the features find column {best + 1} nearest to the reference in {shares[best]:.3f} of them, "
                f"the stated one, column 1, in {shares[0]:.3f}",
                "check which column holds the chosen alternative: the reference is first, the chosen one second",
                evidence,
                lambda case: case.with_columns([0, best + 1, *(j for j in range(1, m) if j != best + 1)]),
            )
    elif abs(shares[0] - chance) < 3 * error and len(answers) >= 1000:
        yield Finding(
            "warning",
            "order",
            f"triplets: the features agree with {shares[0]:.3f} of the answers, which is chance",
            "check that triplets and features list the objects in the same order (--object-ids, --order)",
            evidence,
        )


def warn_of_answers(features: Features, triplets: Answers) -> None:
    """Warn if another column of the answers looks like the odd one, or if the features know nothing of them."""
    warn(check_agreement(features, triplets, _ANSWERS_BEFORE_A_FIT))


def spaced(answers: Answers, at_most: int) -> Answers:
    """At most so many answers from everywhere in the file, in its order."""
    return (
        answers if len(answers) <= at_most else answers.select(np.arange(0, len(answers), -(-len(answers) // at_most)))
    )


def named_rows(features: Features, rows: Int[np.ndarray, " k"]) -> tuple[np.ndarray, np.ndarray]:
    """These rows, standardized, and the place of each row of the features among them; -1 for others."""
    X = features.standardization(np.asarray(features.matrix[rows]), "float64")
    place = np.full(len(features), -1)
    place[rows] = np.arange(len(rows))
    return X, place


def shares_of_pairs(known: tuple[np.ndarray, np.ndarray], answers: Answers) -> Float[np.ndarray, "t k"]:
    """For each answer the share of the model's choice that each candidate pair gets, the stated one first."""
    X, place = known
    return choice(of_pairs(X, answers.relabel(place)[0]), pair_tolerance(X))


def _other_reference(known: tuple[np.ndarray, np.ndarray], answers: Answers) -> tuple[int, int, float] | None:
    """The columns that agree best as the reference and the chosen one, if the reference is another than the first."""
    m = answers.objects.shape[1]
    if answers.kind == "odd-one-out" or m > _MANY_COLUMNS:
        return None
    found = []
    w = np.ones(len(answers)) if answers.weights is None else answers.weights
    for reference in range(1, m):
        columns = [reference, *(column for column in range(m) if column != reference)]
        shares = w @ shares_of_pairs(known, Answers(answers.objects[:, columns], kind=answers.kind)) / w.sum()
        found.append((reference, columns[1 + int(shares.argmax())], float(shares.max())))
    return max(found, key=lambda each: each[2])


def _runs(table: Float[np.ndarray, "t k"], answers: Answers) -> Iterator[Finding]:
    """Whether one part of the file follows another convention than the rest, or agrees with nothing."""
    t, k = table.shape
    number = min(_RUNS, t // _RUN)
    if number < 2:
        return
    cuts = np.linspace(0, t, number + 1).astype(int)
    runs = np.array([table[a:b].mean(axis=0) for a, b in itertools.pairwise(cuts)])
    error = math.sqrt((1 - 1 / k) / k / (t // number))
    best = runs.argmax(axis=1)
    otherwise = (best > 0) & (runs.max(axis=1) - runs[:, 0] > _SURE * error)
    stated = runs[:, 0] - runs[:, 1:].max(axis=1) > _SURE * error
    if otherwise.any() and stated.any():
        first, last = np.flatnonzero(otherwise)[[0, -1]]
        yield Finding(
            "warning",
            "mixed columns",
            f"answers: from about answer {cuts[first]} to {cuts[last + 1]} of {t} the features favour another column "
            f"({runs[otherwise].max(axis=1).mean():.3f} against {runs[otherwise, 0].mean():.3f} as stated), elsewhere "
            f"the stated one ({runs[stated, 0].mean():.3f})",
            "files with two conventions were joined: read each with its own and join them then; --fix cannot know "
            "where one ends",
            {"first": int(cuts[first]), "last": int(cuts[last + 1]), "agreement": runs[:, 0].tolist()},
        )
        return
    rest = np.array([np.delete(runs[:, 0], i).mean() for i in range(number)])
    lost = (np.abs(runs[:, 0] - 1 / k) < 3 * error) & (rest - runs[:, 0] > (_SURE + 1) * error)
    if number > 2 and lost.any() and lost.mean() < 0.5:
        first, last = np.flatnonzero(lost)[[0, -1]]
        yield Finding(
            "warning",
            "part at chance",
            f"answers: from about answer {cuts[first]} to {cuts[last + 1]} of {t} the features agree with "
            f"{runs[lost, 0].mean():.3f} of them, which is chance, and with {runs[~lost, 0].mean():.3f} of the others",
            "look where these answers come from: another list of objects, a failed import, or nobody; leave them out",
            {"first": int(cuts[first]), "last": int(cuts[last + 1]), "agreement": runs[:, 0].tolist()},
        )
