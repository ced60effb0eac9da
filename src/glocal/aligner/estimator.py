"""The scikit-learn face of the method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import validate_data

from glocal.aligner.arm import Arm
from glocal.aligner.data import Blocks, FitData
from glocal.aligner.fitting import Solver, fit
from glocal.data.answers import Answers
from glocal.data.features import Features, as_matrix
from glocal.errors import DataError, FileError
from glocal.evaluation.agreement import odd_one_out
from glocal.files import PathLike
from glocal.results import FitRecord, Provenance
from glocal.transform import LinearTransform, check_rows

_COLUMNS = (("a", "b", "odd"), ("reference", "closer", "farther"))


class Aligner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Align features with people's odd-one-out answers.

    To choose settings give `keep`, or use `glocal.sweep.sweep`: ``GridSearchCV`` and ``cross_val_score`` need as many
    answers as rows of X, and here each answer is about three rows.

    Parameters
    ----------
    keep : float or None, default None
        The share of each image's ten nearest neighbours that must stay, above 0 to 1: the transform that agrees most
        with the answers is chosen among those that keep so many. None is 0.9 where `fit` is given local features, and
        neither a method nor one of its parameters is set.
    method : str or None, default None
        ``"naive"``, ``"global"`` or ``"glocal"``, in place of `keep`; None with one of the following: `glocal` if local
        features are given to `fit`, `global` if not.
    alpha, lmbda, mix, tau : float or None, default None
        Parameters of the method; None is what `Arm` has.
    block_size : int, default 1024
        Local images compared with each other.
    local_blocks : int, default 16
        Blocks of local images to use, at most.
    seed : int, default 42
        Of the blocks and folds.
    solver : Exact, PaperLoop or None, default None
        None is ``Exact()``, which has the tolerance, the most evaluations and the type of numbers.

    Attributes
    ----------
    transform_ : LinearTransform
        The learned map, with its standardization.
    record_ : FitRecord
        Objective, convergence, certificate and provenance of the fit.
    method_ : str
        The arm that was fitted.
    n_features_in_ : int
        p.

    References
    ----------
    Muttenthaler et al., Improving neural network representations using human similarity judgments, NeurIPS 2023.

    Examples
    --------
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_triplets=5000, n_local=100)
    >>> aligner = Aligner("global", lmbda=0.1).fit(world.objects.matrix, world.answers.objects)
    >>> aligner.score(world.objects.matrix, world.answers.objects) > 0.5
    True
    """

    record_: FitRecord | None

    def __init__(
        self,
        method: str | None = None,
        *,
        keep: float | None = None,
        alpha: float | None = None,
        lmbda: float | None = None,
        mix: float | None = None,
        tau: float | None = None,
        block_size: int = FitData.block_size,
        local_blocks: int = FitData.local_blocks,
        seed: int = FitData.seed,
        solver: Solver | None = None,
    ) -> None:
        self.method = method
        self.keep = keep
        self.alpha = alpha
        self.lmbda = lmbda
        self.mix = mix
        self.tau = tau
        self.block_size = block_size
        self.local_blocks = local_blocks
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
        """Learn the transform.

        Parameters
        ----------
        X : (n, p) array, tensor, DataFrame, list or Features
            Features of the objects, not standardized.
        y : Answers, (t, 3) integers, DataFrame, or anything
            The answers; ignored if `answers` is given, so that in a Pipeline y may be a classifier's labels and the
            answers come as ``fit(X, y, aligner__answers=answers)``.
        answers : Answers, (t, 3) integers, DataFrame or None
            Rows of X, 0-based, the pair first, the odd one last; of a DataFrame the columns a, b and odd, or reference,
            closer and farther, wherever they stand.
        local_features : (m, p) array, tensor, DataFrame, list, Features or None
            Features of the local images, made as X was: with the same columns, and through the same steps.
        sample_weight : (t,) array or None
            A weight for each answer.

        Returns
        -------
        Aligner
            Itself.

        Raises
        ------
        DataError, ParameterError, TrivialOptimumError
            See `glocal.aligner.fit`.
        ValueError
            Local features whose columns are not those of X.

        Warns
        -----
        GLocalWarning
            As `glocal.aligner.fit` does: among others where the local features are of another scale than X.

        Notes
        -----
        In a Pipeline only X goes through the steps before this one. To send the local features through them too, let
        scikit-learn route them (version 1.6 or later)::

            sklearn.set_config(enable_metadata_routing=True)
            aligner = Aligner().set_fit_request(answers=True, local_features=True)
            steps = [("scaler", StandardScaler()), ("aligner", aligner)]
            pipeline = Pipeline(steps, transform_input=["local_features"])
            pipeline.fit(X, answers=answers, local_features=local)
        """
        rows = self._validated(X, ensure_min_samples=3)
        local = local_features
        if local is not None and not isinstance(local, Features):
            local = Features(self._validated(local, reset=False), None, "local_features")
        given = self.get_params()
        chosen = any(given[name] is not None for name in Arm.model_fields)
        arm = Arm.of(given, local=local is not None) if chosen else None
        data = FitData(
            Features(rows, None, "X"), answers_of(y if answers is None else answers, sample_weight), local,
            **{name: given[name] for name in Blocks.model_fields},
        )  # fmt: skip
        found = fit(data, arm, self.solver, keep=self.keep)
        self.transform_ = found.transform
        self.record_ = found.record
        self.method_ = found.record.method
        return self

    def transform(self, X: Any) -> Any:
        """Standardize by the scalars of the fit and apply W; float types stay what they are, tensors stay tensors."""
        self._check_fitted()
        rows = self._validated(X, reset=False)
        check_rows(self.transform_, rows)
        return self.transform_.apply(X if hasattr(X, "detach") else rows)

    def score(
        self,
        X: Any,
        y: Any,
        sample_weight: Float[np.ndarray, " t"] | None = None,
        *,
        similarity: str = "cosine",
    ) -> float:
        """Agreement (a fraction, ties shared) of the transformed X with answers that name rows of X."""
        Z = np.asarray(as_matrix(self.transform(X)))
        return odd_one_out(Z, answers_of(y, sample_weight), similarity=similarity, interval=False).accuracy

    def save(self, path: PathLike) -> None:
        """Write the fitted transform and the parameters, less the solver, as an ``.npz`` without pickle."""
        self._check_fitted()
        parameters = {name: value for name, value in self.get_params().items() if name != "solver"}
        replace(self.transform_, meta={**self.transform_.meta, "aligner": parameters}).save(path)

    @classmethod
    def load(cls, path: PathLike) -> Aligner:
        """Read what `save`, ``glocal fit`` or the authors wrote; `record_` is None for a file without a record.

        The parameters are those that `save` has written, else the defaults.
        """
        transform = LinearTransform.load(path)
        fitted, known = transform.meta.get("fit", {}), transform.meta.get("aligner", {})
        aligner = cls(**{name: known[name] for name in cls._get_param_names() if name in known})
        aligner.transform_ = transform
        try:
            provenance = Provenance(**fitted["provenance"]) if fitted.get("provenance") else None
            aligner.record_ = FitRecord(**{**fitted, "provenance": provenance}) if fitted else None
        except TypeError as error:
            raise FileError(f"the record in {path} is not one of this version ({error}). Fit it again.") from error
        aligner.method_ = fitted.get("method")
        aligner.n_features_in_ = transform.dimensions
        return aligner

    def _validated(self, X: Any, **how: Any) -> np.ndarray:
        """X as scikit-learn checks it; a tensor without its graph, bfloat16 as float32."""
        X = as_matrix(X) if hasattr(X, "detach") else X
        rows: np.ndarray = validate_data(self, X, dtype=[np.float32, np.float64], **how)
        return rows

    @property
    def _n_features_out(self) -> int:
        return self.transform_.out_dimensions

    def _check_fitted(self) -> None:
        if not hasattr(self, "transform_"):
            raise NotFittedError("this Aligner is not fitted yet; call fit(features, answers) or Aligner.load(path).")


def answers_of(y: Any, weights: Any = None) -> Answers:
    """Answers as they are given to an `Aligner`: as `Answers`, as an array, or as a table with named columns."""
    if y is None:
        raise DataError(
            "no answers were given; requires y to be passed, but the target y is None. Call fit(X, answers)."
        )
    if isinstance(y, Answers):
        return y if weights is None else replace(y, weights=np.asarray(weights, dtype=np.float64))
    columns = [str(name) for name in getattr(y, "columns", ())]
    named = next((names for names in _COLUMNS if set(names) <= set(columns)), None)
    if named is not None:
        kind = "odd-one-out" if "odd" in named else "anchor"
        return Answers.from_array(np.asarray(y[list(named)]), weights=weights, kind=kind)
    if len(columns) > 3:
        raise DataError(
            f"the answers have the columns {', '.join(columns)}; name three of them a, b and odd, or reference, closer "
            "and farther."
        )
    return Answers.from_array(y, weights=weights)
