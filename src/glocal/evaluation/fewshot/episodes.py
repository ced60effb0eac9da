"""Which images are the shots: draws that every arm shares, and superclasses whose subclasses are kept apart."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from glocal.data.splits import check_seed
from glocal.errors import DataError, ParameterError


def draw_episodes(labels: np.ndarray, shots: int, draws: int = 5, seed: int = 42) -> Int[np.ndarray, "draws n"]:
    """Draw `shots` images of every class, `draws` times, from one seed.

    Fully determined by the arguments: all arms that score the same rows share the draws, so that their differences are
    paired. Draw d permutes the rows of each class, in the order of the sorted classes, with RandomState((seed, d)), and
    takes the first: a draw does not depend on how many others are asked for, and fewer shots are a part of more.

    Parameters
    ----------
    labels : (n,) int or str array
        The class of each training image.
    shots : int
        Images of each class, at least 1.
    draws : int
        At least 1.
    seed : int
        Of the legacy RandomState, whose stream never changes.

    Returns
    -------
    (draws, classes · shots) int array
        Row numbers, grouped by class.

    Raises
    ------
    ParameterError
        `shots` or `draws` below 1, or a seed that RandomState refuses.
    DataError
        A class with fewer than `shots` images.
    """
    for name, value in (("shots", shots), ("draws", draws)):
        if value < 1:
            raise ParameterError(f"{name} is {value}; it must be at least 1.")
    check_seed(seed)
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) and counts.min() < shots:
        scarce = int(counts.argmin())
        raise DataError(
            f"class {classes[scarce]} has {counts[scarce]} training images but shots is {shots}. "
            f"Ask for at most {counts[scarce]} shots, or leave that class out."
        )
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    drawn = []
    for draw in range(draws):
        rng = np.random.RandomState((seed, draw))
        drawn.append(np.concatenate([rng.permutation(rows)[:shots] for rows in members]))
    return np.stack(drawn).astype(np.int64)


def superclass_split(superclass: np.ndarray, subclass: np.ndarray, seed: int = 42) -> tuple[np.ndarray, np.ndarray]:
    """Halve the subclasses of each superclass at random: those that train (source) and those that test (target).

    So a probe must recognise kinds of a superclass that it never saw (BREEDS). Of an odd number of subclasses the
    source gets one more.

    Parameters
    ----------
    superclass, subclass : (n,) int or str arrays
        Both labels of each image.
    seed : int

    Returns
    -------
    source, target : arrays of subclasses, sorted, disjoint
        Together all subclasses.

    Raises
    ------
    DataError
        A superclass with one subclass only, or a subclass of two superclasses.

    References
    ----------
    Santurkar, Tsipras & Madry (2021), BREEDS: Benchmarks for Subpopulation Shift, ICLR.

    Examples
    --------
    >>> source, target = superclass_split(np.array([0, 0, 1, 1]), np.array(["cat", "dog", "car", "bus"]))
    >>> len(source), len(target), set(source) & set(target)
    (2, 2, set())
    """
    if len(superclass) != len(subclass):
        raise DataError(f"there are {len(superclass)} superclasses and {len(subclass)} subclasses; give both a row.")
    check_seed(seed)
    names, first, codes = np.unique(subclass, return_index=True, return_inverse=True)
    parent = np.asarray(superclass)[first]
    strays = np.flatnonzero(parent[codes] != superclass)
    if len(strays):
        row = strays[0]
        raise DataError(
            f"subclass {subclass[row]} belongs to superclass {parent[codes[row]]} and to {superclass[row]}; "
            "each subclass must lie in one superclass."
        )
    rng = np.random.RandomState(seed)
    source: list[np.ndarray] = []
    for one in np.unique(parent):
        children = names[parent == one]
        if len(children) < 2:
            raise DataError(
                f"superclass {one} has the single subclass {children[0]}; two are needed, one to train and one to test."
            )
        source.append(rng.permutation(children)[: -(-len(children) // 2)])
    chosen = np.sort(np.concatenate(source))
    return chosen, np.setdiff1d(names, chosen)
