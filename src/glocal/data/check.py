"""Look at features and answers before they are used: what is wrong, what is odd, and how to mend it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.features import Features, Standardization, object_name
from glocal.data.join import feature_rows
from glocal.data.repeated import questions
from glocal.errors import DataError, DataWarning
from glocal.similarity import PairSimilarities, choice

Severity = Literal["error", "warning", "note"]
_MANY_ANSWERS = 200_000
_ANSWERS_BEFORE_A_FIT = 20_000  # enough for a difference of .017 between two columns
_MANY_IMAGES = 2048
_MANY_COLUMNS = 9
_APART = 0.05  # two right readings of the material answers differ by .015 in favour of the wrong one
_SHIFT, _SPREAD = 0.25, 2.0  # of one network on objects, ImageNet and CIFAR-10: at most .03 and 1.08


@dataclass(frozen=True)
class Finding:
    """One problem: an `error` makes results wrong, a `warning` may, a `note` is informational; `fix` is the remedy."""

    severity: Severity
    check: str
    message: str
    fix: str


def check_features(features: Features, what: str = "features") -> list[Finding]:
    """Values, constants, repeats and names of one feature matrix.

    Parameters
    ----------
    features : Features
    what : str
        The role of the file in the messages.

    Returns
    -------
    list of Finding
    """
    return list(_in_features(features, what))


def _in_features(features: Features, what: str) -> Iterator[Finding]:
    n, p = features.matrix.shape
    bad_rows = np.concatenate([~np.isfinite(rows).all(axis=1) for _, rows in features.chunks()])
    if bad_rows.any():
        rows = np.flatnonzero(bad_rows)
        yield Finding(
            "error",
            "finite",
            f"{what}: {len(rows)} of {n} rows hold NaN or infinity (first: row {rows[0]})",
            "recompute or remove those images",
        )
        return
    try:
        scalars = features.standardization
    except DataError as error:
        yield Finding("error", "constant", f"{what}: {error}", "write the features again")
        return
    constant = features.constant_columns()
    if constant:
        yield Finding(
            "warning", "constant", f"{what}: {constant} of {p} columns are constant", "drop them, or leave them"
        )
    repeated = n - len(np.unique(_row_hashes(features)))
    if repeated:
        yield Finding(
            "warning",
            "duplicates",
            f"{what}: {repeated} rows repeat another row exactly",
            "check for images extracted twice, or a failed extraction that repeats its last batch",
        )
    largest = max(abs(float(end)) for _, rows in features.chunks() for end in (rows.min(), rows.max()))
    if largest > 1e4 * scalars.std + abs(scalars.mean):
        yield Finding(
            "warning",
            "scale",
            f"{what}: the largest value {largest:.3g} is more than 10,000 standard deviations out",
            "look for a broken image or column; one value can dominate every similarity",
        )
    if features.names is not None:
        names = [object_name(name) for name in features.names]
        if len(set(names)) < n:
            yield Finding(
                "warning",
                "names",
                f"{what}: {n - len(set(names))} names are not unique (folder and extension ignored)",
                "rename them if objects are to be joined by name",
            )


def check_triplets(features: Features, triplets: Answers, object_ids: tuple[str, ...] | None = None) -> list[Finding]:
    """Range, base, coverage, repeats, contradictions, odd column and order of answers on these features.

    Parameters
    ----------
    features : Features
        Finite; their similarities tell whether another column looks like the odd one.
    triplets : Answers
        As read, with the stated base, odd column and order.
    object_ids : names or None
        The list that the triplets index.

    Returns
    -------
    list of Finding
    """
    return list(_in_triplets(features, triplets, object_ids))


def _in_triplets(features: Features, triplets: Answers, object_ids: tuple[str, ...] | None) -> Iterator[Finding]:
    n = len(features) if object_ids is None else len(object_ids)
    listed = "rows of the features" if object_ids is None else "object ids"
    if not len(triplets):
        yield Finding("error", "empty", "triplets: the file holds no answer", "write it again")
        return
    smallest, largest = int(triplets.answers.min()), int(triplets.answers.max())
    if largest >= n:
        hint = "pass --base 1" if largest == n and smallest >= 1 else "name the list they index with --object-ids"
        yield Finding("error", "range", f"triplets: object {largest} is named but there are {n} {listed}", hint)
        return
    seen = triplets.named()
    if smallest == 1 and largest == n - 1 and len(seen) == n - 1:
        yield Finding(
            "warning",
            "base",
            "triplets: object 0 is the only one never named; the file may count from 1",
            "pass --base 1 if it does (then object ids need one line more)",
        )
    if len(seen) < n:
        yield Finding(
            "note" if len(seen) > 0.9 * n else "warning",
            "coverage",
            f"triplets: {n - len(seen)} of {n} {listed} are never named",
            "nothing, if that is meant; else check the base and the list of objects",
        )
    yield from _repeats(triplets, n)
    if object_ids is not None:
        rows = feature_rows(features, object_ids)
        mapped, dropped = triplets.relabel(rows)
        if dropped:
            yield Finding(
                "warning",
                "join",
                f"triplets: {dropped} of {len(triplets)} answers name an object without features "
                f"({np.count_nonzero(rows < 0)} of {n} objects have none)",
                "they will be dropped and counted; add the missing features to keep them",
            )
        triplets = mapped
        if not len(triplets):
            yield Finding("error", "join", "triplets: no answer is left after the join", "check the names")
            return
    elif features.names is not None and list(features.names) != sorted(features.names):
        yield Finding(
            "warning",
            "order",
            "features: the rows are not in alphabetical order of their names, and no --object-ids are given",
            "if the triplets index an alphabetical list of objects, pass it with --object-ids",
        )
    yield from _agreement(features, triplets)


def check_local(features: Features, local: Features, images: Int[np.ndarray, " k"] | None = None) -> list[Finding]:
    """Whether local features, standardized by the two scalars of the object features, look like those.

    Features of one network differ little in their overall mean and spread from one set of images to another, also from
    objects to photographs of all kinds. Those that were normalized, standardized or scaled on one side only do.
    `images` are the rows to look at, by default some from everywhere.
    """
    mean, std, apart = unlike(features.standardization, local, images)
    if not apart:
        return []
    return [
        Finding(
            "warning",
            "local scale",
            f"local features: by the mean and std of the object features they have mean {mean:.3g} and std {std:.3g}, "
            "where features made alike have about 0 and 1",
            "make both alike and leave both raw (steps before Aligner in a Pipeline do not reach local_features by "
            "themselves: see Aligner.fit)",
        )
    ]


def unlike(
    scalars: Standardization, features: Features, rows: Int[np.ndarray, " k"] | None = None
) -> tuple[float, float, bool]:
    """The mean and std of features by the two scalars of others, and whether they are far from 0 and 1.

    NaN and infinity are left out: who reads those rows names them.
    """
    if rows is None:
        rows = np.unique(np.linspace(0, len(features) - 1, min(len(features), _MANY_IMAGES)).astype(np.int64))
    found = scalars(np.asarray(features.matrix[np.sort(rows)]), "float64")
    found = found[np.isfinite(found).all(axis=1)]
    if not len(found):
        return 0.0, 1.0, False
    mean, std = float(found.mean()), float(found.std())
    return mean, std, abs(mean) > _SHIFT or not 1 / _SPREAD <= std <= _SPREAD


def warn_of_answers(features: Features, triplets: Answers) -> None:
    """Warn if another column of the answers looks like the odd one, or if the features know nothing of them."""
    _warn(_agreement(features, triplets, _ANSWERS_BEFORE_A_FIT))


def warn_of_local(features: Features, local: Features, images: Int[np.ndarray, " k"]) -> None:
    """Warn if the local features of these images were not made as the object features were."""
    _warn(check_local(features, local, images))


def _warn(findings: Iterable[Finding]) -> None:
    for finding in findings:
        warnings.warn(f"{finding.message}. Fix: {finding.fix}.", DataWarning, stacklevel=4)


def _repeats(triplets: Answers, n: int) -> Iterator[Finding]:
    counts, asked = np.empty(0, dtype=np.int64), 0
    for part in triplets.parts:
        sets, choice = questions(part)
        if n ** sets.shape[1] < 2**60:
            sets = sets @ (n ** np.arange(sets.shape[1]))
        else:
            sets = np.unique(sets, axis=0, return_inverse=True)[1].reshape(-1)
        counts = np.append(counts, np.unique(sets * len(part.pairs) + choice, return_counts=True)[1])
        asked += len(np.unique(sets))
    if (counts > 1).any():
        yield Finding(
            "note",
            "duplicates",
            f"triplets: {int((counts - 1).sum())} answers repeat another one exactly",
            "fine for repeated measurements; weights (--weights) say the same without copies",
        )
    contradictions = len(counts) - asked
    if contradictions > 0:
        yield Finding(
            "note",
            "contradictions",
            f"triplets: {contradictions} answers contradict another answer on the same objects",
            "expected where people disagree; they bound the reachable accuracy",
        )


def _agreement(features: Features, triplets: Answers, at_most: int = _MANY_ANSWERS) -> Iterator[Finding]:
    """Whether the features favour another column as the odd one, or know nothing of the answers at all."""
    answers = triplets
    if len(answers) > at_most:
        answers = answers.select(np.arange(0, len(answers), -(-len(answers) // at_most)))
    named = answers.named()
    X = features.standardization(np.asarray(features.matrix[named]), "float64")
    new_index = np.full(len(features), -1)
    new_index[named] = np.arange(len(named))
    shares = _shares(X, answers.relabel(new_index)[0])
    chance = answers.chance
    w = answers.weights
    error = math.sqrt(chance * (1 - chance) / (len(answers) if w is None else w.sum() ** 2 / (w @ w)))
    best = int(shares.argmax())
    other = _other_reference(X, answers.relabel(new_index)[0])
    if other is not None and other[2] - max(shares) > max(5 * error, _APART):
        reference, chosen, share = other
        yield Finding(
            "warning",
            "reference",
            f"answers: the features agree with {share:.3f} of them if column {reference} is the reference and column "
            f"{chosen} the chosen one, and with {shares[0]:.3f} as stated (columns 0 and 1)",
            "check which column holds the reference: it is first, the chosen one second",
        )
    elif best and len(answers.parts) == 1 and shares[best] - shares[0] > 5 * error:
        if answers.kind == "odd-one-out":
            yield Finding(
                "warning",
                "odd column",
                f"triplets: the features find column {2 - best} of the answers odd in {shares[best]:.3f} of them, "
                f"the stated odd one in {shares[0]:.3f}",
                "check the convention of the file and state it with --odd-column",
            )
        else:
            yield Finding(
                "warning",
                "alternatives",
                f"answers: the features find column {best + 1} nearest to the reference in {shares[best]:.3f} of them, "
                f"the stated one, column 1, in {shares[0]:.3f}",
                "check which column holds the chosen alternative: the reference is first, the chosen one second",
            )
    elif abs(shares[0] - chance) < 3 * error and len(answers) >= 1000:
        yield Finding(
            "warning",
            "order",
            f"triplets: the features agree with {shares[0]:.3f} of the answers, which is chance",
            "check that triplets and features list the objects in the same order (--object-ids, --order)",
        )


def _other_reference(X: Float[np.ndarray, "n p"], answers: Answers) -> tuple[int, int, float] | None:
    """The columns that agree best as the reference and the chosen one, if the reference is another than the first."""
    m = answers.objects.shape[1]
    if len(answers.parts) > 1 or answers.kind == "odd-one-out" or m > _MANY_COLUMNS:
        return None
    found = []
    for reference in range(1, m):
        columns = [reference, *(column for column in range(m) if column != reference)]
        shares = _shares(X, Answers(answers.objects[:, columns], answers.weights, kind=answers.kind))
        found.append((reference, columns[1 + int(shares.argmax())], float(shares.max())))
    return max(found, key=lambda each: each[2])


def _shares(X: Float[np.ndarray, "n p"], answers: Answers) -> Float[np.ndarray, " k"]:
    """For each candidate pair, the stated one first, the weighted share of answers in which it is the most similar."""
    similarities = PairSimilarities(X)
    shares = np.zeros(max(len(part.pairs) for part in answers.parts))
    for rows, pairs in similarities.chunks(answers):
        chosen = choice(pairs, similarities.tolerance)
        shares[: len(pairs)] += chosen.sum(axis=1) if answers.weights is None else chosen @ answers.weights[rows]
    return shares / answers.total_weight


def _row_hashes(features: Features) -> Int[np.ndarray, " n"]:
    """A 64-bit hash of each row, by its bytes."""
    return np.array([hash(row.tobytes()) for _, rows in features.chunks() for row in np.ascontiguousarray(rows)])
