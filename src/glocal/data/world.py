"""A simulated world with a known truth: features of a network, and people's answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.similarity import Embedding, Numbers, Objects

_CLASS_DIMENSIONS = 6
_CATEGORY_DIMENSIONS = 16
_MAX_DRAWN = 1 << 20  # sets of objects that are drawn in one step


@dataclass(frozen=True, eq=False)
class World:
    """Simulated features and answers, with the embedding that the answers follow.

    Parameters
    ----------
    objects, local : Features
        Features of one image of each object, and of other images of the same categories.
    answers : Answers
        Simulated people's answers on the objects.
    mind : (n, d) float
        The embedding by which the simulated people answer, which is the known truth.
    superordinate, local_category : (n,) and (m,) int
        The superordinate class of each object, and the category of each local image.
    """

    objects: Features
    answers: Answers
    local: Features
    mind: Embedding
    superordinate: Numbers
    local_category: Int[np.ndarray, " m"]


def simulated_world(
    *,
    n_superordinate: int = 6,
    n_category: int = 10,
    n_object: int = 6,
    n_local: int = 900,
    n_answers: int = 60_000,
    dimensions: int = 64,
    seed: int = 0,
) -> World:
    """Draw a world of superordinate classes, their categories, and instances of each category.

    A feature vector is ``s_superordinate + c_category + i_instance`` mixed into `dimensions`
    directions. As in real networks, the superordinate part is the weakest, the category part is
    strong, and the instance part distinguishes neighbours. Simulated people answer mostly by
    superordinate similarity and a little by category: they choose each pair with the probability
    that the softmax of the three dot products of `mind` gives it. The transform that agrees with
    them is therefore known: it amplifies the superordinate directions.

    Parameters
    ----------
    n_superordinate, n_category, n_object : int
        Number of superordinate classes, of categories per class, and of objects per category.
    n_local : int
        Number of local images, drawn from the same categories.
    n_answers, dimensions : int
        Number of answers, and of columns of the features (p).
    seed : int
    """
    n_categories = n_superordinate * n_category
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((dimensions, dimensions))
    mixing = np.linalg.qr(directions).Q
    class_code = rng.standard_normal((n_superordinate, _CLASS_DIMENSIONS))
    category_code = rng.standard_normal((n_categories, _CATEGORY_DIMENSIONS))

    def images(category: Numbers) -> np.ndarray:
        superordinate = category // n_category
        class_codes = class_code[superordinate]
        category_codes = category_code[category]
        return _drawn_images(class_codes, category_codes, mixing, rng)

    categories = np.arange(n_categories)
    category = categories.repeat(n_object)
    local_category = rng.integers(n_categories, size=n_local)
    superordinate = category // n_category
    class_part = 1.1 * class_code[superordinate]
    category_part = 0.25 * category_code[category]
    mind = np.hstack([class_part, category_part])
    names = [f"object_{i:04d}" for i in range(len(category))]
    return World(
        objects=Features(images(category), tuple(names), "simulated objects"),
        answers=simulated_answers(mind, n_answers, seed=seed + 1),
        local=Features(images(local_category), None, "simulated local images"),
        mind=mind,
        superordinate=superordinate,
        local_category=local_category,
    )


def _drawn_images(
    class_codes: np.ndarray,
    category_codes: np.ndarray,
    mixing: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw the features of an image of each of these classes and categories."""
    n, n_class_dimensions = class_codes.shape
    n_category_dimensions = category_codes.shape[1]
    n_instance_dimensions = len(mixing) - n_class_dimensions - n_category_dimensions
    class_noise = rng.standard_normal(class_codes.shape)
    category_noise = rng.standard_normal(category_codes.shape)
    instance_noise = rng.standard_normal((n, n_instance_dimensions))
    class_part = class_codes + 0.3 * class_noise
    category_part = category_codes + 0.4 * category_noise
    class_part *= 0.7
    category_part *= 1.2
    instance_part = 0.8 * instance_noise
    code = np.hstack([class_part, category_part, instance_part])
    features = code @ mixing
    features += 0.5
    return features.astype(np.float32)


def simulated_answers(mind: Embedding, n_answers: int, *, seed: int = 0) -> Answers:
    """Simulate odd-one-out answers of people who choose by the softmax of dot products in `mind`.

    Parameters
    ----------
    mind : (n, d) real array
        The embedding by which people answer, for example a published SPoSE embedding.
    n_answers, seed : int
        Number of sets of three objects, which are drawn uniformly, and the seed.
    """
    rng = np.random.default_rng(seed)
    gram = mind @ mind.T
    similarities = gram.astype(np.float32)
    objects = np.empty((0, 3), dtype=np.int32)
    while len(objects) < n_answers:
        n_missing = n_answers - len(objects)
        n_enough = n_missing + 1024  # some sets show an object twice
        n_drawn = min(_MAX_DRAWN, n_enough)
        shape = (n_drawn, 3)
        sets = rng.integers(len(mind), size=shape, dtype=np.int32)
        i, j, k = sets.T
        are_different = (i != j) & (j != k)
        are_different &= i != k
        sets = sets[are_different]
        answers = _simulated_choices(sets[:n_missing], similarities, rng)
        objects = np.concatenate([objects, answers])
    return Answers(objects)


def _simulated_choices(
    sets: Objects, similarities: np.ndarray, rng: np.random.Generator
) -> Objects:
    """Choose a pair of each set by the softmax of its similarities, and put the odd one last."""
    i, j, k = sets.T
    without_i = similarities[j, k]
    without_j = similarities[i, k]
    without_k = similarities[i, j]
    pairs = np.stack([without_i, without_j, without_k])
    # Gumbel noise turns the largest similarity into a draw from the softmax
    noise = rng.gumbel(size=pairs.shape)
    noisy = pairs + noise
    odd = noisy.argmax(axis=0)
    steps = np.array([1, 2, 3])
    order = odd[:, None] + steps
    order %= 3  # the odd one last
    return np.take_along_axis(sets, order, axis=1)
