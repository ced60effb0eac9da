"""The folder of a sweep: nothing that was finished is ever lost or computed twice."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glocal.data.container import DAMAGE
from glocal.data.npz import read_npz
from glocal.errors import FileError, ParameterError
from glocal.files import PathLike, atomic_write, make_folder, one_line
from glocal.files.documents import parse_json, read_object
from glocal.jobs.lock import lock
from glocal.records import NULL, NUMBER, TEXT, append_rows, read_rows, to_json
from glocal.solver import State
from glocal.sweep.grid import Point
from glocal.sweep.path import Result
from glocal.sweep.selection import METRICS
from glocal.transform import LinearTransform

_OPTIONAL = ("b", "rho", "s", "s_bias", "y", "y_bias")


class Store:
    """A sweep's output folder.

    ``sweep.json`` says what is swept. ``points.jsonl`` holds one row for each finished point and ``transforms/KEY.npz``
    its transform. ``blocks.json`` says how many blocks of local images every point trains on. ``paths/UNIT.npz`` says
    where each path stands, so that a resumed path takes the steps an undisturbed one would have taken;
    ``paths/UNIT.lock`` is held by the process that walks the path and is free when it dies.

    Parameters
    ----------
    folder : path
        Created if it is missing.
    config : dict
        Whatever determines the results: grid, folds, seed, settings, hashes of the data, version of this package.
    points : list of Point
        All that are swept.
    resume : bool
        Go on with a sweep that the folder holds.
    keep_transforms : bool
        Whether to write the transform of every point.

    Raises
    ------
    ParameterError
        The folder holds points and `resume` is false, or holds another sweep, or one that another version began.
    """

    def __init__(
        self,
        folder: PathLike,
        config: dict[str, Any],
        points: list[Point],
        *,
        resume: bool,
        keep_transforms: bool = True,
    ) -> None:
        self.folder = make_folder(folder)
        self.points_file = self.folder / "points.jsonl"
        self._keep_transforms = keep_transforms
        self._check(json.loads(to_json(config)), points, resume)
        make_folder(self.folder / "paths")
        if keep_transforms:
            make_folder(self.folder / "transforms")

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all finished points, whoever finished them."""
        if not self.points_file.exists() or not self.points_file.stat().st_size:
            return []
        return read_rows(self.points_file, _POINT, _POINT_TOO)

    def original(self) -> list[dict[str, Any]]:
        """The scores of the untransformed features, one row a fold."""
        path = self.folder / "original.jsonl"
        rows = read_rows(path, {"fold": (int,)}) if path.exists() and path.stat().st_size else []
        return list({row["fold"]: row for row in rows}.values())

    def scored_folds(self) -> set[int]:
        """The folds whose untransformed features have been scored."""
        return {row["fold"] for row in self.original()}

    def save_original(self, fold: int, scores: dict[str, Any]) -> None:
        """Write the scores of the untransformed features on a fold."""
        append_rows(self.folder / "original.jsonl", [{"fold": fold, **scores}])

    def blocks(self) -> tuple[int | None, float | None] | None:
        """How many blocks of local images were found to be needed, and the change measured; None before that."""
        path = self.folder / "blocks.json"
        if not path.exists():
            return None
        found = _object(path, "blocks")
        if not {"local_blocks", "change"} <= found.keys():
            raise FileError(f"blocks file {path} lacks local_blocks or change. Delete it: it is measured anew.")
        return found["local_blocks"], found["change"]

    def save_blocks(self, blocks: int | None, change: float | None) -> None:
        """Write how many blocks of local images all points train on."""
        with atomic_write(self.folder / "blocks.json") as stream:
            stream.write((to_json({"local_blocks": blocks, "change": change}) + "\n").encode())

    def done(self, points: list[Point]) -> set[str]:
        """The keys of those points that have a row."""
        found = {_identity(row) for row in self.rows()}
        return {point.key for point in points if _identity(vars(point)) in found}

    @contextlib.contextmanager
    def claim(self, unit: str, *, wait: bool = False) -> Iterator[bool]:
        """Hold the path for this process; yields False if another one holds it and `wait` is false."""
        with lock(self.folder / "paths" / f"{unit}.lock", wait=wait) as held:
            yield held

    def save(self, result: Result, transform: LinearTransform | None) -> None:
        """Write a finished point: its transform if it has one, then the state of its path, then its row."""
        if self._keep_transforms and transform is not None:
            transform.save(self.folder / "transforms" / f"{result.point.key}.npz")
        if result.state is not None:
            _save_state(self.folder / "paths" / f"{result.point.unit}.npz", result)
        append_rows(self.points_file, [result.row])

    def state(self, unit: str, like: Tensor, done: set[str]) -> State | None:
        """Where a path stands. A point that was finished but killed before its row was written gets its row now."""
        path = self.folder / "paths" / f"{unit}.npz"
        if not path.exists():
            return None
        key, row, state = _load_state(path, like)
        if key not in done:
            append_rows(self.points_file, [row])
            done.add(key)
        return state

    def _check(self, config: dict[str, Any], points: list[Point], resume: bool) -> None:
        path = self.folder / "sweep.json"
        if path.exists():
            held = _object(path, "sweep")
            different = _different(held, config)
            if different:
                raise ParameterError(
                    f"{self.folder} holds another sweep: {', '.join(different)} differ. Choose another --out."
                )
            if not resume and self.rows():
                raise ParameterError(
                    f"{self.folder} holds {len(self.rows())} finished points of this sweep. "
                    "Pass --resume to go on with it, or choose another folder for --out."
                )
            if held.get("version") != config["version"] and len(self.done(points)) < len(points):
                raise ParameterError(
                    f"{self.folder} holds an unfinished sweep of {_maker(held)}, and "
                    f"this is {config['version']}: points of two versions are not mixed. Finish it with that version, "
                    "or choose another --out."
                )
            return
        with atomic_write(path) as stream:
            stream.write((json.dumps(config) + "\n").encode())


