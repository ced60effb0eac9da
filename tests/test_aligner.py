"""The Aligner is a scikit-learn estimator whose y are people's answers."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from fits import fit_arm
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from world import answers as random_answers
from world import folder

from glocal import Aligner, Answers, Exact, LinearTransform, TransformStep, odd_one_out
from glocal.errors import DataError, DataWarning, ParameterError


class MadeUpAnswers(Aligner):
    """An Aligner that makes up answers when y holds none, as in scikit-learn's checks."""

    def fit(self, X, y=None, **options):
        return super().fit(X, self._made_up(X, y), **options)

    def score(self, X, y=None, sample_weight=None):
        return super().score(X, self._made_up(X, y), sample_weight)

    @staticmethod
    def _made_up(X, y):
        labels = np.asarray(y)
        n = len(np.asarray(X)) if np.ndim(np.asarray(X)) else 0
        are_answers = labels.ndim == 2 and labels.shape[1] == 3 and labels.dtype.kind in "iu"
        if y is None or are_answers or n < 3:
            return y
        return random_answers(50, n).objects


@pytest.mark.filterwarnings("ignore::glocal.errors.GLocalWarning")
@parametrize_with_checks([MadeUpAnswers()])
def test_scikit_learn_checks(estimator, check, as_a_user):
    """The estimator passes scikit-learn's own checks of its conventions."""
    check(estimator)


QUICK = {"method": "global", "lmbda": 1.0, "solver": Exact(tol=1e-2)}
OPTIONS = {"alpha": 0.2, "lmbda": 0.2}
"""Of the fits, whose origin is that of `fit_arm`."""


@pytest.fixture(scope="module")
def aligner(world):
    """An Aligner fitted with local features."""
    local = world.local.matrix
    aligner = Aligner(centre="scalar", **OPTIONS)
    return aligner.fit(world.objects.matrix, world.answers, local_features=local)


def test_it_is_fit_arm_with_another_face(world, aligner):
    """An Aligner has the weights and the objective of `fit_arm` with the same settings, and its
    score is the odd-one-out accuracy of the transformed features.
    """
    fit = fit_arm(world.objects, world.answers, local_features=world.local, **OPTIONS)
    np.testing.assert_allclose(aligner.transform_.weights, fit.transform.weights, atol=1e-5)
    assert aligner.record_.objective == pytest.approx(fit.record.objective, rel=1e-6)
    X = world.objects.matrix
    accuracy = odd_one_out(aligner.transform(X), world.answers).agreement
    assert aligner.score(X, world.answers) == accuracy


def test_answers_are_y_or_answers(world, as_a_user):
    """Answers as y, as `answers`, as Answers and as a table with column names give the same fit,
    and `answers` takes precedence over y.
    """
    X = world.objects.matrix
    answers = world.answers.objects
    table = pd.DataFrame(answers, columns=["a", "b", "odd"])[["odd", "b", "a"]]
    aligner = Aligner(**QUICK)
    first = aligner.fit(X, answers).transform_.weights
    for y, preferred in ((world.answers, None), (np.arange(len(X)), answers), (table, None)):
        weights = aligner.fit(X, y, answers=preferred).transform_.weights
        np.testing.assert_allclose(weights, first, atol=1e-6)


def test_wrong_answers_are_refused(world):
    """No answers, labels in place of them and unknown columns are refused."""
    numbers = np.zeros((4, 4), dtype=int)
    table = pd.DataFrame(numbers, columns=list("wxyz"))
    cases = (None, "requires y"), (numbers[0], "class labels"), (table, "columns w, x, y, z")
    for y, sentence in cases:
        with pytest.raises(DataError, match=sentence):
            Aligner().fit(world.objects.matrix, y)


def test_an_aligner_that_was_not_fitted_is_refused_as_such(world):
    """Before `fit`, `transform` raises scikit-learn's NotFittedError."""
    with pytest.raises(NotFittedError):
        Aligner().transform(world.objects.matrix)


