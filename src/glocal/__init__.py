"""Align features with people's similarity judgments by one affine transform that keeps each image's neighbours.

Names load when they are used, so that ``import glocal`` costs a few milliseconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

from glocal._version import __version__

if TYPE_CHECKING:
    from glocal import sweep
    from glocal.aligner.arm import Arm
    from glocal.aligner.data import FitData
    from glocal.aligner.estimator import Aligner
    from glocal.aligner.exact import Exact
    from glocal.aligner.fitting import fit
    from glocal.aligner.paper import PaperLoop
    from glocal.data.answers import Answers
    from glocal.data.features import Features
    from glocal.data.join import join
    from glocal.data.splits import object_folds, split_answers
    from glocal.errors import GLocalError
    from glocal.evaluation.agreement import odd_one_out
    from glocal.evaluation.structure import neighbours_kept
    from glocal.extract.run import Extractor
    from glocal.transform.linear import LinearTransform, pretrained

_HOME = {
    "Aligner": "glocal.aligner.estimator",
    "Answers": "glocal.data.answers",
    "Arm": "glocal.aligner.arm",
    "Exact": "glocal.aligner.exact",
    "Extractor": "glocal.extract",
    "Features": "glocal.data.features",
    "FitData": "glocal.aligner.data",
    "GLocalError": "glocal.errors",
    "LinearTransform": "glocal.transform.linear",
    "PaperLoop": "glocal.aligner.paper",
    "fit": "glocal.aligner.fitting",
    "join": "glocal.data.join",
    "neighbours_kept": "glocal.evaluation.structure",
    "object_folds": "glocal.data.splits",
    "odd_one_out": "glocal.evaluation.agreement",
    "pretrained": "glocal.transform.linear",
    "split_answers": "glocal.data.splits",
}

__all__ = [
    "Aligner",
    "Answers",
    "Arm",
    "Exact",
    "Extractor",
    "Features",
    "FitData",
    "GLocalError",
    "LinearTransform",
    "PaperLoop",
    "__version__",
    "fit",
    "join",
    "neighbours_kept",
    "object_folds",
    "odd_one_out",
    "pretrained",
    "split_answers",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name == "sweep":  # the module: its function has the same name
        return importlib.import_module("glocal.sweep")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'glocal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
