"""The scikit-learn face: an estimator like any other, whose y is people's answers."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from glocal import Aligner, Answers, LinearTransform, fit_arm, odd_one_out
from glocal.data.features import Features
from glocal.errors import DataError, FileError, NotConvergedWarning, ParameterError, UnusedWarning

EXEMPT: dict[str, str] = {}  # a check and why it does not apply: none, for answers made up from the rows suit them all


class MadeUpAnswers(Aligner):
    """An Aligner that makes answers up from the number of rows where y holds none, as scikit-learn's checks do."""

    def fit(self, X, y=None, **options):
        return super().fit(X, self._made_up(X, y), **options)

    def score(self, X, y=None, sample_weight=None):
        return super().score(X, self._made_up(X, y), sample_weight)

    @staticmethod
    def _made_up(X, y):
        given = np.asarray(y)
        n = len(np.asarray(X)) if np.ndim(np.asarray(X)) else 0
        if y is None or (given.ndim == 2 and given.shape[1] == 3 and given.dtype.kind in "iu") or n < 3:
            return y
        rng = np.random.default_rng(0)
        return np.array([rng.permutation(n)[:3] for _ in range(50)])


@pytest.mark.filterwarnings("ignore::glocal.errors.GLocalWarning")
@parametrize_with_checks([MadeUpAnswers()], expected_failed_checks=lambda _: EXEMPT)
def test_scikit_learn_checks(estimator, check, as_a_user):
    """The estimator meets scikit-learn's own checks of its conventions."""
    check(estimator)


@pytest.fixture(scope="module")
def aligner(world):
    """An Aligner fitted with local features."""
    return Aligner(alpha=0.2, lmbda=0.2).fit(
        world.objects.matrix, world.triplets.answers, local_features=world.local.matrix
    )


def test_it_is_fit_arm_with_another_face(world, aligner):
    """`fit` is `fit_arm` with the same settings: the same weights, objective and method."""
    fit = fit_arm(world.objects, world.triplets, local_features=world.local, alpha=0.2, lmbda=0.2)
    np.testing.assert_allclose(aligner.transform_.weights, fit.transform.weights, atol=1e-5)
    assert aligner.record_.objective == pytest.approx(fit.record.objective, rel=1e-6)
    assert (aligner.method_, aligner.n_features_in_) == ("glocal", 32)
    assert aligner.record_.converged


def test_the_constructor_only_stores():
    """Parameters come back as given, valid or not, and a clone is unfitted and has the same ones."""
    aligner = Aligner("naive", alpha=7, lmbda=-1, dtype="int8")
    parameters = aligner.get_params()
    assert (parameters["method"], parameters["alpha"], parameters["lmbda"], parameters["dtype"]) == (
        "naive",
        7,
        -1,
        "int8",
    )
    assert clone(aligner).get_params() == parameters
    assert clone(aligner).set_params(alpha=0.5).alpha == 0.5


def test_a_clone_of_a_fitted_aligner_is_unfitted(aligner):
    """Cloning keeps parameters and forgets what was learned."""
    assert clone(aligner).get_params() == aligner.get_params()
    assert not hasattr(clone(aligner), "transform_")


def test_settings_are_checked_when_fitting(world):
    """A parameter out of range is refused by `fit`, with the sentence of the library."""
    with pytest.raises(ParameterError, match="lmbda is -1"):
        Aligner(lmbda=-1).fit(world.objects.matrix, world.triplets.answers)
    with pytest.raises(ParameterError, match="method glocal needs local features"):
        Aligner("glocal").fit(world.objects.matrix, world.triplets.answers)


@pytest.mark.parametrize("use", ["transform", "score", "save"])
def test_an_unfitted_aligner_says_what_to_do(world, tmp_path, use):
    """Using an Aligner before fitting is scikit-learn's NotFittedError and names fit and load."""
    arguments = {
        "transform": (world.objects.matrix,),
        "score": (world.objects.matrix, world.triplets.answers),
        "save": (tmp_path / "a.npz",),
    }
    with pytest.raises(NotFittedError, match=r"call fit\(features, triplets\) or Aligner.load\(path\)"):
        getattr(Aligner(), use)(*arguments[use])
    assert not (tmp_path / "a.npz").exists()


