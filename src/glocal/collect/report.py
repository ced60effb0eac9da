"""The report of a study's fit: the page that ``glocal report`` makes, of the scores and views written here."""

from __future__ import annotations

import numpy as np

from glocal.aligner import Fit
from glocal.collect.curve import Curve
from glocal.collect.study import Study
from glocal.data.answers import Answers
from glocal.data.features import Features, object_name
from glocal.evaluation.alignment import answer_credit, heldout_rows
from glocal.evaluation.structure import neighbours_kept
from glocal.evaluation.views import BeforeAfter, object_view, save_view
from glocal.files import atomic_write, make_folder
from glocal.report import load_runs, report_page, save_page
from glocal.results import Score, to_json

_ARM = "fitted"


def write_report(study: Study, features: Features, result: Fit, answers: Answers, curve: Curve | None) -> None:
    """Write ``fit/run``, a run folder, and ``fit/report.html``, its page."""
    run = make_folder(make_folder(study.fit) / "run")
    matrix = np.asarray(features.matrix, dtype=np.float64)
    X, Z = result.transform.standardization(matrix, "float64"), result.transform.apply(matrix)
    names = [object_name(name) for name in features.names or ()]
    views = make_folder(run / "views")
    original = object_view(X, names, people=answers, kind="pca", meta={"arm": "original", "baseline": "original"})
    save_view(original, views / "original.npz")
    meta = {"arm": _ARM, "baseline": "original", "split": "fitted", "settings": {"lmbda": result.record.lmbda}}
    shown = object_view(
        Z, names, baseline=original, parts=[BeforeAfter(X, Z, answers)], features=X, kind="pca", meta=meta,
        weights=result.transform.weights.astype(np.float64),
    )  # fmt: skip
    save_view(shown, views / f"{_ARM}.npz")
    with atomic_write(run / "rows.jsonl") as stream:
        rows = [*_agreement(X, curve), *_neighbours(X, Z)]
        stream.write("".join(to_json(score.row()) + "\n" for score in rows).encode())
    save_page(report_page(load_runs(run), title=study.title), study.fit / "report.html")


def _agreement(X: np.ndarray, curve: Curve | None) -> list[Score]:
    if curve is None:
        return []
    return heldout_rows({"original": answer_credit(X, curve.heldout), _ARM: curve.credit[:, -1]}, curve.heldout)


def _neighbours(X: np.ndarray, Z: np.ndarray) -> list[Score]:
    k = min(10, len(X) - 1)
    kept = ((arm, neighbours_kept(X, rows, k)) for arm, rows in (("original", X), (_ARM, Z)))
    return [
        Score("structure", "neighbours_kept", value, n=len(X), transform=arm, settings={"k": k}) for arm, value in kept
    ]
