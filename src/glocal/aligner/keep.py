"""`Keep`: choose method, α, λ and τ by the share of each image's neighbours to keep, and fit them.

Paths, mixtures and their promises are defined in `glocal.aligner.mixtures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from glocal.aligner.choice import KeepCurve
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.folds import Unit, fit_folds
from glocal.aligner.mixtures import Mixture
from glocal.aligner.paper import PaperLoop
from glocal.aligner.search import FOLDS, NO_TRANSFORM, PathSearch
from glocal.errors import DataError, ParameterError
from glocal.objective import single_threaded_blas
from glocal.options import Options
from glocal.similarity import Values
from glocal.solver import Counter

DEFAULT_KEEP = 0.9
MIN_ANSWERS = 30
"""With fewer answers the folds are too small to choose on."""


class Keep(Options):
    """Choose the transform that agrees most among those that keep a share of the neighbours.

    Parameters
    ----------
    keep : float or None
        The share of each image's ten nearest neighbours to keep, above 0 and at most 1. None is 0.9
        with local images. Without any, None chooses λ of `global` by the loss on held-out questions
        alone, and promises no share.
    """

    panel: ClassVar[str] = "Keep"

    keep: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of each image's ten nearest neighbours to keep; method, α, λ and τ are "
        "chosen for you. [default: 0.9 with local features]",
    )

    def solve(self, data: FitData, solver: Exact | PaperLoop, counter: Counter) -> Solution:
        """Choose on three folds, and fit the choice to all data.

        Raises
        ------
        ParameterError
            The solver is not the exact solver.
        DataError
            There are fewer than 30 answers, or `glocal.aligner.fit` raises it.
        """
        if not isinstance(solver, Exact):
            raise ParameterError(
                "`keep` chooses method, alpha, lmbda and tau, and needs the exact solver. Give "
                "`method` to use another solver."
            )
        keep = self.share(data)
        curve = curve_at(data, solver, keep, counter)
        return curve.solve(keep, counter)

    def share(self, data: FitData) -> float | None:
        """The share to keep: 0.9 for None with local features, and None, no share, without any."""
        has_local = data.local_features is not None
        if self.keep is None and has_local:
            return DEFAULT_KEEP
        return self.keep


def keep_curve(
    data: FitData,
    solver: Exact | None = None,
    *,
    keep: float | None = None,
    counter: Counter | None = None,
) -> KeepCurve:
    """Score paths of transforms on three folds of objects, or of questions, and of local images.

    1. `global` is fitted at λ that falls from 1 while the pooled held-out loss falls; if the loss
       is lowest at 1, λ rises instead. On folds of questions λ falls from ∞, no transform, over
       100 p / t to 0.3 p / t at the lowest. Each loss is at its own best scale of the similarities.
       λ* is the largest λ whose loss is within one standard error of the lowest.
    2. At λ* and one step above, `glocal` is fitted with τ 0.1 at α 0.5 and 0.75. A path leads from
       the original features over these fits to `global`, and the *matrices* of neighbouring fits
       are mixed. Without local images the path leads from the original features to `global`, at
       every λ that was tried.
    3. Each mixture is scored by held-out answers, and by neighbours among held-out images alone.
       With fitted images among the candidates the share of neighbours would be too high by up to
       .02.

    Folds are of objects, so that scores hold for new objects. With fewer than 5,000 answers,
    and if λ is chosen by the loss, folds are of questions. Scores then hold for new answers
    about the same objects.

    Parameters
    ----------
    data : FitData
    solver : Exact or None
        The solver of the final fits, whose tolerance is 3e-5 if it has none. The fits on the folds
        have a tolerance of at least 3e-4, no certificate, and 256 principal axes.
    keep : float or None
        As in `Keep`. None without local features tries only `global`, on folds of questions. λ is
        then chosen by the loss, and no share is promised.
    counter : Counter or None
        Counts and reports the evaluations.

    Raises
    ------
    DataError
        There are fewer than 30 answers, or three folds leave none to fit or to score.
    """
    has_local = data.local_features is not None
    data.check(reads_local=has_local)
    share = Keep(keep=keep).share(data)
    solver = solver or Exact()
    counter = counter or Counter()
    return curve_at(data, solver, share, counter)


def curve_at(data: FitData, solver: Exact, keep: float | None, counter: Counter) -> KeepCurve:
    """The curve of checked data; None chooses by the loss, whatever local features there are."""
    before = counter.evaluations
    _check_number_of_answers(data)
    has_keep = keep is not None
    unit: Unit | None = None if has_keep else "questions"
    folds = fit_folds(data, FOLDS, unit)
    has_local = has_keep and data.local_features is not None
    problem = solver.problem(data, local=has_local, counter=counter)
    with single_threaded_blas():
        search = PathSearch(problem, folds)
        scored = _paths_to_global(search, has_local) if has_keep else _losses_of_global(search)
        heldout = search.heldout
        original = search.scores(heldout.rows, heldout.image_rows)
        means = {lmbda: heldout.mean(loss) for lmbda, loss in scored.losses.items()}
    return KeepCurve(
        data=data,
        keep=keep,
        solver=solver,
        search=search,
        original=original,
        paths=tuple(scored.paths),
        losses=means,
        penalty=scored.penalty,
        evaluations=counter.evaluations - before,
    )


class _Scored(NamedTuple):
    """The held-out losses at each λ of the search, λ*, and the scored paths."""

    losses: dict[float, Values]
    penalty: float
    paths: list[list[Mixture]]


def _losses_of_global(search: PathSearch) -> _Scored:
    """The search of λ by the loss alone, which may choose no transform and needs no paths."""
    losses = search.search_penalty()
    penalty = search.largest_tie(losses)
    return _Scored(losses, penalty, [])


def _paths_to_global(search: PathSearch, has_local: bool) -> _Scored:
    """The search of λ, and the paths at λ* and a step above, or at each λ without local images."""
    losses = search.search_penalty()
    losses.pop(NO_TRANSFORM, None)  # no transform is the first mixture of each path
    penalty = search.largest_tie(losses)
    lambdas = sorted(losses, reverse=True)
    if has_local:
        lambdas = _penalty_and_one_above(search.penalties, penalty)
    paths = [search.path(lmbda) for lmbda in lambdas]
    return _Scored(losses, penalty, paths)


def _check_number_of_answers(data: FitData) -> None:
    """Raise a DataError if the answers are too few to choose on a part of them."""
    n_answers = data.answers.effective_size
    if n_answers < MIN_ANSWERS:
        raise DataError(
            f"there are {n_answers:.0f} answers; at least "
            f"{MIN_ANSWERS} are needed to choose lmbda on a part of them. Collect "
            "more, or give `method` and `lmbda`."
        )


def _penalty_and_one_above(penalties: Sequence[float], penalty: float) -> list[float]:
    """The finite ones among a λ of the search and the next larger, the largest first."""
    index = penalties.index(penalty)
    first = max(0, index - 1)
    end = index + 1
    lambdas = penalties[first:end]
    return [lmbda for lmbda in lambdas if np.isfinite(lmbda)]
