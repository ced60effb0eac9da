"""Each person's answers beside the others': agreement, times, catch trials; and raters dropped by a stated rule."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glocal.data.answers import Answers
from glocal.data.repeated import questions
from glocal.errors import DataError, ParameterError

FAST = 0.8
"""Seconds below which an answer counts as fast: nobody has looked at three pictures by then."""
ATTENTIVE = 0.95
"""The share of catch trials that somebody who attends is taken to pass."""
_RULE = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\w]+)\s*")
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, eq=False)
class People:
    """One row per person. NaN marks what is unknown for one person, None what is unknown for everybody.

    Parameters
    ----------
    person : (q,) array
    answers : (q,) int
    agreement : (q,) float
        The share of a person's answers that equal the most frequent answer of the other persons to the same question,
        a tie among k counting 1/k; over the `shared` questions that others answered too.
    shared : (q,) int
    model : (q,) float or None
        Agreement of a model's similarities with the person's answers: where no question is repeated, the persons can
        only be compared with each other through a model.
    seconds, fast : (q,) float or None
        Median time of an answer; the share of answers below a number of seconds.
    catch, catch_trials : (q,) float and (q,) int, or None
        The share of catch trials passed, and how many there were.
    chance : (q,) float
        The agreement of somebody who answers at random: the mean of 1/(candidate pairs).
    """

    person: Shaped[np.ndarray, " q"]
    answers: Int[np.ndarray, " q"]
    agreement: Float[np.ndarray, " q"]
    shared: Int[np.ndarray, " q"]
    model: Float[np.ndarray, " q"] | None
    seconds: Float[np.ndarray, " q"] | None
    fast: Float[np.ndarray, " q"] | None
    catch: Float[np.ndarray, " q"] | None
    catch_trials: Int[np.ndarray, " q"] | None
    chance: Float[np.ndarray, " q"]

    def means(self) -> Iterator[tuple[str, float, int]]:
        """Metric, mean over the persons of whom it is known, each counting alike, and their number."""
        for name in ("agreement", "model", "seconds", "fast", "catch"):
            values = getattr(self, name)
            known = np.empty(0) if values is None else values[~np.isnan(values)]
            if len(known):
                yield f"people_{name}", float(known.mean()), len(known)

    @property
    def odds_random(self) -> Float[np.ndarray, " q"]:
        """The log₁₀ odds that a person answered at random rather than like the others, from their agreement.

        With r the person's agreement on n answers, c chance and a the mean of the other persons,

            n [ r log(c / a) + (1 - r) log((1 - c) / (1 - a)) ],

        of the agreement with the others where at least half of a person's questions are shared, else with the model; 0
        where neither is known or the others agree no better than chance.
        """
        found = self._beside_others(self.agreement, self.shared)
        if self.model is None:
            return found
        return np.where(2 * self.shared >= self.answers, found, self._beside_others(self.model, self.answers))

    def _beside_others(self, r: np.ndarray, n: np.ndarray) -> Float[np.ndarray, " q"]:
        n, r = np.where(np.isnan(r), 0, n), np.nan_to_num(r)
        rest = n.sum() - n
        a = np.clip((r @ n - r * n) / np.where(rest > 0, rest, 1), self.chance, 1 - 1e-3)
        return _log_odds(r, n, self.chance, a)

    @property
    def odds_inattentive(self) -> Float[np.ndarray, " q"]:
        """The same from the catch trials, of which an attentive person passes the share `ATTENTIVE`."""
        if self.catch is None or self.catch_trials is None:
            return np.zeros(len(self.person))
        passed = np.where(self.catch_trials > 0, self.catch, 0)
        return _log_odds(passed, self.catch_trials.astype(float), self.chance, np.full(len(passed), ATTENTIVE))

    @property
    def convicting(self) -> float:
        """The log₁₀ odds beyond which they are said to be random: of all people here 1 in 100 times anybody is."""
        return float(np.log10(100 * max(1, len(self.person))))

    def columns(self) -> dict[str, np.ndarray]:
        """What is known, by name: what a rule may name, and a table shows."""
        known = {
            "answers": self.answers, "shared": self.shared, "agreement": self.agreement, "model": self.model,
            "seconds": self.seconds, "fast": self.fast, "catch": self.catch, "catch_trials": self.catch_trials,
            "odds": self.odds_random,
        }  # fmt: skip
        return {name: values for name, values in known.items() if values is not None}

    def failing(self, rule: str) -> dict[str, Bool[np.ndarray, " q"]]:
        """Who meets each of the conditions, separated by commas, of a rule such as ``"catch<0.8, fast>0.5"``.

        NaN meets no condition: somebody who shares no question is not dropped for agreement.

        Raises
        ------
        ParameterError
            A condition that cannot be read, or one about something unknown of these people.
        """
        columns, found = self.columns(), {}
        for condition in rule.split(","):
            match = _RULE.fullmatch(condition)
            try:
                limit = float(match[3]) if match else float("nan")
            except ValueError:
                limit = float("nan")
            if not match or np.isnan(limit):
                raise ParameterError(
                    f"the rule {condition.strip()!r} cannot be read; write NAME<NUMBER or NAME>NUMBER, several with "
                    "commas, such as 'catch<0.8,fast>0.5'."
                )
            if match[1] not in columns:
                raise ParameterError(
                    f"the rule is about {match[1]!r}, which is not known of these people; known are "
                    f"{', '.join(columns)}."
                )
            found[condition.strip()] = _COMPARE[match[2]](columns[match[1]], limit)
        return found


def people(
    answers: Answers,
    credit: Float[np.ndarray, " t"] | None = None,
    *,
    fast: Annotated[float, "Seconds below which an answer counts as fast."] = FAST,
) -> People:
    """Describe each person by their answers, which may be of any kind; a weight counts as copies.

    Answers do not hold the display order, so a preference for a position goes unnoticed; agreement with others needs
    questions that several people answered.

    Parameters
    ----------
    answers : Answers
        With persons.
    credit : (t,) float or None
        How right a model is on each answer (`glocal.evaluation.alignment.answer_credit`), NaN where it has no features.
    fast : float
        Seconds below which an answer counts as fast.

    Raises
    ------
    DataError
        Who gave the answers is not known.

    Examples
    --------
    >>> given = Answers.from_array([[0, 1, 2], [0, 1, 2], [0, 2, 1]], person=np.array(["ann", "bob", "eve"]))
    >>> people(given).agreement.tolist()
    [0.5, 0.5, 0.0]
    """
    if answers.person is None:
        raise DataError("the answers do not say who gave them. Import them with a column for the person.")
    names, who = np.unique(answers.person, return_inverse=True)
    weights = np.ones(len(answers)) if answers.weights is None else answers.weights
    k = len(answers.pairs)
    asked, chosen = questions(answers)
    question = np.unique(asked, axis=0, return_inverse=True)[1].reshape(-1)
    own = np.unique(np.stack([question, who]), axis=1, return_inverse=True)[1].reshape(-1)
    others = _votes(question, chosen, weights, k)[question] - _votes(own, chosen, weights, k)[own]
    most = others.max(axis=1, keepdims=True)
    best = others >= most - 1e-9 * np.maximum(1, most)
    compared = most[:, 0] > 1e-9
    right = best[np.arange(len(answers)), chosen] / best.sum(axis=1)

    def mean(values: np.ndarray, over: np.ndarray | None = None) -> np.ndarray:
        w = weights if over is None else weights * over
        with np.errstate(invalid="ignore"):
            found: np.ndarray = np.bincount(who, w * values, len(names)) / np.bincount(who, w, len(names))
        return found

    known = None if credit is None else ~np.isnan(credit)
    seconds = answers.seconds
    passed, trials = _caught(answers, names)
    return People(
        names, np.bincount(who), mean(right, compared), np.bincount(who[compared], minlength=len(names)),
        None if credit is None or known is None else mean(np.where(known, credit, 0), known),
        None if seconds is None else np.array([np.nanmedian(seconds[who == i]) for i in range(len(names))]),
        None if seconds is None else mean((seconds < fast).astype(float), ~np.isnan(seconds)),
        passed, trials, np.full(len(names), answers.chance),
    )  # fmt: skip


def without(answers: Answers, raters: Shaped[np.ndarray, " k"]) -> Answers:
    """The answers, and the catch trials, of everybody but these persons.

    Raises
    ------
    DataError
        Nobody would be left.
    """
    if answers.person is None:
        raise DataError("the answers do not say who gave them, so nobody can be dropped.")
    kept = ~np.isin(answers.person, raters)
    if not kept.any():
        raise DataError(f"the rule drops all {answers.n_people} persons. State another one.")
    left = answers.select(kept)
    if answers.catch_passed is None or answers.catch_person is None:
        return left
    of = ~np.isin(answers.catch_person, raters)
    return replace(left, catch_passed=answers.catch_passed[of], catch_person=answers.catch_person[of])


def _votes(group: np.ndarray, chosen: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray:
    n = int(group.max(initial=-1)) + 1
    return np.bincount(group * k + chosen, weights, minlength=n * k).reshape(n, k)


def _caught(answers: Answers, names: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    if answers.catch_passed is None or answers.catch_person is None:
        return None, None
    place = {name: i for i, name in enumerate(names.tolist())}
    of = np.array([place.get(name, -1) for name in answers.catch_person.tolist()], dtype=np.int64)
    trials = np.bincount(of[of >= 0], minlength=len(names))
    passed = np.bincount(of[of >= 0], answers.catch_passed[of >= 0], minlength=len(names))
    return np.where(trials > 0, passed / np.maximum(trials, 1), np.nan), trials


def _log_odds(r: np.ndarray, n: np.ndarray, c: np.ndarray, a: np.ndarray) -> np.ndarray:
    found: np.ndarray = n * (r * np.log10(c / a) + (1 - r) * np.log10((1 - c) / (1 - a)))
    return found
