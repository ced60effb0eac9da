"""Describe the people of a study, and find those who answer as if at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Problem
from glocal.aligner.folds import Fold
from glocal.aligner.search import Convex, PathSearch
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.data.people import describe
from glocal.data.splits import split_people
from glocal.objective import single_threaded_blas
from glocal.similarity import Mask, Numbers, Values

if TYPE_CHECKING:
    import pandas as pd

RANDOM = "as if at random"
MIN_LOG10_ODDS = 1.0
"""A person is marked above these log₁₀ odds (10 : 1), and careful below their negative."""
SIGNIFICANCE = 0.05
"""Nobody whose agreement is above chance at this level (one-sided) is marked."""
MAX_OBJECTS = 256
"""With more objects, and without features, there is no model of the answers."""
MIN_SPREAD = 0.1
"""The least standard deviation of the rates of fewer than `MIN_PEOPLE` careful people."""
MIN_PEOPLE = 10
"""The number of careful people from which the spread of their rates is estimated alone."""
_FOLDS = 5  # folds of the people
_MAX_ROUNDS = 10
_SOLVER = Exact(tol=1e-3)
_SOLVER_WITHOUT_FEATURES = Exact(tol=1e-2)  # a lower tolerance moves agreement by less than .001
_MAX_RATE = 0.98  # of careful people; a rate of 1 would give infinite odds
_CORRELATIONS = (1e-4, 0.5)  # the least and the most, of two answers of a person
_FIRST_CORRELATION = 0.02
_MAX_LOG10_ODDS = 6.0  # the largest that are stated; higher odds say nothing more


def people(answers: Answers, features: Features | None = None, judge: bool = True) -> pd.DataFrame:
    """Describe each person by their answers, and mark those who answer as if at random.

    `global` is fitted to the answers of four fifths of the people, with the λ that predicts the
    answers of the others best, and compared with these. Each fit starts at the scaled identity of
    its own fold, since a fit that starts at another one knows answers that it judges.

    The odds of a person compare answers at random with careful ones. Careful people differ:
    the numbers of their answers that agree with the model are beta-binomial, with the mean and the
    spread that are most likely for the *other* people who are not marked. If these are fewer than
    `MIN_PEOPLE`, the standard deviation of the rates is at least `MIN_SPREAD`. A person is marked
    if the odds are above 10 : 1 and the agreement is not significantly above chance. Below chance
    the odds are at least as high as at chance. The answers of marked people are then
    left out of the fits, and the fits are repeated until the same people are marked again.

    Parameters
    ----------
    answers : Answers
        Answers with the person who gave each of them.
    features : Features or None
        Features of the objects, joined by name. If None, the model is `naive` on a code of one
        column for each object, whose penalty keeps the embedding low-dimensional. It needs more
        answers, and at most `MAX_OBJECTS` objects.
    judge : bool
        Whether to compare people with models. If False, the result comes from
        `glocal.data.people.describe`.

    Returns
    -------
    DataFrame
        The columns of `glocal.data.people.describe`, the agreement with the models fitted without
        the person as ``model``, and the ``log10_odds`` that follow from it. ``judgement`` is

        - "as if at random, 40 : 1", if the person is marked: ``is_marked`` is true;
        - "careful, 1 : 300", for odds below 1 : 10;
        - "cannot be told", for odds between these, for an agreement that is significantly above
          chance, and for so few answers that even an agreement at chance would not give odds above
          10 : 1;
        - "no model", if no answer of the person can be compared with a model.

    Raises
    ------
    DataError
        The answers do not record who gave them, or an object has neither features nor a name.

    Examples
    --------
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_object=1, n_answers=1200, n_local=10, dimensions=24)
    >>> answers = world.answers.objects.copy()
    >>> answers[:300] = np.random.default_rng(0).permuted(answers[:300], axis=1)
    >>> people_of_study = Answers(answers, person=np.repeat(np.arange(4), 300))
    >>> people(people_of_study, world.objects).query("is_marked").index.tolist()
    [0]
    """
    table = describe(answers)
    return table.join(_judged_in_rounds(answers, features)) if judge else table


def _judged_in_rounds(answers: Answers, features: Features | None) -> pd.DataFrame:
    """Judge people by fits without those who were marked, until the same people are marked."""
    import pandas as pd

    model = AnswerModel.from_answers(answers, features)
    persons, number = np.unique(np.asarray(answers.person), return_inverse=True)
    was_marked = np.zeros(len(persons), dtype=bool)
    credit = np.full(len(answers), np.nan)
    step = None
    for _ in range(_MAX_ROUNDS):
        if model is not None:
            credit, step = model.credit(was_marked[number], step)
        weights = answers.all_weights * ~np.isnan(credit)
        agreeing = np.bincount(number, weights * np.nan_to_num(credit))
        scores = pd.DataFrame({"n": np.bincount(number, weights), "agreeing": agreeing}, persons)
        table = judgements(scores.round().astype(int), was_marked, answers.chance)
        is_marked = table["is_marked"].to_numpy()
        if (is_marked == was_marked).all():
            break
        was_marked = is_marked
    return table


@dataclass(frozen=True, eq=False)
class AnswerModel:
    """Fits to the answers of some people, which predict the answers of the others.

    Without features, `naive` is fitted on a code of one column for each object. Its λ ‖W‖² is there
    λ tr S, the trace norm of the similarities, which keeps their rank low. `global` would change
    the similarity of each pair of objects apart, and overfit.

    Parameters
    ----------
    data : FitData
    method : "global" or "naive"
    is_known : (t,) bool
        The answers that the model can judge, whose objects all have features.
    """

    data: FitData
    method: Convex
    is_known: Mask

    @classmethod
    def from_answers(cls, answers: Answers, features: Features | None) -> AnswerModel | None:
        """The model of the answers, or None if there are too many objects or too few people."""
        method: Convex = "global"
        if not len(answers):
            return None
        if features is None:
            n = len(answers.names or ()) or int(answers.objects.max(initial=0)) + 1
            if n > MAX_OBJECTS:
                return None
            answers = replace(answers, names=None)
            features = Features(np.eye(n), None, "numbers of the objects")
            method = "naive"
        joined = join(features, answers)
        if (joined.answers.n_people or 0) < 2:
            return None
        is_known = joined.kept & (answers.all_weights > 0)
        return cls(FitData(features, joined.answers), method, is_known)

    def credit(self, is_careless: Mask, step: int | None) -> tuple[Values, int | None]:
        """The credit of each answer by a fit to other people's answers, and the step of λ.

        Answers that are careless are judged, but not fitted. A `step` of None chooses λ. Answers
        that no fit can judge have the credit NaN.
        """
        credit = np.full(len(is_careless), np.nan)
        folds, rows = self._folds(~is_careless[self.is_known])
        if not folds:
            return credit, step
        has_features = self.method == "global"
        with single_threaded_blas():
            search = PathSearch(self._problem, folds, self.method, order="cold")
            lambdas = search.penalties
            if step is None:
                step = lambdas.index(search.largest_tie(search.search_penalty()))
            Z = search.embeddings(lambdas[min(step, len(lambdas) - 1)])
            scores = search.heldout.credit(Z, "cosine" if has_features else "dot")
        credit[np.flatnonzero(self.is_known)[rows]] = scores
        return credit, step

    @cached_property
    def _problem(self) -> Problem:
        solver = _SOLVER if self.method == "global" else _SOLVER_WITHOUT_FEATURES
        return solver.problem(self.data, local=False)

    def _folds(self, is_fitted: Mask) -> tuple[list[Fold], Numbers]:
        """Folds of the people with answers to fit, and the rows of their held-out answers."""
        answers = self.data.answers
        n_folds = min(_FOLDS, answers.n_people or 0)
        folds = []
        rows = [np.empty(0, dtype=np.int64)]
        for number in range(n_folds):
            is_other, is_heldout = split_people(answers, folds=n_folds, fold=number)
            fitted = replace(self.data, answers=answers.select(is_other & is_fitted))
            if len(fitted.answers):
                heldout = answers.select(is_heldout)
                folds.append(Fold(fitted, heldout, answers.named_objects(), "questions"))
                rows.append(np.flatnonzero(is_heldout))
        return folds, np.concatenate(rows)


def judgements(scores: pd.DataFrame, was_marked: Mask, chance: float) -> pd.DataFrame:
    """Judge each person by the ``agreeing`` of ``n`` answers and by those who were not marked.

    The columns are the last four of `people`: ``model`` to ``judgement``.
    """
    from scipy.stats import binom

    n = scores["n"].to_numpy()
    agreeing = scores["agreeing"].to_numpy()
    rates = careful_rates(agreeing, n, was_marked, chance)
    odds = log10_odds(agreeing, n, rates, chance)
    at_chance = log10_odds(np.round(n * chance).astype(int), n, rates, chance)
    # to agree less often than chance, as by a misread question, is no sign of care
    odds = np.where(agreeing < n * chance, np.maximum(odds, at_chance), odds)
    can_be_told = at_chance > MIN_LOG10_ODDS
    is_above_chance = binom.sf(agreeing - 1, n, chance) < SIGNIFICANCE
    is_marked = can_be_told & (odds > MIN_LOG10_ODDS) & ~is_above_chance
    is_careful = can_be_told & (odds < -MIN_LOG10_ODDS)
    table = (scores["agreeing"] / scores["n"]).to_frame("model")
    table["log10_odds"] = np.where(n, odds, np.nan)
    table["is_marked"] = is_marked
    stated = table["log10_odds"].map(_stated).astype(str)
    table["judgement"] = "cannot be told"
    table.loc[is_careful, "judgement"] = "careful, 1 : " + stated
    table.loc[is_marked, "judgement"] = f"{RANDOM}, " + stated + " : 1"
    table.loc[n == 0, "judgement"] = "no model"
    return table


def _stated(log10_odds: float) -> str:
    """The odds against the less likely side in two digits."""
    return f"{float(f'{10 ** min(abs(log10_odds), _MAX_LOG10_ODDS):.2g}'):,.0f}"


def log10_odds(
    agreeing: Numbers, n: Numbers, rates: Float[np.ndarray, "n 2"], chance: float
) -> Values:
    """The log₁₀ odds of answers at random against careful ones, from the agreeing of n answers.

    They are binomial with the rate of chance, or beta-binomial with the parameters in a row of
    `rates`.
    """
    from scipy.stats import betabinom, binom

    a, b = rates.T
    careful = betabinom.logpmf(agreeing, n, a, b)
    return (binom.logpmf(agreeing, n, chance) - careful) / np.log(10)


def careful_rates(
    agreeing: Numbers, n: Numbers, was_marked: Mask, chance: float
) -> Float[np.ndarray, "q 2"]:
    """The parameters of the beta distribution of the rates of the others who are not marked.

    A row is NaN if there is nobody else.
    """
    is_careful = ~was_marked & (n > 0)
    # the others are the same for all who are marked, and for all with the same numbers
    numbers = np.stack([agreeing, n]) * is_careful
    _, first, group = np.unique(numbers, axis=1, return_index=True, return_inverse=True)
    rates = np.full((len(first), 2), np.nan)
    for row, person in enumerate(first):
        others = is_careful.copy()
        others[person] = False
        if others.any():
            rates[row] = fit_rates(agreeing[others], n[others], chance)
    return rates[group.ravel()]


def fit_rates(agreeing: Numbers, n: Numbers, chance: float) -> Float[np.ndarray, " 2"]:
    """The parameters a and b of the most likely beta-binomial of people's agreeing of n answers.

    It has the mean m = a / (a + b), from `chance` on, and the correlation r = 1 / (a + b + 1). The
    standard deviation of the rates is √(r m (1 - m)).
    """
    from scipy.optimize import minimize
    from scipy.special import betaln

    def beta(m: float, log_r: float) -> Float[np.ndarray, " 2"]:
        total: float = np.exp(-log_r) - 1
        return np.array([m * total, (1 - m) * total])

    def loss(parameters: Float[np.ndarray, " 2"]) -> float:
        a, b = beta(*parameters)
        return -float(np.sum(betaln(agreeing + a, n - agreeing + b) - betaln(a, b)))

    bounds = [(chance, _MAX_RATE), tuple(np.log(_CORRELATIONS))]
    start = [np.clip(agreeing.sum() / n.sum(), *bounds[0]), np.log(_FIRST_CORRELATION)]
    m, log_r = minimize(loss, start, bounds=bounds, method="L-BFGS-B").x
    if len(n) < MIN_PEOPLE:
        log_r = max(log_r, np.log(MIN_SPREAD**2 / (m * (1 - m))))
    return beta(m, min(log_r, bounds[1][1]))
