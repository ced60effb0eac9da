"""The four BREEDS tasks: superclasses of ImageNet whose training and test subclasses differ.

The computation below is our own. The definition of each task (root, level and number of subclasses) and the three files
of the hierarchy are the authors'; users supply the files, which are neither included nor downloaded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glocal.data.splits import check_seed
from glocal.errors import DataError, FileError, ParameterError
from glocal.files import PathLike, one_line, read_lines
from glocal.files.documents import read_json

ROOT = "n00001740"
# task: (ancestor of its superclasses, their level below the root, subclasses of each)
TASKS: dict[str, tuple[str, int, int]] = {
    "entity13": (ROOT, 3, 20),
    "entity30": (ROOT, 4, 8),
    "living17": ("n00004258", 5, 4),
    "nonliving26": ("n00021939", 5, 4),
}


@dataclass(frozen=True)
class BreedsTask:
    """One task: superclass names, and for each the ImageNet class numbers that train and that test."""

    name: str
    superclasses: tuple[str, ...]
    source: tuple[tuple[int, ...], ...]
    target: tuple[tuple[int, ...], ...]

    def rows(self, classes: np.ndarray, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Select the images of part ``source`` or ``target``: their row numbers, and the superclass of each."""
        if part not in ("source", "target"):
            raise ParameterError(f"part is {part!r}; allowed are source and target.")
        of = {c: number for number, members in enumerate(getattr(self, part)) for c in members}
        superclass = np.array([of.get(int(c), -1) for c in classes], dtype=np.int64)
        rows = np.flatnonzero(superclass >= 0)
        return rows, superclass[rows]


def breeds_task(folder: PathLike, name: str, seed: int = 2) -> BreedsTask:
    """Compute a BREEDS task from the files of its release.

    The hierarchy is cut down to the classes and their ancestors; the level of a node is the length of the longest path
    from the root. A task's superclasses are the nodes at its level, below its ancestor, with at least as many classes
    as it wants; of each, that many are drawn at random, and the first half trains, the second tests ("rand" split,
    balanced). Superclasses come in the order of their WordNet ids and are drawn from one RandomState(seed), as in the
    release: seed 2 gives its "rand" splits. Its "good" and "bad" splits are not offered.

    Parameters
    ----------
    folder : path
        With ``class_hierarchy.txt`` (parent and child a line), ``node_names.txt`` (id, tab, name a line) and
        ``dataset_class_info.json`` (a list of [number, id, name]).
    name : {"entity13", "entity30", "living17", "nonliving26"}
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
        The hierarchy holds a cycle, or no superclass of the task.

    References
    ----------
    Santurkar, Tsipras & Madry (2021), BREEDS: Benchmarks for Subpopulation Shift, ICLR, section 4 and table 1.
    """
    if name not in TASKS:
        raise ParameterError(f"task is {name!r}; allowed are {', '.join(TASKS)}.")
    check_seed(seed)
    folder = Path(folder)
    numbers = _class_numbers(folder / "dataset_class_info.json")
    edges = _pairs(folder / "class_hierarchy.txt", None)
    names = dict(_pairs(folder / "node_names.txt", "\t"))
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
            drawn = [numbers[str(one)] for one in rng.choice(classes, k, replace=False)]
            superclasses.append(names.get(node, node))
            source.append(tuple(drawn[: k // 2]))
            target.append(tuple(drawn[k // 2 :]))
    if not superclasses:
        raise DataError(
            f"{folder} has no node at level {wanted_level} below {ancestor} with {k} classes: "
            f"it is not the hierarchy that {name} is defined on."
        )
    return BreedsTask(name, tuple(superclasses), tuple(source), tuple(target))


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
        return {str(entry[1]): int(entry[0]) for entry in entries}
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise FileError(
            f"class info file {path} is not a JSON list of [number, id, name] ({one_line(error)}). Copy it again."
        ) from error
