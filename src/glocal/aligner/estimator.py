"""The scikit-learn estimator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact
from glocal.aligner.fitting import Solver, arm_or_keep, fit_and_score
from glocal.aligner.paper import PaperLoop
from glocal.data.answers import Answers
from glocal.data.features import Features, as_matrix
from glocal.errors import DataError, ParameterError
from glocal.evaluation.agreement import odd_one_out

_TITLES = {"odd-one-out": ("a", "b", "odd"), "anchor": ("reference", "closer", "farther")}
"""The titles of the columns of a frame of answers, by the kind of answers."""


class Aligner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Align features with people's odd-one-out answers.

    To choose settings, give `keep` or use `glocal.sweep.sweep`. ``GridSearchCV`` and
    ``cross_val_score`` cannot be used: they need one answer for each row of X, but here each answer
    refers to three rows.

    Parameters
    ----------
    keep : float or None, default None
        The share of each image's ten nearest neighbours to keep, above 0 and at most 1. Of the
        transforms that keep this share, the one that agrees most with the answers is chosen. None
        is 0.9 if `fit` gets local features and neither a method nor one of its parameters is set.
    method : str or None, default None
        ``"naive"``, ``"global"`` or ``"glocal"``, instead of `keep`. If it is None and one of the
        following parameters is set, it is `glocal` with local features and `global` without.
    alpha, lmbda, mix, tau : float or None, default None
        Parameters of the method; None is the default of `Arm`.
    centre : float or "auto", default 0
        The share, 0 to 1, of the objects' column means that is subtracted from all features before
        the fit (see `FitData`). The subtraction becomes the bias of the transform. "auto" lets
        `keep` choose 0, ½ or 1.
    normalize : bool, default False
        Whether each row is first scaled to length 1 (see `FitData`), in the fit and afterwards.
    block_size : int, default 1024
        The number of local images in a block, which are compared with each other; at most 16 blocks
        are used.
    seed : int, default 42
        The seed of the blocks and folds.
    solver : Exact, PaperLoop or None, default None
        None is ``Exact()``, whose options are the tolerance, the budget of evaluations and the
        precision.

    Attributes
    ----------
    transform_ : LinearTransform
        The learned map, with its standardization; ``transform_.save(path)`` writes it.
    record_ : FitRecord
        Objective, convergence, certificate and provenance of the fit; ``record_.heldout`` has the
        scores on held-out data of `Keep`, or of an arm with fewer than 5,000 answers.
    n_features_in_ : int
        The number of columns of X.

    References
    ----------
    Muttenthaler et al., Improving neural network representations using human similarity judgments,
    NeurIPS 2023.

    Examples
    --------
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_triplets=5000, n_local=100)
    >>> aligner = Aligner("global", lmbda=0.1).fit(world.objects.matrix, world.answers.objects)
    >>> aligner.score(world.objects.matrix, world.answers.objects) > 0.5
    True
    """

    def __init__(
        self,
        method: str | None = None,
        *,
        keep: float | None = None,
        alpha: float | None = None,
        lmbda: float | None = None,
        mix: float | None = None,
        tau: float | None = None,
        centre: float | Literal["auto"] = 0.0,
        normalize: bool = False,
        block_size: int = FitData.block_size,
        seed: int = FitData.seed,
        solver: Solver | None = None,
    ) -> None:
        self.method = method
        self.keep = keep
        self.alpha = alpha
        self.lmbda = lmbda
        self.mix = mix
        self.tau = tau
        self.centre = centre
        self.normalize = normalize
        self.block_size = block_size
        self.seed = seed
        self.solver = solver

    def fit(
        self,
        X: Float[np.ndarray, "n p"] | Features,
        y: Any = None,
        *,
        answers: Any = None,
        local_features: Any = None,
        sample_weight: Float[np.ndarray, " t"] | None = None,
    ) -> Aligner:
        """Learn the transform, and return the Aligner itself.

        Parameters
        ----------
        X : (n, p) array, tensor, DataFrame, list or Features
            Features of the objects, not standardized.
        y : Answers, (t, 3) integers, DataFrame, or anything
            The answers; ignored if `answers` is given. In a Pipeline y may thus be the labels of a
            classifier, while the answers are passed as ``fit(X, y, aligner__answers=answers)``.
        answers : Answers, (t, 3) integers, DataFrame or None
            Rows of X, 0-based: the pair first, the odd one out last. A DataFrame must have the
            columns a, b and odd, or reference, closer and farther, in any position.
        local_features : (m, p) array, tensor, DataFrame, list, Features or None
            Features of the local images, made like X: with the same columns, and by the same steps.
        sample_weight : (t,) array or None
            A weight for each answer.

        Raises
        ------
        DataError, ParameterError, TrivialOptimumError
            See `glocal.aligner.fit`, also for the warnings.
        ValueError
            The columns of the local features are not those of X.

        Notes
        -----
        In a Pipeline only X goes through the steps before this one. To send the local features
        through them too, let scikit-learn route them (version 1.6 or later)::

            sklearn.set_config(enable_metadata_routing=True)
            aligner = Aligner().set_fit_request(answers=True, local_features=True)
            steps = [("scaler", StandardScaler()), ("aligner", aligner)]
            pipeline = Pipeline(steps, transform_input=["local_features"])
            pipeline.fit(X, answers=answers, local_features=local)
        """
        if self.solver is not None and not isinstance(self.solver, Exact | PaperLoop):
            raise ParameterError(
                f"`solver` is {self.solver!r}; pass glocal.Exact(…), glocal.PaperLoop(…), or None."
            )
        rows = self._validated(X, ensure_min_samples=3)
        local = local_features
        if local is not None and not isinstance(local, Features):
            local = Features(self._validated(local, reset=False), None, "local_features")
        data = FitData(
            Features(rows, None, "X"),
            _answers(y if answers is None else answers, sample_weight),
            local,
            block_size=self.block_size,
            seed=self.seed,
            centre=self.centre,
            normalize=self.normalize,
        )
        what = arm_or_keep(self.keep, self.get_params(), local=local is not None)
        fitted = fit_and_score(data, what, self.solver)
        self.transform_ = fitted.transform
        self.record_ = fitted.record
        return self

    def transform(self, X: Any) -> Any:
        """Standardize by the scalars of the fit and apply W; tensors keep their type and dtype."""
        check_is_fitted(self)
        rows = self._validated(X, reset=False)
        return self.transform_.apply(X if hasattr(X, "detach") else rows)

    def score(self, X: Any, y: Any, sample_weight: Float[np.ndarray, " t"] | None = None) -> float:
        """Return the agreement of the transformed X, by cosine, with answers that name rows of X.

        The agreement is a fraction, in which tied pairs share the credit of an answer.
        """
        Z = np.asarray(as_matrix(self.transform(X)))
        return odd_one_out(Z, _answers(y, sample_weight), interval=False).accuracy

    def _validated(self, X: Any, **options: Any) -> np.ndarray:
        """Validate X as scikit-learn does; tensors are detached, and bfloat16 becomes float32."""
        X = as_matrix(X) if hasattr(X, "detach") else X
        floats = [np.float32, np.float64, np.float16]  # any other type becomes the first
        rows: np.ndarray = validate_data(self, X, dtype=floats, **options)
        return rows

    @property
    def _n_features_out(self) -> int:
        return self.transform_.out_dimensions


def _answers(y: Any, weights: Any = None) -> Answers:
    """Convert an `Answers`, an array, or a table with named columns to `Answers`."""
    if y is None:
        raise DataError(
            "no answers were given; requires y to be passed, but the target y is None. Pass "
            "answers."
        )
    if isinstance(y, Answers):
        return y if weights is None else replace(y, weights=np.asarray(weights, dtype=np.float64))
    columns = [str(name) for name in getattr(y, "columns", ())]
    for kind, names in _TITLES.items():
        if set(names) <= set(columns):
            return Answers.from_array(np.asarray(y[list(names)]), weights=weights, kind=kind)
    if len(columns) > 3:
        allowed = " or ".join(", ".join(names) for names in _TITLES.values())
        raise DataError(
            f"the answers have the columns {', '.join(columns)}; name three of them {allowed}."
        )
    return Answers.from_array(y, weights=weights)
