"""Align features with human similarity judgments by one affine transform that keeps neighbours.

Names load when they are used, so that ``import glocal`` costs a few milliseconds.
"""

from glocal._version import __version__

TYPE_CHECKING = False  # type checkers take it for True; `typing` itself takes long to import
if TYPE_CHECKING:
    from glocal.aligner import Arm, Exact, FitData, Keep, PaperLoop, fit
    from glocal.aligner.estimator import Aligner
    from glocal.data.answers import Answers
    from glocal.data.features import Features
    from glocal.data.join import join
    from glocal.data.planning import plan_study
    from glocal.data.splits import object_folds, split_answers
    from glocal.errors import GLocalError
    from glocal.evaluation.agreement import odd_one_out
    from glocal.evaluation.change import axes
    from glocal.evaluation.structure import neighbours_kept
    from glocal.extract import Extractor
    from glocal.sweep import sweep
    from glocal.transform.linear import LinearTransform, pretrained

__all__ = [
    "Aligner",
    "Answers",
    "Arm",
    "Exact",
    "Extractor",
    "Features",
    "FitData",
    "GLocalError",
    "Keep",
    "LinearTransform",
    "PaperLoop",
    "__version__",
    "axes",
    "fit",
    "join",
    "neighbours_kept",
    "object_folds",
    "odd_one_out",
    "plan_study",
    "pretrained",
    "split_answers",
    "sweep",
]
_MODULES = {
    "aligner": "Arm Exact FitData Keep PaperLoop fit",
    "aligner.estimator": "Aligner",
    "data.answers": "Answers",
    "data.features": "Features",
    "data.join": "join",
    "data.planning": "plan_study",
    "data.splits": "object_folds split_answers",
    "errors": "GLocalError",
    "evaluation.agreement": "odd_one_out",
    "evaluation.change": "axes",
    "evaluation.structure": "neighbours_kept",
    "extract": "Extractor",
    "transform.linear": "LinearTransform pretrained",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "sweep":  # a module that can be called: it runs its function of the same name
        return import_module("glocal.sweep")
    for module, names in _MODULES.items():
        if name in names.split():
            return getattr(import_module(f"glocal.{module}"), name)
    raise AttributeError(f"module 'glocal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
