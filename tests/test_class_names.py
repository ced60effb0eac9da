"""Class names: alone, beside examples, and what they are compared with."""

import numpy as np
import pytest

from glocal import Features, GLocalError, few_shot
from glocal.errors import DataWarning
from glocal.evaluation.class_names import EXAMPLES_IN_A_NAME
from glocal.evaluation.episodes import draw_episodes
from glocal.similarity import unit_rows as unit

RNG = np.random.default_rng(11)
NAMES = ("bird", "boat", "car", "cat")
Y = np.repeat(NAMES, 15)
CODES = np.repeat(np.arange(4), 15)
CENTRES = RNG.normal(size=(4, 7))
X = CENTRES[CODES] + 1.6 * RNG.normal(size=(60, 7)) + 3
Z = X @ RNG.normal(size=(7, 5))
TEXTS = Features(CENTRES[::-1] + RNG.normal(size=(4, 7)) - 2, NAMES[::-1])
TEST = CENTRES[CODES[::2]] + RNG.normal(size=(30, 7)) + 3


def scaled(scores):
    """Scores less their mean over classes, over the root mean square of all."""
    scores = scores - scores.mean(axis=1, keepdims=True)
    return scores / np.sqrt((scores**2).mean())


def by_names(rows, training=X):
    """The cosines of images and texts, both less their own means."""
    texts = unit(TEXTS.matrix[::-1])
    images = unit(rows) - unit(training).mean(axis=0)
    return unit(images) @ unit(texts - texts.mean(axis=0)).T


def balanced(predicted, truth):
    return np.mean([np.mean(predicted[truth == c] == c) for c in range(4)])


def test_names_alone_are_nearest_texts():
    """Without shots, an image is of the class whose text is nearest, all labelled images are
    tested, and the interval is that over images within their class; the embedding has no part.
    """
    result = few_shot(Z, Y, shots=0, texts=TEXTS, originals=X)
    right = by_names(X).argmax(axis=1) == CODES
    assert result.accuracy == pytest.approx(right.mean())
    assert result.n == 60
    assert result.chance == 0.25
    within = [right[c == CODES].var(ddof=1) / 15 for c in range(4)]
    assert result.units.estimate().error == pytest.approx((sum(within) / 16) ** 0.5)
    assert few_shot(-Z, Y, shots=0, texts=TEXTS, originals=X).scores == result.scores
    apart = few_shot(Z, Y, Z[::2], Y[::2], shots=0, texts=TEXTS, originals=X, originals_test=TEST)
    assert apart.accuracy == pytest.approx(balanced(by_names(TEST).argmax(axis=1), CODES[::2]))


@pytest.mark.parametrize("shots", [1, 3])
def test_names_and_examples_are_added(shots):
    """The similarities to class means and to names, each centred over the classes and scaled to a
    root mean square of 1, are added; a name counts as two examples.
    """
    result = few_shot(Z, Y, shots=shots, draws=6, texts=TEXTS, originals=X)
    expected = []
    for rows in draw_episodes(CODES, shots, 6):
        tested = np.setdiff1d(np.arange(60), rows)
        means = unit(np.stack([unit(Z[rows])[CODES[rows] == c].mean(axis=0) for c in range(4)]))
        scores = scaled(unit(Z[tested]) @ means.T)
        scores += scaled(by_names(X))[tested] * EXAMPLES_IN_A_NAME / shots
        expected.append(balanced(scores.argmax(axis=1), CODES[tested]))
    assert result.per_draw == pytest.approx(expected)
    assert result.scores[0].settings["class_texts"] is True


def test_scores_without_a_spread_leave_the_choice_to_the_other():
    """0/0 is 0: if all examples are one point, names decide; if all texts are one, examples do."""
    alone = few_shot(Z, Y, shots=0, texts=TEXTS, originals=X)
    sides = {"texts": TEXTS, "originals": X, "originals_test": X}
    names = few_shot(0 * Z + 1, Y, Z, Y, shots=1, draws=2, **sides)
    assert names.accuracy == pytest.approx(alone.accuracy)
    same = Features(np.ones((4, 7)), NAMES)
    examples = few_shot(Z, Y, shots=1, draws=4, texts=same, originals=X)
    assert examples.per_draw == few_shot(Z, Y, shots=1, draws=4, probe="ncm").per_draw


def test_a_text_of_no_class_is_counted():
    """Texts that name no class are left out, with a warning, and change nothing."""
    more = Features(
        np.vstack([RNG.normal(size=(2, 7)), TEXTS.matrix]), ("dog", "ship", *TEXTS.names)
    )
    with pytest.warns(DataWarning, match="2 of 6 texts"):
        result = few_shot(Z, Y, shots=0, texts=more, originals=X)
    assert result.scores == few_shot(Z, Y, shots=0, texts=TEXTS, originals=X).scores


@pytest.mark.parametrize(
    "noun, change",
    [
        ("texts", {"texts": None, "originals": None}), ("texts", {"texts": None, "shots": 1}),
        ("originals", {"originals": None}), ("originals", {"originals_test": X}),
        ("59 original", {"originals": X[1:]}), ("columns", {"originals": Z}),
        ("bird", {"texts": Features(TEXTS.matrix[:2], ("cat", "boat"))}),
        ("names", {"texts": Features(TEXTS.matrix)}), ("ncm", {"probe": "logistic"}),
        ("superclasses", {"superclasses": dict(zip(NAMES, "aabb", strict=True))}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(noun, change, as_a_user):
    """Names without texts, originals or a text for each class, other probes and superclasses are
    refused by an error that names them.
    """
    with pytest.raises(GLocalError, match=noun):
        few_shot(Z, Y, **{"shots": 0, "texts": TEXTS, "originals": X} | change)
