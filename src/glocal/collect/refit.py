"""Fit the answers of a study, say what they are worth, and leave it all in the folder ``fit`` of the study."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine
from threadpoolctl import threadpool_limits

from glocal.aligner import Arm, Fit, FitData, fit
from glocal.collect.alone import alone
from glocal.collect.charts import draw
from glocal.collect.curve import LEAST, Curve, learning_curve
from glocal.collect.database import add_proposals, writable
from glocal.collect.export import Collected, collected
from glocal.collect.informative import propose
from glocal.collect.owner import DONE, FAILED, LOCK, RUNNING, STATE, between_people, estimated, fitted, iso
from glocal.collect.projection import Projection, project
from glocal.collect.report import write_report
from glocal.collect.study import Study
from glocal.collect.trials import INFORMATIVE, RANDOM
from glocal.collect.vectors import vectors
from glocal.data.features import Features
from glocal.errors import DataError, GLocalError, ParameterError
from glocal.evaluation.statistics import mean_estimate
from glocal.evaluation.structure.neighbourhoods import shared_by_image
from glocal.evaluation.views.maps import object_map, turned
from glocal.files import atomic_write, make_folder, one_line
from glocal.results import to_json

LMBDA = 4.0
"""λ where there are too few answers to choose one."""
PROPOSALS = 500
"""Questions that wait to be asked, if the order is informative."""
GROWTH = 1.1
"""Times the answers of the last fit, at which `follow` fits again."""
_PAUSE = 5.0  # seconds
_NEIGHBOURS = 10
_NICE = 5  # a third of the time of a process that does not give way; at 10 a busy machine would never end a fit


def give_way() -> None:
    """Let this process wait for others: one thread, low priority."""
    threadpool_limits(1)
    if hasattr(os, "nice"):
        os.nice(_NICE)


def refit(study: Study, engine: Engine, doing: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """Fit `global` to all answers so far and write what the owner's page shows; the content of ``state.json``.

    λ is the one of `LAMBDAS` whose fits predict held-out answers best. Beside ``state.json`` the folder ``fit`` gets
    ``transform.npz``, ``report.html`` and the charts, each written whole. With the order informative, what is worth
    asking next goes to the database.

    Raises
    ------
    ParameterError
        Another fit of this study runs, or it names no features.
    DataError, FileError
        No answers yet; features that do not fit the images.
    """
    with alone(make_folder(study.fit) / LOCK) as free:
        if not free:
            raise ParameterError(f"a fit of the study {study.folder} is running already. Wait until it has ended.")
        before, began = fitted(study), time.time()
        _write(study.fit / STATE, before | {"fit": before["fit"] | {"state": RUNNING, "began": iso(began)}})
        try:
            found = _refitted(study, engine, doing)
        except Exception as error:
            said = str(error) if isinstance(error, GLocalError) else f"{type(error).__name__}: {one_line(error)}"
            _write(study.fit / STATE, before | {"fit": before["fit"] | {"state": FAILED, "message": said}})
            raise
        found["fit"] |= {"state": DONE, "at": iso(time.time()), "seconds": time.time() - began}
        _write(study.fit / STATE, found)
    return found


def follow(
    study: Study, engine: Engine, doing: Callable[[str], None] = lambda what: None,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Fit again whenever there are a tenth more answers than the last fit had, without end."""
    while True:
        last = fitted(study)["fit"]
        answers = int(collected(study, engine).told.sum())
        if last["state"] != RUNNING and answers > GROWTH * last.get("answers", 0):
            yield refit(study, engine, doing)
        else:
            doing(f"{answers} answers, waiting for more")
            wait(_PAUSE)


def _refitted(study: Study, engine: Engine, doing: Callable[[str], None]) -> dict[str, Any]:
    found = collected(study, engine)
    if not found.told.any():
        raise DataError(f"the study {study.folder} has no answers yet. Fit it when people have answered.")
    doing("reading features")
    features = vectors(study)
    answers = found.answers()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        doing("measuring how well answers are predicted")
        curve, projection = _outlook(found, features)
        doing("fitting")
        lmbda = LMBDA if curve is None else curve.lmbda
        result = fit(FitData(features, answers), Arm("global", lmbda=lmbda))
    result.transform.save(study.fit / "transform.npz")
    if study.settings.order == INFORMATIVE:
        doing("choosing what to ask")
        asked = propose(features, answers, result.transform, PROPOSALS, seed=len(answers))
        with writable(study):
            add_proposals(engine, asked.tolist(), f"{len(answers)} answers")
    state = _state(features, result, curve, projection, len(answers))
    state["fit"]["warnings"] = [str(one.message) for one in warned]
    doing("drawing")
    state["ceiling"] = between_people(found)
    state["fit"]["charts"] = draw(state, study.fit)
    write_report(study, features, result, answers, curve)
    return state


def _outlook(found: Collected, features: Features) -> tuple[Curve | None, Projection | None]:
    answers, random = found.answers(), (found.source == RANDOM)[found.told]
    if int(random.sum()) < LEAST:
        return None, None
    curve = learning_curve(features, answers, random)
    return curve, project(curve, len(answers))


def _state(
    features: Features, result: Fit, curve: Curve | None, projection: Projection | None, answers: int
) -> dict[str, Any]:
    matrix = np.asarray(features.matrix, dtype=np.float64)
    X, Z = result.transform.standardization(matrix, "float64"), result.transform.apply(matrix)
    before = object_map(X, "pca")
    after = turned(object_map(Z, "pca", start=before), before)
    kept = shared_by_image(X, Z, min(_NEIGHBOURS, len(X) - 1))
    shown = [] if curve is None else zip(curve.sizes, curve.estimates, strict=True)
    return {
        "curve": [{"answers": round(size), **estimated(estimate)} for size, estimate in shown],
        "projection": None if projection is None else _projected(projection),
        "neighbours": estimated(mean_estimate(kept)),
        "map": {"before": before.tolist(), "after": after.tolist(), "names": list(features.names or ())},
        "fit": {
            "answers": answers, "lmbda": result.record.lmbda, "status": result.record.status,
            "version": result.record.provenance.version if result.record.provenance else None,
        },
    }  # fmt: skip


def _projected(projection: Projection) -> dict[str, Any]:
    names = ("answers", "value", "low", "high")
    return {
        "points": [dict(zip(names, point, strict=True)) for point in projection.points],
        "more": dict(zip(("value", "low", "high"), projection.more, strict=True)), "sentence": projection.sentence,
    }  # fmt: skip


def _write(path: Path, state: dict[str, Any]) -> None:
    with atomic_write(path) as stream:
        stream.write(to_json(state).encode())
