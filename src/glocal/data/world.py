"""A simulated world with a known truth: features of a network, and people's answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.similarity import Numbers

_CLASS_DIMENSIONS = 6
_CATEGORY_DIMENSIONS = 16


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
    mind: Float[np.ndarray, "n d"]
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
    rng = np.random.default_rng(seed)
    mixing, _ = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
    class_code = rng.normal(size=(n_superordinate, _CLASS_DIMENSIONS))
    category_code = rng.normal(size=(n_superordinate * n_category, _CATEGORY_DIMENSIONS))
    n_instance_dimensions = dimensions - _CLASS_DIMENSIONS - _CATEGORY_DIMENSIONS

    def images(category: np.ndarray) -> np.ndarray:
        """Draw the features of one image for each entry of `category`."""

        def noise(width: int) -> np.ndarray:
            return rng.normal(size=(len(category), width))

        superordinate = category // n_category
        class_part = class_code[superordinate] + 0.3 * noise(_CLASS_DIMENSIONS)
        category_part = category_code[category] + 0.4 * noise(_CATEGORY_DIMENSIONS)
        parts = [0.7 * class_part, 1.2 * category_part, 0.8 * noise(n_instance_dimensions)]
        features = np.concatenate(parts, axis=1) @ mixing + 0.5
        return features.astype(np.float32)

    category = np.repeat(np.arange(n_superordinate * n_category), n_object)
    local_category = rng.integers(0, n_superordinate * n_category, n_local)
    superordinate = category // n_category
    class_part = 1.1 * class_code[superordinate]
    category_part = 0.25 * category_code[category]
    mind = np.concatenate([class_part, category_part], axis=1)
    return World(
        objects=Features(
            images(category),
            tuple(f"object_{i:04d}" for i in range(len(category))),
            "simulated objects",
        ),
        answers=simulated_answers(mind, n_answers, seed=seed + 1),
        local=Features(images(local_category), None, "simulated local images"),
        mind=mind,
        superordinate=superordinate,
        local_category=local_category,
    )


def simulated_answers(mind: Float[np.ndarray, "n d"], n_answers: int, *, seed: int = 0) -> Answers:
    """Simulate odd-one-out answers of people who choose by the softmax of dot products in `mind`.

    Parameters
    ----------
    mind : (n, d) real array
        The embedding by which people answer, for example a published SPoSE embedding.
    n_answers, seed : int
        Number of sets of three objects, which are drawn uniformly, and the seed.
    """
    rng = np.random.default_rng(seed)
    gram = (mind @ mind.T).astype(np.float32)
    objects = np.empty((0, 3), dtype=np.int32)
    while len(objects) < n_answers:
        n_missing = n_answers - len(objects)
        n_drawn = min(1 << 20, n_missing + 1024)
        sets = rng.integers(0, len(mind), size=(n_drawn, 3), dtype=np.int32)
        i, j, k = sets.T
        are_different = (i != j) & (i != k) & (j != k)
        sets = sets[are_different][:n_missing]
        i, j, k = sets.T
        similarities = np.stack([gram[j, k], gram[i, k], gram[i, j]])
        # Gumbel noise turns the largest similarity into a draw from the softmax
        noisy = similarities + rng.gumbel(size=similarities.shape)
        odd = noisy.argmax(axis=0)
        order = (odd[:, None] + [1, 2, 3]) % 3  # the odd one last
        answers = np.take_along_axis(sets, order, axis=1)
        objects = np.concatenate([objects, answers])
    return Answers(objects)