_NUMBER_OR_NONE = (*NUMBER, NULL)
_POINT = {
    "fold": (int,), "method": TEXT, "bias": (bool,), "lmbda": NUMBER, "alpha": _NUMBER_OR_NONE, "tau": _NUMBER_OR_NONE,
    "evaluations": NUMBER, "converged": (bool,), "seconds": NUMBER,
}  # fmt: skip
_POINT_TOO = {"mix": NUMBER, "eta": NUMBER, "status": TEXT, **dict.fromkeys(METRICS, _NUMBER_OR_NONE)}


def _object(path: Path, what: str) -> dict[str, Any]:
    return read_object(path, what=what, fix="Choose another --out, or copy it again.")


def _maker(held: dict[str, Any]) -> str:
    return f"glocal {held['version']}" if "version" in held else "an earlier glocal, which recorded no version"


def _different(held: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """The keys under which two sweeps differ; where no version is recorded, those of what was recorded then."""
    here, there = _flat(config), _flat(held)
    unrecorded = () if "version" in held else ("data.local", "downstream.features", "downstream.labels")
    keys = {*here, *there} - {"version", *unrecorded}
    return sorted(key for key in keys if here.get(key) != there.get(key))


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= {f"{key}.{name}": part for name, part in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _identity(values: dict[str, Any]) -> tuple[Any, ...]:
    setting = (values[name] for name in ("fold", "method", "bias", "alpha", "lmbda", "tau"))
    return (*setting, values.get("mix", 1.0), values.get("eta"))


def _save_state(path: Path, result: Result) -> None:
    state = result.state
    assert state is not None
    arrays: dict[str, Any] = {"W": state.W, "row": np.array(to_json(result.row)), "key": np.array(result.point.key)}
    if state.b is not None:
        arrays["b"] = state.b
    if state.curvature:
        p = len(state.W)
        upper = torch.triu_indices(p, p)
        # steps and gradient changes are symmetric: their upper triangles (and the bias) say it all
        for name in ("s", "y"):
            vectors = [(pair[0] if name == "s" else pair[1]).cpu() for pair in state.curvature]
            arrays[name] = torch.stack([v[: p * p].view(p, p)[upper[0], upper[1]] for v in vectors])
            arrays[f"{name}_bias"] = torch.stack([v[p * p :] for v in vectors])
        arrays["rho"] = np.array([pair[2] for pair in state.curvature])
    plain = {key: value.cpu().numpy() if isinstance(value, Tensor) else value for key, value in arrays.items()}
    with atomic_write(path, durable=False) as stream:  # lost at worst with its machine: then the path starts cold
        np.savez(stream, allow_pickle=False, **plain)


def _load_state(path: Path, like: Tensor) -> tuple[str, dict[str, Any], State]:
    fix = "Delete it: its path starts anew."
    arrays = read_npz(path, what="path", fix=fix, required=("W", "row", "key"), optional=_OPTIONAL)
    try:
        return _unpacked(arrays, like)
    except DAMAGE as error:
        raise FileError(f"path file {path} is damaged ({one_line(error)[:160]}). {fix}") from error


def _unpacked(arrays: dict[str, np.ndarray], like: Tensor) -> tuple[str, dict[str, Any], State]:
    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(like)

    W = tensor(arrays["W"])
    curvature: list[tuple[Tensor, Tensor, float]] = []
    if "rho" in arrays:
        s, y = (_full(tensor(arrays[name]), tensor(arrays[f"{name}_bias"]), len(W)) for name in ("s", "y"))
        curvature = [(s[i], y[i], float(rho)) for i, rho in enumerate(arrays["rho"])]
    b = tensor(arrays["b"]) if "b" in arrays else None
    return str(arrays["key"]), parse_json(str(arrays["row"])), State(W, b, tuple(curvature))


def _full(upper: Tensor, bias: Tensor, p: int) -> list[Tensor]:
    rows, columns = torch.triu_indices(p, p)
    vectors = []
    for triangle, rest in zip(upper, bias, strict=True):
        matrix = triangle.new_empty(p, p)
        matrix[rows, columns] = triangle
        matrix[columns, rows] = triangle
        vectors.append(torch.cat([matrix.reshape(-1), rest]))
    return vectors
