"""The folder of a sweep: nothing that was finished is ever lost or computed twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glocal.data.container import DAMAGE
from glocal.data.npz import read_npz
from glocal.errors import FileError, ParameterError
from glocal.files import PathLike, atomic_write, make_folder, one_line, read_object
from glocal.jobs.folder import TaskFolder, sweep_out
from glocal.results import append_rows, read_rows, to_json
from glocal.solver import State
from glocal.sweep.grid import Point
from glocal.sweep.path import Result
from glocal.transform import LinearTransform

_OPTIONAL = ("b", "rho", "s", "s_bias", "y", "y_bias")


class PointStore:
    """A sweep's output folder.

    ``sweep.json`` says what is swept. ``points.jsonl`` holds one row for each finished point and ``transforms/KEY.npz``
    its transform. ``paths/UNIT.npz`` says
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
        self._keep_transforms = keep_transforms
        self.tasks = TaskFolder(
            self.folder, "points.jsonl", identity_of, claims=("paths", ".lock"),
            read=lambda path: read_rows(path, _POINT),
        )  # fmt: skip
        self._check(json.loads(to_json(config)), points, resume)
        self.tasks.create()
        sweep_out(self.folder / "paths")
        if keep_transforms:
            make_folder(self.folder / "transforms")

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all finished points, whoever finished them."""
        return self.tasks.rows()

    def original(self) -> list[dict[str, Any]]:
        """The scores of the untransformed features, one row a fold."""
        path = self.folder / "original.jsonl"
        rows = read_rows(path, ("fold",)) if path.exists() and path.stat().st_size else []
        return list({row["fold"]: row for row in rows}.values())

    def scored_folds(self) -> set[int]:
        """The folds whose untransformed features have been scored."""
        return {row["fold"] for row in self.original()}

    def save_original(self, fold: int, scores: dict[str, Any]) -> None:
        """Write the scores of the untransformed features on a fold."""
        append_rows(self.folder / "original.jsonl", [{"fold": fold, **scores}])

    def done(self, points: list[Point]) -> set[str]:
        """The keys of those points that have a row."""
        found = self.tasks.done()
        return {point.key for point in points if identity_of(vars(point)) in found}

    def save(self, result: Result, transform: LinearTransform | None) -> None:
        """Write a finished point: its transform if it has one, then the state of its path, then its row."""
        if self._keep_transforms and transform is not None:
            transform.save(self.folder / "transforms" / f"{result.point.key}.npz")
        if result.state is not None:
            _save_state(self.folder / "paths" / f"{result.point.unit}.npz", result)
        self.tasks.commit(result.row)

    def stand(self, unit: str, points: list[Point]) -> tuple[State | None, set[str]]:
        """Where a path stands, and its finished points. One that was killed before its row was written gets it now."""
        path, done = self.folder / "paths" / f"{unit}.npz", self.done(points)
        if not path.exists():
            return None, done
        key, row, state = _load_state(path)
        if key not in done:
            self.tasks.commit(row)
        return state, {*done, key}

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


def fold_transforms(folder: Path, setting: dict[str, Any], folds: int) -> list[LinearTransform]:
    """The transforms of a setting, each fitted without the objects of its fold; none where one was not kept."""
    names = ("method", "bias", "lmbda", "alpha", "tau", "mix", "eta")
    points = [Point(fold, **{name: setting[name] for name in names if name in setting}) for fold in range(folds)]
    files = [folder / "transforms" / f"{point.key}.npz" for point in points]
    return [LinearTransform.load(file) for file in files] if all(file.exists() for file in files) else []


_POINT = ("fold", "method", "bias", "lmbda", "alpha", "tau", "evaluations", "converged", "seconds")


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


def identity_of(values: dict[str, Any]) -> tuple[Any, ...]:
    """What tells a point, or its row, from all others of a sweep."""
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
    with atomic_write(path) as stream:
        np.savez(stream, allow_pickle=False, **plain)


def _load_state(path: Path) -> tuple[str, dict[str, Any], State]:
    fix = "Delete it: its path starts anew."
    arrays = read_npz(path, what="path", fix=fix, required=("W", "row", "key"), optional=_OPTIONAL)
    try:
        return _unpacked(arrays)
    except DAMAGE as error:
        raise FileError(f"path file {path} is damaged ({one_line(error)[:160]}). {fix}") from error


def _unpacked(arrays: dict[str, np.ndarray]) -> tuple[str, dict[str, Any], State]:
    tensor = torch.from_numpy
    W = tensor(arrays["W"])
    curvature: list[tuple[Tensor, Tensor, float]] = []
    if "rho" in arrays:
        s, y = (_full(tensor(arrays[name]), tensor(arrays[f"{name}_bias"]), len(W)) for name in ("s", "y"))
        curvature = [(s[i], y[i], float(rho)) for i, rho in enumerate(arrays["rho"])]
    b = tensor(arrays["b"]) if "b" in arrays else None
    return str(arrays["key"]), json.loads(str(arrays["row"])), State(W, b, tuple(curvature))


def _full(upper: Tensor, bias: Tensor, p: int) -> list[Tensor]:
    rows, columns = torch.triu_indices(p, p)
    vectors = []
    for triangle, rest in zip(upper, bias, strict=True):
        matrix = triangle.new_empty(p, p)
        matrix[rows, columns] = triangle
        matrix[columns, rows] = triangle
        vectors.append(torch.cat([matrix.reshape(-1), rest]))
    return vectors
