"""The four BREEDS tasks: superclasses of ImageNet whose training and test subclasses differ.

The computation below is our own. The definition of each task (root, level and number of subclasses) and the three files
of the hierarchy are the authors'; `fetch` brings the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from glocal.data.datasets.download import cache_folder
from glocal.data.features import Features
from glocal.data.splits import check_seed
from glocal.errors import DataError, FileError, ParameterError
from glocal.files import PathLike, one_line, read_lines
from glocal.jobs.leaving import read_json

ROOT = "n00001740"
# task: (ancestor of its superclasses, their level below the root, subclasses of each)
TASKS: dict[str, tuple[str, int, int]] = {
    "entity13": (ROOT, 3, 20),
    "entity30": (ROOT, 4, 8),
    "living17": ("n00004258", 5, 4),
    "nonliving26": ("n00021939", 5, 4),
}
_FILES = ("dataset_class_info.json", "class_hierarchy.txt", "node_names.txt")
_FETCH = "Bring the three files with glocal data fetch breeds/hierarchy breeds/names breeds/classes."


@dataclass(frozen=True)
class BreedsTask:
    """One task: superclass names, and for each the ImageNet class numbers that train and that test.

    `numbers` has the number of each ImageNet class under its WordNet id.
    """

    name: str
    superclasses: tuple[str, ...]
    source: tuple[tuple[int, ...], ...]
    target: tuple[tuple[int, ...], ...]
    numbers: Mapping[str, int] = field(default_factory=dict, repr=False)

    def rows(self, classes: np.ndarray, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Select the images of part ``source`` or ``target``: their row numbers, and the superclass of each by name.

        `classes` are the ImageNet classes of all images, as numbers or WordNet ids.

        Raises
        ------
        DataError
            A class that is no WordNet id, or no image of the part.
        """
        if part not in ("source", "target"):
            raise ParameterError(f"part is {part!r}; allowed are source and target.")
        number = {c: c for c in self.numbers.values()} if classes.dtype.kind in "iu" else dict(self.numbers)
        values, codes = np.unique(classes, return_inverse=True)
        unknown = [value for value in values.tolist() if value not in number]
        if unknown:
            raise DataError(
                f"{self.name} needs the ImageNet class of each image, a number or a WordNet id such as n01440764; "
                f"{unknown[0]!r} is none ({len(unknown)} such classes). The folders of ImageNet have these ids."
            )
        of = {c: name for name, members in zip(self.superclasses, getattr(self, part), strict=True) for c in members}
        taken = np.array([number[value] in of for value in values.tolist()], dtype=bool)
        names = np.array([of.get(number[value], "") for value in values.tolist()])
        rows = np.flatnonzero(taken[codes])
        if not len(rows):
            raise DataError(f"none of the {len(classes)} images is of a {part} class of {self.name}.")
        return rows, names[codes[rows]]


def breeds_sides(
    name: str, folder: PathLike | None, train: Features, train_labels: np.ndarray, test: Features,
    test_labels: np.ndarray,
) -> tuple[Features, np.ndarray, Features, np.ndarray]:  # fmt: skip
    """The source classes of `train` and the target classes of `test`, each with the superclasses of its rows.

    Labels are ImageNet classes; see `BreedsTask.rows`. Both may be the same images.
    """
    task = breeds_task(name, folder)
    (shown, y_train), (asked, y_test) = task.rows(train_labels, "source"), task.rows(test_labels, "target")
    return _only(train, shown), y_train, _only(test, asked), y_test


def _only(features: Features, rows: np.ndarray) -> Features:
    names = None if features.names is None else tuple(features.names[row] for row in rows)
    return Features(features.matrix[rows], names, features.source)


