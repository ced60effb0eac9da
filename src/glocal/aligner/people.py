"""Describe the people of a study, and find those who answer as if at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

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
Beta = Float[np.ndarray, " 2"]
"""The parameters a and b of a beta distribution."""
Betas = Float[np.ndarray, "n 2"]
"""The parameters of a beta distribution for each of n people."""


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
    if not judge:
        return table
    judged = _judged_in_rounds(answers, features)
    return table.join(judged)


def _judged_in_rounds(answers: Answers, features: Features | None) -> pd.DataFrame:
    """Judge people by fits without those who were marked, until the same people are marked."""
    model = AnswerModel.from_answers(answers, features)
    person_of_answer = np.asarray(answers.person)
    persons, number = np.unique(person_of_answer, return_inverse=True)
    n_people = len(persons)
    n_answers = len(answers)
    was_marked = np.zeros(n_people, dtype=bool)
    credit = np.full(n_answers, np.nan)
    step = None
    for _ in range(_MAX_ROUNDS):
        if model is not None:
            is_careless = was_marked[number]
            credit, step = model.credit(is_careless, step)
        scores = _agreeing_answers(answers, persons, number, credit)
        table = judgements(scores, was_marked, answers.chance)
        is_marked = table["is_marked"].to_numpy()
        is_final = np.array_equal(is_marked, was_marked)
        if is_final:
            break
        was_marked = is_marked
    return table


def _agreeing_answers(
    answers: Answers, persons: Shaped[np.ndarray, " q"], number: Numbers, credit: Values
) -> pd.DataFrame:
    """Count the answers of each person that have a credit, and those that agree with the model."""
    import pandas as pd

    has_credit = ~np.isnan(credit)
    weights = answers.all_weights * has_credit
    credit_or_zero = np.nan_to_num(credit)
    agreeing = weights * credit_or_zero
    scores = pd.DataFrame(index=persons)
    scores["n"] = np.bincount(number, weights)
    scores["agreeing"] = np.bincount(number, agreeing)
    return scores.round().astype(int)


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
            names = answers.names or ()
            largest = int(answers.objects.max(initial=0))
            n = len(names) or largest + 1
            if n > MAX_OBJECTS:
                return None
            codes = np.eye(n)
            features = Features(codes, None, "numbers of the objects")
            answers = replace(answers, names=None)
            method = "naive"
        joined = join(features, answers)
        n_people = joined.answers.n_people or 0
        if n_people < 2:
            return None
        data = FitData(features, joined.answers)
        has_weight = answers.all_weights > 0
        is_known = joined.kept & has_weight
        return cls(data, method, is_known)

    def credit(self, is_careless: Mask, step: int | None) -> tuple[Values, int | None]:
        """The credit of each answer by a fit to other people's answers, and the step of λ.

        Answers that are careless are judged, but not fitted. A `step` of None chooses λ. Answers
        that no fit can judge have the credit NaN.
        """
        n_answers = len(is_careless)
        credit = np.full(n_answers, np.nan)
        folds, rows = self._folds(is_careless)
        if not folds:
            return credit, step
        has_features = self.method == "global"
        similarity = "cosine" if has_features else "dot"
        with single_threaded_blas():
            search = PathSearch(self._problem, folds, self.method, order="cold")
            lambdas = search.penalties
            last_step = len(lambdas) - 1
            if step is None:
                losses = search.search_penalty()
                best = search.largest_tie(losses)
                step = lambdas.index(best)
            lmbda = lambdas[min(step, last_step)]
            Z = search.embeddings(lmbda)
            credit[rows] = search.heldout.credit(Z, similarity)
        return credit, step

    @cached_property
    def _problem(self) -> Problem:
        has_features = self.method == "global"
        solver = _SOLVER if has_features else _SOLVER_WITHOUT_FEATURES
        return solver.problem(self.data, local=False)

    def _folds(self, is_careless: Mask) -> tuple[list[Fold], Numbers]:
        """Folds of the people with answers to fit, and the rows of their held-out answers."""
        answers = self.data.answers
        objects = answers.named_objects()
        known_rows = np.flatnonzero(self.is_known)
        is_careful = ~is_careless[known_rows]
        n_people = answers.n_people or 0
        n_folds = min(_FOLDS, n_people)
        folds = []
        no_rows = np.empty(0, dtype=np.int64)
        rows = [no_rows]
        for number in range(n_folds):
            is_other, is_heldout = split_people(answers, folds=n_folds, fold=number)
            fitted = answers.select(is_other & is_careful)
            if len(fitted):
                data = replace(self.data, answers=fitted)
                heldout = answers.select(is_heldout)
                folds.append(Fold(data, heldout, objects, "people"))
                rows.append(known_rows[is_heldout])
        return folds, np.concatenate(rows)


def judgements(scores: pd.DataFrame, was_marked: Mask, chance: float) -> pd.DataFrame:
    """Judge each person by the ``agreeing`` of ``n`` answers and by those who were not marked.

    The columns are the last four of `people`: ``model`` to ``judgement``.
    """
    n = scores["n"].to_numpy()
    agreeing = scores["agreeing"].to_numpy()
    rates = careful_rates(agreeing, n, was_marked, chance)
    odds = log10_odds(agreeing, n, rates, chance)
    expected = n * chance
    odds_at_chance = log10_odds(np.round(expected).astype(int), n, rates, chance)
    # to agree less often than chance, as by a misread question, is no sign of care
    is_below_chance = agreeing < expected
    higher_odds = np.maximum(odds, odds_at_chance)
    odds = np.where(is_below_chance, higher_odds, odds)
    can_be_told = odds_at_chance > MIN_LOG10_ODDS
    is_above_chance = _p_values(agreeing, n, chance) < SIGNIFICANCE
    has_high_odds = odds > MIN_LOG10_ODDS
    has_low_odds = odds < -MIN_LOG10_ODDS
    shares = scores["agreeing"] / scores["n"]
    table = shares.to_frame("model")
    table["log10_odds"] = np.where(n, odds, np.nan)
    table["is_marked"] = can_be_told & has_high_odds & ~is_above_chance
    is_careful = can_be_told & has_low_odds
    table["judgement"] = _in_words(table, is_careful)
    return table


def _p_values(agreeing: Numbers, n: Numbers, chance: float) -> Values:
    """The probability that n answers at random agree at least as often."""
    from scipy.stats import binom

    one_fewer = agreeing - 1
    return binom.sf(one_fewer, n, chance)


def _in_words(table: pd.DataFrame, is_careful: Mask) -> pd.Series:
    """The judgement of each person in words, with the odds that it rests on."""
    import pandas as pd

    odds = table["log10_odds"]
    stated = odds.map(_stated).astype(str)
    at_random = f"{RANDOM}, " + stated + " : 1"
    careful = "careful, 1 : " + stated
    has_no_answers = table["model"].isna()
    judgement = pd.Series("cannot be told", table.index)
    judgement = judgement.mask(is_careful, careful)
    judgement = judgement.mask(table["is_marked"], at_random)
    return judgement.mask(has_no_answers, "no model")


def _stated(log10_odds: float) -> str:
    """The odds against the less likely side in two digits."""
    exponent = min(abs(log10_odds), _MAX_LOG10_ODDS)
    odds = float(f"{10**exponent:.2g}")
    return f"{odds:,.0f}"


def log10_odds(agreeing: Numbers, n: Numbers, rates: Betas, chance: float) -> Values:
    """The log₁₀ odds of answers at random against careful ones, from the agreeing of n answers.

    They are binomial with the rate of chance, or beta-binomial with the parameters in a row of
    `rates`.
    """
    from scipy.stats import betabinom, binom

    a, b = rates.T
    careful = betabinom.logpmf(agreeing, n, a, b)
    at_random = binom.logpmf(agreeing, n, chance)
    log_odds = at_random - careful
    return log_odds / np.log(10)


def careful_rates(agreeing: Numbers, n: Numbers, was_marked: Mask, chance: float) -> Betas:
    """The parameters of the beta distribution of the rates of the others who are not marked.

    A row is NaN if there is nobody else.
    """
    has_answers = n > 0
    is_careful = has_answers & ~was_marked
    # the others are the same for all who are marked, and for all with the same numbers
    counts = np.stack([agreeing, n])
    careful_counts = counts * is_careful
    _, first, group = np.unique(careful_counts, axis=1, return_index=True, return_inverse=True)
    n_groups = len(first)
    rates = np.full((n_groups, 2), np.nan)
    for row, person in enumerate(first):
        is_other = is_careful.copy()
        is_other[person] = False
        if is_other.any():
            agreeing_of_others = agreeing[is_other]
            n_of_others = n[is_other]
            rates[row] = fit_rates(agreeing_of_others, n_of_others, chance)
    group_of_person = group.ravel()
    return rates[group_of_person]


def fit_rates(agreeing: Numbers, n: Numbers, chance: float) -> Beta:
    """The parameters a and b of the most likely beta-binomial of people's agreeing of n answers.

    It has the mean m = a / (a + b), from `chance` on, and the correlation r = 1 / (a + b + 1). The
    standard deviation of the rates is √(r m (1 - m)).
    """
    from scipy.optimize import minimize
    from scipy.special import betaln

    def loss(parameters: Beta) -> float:
        a, b = _beta(*parameters)
        log_likelihoods = betaln(agreeing + a, differing + b) - betaln(a, b)
        return -float(np.sum(log_likelihoods))

    differing = n - agreeing
    rate = agreeing.sum() / n.sum()
    first_rate = np.clip(rate, chance, _MAX_RATE)
    first_log_r = np.log(_FIRST_CORRELATION)
    start = [first_rate, first_log_r]
    least, most = np.log(_CORRELATIONS)
    bounds = [(chance, _MAX_RATE), (least, most)]
    solution = minimize(loss, start, bounds=bounds, method="L-BFGS-B")
    m, log_r = solution.x
    if len(n) < MIN_PEOPLE:
        log_r = max(log_r, _least_log_correlation(m))
    log_r = min(log_r, most)
    return _beta(m, log_r)


def _least_log_correlation(m: float) -> float:
    """The logarithm of the correlation at which rates with the mean m have the least spread."""
    variance = m * (1 - m)
    least_r = MIN_SPREAD**2 / variance
    return float(np.log(least_r))


def _beta(m: float, log_r: float) -> Beta:
    """The parameters of the beta distribution with the mean m and the correlation r."""
    inverse_r: float = np.exp(-log_r)
    total = inverse_r - 1
    a = m * total
    b = (1 - m) * total
    return np.array([a, b])
