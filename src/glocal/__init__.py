"""Align features with human similarity judgments by one affine transform that keeps neighbours.

Public names are imported on first use, so that ``import glocal`` costs a few milliseconds.
"""

import sys
from types import ModuleType

from glocal._version import __version__

TYPE_CHECKING = False  # type checkers treat it as True; importing `typing` itself is slow
if TYPE_CHECKING:
    from glocal.aligner import Exact, FitData, Keep, ObjectiveSettings, PaperLoop, cross_score, fit
    from glocal.aligner.curve import learning_curve
    from glocal.aligner.estimator import Aligner, TransformStep
    from glocal.aligner.people import people
    from glocal.data.answers import Answers
    from glocal.data.features import Features
    from glocal.data.importing import import_answers
    from glocal.data.join import join
    from glocal.data.planning import plan_study
    from glocal.data.splits import object_folds, split_answers
    from glocal.data.world import simulated_answers, simulated_world
    from glocal.errors import GLocalError
    from glocal.evaluation.agreement import answer_credit, odd_one_out
    from glocal.evaluation.alarms import anomaly_scores, find_anomalies
    from glocal.evaluation.anomaly import anomaly
    from glocal.evaluation.axes import axes
    from glocal.evaluation.few_shot import few_shot
    from glocal.evaluation.reliability import reliability
    from glocal.evaluation.retrieval import retrieval
    from glocal.evaluation.rsa import model_rdm, rsa
    from glocal.evaluation.structure import neighbours_kept, structure
    from glocal.extract import Extractor
    from glocal.recipes import align
    from glocal.transform.linear import LinearTransform, pretrained
    from glocal.verdict.decision import verdict

__all__ = [
    "Aligner",
    "Answers",
    "Exact",
    "Extractor",
    "Features",
    "FitData",
    "GLocalError",
    "Keep",
    "LinearTransform",
    "ObjectiveSettings",
    "PaperLoop",
    "TransformStep",
    "__version__",
    "align",
    "anomaly",
    "anomaly_scores",
    "answer_credit",
    "axes",
    "cross_score",
    "few_shot",
    "find_anomalies",
    "fit",
    "import_answers",
    "join",
    "learning_curve",
    "model_rdm",
    "neighbours_kept",
    "object_folds",
    "odd_one_out",
    "people",
    "plan_study",
    "pretrained",
    "reliability",
    "retrieval",
    "rsa",
    "simulated_answers",
    "simulated_world",
    "split_answers",
    "structure",
    "verdict",
]
_SUBPACKAGES = (
    *("aligner", "data", "evaluation", "extract", "objective"),
    *("report", "solver", "suite", "sweep", "transform"),
)
_MODULES = {
    "aligner": "ObjectiveSettings Exact FitData Keep PaperLoop cross_score fit",
    "aligner.curve": "learning_curve",
    "aligner.estimator": "Aligner TransformStep",
    "aligner.people": "people",
    "data.answers": "Answers",
    "data.features": "Features",
    "data.importing": "import_answers",
    "data.join": "join",
    "data.planning": "plan_study",
    "data.splits": "object_folds split_answers",
    "data.world": "simulated_answers simulated_world",
    "errors": "GLocalError",
    "evaluation.agreement": "answer_credit odd_one_out",
    "evaluation.alarms": "anomaly_scores find_anomalies",
    "evaluation.anomaly": "anomaly",
    "evaluation.axes": "axes",
    "evaluation.few_shot": "few_shot",
    "evaluation.reliability": "reliability",
    "evaluation.retrieval": "retrieval",
    "evaluation.rsa": "model_rdm rsa",
    "evaluation.structure": "neighbours_kept structure",
    "extract": "Extractor",
    "recipes": "align",
    "transform.linear": "LinearTransform pretrained",
    "verdict.decision": "verdict",
}


class _Package(ModuleType):
    """`glocal.verdict` is the function, also after the room of this name was imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "verdict":
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _SUBPACKAGES:
        return import_module(f"glocal.{name}")
    for module, names in _MODULES.items():
        if name in names.split():
            return getattr(import_module(f"glocal.{module}"), name)
    raise AttributeError(f"module 'glocal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
