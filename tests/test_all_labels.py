"""Classification with all labels: folds, classifiers, and the error over images."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestCentroid

from glocal import GLocalError, few_shot
from glocal.similarity import unit_rows

RNG = np.random.default_rng(8)
Y = np.repeat(["a", "b", "c"], [20, 14, 9])
CODES = np.repeat(np.arange(3), [20, 14, 9])
CENTRES = RNG.normal(size=(3, 6))
X = CENTRES[CODES] + 1.2 * RNG.normal(size=(43, 6)) + 1
TEST = CENTRES[CODES[::2]] + 1.2 * RNG.normal(size=(22, 6)) + 1


def classifier(probe, rows, codes):
    if probe == "logistic":
        return LogisticRegression(C=100, tol=1e-8, max_iter=5000).fit(rows, codes).predict
    means = unit_rows(NearestCentroid().fit(rows, codes).centroids_)
    return lambda tested: (tested @ means.T).argmax(axis=1)


def balanced(credits, codes):
    """The mean over classes, and the squared error of this mean over images within their class."""
    parts = [credits[codes == c] for c in range(3)]
    variance = sum(part.var(ddof=1) / len(part) for part in parts) / 9
    return np.mean([part.mean() for part in parts]), variance


@pytest.mark.parametrize("probe, repeats", [("logistic", 1), ("ncm", 3)])
def test_each_image_is_classified_by_the_other_folds(probe, repeats):
    """The credit of an image is its mean over repeats of five stratified folds, and the variance
    is half as large again as that of images within their class.
    """
    rows = unit_rows(X)
    credits = np.zeros(43)
    for repeat in range(repeats):
        folds = StratifiedKFold(5, shuffle=True, random_state=42 + repeat).split(rows, CODES)
        for shown, tested in folds:
            predict = classifier(probe, rows[shown], CODES[shown])
            credits[tested] += (predict(rows[tested]) == CODES[tested]) / repeats
    result = few_shot(X, Y, shots=None, probe=probe)
    mean, variance = balanced(credits, CODES)
    assert (result.accuracy, result.accuracy_plain) == pytest.approx((mean, credits.mean()))
    assert result.units.estimate().error ** 2 == pytest.approx(1.5 * variance)


@pytest.mark.parametrize("probe", ["logistic", "ncm"])
def test_test_images_are_classified_by_one_fit(probe):
    """With test images there is one fit, and the error is that over test images."""
    truth = CODES[::2]
    right = classifier(probe, unit_rows(X), CODES)(unit_rows(TEST)) == truth
    result = few_shot(X, Y, TEST, Y[::2], shots=None, probe=probe)
    mean, variance = balanced(right.astype(float), truth)
    assert result.accuracy == pytest.approx(mean)
    assert result.n == 22
    assert result.units.estimate().error ** 2 == pytest.approx(variance)


@pytest.mark.parametrize(
    "noun, change",
    [("probe", {"probe": "2nn"}), ("draws", {"draws": 2}),
     ("folds", {"y_train": np.where(np.arange(43) < 4, "d", Y)}),
     ("two classes", {"y_train": np.full(43, "a")})],
)  # fmt: skip
def test_bad_input_is_refused(noun, change, as_a_user):
    """Unknown classifiers, draws, too few images for the folds and a single class are refused."""
    with pytest.raises(GLocalError, match=noun):
        few_shot(**{"X_train": X, "y_train": Y, "shots": None} | change)
