"""The doctor of answers on given features: range, coverage, repeats, contradictions, columns, and what they index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from glocal.data.answers import Answers
from glocal.data.check.agreement import check_agreement
from glocal.data.check.case import Case
from glocal.data.check.finding import Finding
from glocal.data.check.order import check_order
from glocal.data.features import Features
from glocal.data.join import feature_rows
from glocal.data.repeated import questions

_RARE, _OFTEN = 5, 20  # answers about an object; how many the typical one has where that is a fault
_PAIRS = 200
_LOST = 0.05  # of the answers: so many may name an object without a photograph


def check_triplets(features: Features, triplets: Answers, object_ids: tuple[str, ...] | None = None) -> list[Finding]:
    """Range, base, coverage, repeats, contradictions, columns and order of answers on these features.

    Parameters
    ----------
    features : Features
        Finite; their similarities tell whether another column, or another list of objects, fits the answers better.
    triplets : Answers
        As read, with the stated base, odd column and order.
    object_ids : names or None
        The list that the triplets index.

    Returns
    -------
    list of Finding
    """
    return list(check_answers(Case(features, answers=triplets, object_ids=object_ids)))


def check_answers(case: Case) -> Iterator[Finding]:
    """The same of a case, which may know the sort index that was applied."""
    features, triplets, names = case.features, case.answers, case.listed
    assert triplets is not None
    n = len(features) if names is None else len(names)
    listed = "rows of the features" if names is None else "object ids"
    if not len(triplets):
        yield Finding("error", "empty", "triplets: the file holds no answer", "write it again")
        return
    smallest, largest = int(triplets.answers.min()), int(triplets.answers.max())
    if largest >= n:
        based = largest == n and smallest >= 1
        yield Finding(
            "error",
            "range",
            f"triplets: object {largest} is named but there are {n} {listed}",
            "pass --base 1" if based else "name the list they index with --object-ids",
            {"largest": largest, "objects": n},
            _from_one if based else None,
        )
        return
    seen = triplets.named()
    never_first = smallest == 1 and largest == n - 1 and len(seen) == n - 1
    if never_first:
        yield Finding(
            "warning",
            "base",
            "triplets: object 0 is the only one never named; the file may count from 1",
            "pass --base 1 if it does (then object ids need one line more)",
            {"objects": n},
        )
    if len(seen) < n:
        yield Finding(
            "note" if len(seen) > 0.9 * n else "warning",
            "coverage",
            f"triplets: {n - len(seen)} of {n} {listed} are never named",
            "nothing, if that is meant; else check the base and the list of objects",
            {"never": n - len(seen), "objects": n},
        )
    yield from _rare(triplets)
    yield from _repeats(triplets, n)
    if names is not None:
        rows = feature_rows(features, names)
        mapped, dropped = triplets.relabel(rows)
        if dropped:
            without = int(np.count_nonzero(rows < 0))
            yield Finding(
                "note" if dropped <= _LOST * len(triplets) else "warning",
                "join",
                f"triplets: {dropped} of {len(triplets)} answers name an object without features "
                f"({without} of {n} objects have none)",
                "they will be dropped and counted; add the missing features to keep them",
                {"answers": dropped, "objects": without},
            )
        triplets = mapped
        if not len(triplets):
            yield Finding("error", "join", "triplets: no answer is left after the join", "check the names")
            return
    yield from _meaning(case, triplets)


def _meaning(case: Case, triplets: Answers) -> Iterator[Finding]:
    """Columns first, since a wrong one makes every other list look better; then the list; chance if neither tells."""
    of_columns = list(check_agreement(case.features, triplets))
    of_list = [] if any(f.check != "order" for f in of_columns) else list(check_order(case))
    names = case.features.names
    if case.listed is None and names is not None and list(names) != sorted(names) and not of_list:
        yield Finding(
            "warning" if of_columns else "note",  # the features know the answers as they are
            "order",
            "features: the rows are not in alphabetical order of their names, and no --object-ids are given",
            "if the triplets index an alphabetical list of objects, pass it with --object-ids",
        )
    yield from of_list or of_columns


def _from_one(case: Case) -> Case:
    def change(answers: Answers) -> Answers:
        return replace(answers, objects=answers.objects - (answers.objects > 0))

    return case.changed(change)


def _rare(triplets: Answers) -> Iterator[Finding]:
    counts = np.bincount(triplets.objects.reshape(-1))
    counts = counts[counts > 0]
    rare, typical = int((counts < _RARE).sum()), float(np.median(counts))
    if rare:
        yield Finding(
            "warning" if typical >= _OFTEN else "note",
            "rare",
            f"triplets: {rare} of {len(counts)} objects are in fewer than {_RARE} answers (median {typical:.0f})",
            "collect more answers about them, or say of no result that it holds for them",
            {"objects": rare, "median": typical},
        )


def _repeats(triplets: Answers, n: int) -> Iterator[Finding]:
    sets, choice = questions(triplets)
    if n ** sets.shape[1] < 2**60:
        sets = sets @ (n ** np.arange(sets.shape[1]))
    else:
        sets = np.unique(sets, axis=0, return_inverse=True)[1].reshape(-1)
    counts = np.unique(sets * len(triplets.pairs) + choice, return_counts=True)[1]
    of_questions = np.unique(sets, return_counts=True)[1].astype(np.float64)
    asked = len(of_questions)
    together = float((counts * (counts - 1.0)).sum())
    pairs = float((of_questions * (of_questions - 1)).sum())
    if (counts > 1).any():
        yield Finding(
            "note",
            "duplicates",
            f"triplets: {int((counts - 1).sum())} answers repeat another one exactly",
            "fine for repeated measurements; weights (--weights) say the same without copies",
            {"answers": int((counts - 1).sum())},
        )
    contradictions = len(counts) - asked
    if contradictions > 0:
        agreement, by_chance = together / pairs, triplets.chance
        noise = 3 * np.sqrt(by_chance * (1 - by_chance) / (pairs / 2))
        bad = triplets.weights is None and pairs >= 2 * _PAIRS and agreement < by_chance - noise
        yield Finding(
            "warning" if bad else "note",
            "contradictions",
            f"triplets: {contradictions} answers contradict another answer on the same objects"
            + (f"; two answers to one question agree in {agreement:.3f}, chance is {by_chance:.3f}" if bad else ""),
            "check whether the file lists alternatives as if they had been chosen; if it is right, people cannot tell"
            if bad
            else "expected where people disagree; they bound the reachable accuracy",
            {"answers": contradictions, "agreement": agreement, "chance": by_chance},
        )
