"""The scikit-learn estimators: one that learns a transform, and one that applies a given one."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from glocal.aligner.data import Centre, FitData
from glocal.aligner.fitting import Solver, fit_and_score, fit_plan, settings_or_keep
from glocal.aligner.keep import Keep
from glocal.aligner.settings import ObjectiveSettings
from glocal.data.answers import Answers
from glocal.data.features import Features, as_matrix
from glocal.data.join import join
from glocal.errors import DataError, ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.similarity import KINDS, Values
from glocal.transform import LinearTransform


class _Transforming(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An estimator that applies the transform that its `fit` leaves in ``transform_``."""

    transform_: LinearTransform

    def transform(self, X: Any) -> Any:
        """Apply the transform; tensors keep their type and dtype."""
        check_is_fitted(self)
        features = _features(self, X, reset=False)
        is_tensor = hasattr(X, "detach")
        rows = X if is_tensor else features.matrix
        return self.transform_.apply(rows, force=True)

    @property
    def _n_features_out(self) -> int:
        return self.transform_.out_dimensions


@dataclass(eq=False, repr=False)
class Aligner(_Transforming):
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
    alpha, lmbda, tau : float or None, default None
        Parameters of the method; None is the default of `ObjectiveSettings`.
    centre : 0, 1, "scalar" or None, default None
        1 subtracts the objects' column means from all features before the fit, and "scalar"
        standardizes as the paper does (see `FitData`). The subtraction becomes the bias of the
        transform. None is 0, or "scalar" with the paper's loop.
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
        scores on held-out data of `Keep`, or of a method with 30 to 4,999 answers and the exact
        solver.
    n_features_in_ : int
        The number of columns of X.

    References
    ----------
    Muttenthaler et al., Improving neural network representations using human similarity judgments,
    NeurIPS 2023.

    Examples
    --------
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_answers=5000, n_local=100)
    >>> aligner = Aligner("global", lmbda=0.1).fit(world.objects.matrix, world.answers.objects)
    >>> aligner.score(world.objects.matrix, world.answers.objects) > 0.5
    True
    """

    method: str | None = None
    _: KW_ONLY
    keep: float | None = None
    alpha: float | None = None
    lmbda: float | None = None
    tau: float | None = None
    centre: Centre | None = None
    normalize: bool = False
    block_size: int = FitData.block_size
    seed: int = FitData.seed
    solver: Solver | None = None

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        answers: Any = None,
        local_features: Any = None,
        sample_weight: Values | None = None,
    ) -> Aligner:
        """Learn the transform, and return the Aligner itself.

        Parameters
        ----------
        X : (n, p) array, tensor, DataFrame, list, Features or path
            Features of the objects, not standardized. A path names a file or folder, which
            `Features.load` reads.
        y : Answers, (t, 3) integers, DataFrame, path, or anything
            The answers; ignored if `answers` is given. In a Pipeline y may thus be the labels of a
            classifier, while the answers are passed as ``fit(X, y, aligner__answers=answers)``.
        answers : Answers, (t, 3) integers, DataFrame, path or None
            Rows of X, 0-based: the pair first, the odd one out last. A DataFrame must have the
            columns a, b and odd, or reference, closer and farther, in any position. If answers and
            features both have names, they are joined by name (`glocal.join`).
        local_features : (m, p) array, tensor, DataFrame, list, Features, path or None
            Features of the local images, made like X: with the same columns, and by the same steps.
        sample_weight : (t,) array or None
            A weight for each answer.

        Raises
        ------
        DataError, ParameterError, TrivialOptimumError
            See `glocal.aligner.fit`, also for the warnings.
        ValueError
            The local features have other columns than X.

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
        features = _features(self, X, ensure_min_samples=3)
        local = local_features
        if local is not None:
            local = _features(self, local, "local_features", reset=False)
        if answers is None:
            answers = y
        weighted = _answers(answers, sample_weight)
        joined = join(features, weighted)
        data = FitData(
            features,
            joined.answers,
            local,
            n_dropped=joined.n_dropped,
            block_size=self.block_size,
            seed=self.seed,
            centre=self.centre,
            normalize=self.normalize,
        )
        options = {}
        for name in ("method", "alpha", "lmbda", "tau"):
            value = getattr(self, name)
            if value is not None:
                options[name] = value
        settings = ObjectiveSettings(**options)
        keep = Keep(keep=self.keep)
        has_local = local is not None
        what = settings_or_keep(keep, settings, local=has_local)
        plan = fit_plan(data, what, self.solver)
        fitted = fit_and_score(plan)
        self.transform_ = fitted.transform
        self.record_ = fitted.record
        return self

    def score(self, X: Any, y: Any, sample_weight: Values | None = None) -> float:
        """Return the agreement of the transformed X, by cosine, with answers that name rows of X.

        The agreement is a fraction, in which tied pairs share the credit of an answer.
        """
        transformed = self.transform(X)
        matrix = as_matrix(transformed)
        answers = _answers(y, sample_weight)
        scores = odd_one_out(np.asarray(matrix), answers, interval=False)
        return scores.agreement