def breeds_task(name: str, folder: PathLike | None = None, seed: int = 2) -> BreedsTask:
    """Compute a BREEDS task from the files of its release.

    The hierarchy is cut down to the classes and their ancestors; the level of a node is the length of the longest path
    from the root. A task's superclasses are the nodes at its level, below its ancestor, with at least as many classes
    as it wants; of each, that many are drawn at random, and the first half trains, the second tests ("rand" split,
    balanced). Superclasses come in the order of their WordNet ids and are drawn from one RandomState(seed), as in the
    release: seed 2 gives its "rand" splits. Its "good" and "bad" splits are not offered.

    Parameters
    ----------
    name : {"entity13", "entity30", "living17", "nonliving26"}
    folder : path or None
        With ``class_hierarchy.txt`` (parent and child a line), ``node_names.txt`` (id, tab, name a line) and
        ``dataset_class_info.json`` (a list of [number, id, name]); None is where `fetch` puts them.
    seed : int

    Returns
    -------
    BreedsTask

    Raises
    ------
    ParameterError
        Another name or seed.
    FileError
        A file is missing or damaged.
    DataError
        The hierarchy holds a cycle, or no superclass of the task, or has a class under two of them.

    References
    ----------
    Santurkar, Tsipras & Madry (2021), BREEDS: Benchmarks for Subpopulation Shift, ICLR, section 4 and table 1.
    """
    check_breeds(name)
    check_seed(seed)
    folder = cache_folder() / "breeds" if folder is None else Path(folder)
    for file in _FILES:
        if not (folder / file).is_file():
            raise FileError(f"BREEDS file {folder / file} does not exist. {_FETCH}")
    info, hierarchy, node_names = _FILES
    numbers = _class_numbers(folder / info)
    edges = _pairs(folder / hierarchy, None)
    names = dict(_pairs(folder / node_names, "\t"))
    ancestor, wanted_level, k = TASKS[name]
    children = _above(numbers, edges)
    below, level = _descendants(children, ancestor), _levels(children)
    rng = np.random.RandomState(seed)
    superclasses, source, target = [], [], []
    for node in sorted(below):
        if level.get(node) != wanted_level:
            continue
        classes = sorted(_descendants(children, node) & numbers.keys())
        if len(classes) >= k:
            taken = [numbers[str(one)] for one in rng.choice(classes, k, replace=False)]
            known = names.get(node, node)
            superclasses.append(f"{known} ({node})" if known in superclasses else known)
            source.append(tuple(taken[: k // 2]))
            target.append(tuple(taken[k // 2 :]))
    if not superclasses:
        raise DataError(
            f"{folder} has no node at level {wanted_level} below {ancestor} with {k} classes: "
            f"it is not the hierarchy that {name} is defined on."
        )
    drawn = [one for members in (*source, *target) for one in members]
    if len(set(drawn)) < len(drawn):
        twice = next(one for one in drawn if drawn.count(one) > 1)
        raise DataError(
            f"{folder} puts class {twice} under two superclasses of {name}, so that it would train and test, or have "
            "two labels; in the files of the release each class is under one. Copy them again."
        )
    return BreedsTask(name, tuple(superclasses), tuple(source), tuple(target), numbers)


def check_breeds(name: str) -> None:
    """Raise a ParameterError unless a task has this name."""
    if name not in TASKS:
        raise ParameterError(f"BREEDS task is {name!r}; allowed are {', '.join(TASKS)}.")


def _above(classes: dict[str, int], edges: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Children of each node, in the part of the hierarchy that leads to a class."""
    parents: dict[str, list[str]] = {}
    for parent, child in edges:
        parents.setdefault(child, []).append(parent)
    children: dict[str, list[str]] = {}
    seen, waiting = set(classes), list(classes)
    while waiting:
        child = waiting.pop()
        for parent in parents.get(child, ()):
            children.setdefault(parent, []).append(child)
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return children


def _descendants(children: dict[str, list[str]], node: str) -> set[str]:
    """The node and everything below it."""
    seen, waiting = {node}, [node]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in seen:
                seen.add(child)
                waiting.append(child)
    return seen


def _levels(children: dict[str, list[str]]) -> dict[str, int]:
    """The longest path from the root to each node."""
    level: dict[str, int] = {}
    reached = {ROOT}
    for depth in range(1 + len(children) + 1):
        if not reached:
            return level
        level.update(dict.fromkeys(reached, depth))
        reached = {child for node in reached for child in children.get(node, ())}
    raise DataError("class_hierarchy.txt leads from a node back to itself; a hierarchy has no cycle.")


def _pairs(path: Path, separator: str | None) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(read_lines(path, what="hierarchy"), start=1):
        parts = line.split(separator, 1)
        if len(parts) == 2:
            pairs.append((parts[0], parts[1]))
        elif line:
            raise FileError(f"hierarchy file {path} line {number} is {line!r}; it must hold two words.")
    return pairs


def _class_numbers(path: Path) -> dict[str, int]:
    entries = read_json(path, what="class info", fix="Copy it again.")
    try:
        found = [(str(entry[1]), int(entry[0])) for entry in entries]
        if any(isinstance(entry[0], bool | float) for entry in entries):
            raise ValueError("a number is not whole")
        if len({name for name, _ in found}) < len(found):
            raise ValueError("an id stands twice")
        if len({number for _, number in found}) < len(found):
            raise ValueError("a number stands twice")
        return dict(found)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise FileError(
            f"class info file {path} is not a JSON list of [number, id, name] ({one_line(error)}). Copy it again."
        ) from error
