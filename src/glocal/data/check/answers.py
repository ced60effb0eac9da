"""The doctor of answers: range, coverage, repeats, contradictions, the column of the chosen pair, and held-out ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.data.answers import Answers
from glocal.data.check.finding import Case, Finding, error, note, warn, warning
from glocal.data.features import Features
from glocal.data.join import feature_rows
from glocal.data.repeated import questions
from glocal.similarity import choice, of_pairs, pair_tolerance, unit_rows

MANY_ANSWERS = 200_000
_BEFORE_A_FIT = 20_000  # enough for a difference of .017 between two columns
_MANY_ROWS = 8192  # above which similarities are computed answer by answer
_MANY_COLUMNS = 9
_APART = 0.05  # two right readings of the material answers differ by .015 in favour of the wrong one
_SURE = 5.0  # standard errors
_PAIRS = 400
_LOST = 0.05  # of the answers: so many may name an object without a photograph

Choosing = Callable[[Answers], Float[np.ndarray, "t k"]]
"""Answers about rows of features → the share of the model's choice that each candidate pair gets, the stated first."""


def check_answers(case: Case) -> Iterator[Finding]:
    """Range, base, coverage, repeats and join of the answers; their columns and order are looked at by others.

    Only a finding that is an error ends it: what comes after would be about nothing.
    """
    answers, names = case.answers, case.listed
    assert answers is not None
    n = len(case.features) if names is None else len(names)
    listed = "rows of the features" if names is None else "object ids"
    nothing = "there is nothing to learn from"
    if not len(answers):
        yield error("empty", "answers: the file holds no answer", nothing, "write it again")
        return
    smallest, largest = int(answers.objects.min()), int(answers.objects.max())
    if largest >= n:
        yield error(
            "range",
            f"answers: object {largest} is named but there are {n} {listed}",
            "the answers do not refer to these features",
            "pass base=1" if largest == n and smallest >= 1 else "name the list they index with object_ids",
            {"largest": largest, "objects": n},
        )
        return
    seen = answers.named()
    if smallest == 1 and largest == n - 1 and len(seen) == n - 1:
        yield warning(
            "base",
            "answers: object 0 is the only one never named; the file may count from 1",
            "each answer is learned from the wrong images",
            "pass base=1 if so (the list of objects then has one more line)",
            {"objects": n},
        )
    if len(seen) < n:
        yield Finding(
            "note" if len(seen) > 0.9 * n else "warning",
            "coverage",
            f"answers: {n - len(seen)} of {n} {listed} are never named",
            "nothing is learned about these objects",
            "nothing, if that is intended; otherwise check the base and the list of objects",
            {"never": n - len(seen), "objects": n},
        )
    yield from _repeats(answers)
    if names is not None:
        rows = feature_rows(case.features, names)
        mapped, dropped = answers.relabel(rows)
        without = int(np.count_nonzero(rows < 0))
        if dropped:
            yield Finding(
                "error" if not len(mapped) else "note" if dropped <= _LOST * len(answers) else "warning",
                "join",
                f"answers: {dropped} of {len(answers)} answers name an object without features ({without} of {n} "
                "objects have none)",
                "these answers are dropped and counted" if len(mapped) else nothing,
                "add the missing features to keep them" if len(mapped) else "check the names",
                {"answers": dropped, "objects": without},
            )


def _repeats(answers: Answers) -> Iterator[Finding]:
    asked, chosen = questions(answers)
    question = np.unique(asked, axis=0, return_inverse=True)[1].reshape(-1)
    k = len(answers.pairs)
    of_questions = np.bincount(question).astype(np.float64)
    of_answers = np.unique(question * k + chosen, return_counts=True)[1].astype(np.float64)
    copies, contradictions = len(answers) - len(of_answers), len(of_answers) - len(of_questions)
    if copies:
        yield note(
            "duplicates",
            f"answers: {copies} answers repeat another one exactly",
            "duplicates are counted more than once",
            "nothing, if the questions were asked several times; otherwise remove the copies",
            {"answers": copies},
        )
    if contradictions:
        pairs = float((of_questions * (of_questions - 1)).sum())
        agreement, chance = float((of_answers * (of_answers - 1)).sum()) / pairs, 1 / k
        noise = 3 * math.sqrt(chance * (1 - chance) / (pairs / 2))
        bad = answers.weights is None and pairs >= _PAIRS and agreement < chance - noise
        yield Finding(
            "warning" if bad else "note",
            "contradictions",
            f"answers: {contradictions} answers contradict another answer on the same objects"
            + (f"; two answers to one question agree in {agreement:.3f}, chance is {chance:.3f}" if bad else ""),
            "no model can satisfy both",
            "check whether the file lists alternatives as if they had been chosen"
            if bad
            else "nothing: people disagree, which bounds the reachable accuracy",
            {"answers": contradictions, "agreement": agreement, "chance": chance},
        )


def choosing(features: Features, rows: Int[np.ndarray, " k"]) -> Choosing:
    """How features choose among the candidate pairs of answers about these rows, by cosines of standardized ones."""
    X = unit_rows(features.standardization(np.asarray(features.matrix[rows]), "float64"))
    place, tolerance = np.full(len(features), -1), pair_tolerance(X)
    place[rows] = np.arange(len(rows))
    S = X @ X.T if len(rows) <= _MANY_ROWS else None

    def shares(answers: Answers) -> Float[np.ndarray, "t k"]:
        answers = answers.relabel(place)[0]
        if S is None:
            return choice(of_pairs(X, answers), tolerance)
        objects = answers.objects
        return choice(np.stack([S[objects[:, i], objects[:, j]] for i, j in answers.pairs], axis=1), tolerance)

    return shares