class TransformStep(_Transforming):
    """Apply a transform that was fitted before, as a step of a scikit-learn pipeline.

    Parameters
    ----------
    transform : LinearTransform or str
        The transform, or its name (`glocal.pretrained`).
    strength : float, default 1.0
        How much of it is applied: 0 is the original features, 1 the whole transform
        (`LinearTransform.at_strength`). ``GridSearchCV`` can choose it.
    recentre : float or None, default None
        If it is a number, `fit` moves the origin toward the mean of its rows, in which the present
        origin counts as so many images, such as 30 (`LinearTransform.recentred`). In
        cross-validation these are the training rows of each fold.

    Attributes
    ----------
    transform_ : LinearTransform
        The transform at this strength, recentred toward the rows of `fit`.
    n_features_in_ : int
        The number of columns of X.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> doubling = LinearTransform(2 * np.eye(2, dtype=np.float32), None, mean=5.0, std=5.0)
    >>> model = make_pipeline(TransformStep(doubling, recentre=30), KNeighborsClassifier())
    >>> int(model.fit(10 * np.eye(2).repeat(6, axis=0), [0] * 6 + [1] * 6).predict([[9.0, 1.0]])[0])
    0
    """

    def __init__(
        self, transform: Any, strength: float = 1.0, recentre: float | None = None
    ) -> None:
        self._transform = transform  # `transform` is the method of the step
        self.strength = strength
        self.recentre = recentre

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return the parameters; there are none within them, whatever `deep` is."""
        return {
            "transform": self._transform,
            "strength": self.strength,
            "recentre": self.recentre,
        }

    def set_params(self, **parameters: Any) -> TransformStep:
        """Set parameters, and return the step itself."""
        self._transform = parameters.pop("transform", self._transform)
        super().set_params(**parameters)
        return self

    def fit(self, X: Any, y: Any = None) -> TransformStep:
        """Prepare the transform, whose origin moves toward the mean of X if `recentre` is set.

        `y` is not used.

        Raises
        ------
        DataError, ParameterError
            `transform` is no transform, or X, the strength or `recentre` do not suit it.
        """
        transform = self._transform
        if isinstance(transform, str):
            transform = LinearTransform.from_pretrained(transform)
        if not isinstance(transform, LinearTransform):
            raise ParameterError(
                f"`transform` is a {type(transform).__name__}; pass a LinearTransform, or the name "
                "of one."
            )
        rows = _features(self, X).matrix
        transform.check_shape(rows.shape)
        if self.recentre is not None:
            transform = transform.recentred(rows, weight=self.recentre)
        if self.strength != 1.0:
            transform = transform.at_strength(self.strength)
        self.transform_ = transform
        return self


def _features(estimator: BaseEstimator, X: Any, source: str = "X", **options: Any) -> Features:
    """The rows, validated as scikit-learn does, with the names and origin of features or of a file.

    Tensors are detached, and bfloat16 becomes float32.
    """
    if isinstance(X, str | os.PathLike):
        X = Features.load(X)
    features = None
    if isinstance(X, Features):
        features = X
        X = features.matrix
    elif hasattr(X, "detach"):
        X = as_matrix(X)
    floats = [np.float32, np.float64, np.float16]  # any other type becomes the first
    rows = validate_data(estimator, X, dtype=floats, **options)
    if features is None:
        return Features(rows, None, source)
    return replace(features, matrix=rows)


def _answers(y: Any, weights: Any = None) -> Answers:
    """Convert an `Answers`, an array, or a table with named columns to `Answers`."""
    if y is None:
        raise DataError(
            "no answers were given; requires y to be passed, but the target y is None. Pass "
            "answers."
        )
    if isinstance(y, str | os.PathLike):
        y = Answers.load(y)
    if isinstance(y, Answers):
        if weights is None:
            return y
        float_weights = np.asarray(weights, dtype=np.float64)
        return replace(y, weights=float_weights)
    if np.ndim(y) == 1:
        raise DataError(
            f"the answers hold {len(y)} values, as class labels do; an Aligner learns from "
            "people's answers, rows of X of shape (t, 3) with the odd one last. Pass these; if "
            "`fit` has them as `answers`, `y` may be labels."
        )
    columns = [str(name) for name in getattr(y, "columns", ())]
    titles = {name: kind.columns for name, kind in KINDS.items() if not kind.is_open}
    for kind, names in titles.items():
        if set(names) <= set(columns):
            objects = y[list(names)]
            return Answers.from_array(np.asarray(objects), weights=weights, kind=kind)
    if len(columns) > 3:
        allowed = " or ".join(", ".join(names) for names in titles.values())
        raise DataError(
            f"the answers have the columns {', '.join(columns)}; name three of them {allowed}."
        )
    return Answers.from_array(y, weights=weights)