def test_sample_weights_are_weights_of_answers(world):
    """In `fit` and `score`, `sample_weight` weights the answers as the weights of Answers do."""
    X = world.objects.matrix
    answers = world.answers.objects[:500]
    weights = np.random.default_rng(0).uniform(0, 2, 500)
    weighted = Answers.from_array(answers, weights=weights)
    first = Aligner(**QUICK).fit(X, answers, sample_weight=weights)
    second = Aligner(**QUICK).fit(X, weighted)
    np.testing.assert_allclose(first.transform_.weights, second.transform_.weights, atol=1e-6)
    assert first.score(X, answers, weights) == pytest.approx(second.score(X, weighted), rel=1e-12)


@pytest.mark.filterwarnings("ignore:.*standardized like:glocal.errors.DataWarning")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_features_keep_their_float_type(world, aligner, as_a_user, dtype):
    """Transformed features keep their float type; integers become float32."""
    X = (10 * world.objects.matrix).astype(dtype)
    Z = aligner.transform(X)
    assert Z.dtype == dtype.replace("int64", "float32")
    expected = aligner.transform_.apply(X, force=True)
    np.testing.assert_allclose(Z, expected, rtol=1e-4, atol=1e-3)


def test_it_works_in_a_pipeline(world, as_a_user):
    """In front of a classifier, y holds the labels and `aligner__answers` the answers."""
    X = world.objects.matrix
    aligner = Aligner(**QUICK)
    pipeline = Pipeline([("aligner", aligner), ("classifier", LogisticRegression(max_iter=2000))])
    pipeline.fit(X, world.superordinate, aligner__answers=world.answers)
    Z = aligner.fit(X, world.answers).transform(X)
    by_hand = LogisticRegression(max_iter=2000).fit(Z, world.superordinate)
    np.testing.assert_array_equal(pipeline.predict(X), by_hand.predict(Z))


@pytest.mark.filterwarnings("ignore::glocal.errors.NotConvergedWarning")
def test_tensors_are_fitted(world, as_a_user):
    """Tensors in bfloat16 and with a graph are fitted as arrays are, and tensors are returned."""
    torch = pytest.importorskip("torch")
    X = torch.tensor(world.objects.matrix, requires_grad=True).bfloat16()
    rounded = X.detach().float().numpy()
    answers = world.answers.objects
    aligner = Aligner("global", lmbda=1.0, solver=Exact(max_evaluations=3)).fit(X, answers)
    Z = aligner.transform(X)
    assert Z.dtype == torch.bfloat16
    assert aligner.score(X, answers) == pytest.approx(aligner.score(rounded, answers), abs=1e-3)
    expected = aligner.fit(rounded, answers).transform(rounded)
    np.testing.assert_allclose(Z.detach().float().numpy(), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    "setting", [{"lmbda": "x"}, {"seed": None}, {"method": "glocal"}, {"keep": "x"}]
)
def test_a_setting_that_is_not_allowed_is_a_sentence(world, as_a_user, setting):
    """A setting out of range, of the wrong type, or without the data that it needs is refused by
    name.
    """
    with pytest.raises(ParameterError, match=next(iter(setting))):
        Aligner(**{"method": "global", **setting}).fit(world.objects.matrix, world.answers)


@pytest.mark.filterwarnings("ignore:.*objects:glocal.errors.DataWarning")
def test_local_features_of_another_scale_are_said(world, as_a_user):
    """If an earlier step scales X alone, a warning says so; metadata routing scales both."""
    X = world.objects.matrix
    local = world.local.matrix
    answers = world.answers
    options = {"alpha": 0.5, "lmbda": 1.0, "solver": Exact(tol=0.1)}
    halves = make_pipeline(StandardScaler(), Aligner(**options))
    with pytest.warns(DataWarning, match="standardized like those of the objects"):
        halves.fit(X, answers, aligner__local_features=local)
    with sklearn.config_context(enable_metadata_routing=True):
        aligner = Aligner(**options).set_fit_request(answers=True, local_features=True)
        routed = make_pipeline(StandardScaler(), aligner, transform_input=["local_features"])
        routed.fit(X, answers=answers, local_features=local)
    scaler = StandardScaler().fit(X)
    both = [scaler.transform(rows) for rows in (X, local)]
    expected = Aligner(**options).fit(both[0], answers, local_features=both[1])
    np.testing.assert_array_equal(routed[-1].transform_.weights, expected.transform_.weights)


