"""The demo: a suite over a world of small drawings, of which a network sees the colour."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from glocal.data.features import NAMES_FILE, Features
from glocal.data.world import World, simulated_answers
from glocal.errors import ParameterError
from glocal.files import PathLike, make_folder, read_text, write_npy, write_text
from glocal.similarity import Embedding, Numbers
from glocal.suite.plan import Plan

_KINDS = {  # shapes in a square of 100; three of each family
    "star": '<path d="M50 10 60 39 91 40 66 59 75 89 50 71 25 89 34 59 9 40 40 39z"/>',
    "moon": '<path d="M62 10A41 41 0 1 0 90 66 34 34 0 0 1 62 10z"/>',
    "cloud": '<path d="M25 78a18 18 0 0 1 0-36 26 26 0 0 1 50-6 21 21 0 0 1 0 42z"/>',
    "tree": '<path d="M50 8 82 46H66L88 72H57V92H43V72H12L34 46H18z"/>',
    "leaf": '<path d="M12 88C8 40 36 10 88 12 92 64 62 92 22 80L60 42z"/>',
    "fungus": '<path d="M10 54a40 40 0 0 1 80 0H60L64 90H36L40 54z"/>',
    "fish": '<path d="M8 50C26 22 54 22 70 46L92 26V74L70 54C54 78 26 78 8 50z"/>',
    "bird": '<path d="M8 44 24 34C28 20 46 20 48 34L92 30C84 66 60 78 42 70L36 88 32 66 22 46z"/>',
    "snail": '<path d="M10 84V72H28A26 26 0 1 1 72 68L80 40 88 42V84z"/>',
    "house": '<path d="M50 10 92 48H80V90H58V62H42V90H20V48H8z"/>',
    "cup": '<path d="M14 26H70V34C94 32 94 66 68 66 64 80 58 88 42 88S14 76 14 26z"/>',
    "key": '<path d="M30 28A22 22 0 1 0 51 56H64V68H76V56H92V44H51A22 22 0 0 0 30 28z"/>',
}
_COLOURS = {
    "red": "#d1382c",
    "orange": "#e8901a",
    "green": "#2f9247",
    "blue": "#2a64c5",
    "purple": "#8d43ad",
}
_PATTERNS = ("", '<path d="M0 0h14v5H0z"/>', '<circle cx="7" cy="7" r="4"/>')
_SIZES = (0.7, 0.85, 1.0)
_NOISE = 0.4  # standard deviation in each dimension
_DIMENSIONS = 64
_TEXT_OFFSET = 0.5  # in each dimension: what all texts of a network have in common
_FAMILY = 3  # kinds in a family
_OTHER_BACKGROUNDS = 48  # of local images, which differ more than the backgrounds of objects
_OTHER_SCALE = 3
_PER_CATEGORY = 3  # objects of one kind and colour
_N_LOCAL = 2400  # local images
_FILES = {
    "local": slice(0, 600),
    "near": slice(1600, 1800),
    "train": slice(600, 1600),
    "test": slice(1600, 2400),
}
"""The rows of the local images that each file has."""


def write_demo(out: PathLike, *, all_arms: bool = False) -> tuple[Plan, Drawn]:
    """Write a simulated world and its suite into a folder, and return the suite and the world.

    ``suite.toml`` is the suite, and ``world/`` holds files that the commands take. The suite has
    the original features and `keep` 0.8; with `all_arms` it has `naive`, `global` and `glocal` too.

    Raises
    ------
    ParameterError
        The folder holds something other than a demo.
    """
    folder = make_folder(out)
    module = Path(__file__)
    two_arms = read_text(module.with_suffix(".toml"), what="suite")
    other_arms = read_text(module.with_name("demo-arms.toml"), what="suite")
    suite = folder / "suite.toml"
    is_demo = False
    if suite.is_file():
        is_demo = read_text(suite, what="suite").startswith(two_arms)
    if not is_demo and any(folder.iterdir()):
        raise ParameterError(
            f"the demo would replace files in {folder}, which holds something else. Name another "
            "folder with `out`."
        )
    text = two_arms
    if all_arms:
        text += other_arms
    write_text(suite, text)
    drawings = drawn_world()
    world_folder = make_folder(folder / "world")
    _write_world(drawings, world_folder)
    plan = Plan.load(suite)
    return plan, drawings


def _write_world(drawings: Drawn, folder: Path) -> None:
    """Write the features of objects, texts and local images, and the answers."""
    world = drawings.world
    objects_folder = make_folder(folder / "objects")
    _write_named_features(objects_folder / "features.npy", world.objects)
    _write_named_features(folder / "texts.npy", drawings.texts)
    world.answers.save(folder / "answers.npz")

    names = np.array(list(_KINDS))
    kinds = names[world.local_category // len(_COLOURS)]
    for part, rows in _FILES.items():
        matrix = np.asarray(world.local.matrix[rows])
        categories = world.local_category[rows]
        write_npy(folder / f"{part}.npy", matrix)
        _write_lines(folder / f"{part}_category.txt", categories)
        _write_lines(folder / f"{part}_kind.txt", kinds[rows])


def _write_named_features(path: Path, features: Features) -> None:
    """Write features, and their names beside them."""
    matrix = np.asarray(features.matrix)
    names_file = path.with_name(NAMES_FILE)
    write_npy(path, matrix)
    _write_lines(names_file, features.names or ())


def _write_lines(path: Path, lines: Iterable[object]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    write_text(path, text)


class _Part(NamedTuple):
    """A part of a drawing: how many forms it has, and how a network sees them."""

    n_values: int
    dimensions: int
    scale: float


_N_BACKGROUNDS = len(_KINDS) + _OTHER_BACKGROUNDS
_PARTS = {
    "kind": _Part(len(_KINDS), 8, 0.5),
    "colour": _Part(len(_COLOURS), 16, 0.8),
    "background": _Part(_N_BACKGROUNDS, 6, 0.8),
    "pattern": _Part(len(_PATTERNS), 8, 0.2),
    "size": _Part(len(_SIZES), 8, 0.3),
}


class Drawn(NamedTuple):
    """A simulated world, the drawings of its objects, and the text side of its network.

    The drawings are SVG images in data URIs, by name. The texts are the embeddings of the names of
    kinds.
    """

    world: World
    pictures: dict[str, str]
    texts: Features


def drawn_world() -> Drawn:
    """Draw a world in which people compare kinds, and a network sees colour and background first.

    Each object has the usual background of its kind, so that the answers cannot separate
    kind and background. Local images have any background. A fit to the answers alone amplifies the
    background too, which scatters the neighbours of local images. A fit that also uses local images
    can avoid this. The category of an image is its kind and colour.
    """
    rng = np.random.default_rng(0)
    network = _Network.random(rng)
    n_colours = len(_COLOURS)
    n_objects = _PER_CATEGORY * len(_KINDS) * n_colours
    objects = _random_forms(rng, n_objects)
    local = _random_forms(rng, _N_LOCAL)
    category = np.arange(n_objects) // _PER_CATEGORY
    objects["kind"], objects["colour"] = np.divmod(category, n_colours)
    objects["background"] = objects["kind"]
    local["background"] = rng.integers(len(_KINDS), _N_BACKGROUNDS, _N_LOCAL)
    names = _names()
    mind = network.as_people_see(objects)
    object_rows = network.features(objects, rng)
    local_rows = network.features(local, rng)
    world = World(
        objects=Features(object_rows, names, "simulated objects"),
        answers=simulated_answers(mind, 30_000, seed=1),
        local=Features(local_rows, None, "simulated local images"),
        mind=mind,
        superordinate=objects["kind"],
        local_category=local["kind"] * n_colours + local["colour"],
    )
    texts = Features(network.texts(), tuple(_KINDS), "simulated texts")
    return Drawn(world, _pictures(names, objects), texts)


def _pictures(names: Sequence[str], objects: Mapping[str, Numbers]) -> dict[str, str]:
    """The drawing of each object, by its name."""
    forms = [objects[part].tolist() for part in _PARTS]
    drawings = map(_drawing, *forms)
    return dict(zip(names, drawings, strict=True))


def _random_forms(rng: np.random.Generator, n_drawings: int) -> dict[str, Numbers]:
    """Draw the form of each part of each drawing."""
    forms: dict[str, Numbers] = {}
    for name, part in _PARTS.items():
        forms[name] = rng.integers(0, part.n_values, n_drawings)
    return forms


class _Network(NamedTuple):
    """A network that is simulated: the code of each form of each part, and how codes are mixed."""

    code: dict[str, Embedding]
    mixing: Embedding

    @classmethod
    def random(cls, rng: np.random.Generator) -> _Network:
        """Draw a network, whose codes of the kinds of one family are alike."""
        code: dict[str, Embedding] = {}
        for name, part in _PARTS.items():
            code[name] = rng.normal(size=(part.n_values, part.dimensions))
        n_families = len(_KINDS) // _FAMILY
        dimensions = _PARTS["kind"].dimensions
        family_code = rng.normal(size=(n_families, dimensions))
        code["kind"] += np.repeat(family_code, _FAMILY, axis=0)
        code["background"][len(_KINDS) :] *= _OTHER_SCALE
        square = rng.normal(size=(_DIMENSIONS, _DIMENSIONS))
        mixing, _ = np.linalg.qr(square)
        return cls(code, mixing)

    def as_people_see(self, objects: dict[str, Numbers]) -> Embedding:
        """What people compare of objects: their kinds, and a little their colours."""
        kind = self.code["kind"][objects["kind"]]
        colour = self.code["colour"][objects["colour"]]
        return np.hstack([kind, 0.2 * colour])

    def features(self, images: dict[str, Numbers], rng: np.random.Generator) -> Embedding:
        """The features of drawings: the code of each part, mixed with noise."""
        codes = []
        for name, part in _PARTS.items():
            code = self.code[name][images[name]]
            codes.append(part.scale * code)
        X = _padded(np.hstack(codes))
        X += _NOISE * rng.normal(size=X.shape)
        Z = X @ self.mixing
        return Z.astype(np.float32)

    def texts(self) -> Embedding:
        """The rows of the names of kinds: their codes without noise, with another offset."""
        scale = _PARTS["kind"].scale
        X = _padded(scale * self.code["kind"])
        Z = X @ self.mixing + _TEXT_OFFSET
        return Z.astype(np.float32)


def _padded(code: Embedding) -> Embedding:
    """Codes with zeros for all further dimensions of the network."""
    n_zeros = _DIMENSIONS - code.shape[1]
    return np.pad(code, ((0, 0), (0, n_zeros)))


def _names() -> tuple[str, ...]:
    """The names of the objects, such as ``red star 01``, by kind and colour."""
    numbers = range(1, _PER_CATEGORY + 1)
    names = []
    for kind, colour, number in itertools.product(_KINDS, _COLOURS, numbers):
        names.append(f"{colour} {kind} {number:02d}")
    return tuple(names)


def _drawing(kind: int, colour: int, background: int, pattern: int, size: int) -> str:
    shapes = list(_KINDS.values())
    fills = list(_COLOURS.values())
    shape = shapes[kind]
    fill = fills[colour]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
        '<pattern id="p" width="14" height="14" patternUnits="userSpaceOnUse">'
        f'<rect width="14" height="14" fill="{fill}"/>'
        f'<g fill="#fff" fill-opacity=".55">{_PATTERNS[pattern]}</g></pattern>'
        f'<rect width="100" height="100" fill="hsl({30 * background} 60% 88%)"/>'
        f'<g fill="url(#p)" transform="translate(50 50) scale({_SIZES[size]}) translate(-50 -50)">'
        f"{shape}</g></svg>"
    )
    return "data:image/svg+xml," + quote(svg)