def test_answers_are_y_or_triplets(world):
    """Answers as y, as `triplets` and as Answers give one fit; `triplets` wins over y."""
    X, answers = world.objects.matrix, world.triplets.answers
    labels = np.arange(len(X))
    first = Aligner(max_evaluations=50).fit(X, answers).transform_.weights
    for fitted in (
        Aligner(max_evaluations=50).fit(X, world.triplets),
        Aligner(max_evaluations=50).fit(X, labels, triplets=answers),
        Aligner(max_evaluations=50).fit(X, triplets=world.triplets),
    ):
        np.testing.assert_allclose(fitted.transform_.weights, first, atol=1e-6)


def test_missing_and_wrong_answers_are_refused(world):
    """No answers, labels instead of answers and indices that are no rows are refused."""
    X = world.objects.matrix
    for y, sentence in (
        (None, "no triplets were given; requires y to be passed"),
        (np.zeros(len(X), dtype=int), r"must be \(t, 3\)"),
        (np.array([[0, 1, len(X)]]), f"name object {len(X)}"),
    ):
        with pytest.raises(DataError, match=sentence):
            Aligner().fit(X, y)


def test_sample_weights_are_weights_of_answers(world):
    """`sample_weight` weighs the answers, as the weights of Answers do, in fit and score."""
    X, answers = world.objects.matrix, world.triplets.answers[:2000]
    weights = np.random.default_rng(0).uniform(0, 2, 2000)
    weighted = Answers.from_array(answers, weights=weights)
    first = Aligner().fit(X, answers, sample_weight=weights)
    second = Aligner().fit(X, weighted)
    np.testing.assert_allclose(first.transform_.weights, second.transform_.weights, atol=1e-6)
    assert first.score(X, answers, weights) == pytest.approx(second.score(X, weighted), rel=1e-12)
    assert first.score(X, answers, weights) != first.score(X, answers)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_score_is_the_odd_one_out_accuracy(world, aligner, similarity):
    """`score` is the accuracy of the transformed features, and it is above that of the originals."""
    X = world.objects.matrix
    score = aligner.score(X, world.triplets, similarity=similarity)
    assert score == odd_one_out(aligner.transform(X), world.triplets, similarity=similarity).accuracy
    assert score > odd_one_out(world.objects.standardization(X), world.triplets).accuracy + 0.1


@pytest.mark.parametrize(("dtype", "out"), [("float32", "float32"), ("float64", "float64"), ("int64", "float32")])
def test_features_keep_their_float_type(world, aligner, as_a_user, dtype, out):
    """Transformed features are float32 or float64 as they came, and equal those of the transform."""
    X = (10 * world.objects.matrix).astype(dtype)
    Z = aligner.transform(X)
    assert Z.dtype == out
    np.testing.assert_allclose(Z, aligner.transform_.apply(X), rtol=1e-4, atol=1e-3)


def test_features_as_they_are_loaded_are_taken_like_arrays(world, aligner):
    """`Features` fit, transform and score to the same numbers as their matrices."""
    again = Aligner(alpha=0.2, lmbda=0.2).fit(world.objects, world.triplets, local_features=world.local)
    np.testing.assert_array_equal(again.transform_.weights, aligner.transform_.weights)
    np.testing.assert_array_equal(again.transform(world.objects), aligner.transform(world.objects.matrix))
    assert again.score(world.objects, world.triplets) == aligner.score(world.objects.matrix, world.triplets)


def test_features_of_another_model_are_refused(world, aligner):
    """Features with another number of columns are refused by scikit-learn's own sentence."""
    with pytest.raises(ValueError, match="X has 31 features, but Aligner is expecting 32 features"):
        aligner.transform(world.objects.matrix[:, :31])


def test_it_works_in_a_pipeline(world, as_a_user):
    """Before a classifier y holds its labels and the answers come as aligner__triplets; few labels then go further."""
    X, labels, few = world.objects.matrix, world.superordinate, np.arange(len(world.objects)) % 5 == 0
    rows = np.where(few, np.cumsum(few) - 1, -1)
    answers = world.triplets.relabel(rows)[0].answers
    pipeline = Pipeline([("aligner", Aligner()), ("classifier", LogisticRegression(max_iter=2000))])
    pipeline.fit(X[few], labels[few], aligner__triplets=answers)
    Z = Aligner().fit(X[few], answers).transform(X)
    by_hand = LogisticRegression(max_iter=2000).fit(Z[few], labels[few])
    np.testing.assert_array_equal(pipeline.predict(X), by_hand.predict(Z))
    plain = LogisticRegression(max_iter=2000).fit(X[few], labels[few])
    assert pipeline.score(X[~few], labels[~few]) > plain.score(X[~few], labels[~few]) + 0.02