def test_local_tables_with_other_columns_are_refused(world, as_a_user):
    """Local features whose columns are in another order than those of X are refused."""
    names = [f"c{i}" for i in range(world.objects.dimensions)]
    X, local = (pd.DataFrame(f.matrix, columns=names) for f in (world.objects, world.local))
    with pytest.raises(ValueError, match="feature names"):
        Aligner().fit(X, world.answers, local_features=local[names[::-1]])


def test_local_features_and_no_setting_are_a_keep_of_nine_tenths(world, as_a_user):
    """With local features and no setting, `keep` is 0.9."""
    X = world.objects.matrix[:, :8]
    answers = world.answers.select(np.arange(300))
    local = world.local.matrix[:30, :8]
    assert Aligner().fit(X, answers, local_features=local).record_.keep.keep == 0.9


def test_paths_and_names_are_read_and_joined(world, here, as_a_user):
    """Files are read as arrays are taken, and named answers are joined to named features."""
    X = world.objects.matrix
    answers = world.answers.objects
    names = [f"object {row}" for row in range(len(X))]
    named = Answers.from_array(answers, names=names)
    folder(here, local_npy=world.local.matrix, answers_npz=named)
    folder(here / "objects", features_npy=X[::-1], file_names_txt=names[::-1])
    aligner = Aligner(**QUICK | {"method": "glocal"})
    by_array = aligner.fit(X, answers, local_features=world.local.matrix).transform(X)
    aligner.fit(here / "objects", "answers.npz", local_features="local.npy")
    np.testing.assert_allclose(aligner.transform("objects")[::-1], by_array, atol=1e-3)
    assert aligner.record_.n_answers == len(answers)


class IdentityStep(TransformStep):
    """A TransformStep of the identity for rows of any width, as in scikit-learn's checks."""

    def fit(self, X, y=None):
        rows = np.asarray(X)
        width = rows.shape[1] if rows.ndim == 2 else 2
        given = self._transform
        self._transform = LinearTransform(np.eye(width, dtype=np.float32), None, 0.0, 1.0)
        try:
            return super().fit(X, y)
        finally:
            self._transform = given


class TestTransformStep:
    """A transform as a step of a pipeline."""

    @pytest.mark.filterwarnings("ignore::glocal.errors.GLocalWarning")
    @parametrize_with_checks([IdentityStep("identity")])
    def test_scikit_learn_checks(self, estimator, check, as_a_user):
        """The step passes scikit-learn's checks that suit a transform of a fixed width."""
        check(estimator)

    def test_it_applies_the_transform_at_its_strength(self, world, aligner, as_a_user):
        """The step maps rows as the transform at the same strength, recentred toward the rows that
        it was fitted to.
        """
        X = world.objects.matrix
        transform = aligner.transform_
        Z = TransformStep(transform, strength=0.5, recentre=30.0).fit(X[:50]).transform(X)
        expected = transform.recentred(X[:50], weight=30.0).at_strength(0.5)
        np.testing.assert_array_equal(Z, expected(X))
        np.testing.assert_array_equal(TransformStep(transform).fit_transform(X), transform(X))

    def test_its_strength_can_be_searched(self, world, aligner, as_a_user):
        """GridSearchCV over the strength fits clones with each value, and keeps the best."""
        pipeline = make_pipeline(TransformStep(aligner.transform_), NearestCentroid())
        grid = {"transformstep__strength": [0.0, 0.5, 1.0]}
        search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
        search.fit(world.objects.matrix, world.superordinate)
        best = aligner.transform_.at_strength(search.best_params_["transformstep__strength"])
        weights = search.best_estimator_[0].transform_.weights
        np.testing.assert_array_equal(weights, best.weights)

    def test_a_bare_transform_is_no_step_of_a_pipeline(self, world, aligner):
        """A LinearTransform has no `fit`, and another object as a transform is refused."""
        X = world.objects.matrix
        assert not hasattr(aligner.transform_, "fit")
        with pytest.raises(TypeError, match="LinearTransform"):
            make_pipeline(aligner.transform_, NearestCentroid()).fit(X, world.superordinate)
        with pytest.raises(ParameterError, match="LinearTransform"):
            TransformStep(np.eye(2)).fit(X)