def check_columns(features: Features, answers: Answers, at_most: int = MANY_ANSWERS) -> Iterator[Finding]:
    """Whether features favour another column of answers about their rows, or know nothing of them."""
    answers = spaced(answers, at_most)
    shares_of, m = choosing(features, answers.named()), answers.objects.shape[1]
    w = np.ones(len(answers)) if answers.weights is None else answers.weights
    shares, chance = w @ shares_of(answers) / w.sum(), answers.chance
    error = math.sqrt(chance * (1 - chance) * (w @ w)) / w.sum()
    best = int(shares.argmax())
    evidence = {"agreement": float(shares[0]), "chance": chance, "answers": len(answers)}
    if answers.kind != "odd-one-out" and m <= _MANY_COLUMNS:
        found = []
        for reference in range(1, m):
            columns = [reference, *(column for column in range(m) if column != reference)]
            other = w @ shares_of(Answers(answers.objects[:, columns], kind=answers.kind)) / w.sum()
            found.append((float(other.max()), reference, columns[1 + int(other.argmax())]))
        share, reference, chosen = max(found)
        if share - shares.max() > max(_SURE * error, _APART):
            yield warning(
                "reference",
                f"answers: the features agree with {share:.3f} of them if column {reference} is the reference and "
                f"column {chosen} the chosen one, and with {shares[0]:.3f} as stated (columns 0 and 1)",
                "the fit compares with a different object than people did",
                "check which column holds the reference: it comes first, the chosen one second",
                evidence | {"otherwise": share},
            )
            return
    if best and shares[best] - shares[0] > _SURE * error:
        odd = answers.kind == "odd-one-out"
        yield warning(
            "odd column" if odd else "alternatives",
            f"answers: the features find column {2 - best} odd in {shares[best]:.3f} of them, the stated odd one in "
            f"{shares[0]:.3f}"
            if odd
            else f"answers: the features find column {best + 1} nearest to the reference in {shares[best]:.3f} of "
            f"them, the stated one, column 1, in {shares[0]:.3f}",
            "the fit learns that the odd one belongs to the similar pair"
            if odd
            else "the fit learns that the farther one is the nearer",
            f"check the convention of the file; pass odd_column={2 - best} if that is it"
            if odd
            else "check which column holds the chosen alternative: the reference comes first, the chosen one second",
            evidence | {"otherwise": float(shares[best])},
        )
    elif abs(shares[0] - chance) < 3 * error and len(answers) >= 1000:
        yield warning(
            "order",
            f"answers: the features agree with {shares[0]:.3f} of them, which is chance",
            "answers about one object are learned from the image of another",
            "check that answers and features list the objects in the same order (object_ids, order)",
            evidence,
        )


def warn_of_answers(features: Features, answers: Answers) -> None:
    """Warn if another column of the answers looks like the odd one, or if the features know nothing of them."""
    warn(check_columns(features, answers, _BEFORE_A_FIT))


def spaced(answers: Answers, at_most: int) -> Answers:
    """At most so many answers from everywhere in the file, in its order."""
    step = -(-len(answers) // at_most)
    return answers if step <= 1 else answers.select(np.arange(0, len(answers), step))


def check_heldout(train: Answers, test: Answers) -> Iterator[Finding]:
    """Questions, persons and objects that the answers and the held-out ones share."""
    of_train, of_test = train.person, test.person
    new_people = of_train is not None and of_test is not None and not np.isin(of_test, of_train).any()
    asked, where = _shared_questions(train, test)
    if asked.any():
        yield Finding(
            "note" if new_people else "error",
            "leakage",
            f"held-out answers: {where.sum()} of {len(test)} repeat questions of the training answers"
            + (", asked of other persons" if new_people else f" ({asked.sum()} answers there)"),
            "the held-out score is partly a score on training questions",
            "nothing, if you want to know about new persons; for new objects, split by objects"
            if new_people
            else "split again (glocal data split)",
            {"train": int(asked.sum()), "heldout": int(where.sum())},
        )
        return
    objects = np.intersect1d(train.named(), test.named())
    if len(objects) and not new_people:
        yield warning(
            "leakage",
            f"held-out answers: {len(objects)} of the {len(test.named())} objects that they name also occur in the "
            "training answers",
            "the held-out score says nothing about new objects",
            "hold out objects (glocal data split) to score on objects that no fit has seen",
            {"objects": len(objects)},
        )


def _shared_questions(a: Answers, b: Answers) -> tuple[Bool[np.ndarray, " t"], Bool[np.ndarray, " u"]]:
    """Which answers are to questions that the other part holds too."""
    if a.pairs != b.pairs:
        return np.zeros(len(a), dtype=bool), np.zeros(len(b), dtype=bool)
    both = np.concatenate([questions(a)[0], questions(b)[0]])
    group = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    here, there = group[: len(a)], group[len(a) :]
    return np.isin(here, there), np.isin(there, here)