def test_it_gives_data_frames_if_asked(world, aligner, as_a_user):
    """With set_output(transform="pandas") columns are named after the class and the index is kept."""
    frame = pd.DataFrame(world.objects.matrix, index=world.objects.names).add_prefix("dim")
    fitted = Aligner().set_output(transform="pandas").fit(frame, world.triplets)
    Z = fitted.transform(frame)
    assert list(Z.columns) == [f"aligner{i}" for i in range(32)] == fitted.get_feature_names_out().tolist()
    assert tuple(Z.index) == world.objects.names
    assert list(fitted.feature_names_in_) == list(frame.columns)


def test_it_is_saved_and_loaded_without_pickle(world, aligner, tmp_path):
    """A saved Aligner is an .npz without pickles; loaded, it has the parameters and transforms the same."""
    path = tmp_path / "aligner.npz"
    aligner.save(path)
    with np.load(path, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
    assert meta["aligner"]["alpha"] == 0.2
    loaded = Aligner.load(path)
    assert loaded.get_params() == aligner.get_params()
    assert (loaded.method_, loaded.n_features_in_) == ("glocal", 32)
    X = world.objects.matrix
    np.testing.assert_array_equal(loaded.transform(X), aligner.transform(X))
    assert loaded.score(X, world.triplets) == aligner.score(X, world.triplets)
    assert aligner.transform_.meta.get("aligner") is None  # saving changes nothing


def test_a_fitted_transform_loads_as_an_aligner(world, tmp_path):
    """What `fit_arm` saved loads with the settings of that fit."""
    fit = fit_arm(world.objects, world.triplets, method="global", lmbda=0.3, dtype="float64", seed=7)
    fit.transform.save(tmp_path / "t.npz")
    loaded = Aligner.load(tmp_path / "t.npz")
    assert (loaded.method, loaded.lmbda, loaded.dtype, loaded.method_) == ("global", 0.3, "float64", "global")
    np.testing.assert_array_equal(loaded.transform(world.objects.matrix), fit.transform.apply(world.objects.matrix))
    again = clone(loaded).fit(world.objects.matrix, world.triplets)
    np.testing.assert_allclose(again.transform_.weights, fit.transform.weights, atol=1e-5)


def test_a_file_of_the_authors_loads_as_an_aligner(tmp_path):
    """A transform file without a record loads with default parameters and transforms."""
    W = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    np.savez(tmp_path / "transform.npz", weights=W, mean=np.float32(0.4), std=np.float32(2.0))
    loaded = Aligner.load(tmp_path / "transform.npz")
    x = np.random.default_rng(1).normal(size=(7, 5))
    np.testing.assert_allclose(loaded.transform(x), ((x - np.float32(0.4)) / 2.0) @ W, atol=1e-5)
    assert loaded.get_params() == Aligner().get_params()


def test_a_file_that_is_missing_is_said(tmp_path):
    """Loading nothing is a FileError."""
    with pytest.raises(FileError, match="does not exist"):
        Aligner.load(tmp_path / "none.npz")


def test_saving_keeps_the_bias_and_the_scalars(world, tmp_path):
    """A bias and the two scalars of the object features are part of what is saved."""
    fitted = Aligner(bias=True, tol=1e-3).fit(world.objects.matrix, world.triplets)
    fitted.save(tmp_path / "a.npz")
    transform = LinearTransform.load(tmp_path / "a.npz")
    scalars = Features(world.objects.matrix).standardization
    np.testing.assert_array_equal(transform.bias, fitted.transform_.bias)
    assert (transform.mean, transform.std) == (scalars.mean, scalars.std)


def test_tensors_and_tables_are_fitted(world, as_a_user):
    """Features as bfloat16 tensors or tensors with a graph, and answers as a data frame, are what they hold."""
    X, answers = world.objects.matrix, world.triplets.answers
    wanted = Aligner("global", max_evaluations=3).fit
    with pytest.warns(NotConvergedWarning):
        by_array = wanted(X, answers).transform_.weights
    tensor = torch.tensor(X, requires_grad=True)
    with pytest.warns(NotConvergedWarning):
        by_tensor = wanted(tensor, pd.DataFrame(answers, columns=["a", "b", "odd"])).transform_.weights
    np.testing.assert_array_equal(by_tensor, by_array)
    with pytest.warns(NotConvergedWarning):
        rounded = wanted(tensor.bfloat16(), answers)
    np.testing.assert_allclose(rounded.transform(tensor.bfloat16()), rounded.transform(X), atol=0.1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lmbda": "x"}, "lmbda is 'x'; it must be a number"),
        ({"alpha": None}, "alpha is None; it must be a number"),
        ({"tol": "1e-5"}, "tol is '1e-5'; it must be a number"),
        ({"seed": None}, "seed is None; it must be a whole number"),
        ({"seed": -1}, "seed is -1; allowed is 0 to 4294967295"),
        ({"max_evaluations": 1.5}, "max_evaluations is 1.5; it must be a whole number"),
        ({"local_blocks": "x"}, "local_blocks is 'x'; it must be a whole number"),
        ({"bias": "yes"}, "bias is 'yes'; allowed are True and False"),
        ({"eta": "x", "solver": "minibatch"}, "eta is 'x'; it must be a number"),
        ({"method": "glboal"}, "method is 'glboal'; allowed are naive, global, glocal"),
    ],
)
@pytest.mark.filterwarnings("ignore::glocal.errors.UnusedWarning")
def test_a_setting_of_another_kind_is_a_sentence(world, as_a_user, options, sentence):
    """A text or nothing where a number belongs is said before any work."""
    with pytest.raises(ParameterError, match=sentence):
        Aligner(**{"method": "global", **options}).fit(world.objects.matrix, world.triplets)


