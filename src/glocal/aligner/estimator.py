"""The scikit-learn face of the method."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import validate_data

from glocal.aligner.arm import Arm, Method
from glocal.aligner.chosen import Chosen
from glocal.aligner.data import FitData
from glocal.aligner.fitting import fit
from glocal.aligner.settings import (
    DataOptions,
    Dtype,
    OptimiserName,
    ProfileName,
    ProfileOptions,
    SolverName,
    SolverOptions,
)
from glocal.data.answers import Answers
from glocal.data.features import Features, as_matrix
from glocal.errors import DataError
from glocal.evaluation.alignment import odd_one_out
from glocal.files import PathLike
from glocal.transform import LinearTransform


class Aligner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Align features with people's odd-one-out answers.

    Parameters
    ----------
    method : str or None, default None
        ``"naive"``, ``"global"`` or ``"glocal"``; None: `glocal` if local features are given to `fit`, `global` if not.
    alpha : float, default 0.1
        Weight of the local term, 0 to below 1 (`glocal`).
    lmbda : float, default 0.1
        Strength of the penalty, at least 0.
    mix : float, default 1.0
        Share of the scaled identity in the penalty, above 0 and at most 1: below 1, W is drawn toward 0 too, as by
        `naive` (`global` and `glocal`).
    tau : float, default 0.25
        Temperature of the local term, above 0 (`glocal`).
    bias : bool, default False
        Learn a bias too.
    squared : bool or None, default None
        `naive`: penalise the squared Frobenius norm; False is the authors' unsquared one; None what the profile says.
    tol : float or None, default None
        Relative tolerance on the objective; None is 1e-5 in float32, 1e-7 in float64.
    max_evaluations : int, default 1000
        Evaluations of the objective at most.
    block_size : int, default 1024
        Local images compared with each other.
    seed : int, default 42
        Of the blocks.
    dtype : {"float32", "float64"}, default "float32"
        Of the computation.
    device : str, default "cpu"
        Any torch device.
    rank : None
        No longer needed and without effect: with fewer rows than columns a fit takes the row space by itself.
    local_blocks : int or None, default None
        Blocks of local images to use; None: all, at most 16.
    solver : {"lbfgs", "minibatch"} or None, default None
        The exact solver, or the paper's loop (needs the extra ``paper``); None what the profile says.
    profile : {"modern", "neurips2023"}, default "modern"
        The paper's procedure with all its choices is ``"neurips2023"``; see `glocal.aligner.profile.Profile`.
    eta : float or None, default None
        Learning rate of the loop; None what the profile says.
    optimiser : {"sgd", "adam", "adamw"} or None, default None
        Of the loop; None what the profile says.

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
    >>> aligner = Aligner(method="global", lmbda=0.1).fit(world.objects.matrix, world.triplets.answers)
    >>> aligner.score(world.objects.matrix, world.triplets.answers) > 0.5
    True
    """

    def __init__(
        self,
        method: Method | None = None,
        *,
        alpha: float = Arm.alpha,
        lmbda: float = Arm.lmbda,
        mix: float = Arm.mix,
        tau: float = Arm.tau,
        bias: bool = Arm.bias,
        squared: bool | None = None,
        tol: float | None = SolverOptions.tol,
        max_evaluations: int = SolverOptions.max_evaluations,
        block_size: int = DataOptions.block_size,
        seed: int = DataOptions.seed,
        dtype: Dtype = SolverOptions.dtype,
        device: str = SolverOptions.device,
        rank: int | Literal["auto"] | None = None,
        local_blocks: int | None = None,
        solver: SolverName | None = None,
        profile: ProfileName = ProfileOptions.profile,
        eta: float | None = None,
        optimiser: OptimiserName | None = None,
    ) -> None:
        self.method = method
        self.alpha = alpha
        self.lmbda = lmbda
        self.mix = mix
        self.tau = tau
        self.bias = bias
        self.squared = squared
        self.tol = tol
        self.max_evaluations = max_evaluations
        self.block_size = block_size
        self.seed = seed
        self.dtype = dtype
        self.device = device
        self.rank = rank
        self.local_blocks = local_blocks
        self.solver = solver
        self.profile = profile
        self.eta = eta
        self.optimiser = optimiser

    def fit(
        self,
        X: Float[np.ndarray, "n p"] | Features,
        y: Any = None,
        *,
        triplets: Answers | Int[np.ndarray, "t 3"] | None = None,
        local_features: Float[np.ndarray, "m p"] | Features | None = None,
        sample_weight: Float[np.ndarray, " t"] | None = None,
    ) -> Aligner:
        """Learn the transform.

        Parameters
        ----------
        X : (n, p) array or Features
            Features of the objects, not standardized.
        y : Answers, (t, 3) integers, or anything
            The answers; ignored if `triplets` is given, so that in a Pipeline y may be a classifier's labels and the
            answers come as ``fit(X, y, aligner__triplets=answers)``.
        triplets : Answers or (t, 3) integers
            Rows of X, 0-based, pair first, odd one last.
        local_features : (m, p) array, Features or None
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
            See `glocal.aligner.fit`; also a table of local features whose columns have other names than those of X.

        Warns
        -----
        UnusedWarning
            A setting that this method or solver does not read differs from its default, or local features are given to
            a method other than `glocal`.
        GLocalWarning
            As `glocal.aligner.fit` does: among others where the local features are of another scale than X.

        Notes
        -----
        In a Pipeline only X goes through the steps before this one. To send the local features through them too, let
        scikit-learn route them (version 1.6 or later)::

            sklearn.set_config(enable_metadata_routing=True)
            aligner = Aligner().set_fit_request(triplets=True, local_features=True)
            steps = [("scaler", StandardScaler()), ("aligner", aligner)]
            pipeline = Pipeline(steps, transform_input=["local_features"])
            pipeline.fit(X, triplets=answers, local_features=local)
        """
        rows = self._validated(X, ensure_min_samples=3)
        local = None if local_features is None else self._local(local_features)
        choices = Chosen.of(self.get_params(), local=local is not None)
        choices.warn_unused(self._given(local))
        answers = self._answers(y if triplets is None else triplets, sample_weight)
        found = fit(FitData(Features(rows, None, "X"), answers, local, **choices.data), choices.arm, choices.solver)
        self.transform_ = found.transform
        self.record_ = found.record
        self.method_ = found.record.method
        return self

    def transform(self, X: Float[np.ndarray, "n p"] | Features) -> Float[np.ndarray, "n p"]:
        """Standardize by the scalars of the fit and apply W and b; float32 and float64 stay what they are."""
        self._check_fitted()
        rows = self._validated(X, reset=False)
        return self.transform_.apply(rows)

    def score(
        self,
        X: Float[np.ndarray, "n p"] | Features,
        y: Answers | Int[np.ndarray, "t 3"],
        sample_weight: Float[np.ndarray, " t"] | None = None,
        *,
        similarity: str = "cosine",
    ) -> float:
        """Odd-one-out accuracy (a fraction, ties shared) of the transformed X on answers that name rows of X."""
        Z = self.transform(X)
        return odd_one_out(Z, self._answers(y, sample_weight), similarity=similarity, interval=False).accuracy

    def save(self, path: PathLike) -> None:
        """Write the fitted transform and the parameters as an ``.npz`` without pickle."""
        self._check_fitted()
        meta = {**self.transform_.meta, "aligner": self.get_params()}
        transform = self.transform_
        LinearTransform(transform.weights, transform.bias, transform.mean, transform.std, meta).save(path)

    @classmethod
    def load(cls, path: PathLike) -> Aligner:
        """Read what `save`, ``glocal fit`` or the authors wrote; `record_` exists only in the process that fitted."""
        transform = LinearTransform.load(path)
        names = cls._get_param_names()
        fitted = transform.meta.get("fit", {})
        known = {**fitted, **transform.meta.get("aligner", {})}
        if fitted.get("method") != "naive" and "aligner" not in transform.meta:
            known.pop("squared", None)  # the record has it for all methods
        aligner = cls(**{key: value for key, value in known.items() if key in names and value is not None})
        aligner.transform_ = transform
        aligner.method_ = transform.meta.get("fit", {}).get("method")
        aligner.n_features_in_ = transform.dimensions
        return aligner

    def _validated(self, X: Any, **how: Any) -> np.ndarray:
        """X as scikit-learn checks it; a tensor without its graph, bfloat16 as float32."""
        X = as_matrix(X) if hasattr(X, "detach") else X
        rows: np.ndarray = validate_data(self, X, dtype=[np.float32, np.float64], **how)
        return rows

    def _given(self, local: Features | None) -> dict[str, str]:
        """The parameters that differ from their defaults, and the local features."""
        defaults = type(self)().get_params()
        changed = [name for name, value in self.get_params().items() if value is not None and value != defaults[name]]
        return {name: name for name in [*changed, *([] if local is None else ["local_features"])]}

    def _local(self, local: Any) -> Features:
        if isinstance(local, Features):
            return local
        columns, known = getattr(local, "columns", None), getattr(self, "feature_names_in_", None)
        if columns is not None and known is not None and list(columns) != list(known):
            first = next((pair for pair in zip(columns, known, strict=False) if pair[0] != pair[1]), None)
            differ = (
                f"{len(columns)} for {len(known)}" if first is None else f"the first is {first[0]!r} for {first[1]!r}"
            )
            raise DataError(
                f"local_features has other columns than X ({differ}). Give both the same columns in one order: "
                "local_features[X.columns]."
            )
        return Features(as_matrix(local), None, "local_features")

    @property
    def _n_features_out(self) -> int:
        return self.transform_.out_dimensions

    def _check_fitted(self) -> None:
        if not hasattr(self, "transform_"):
            raise NotFittedError("this Aligner is not fitted yet; call fit(features, triplets) or Aligner.load(path).")

    @staticmethod
    def _answers(y: Any, sample_weight: Any) -> Answers:
        if y is None:
            raise DataError(
                "no triplets were given; requires y to be passed, but the target y is None. Call fit(X, triplets)."
            )
        if isinstance(y, Answers):
            if sample_weight is None:
                return y
            y = y.answers
        return Answers.from_array(y, weights=sample_weight)
