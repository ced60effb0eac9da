"""From features and answers to a transform: `fit_arm` does it, `Aligner` is its scikit-learn face."""

from typing import TYPE_CHECKING, Any

from glocal.aligner.fit import Fit, fit_arm

if TYPE_CHECKING:
    from glocal.aligner.estimator import Aligner

__all__ = ["Aligner", "Fit", "fit_arm"]


def __getattr__(name: str) -> Any:
    if name == "Aligner":  # scikit-learn loads only for who asks for the estimator
        from glocal.aligner.estimator import Aligner

        return Aligner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
