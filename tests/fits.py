"""Fits by keywords, as the command line and files spell them."""

from glocal.aligner import Arm, Exact, FitData, fit
from glocal.aligner.data import Blocks


def fit_arm(features, answers, *, local_features=None, holdout=None, n_dropped=0, on_step=None, **options):
    """`fit` with the options of `Arm`, `FitData` and `Exact`; without a method it is glocal with local features."""
    options.setdefault("method", "global" if local_features is None else "glocal")
    parts = [
        {name: options.pop(name) for name in model.model_fields if name in options} for model in (Arm, Exact, Blocks)
    ]
    assert not options, options
    data = FitData(features, answers, local_features, n_dropped=n_dropped, **parts[2])
    return fit(data, Arm(**parts[0]), Exact(**parts[1]), holdout=holdout, on_step=on_step)