def test_local_features_of_another_scale_are_said(world, as_a_user):
    """A step before the Aligner scales X alone: that is said, and routing the local features through it mends it."""
    X, local, answers = world.objects.matrix, world.local.matrix, world.triplets
    options = {"alpha": 0.5, "max_evaluations": 15, "tol": 0.01}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        halves = make_pipeline(StandardScaler(), Aligner(**options)).fit(X, answers, aligner__local_features=local)
    assert any("local features: by the mean and std of the object features" in str(w.message) for w in said)
    with sklearn.config_context(enable_metadata_routing=True):
        aligner = Aligner(**options).set_fit_request(triplets=True, local_features=True)
        routed = make_pipeline(StandardScaler(), aligner, transform_input=["local_features"])
        routed.fit(X, triplets=answers, local_features=local)
    scaler = StandardScaler().fit(X)
    wanted = Aligner(**options).fit(scaler.transform(X), answers, local_features=scaler.transform(local))
    np.testing.assert_array_equal(routed[-1].transform_.weights, wanted.transform_.weights)
    assert not np.allclose(halves[-1].transform_.weights, wanted.transform_.weights, atol=1e-3)


def test_local_tables_with_other_columns_are_refused(world, as_a_user):
    """Columns in another order are not taken for those of X."""
    names = [f"c{i}" for i in range(world.objects.dimensions)]
    X, local = (pd.DataFrame(f.matrix, columns=names) for f in (world.objects, world.local))
    with pytest.raises(
        DataError, match=r"other columns than X \(the first is 'c31' for 'c0'\).*local_features\[X.columns\]"
    ):
        Aligner().fit(X, world.triplets, local_features=local[names[::-1]])


def test_settings_that_nothing_reads_are_named(world):
    """What the method or the solver does not read is said in one sentence, not dropped."""
    with pytest.warns(UnusedWarning, match="alpha and local_features have no effect: only method glocal reads them"):
        Aligner("global", alpha=0.5).fit(world.objects.matrix, world.triplets, local_features=world.local.matrix)
    with pytest.warns(UnusedWarning, match="squared has no effect: only method naive reads it"):
        Aligner("global", squared=False).fit(world.objects.matrix, world.triplets)
