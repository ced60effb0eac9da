"""Fits whose options are keywords, named as on the command line and in files."""

from glocal.aligner import Arm, Exact, FitData, fit
from glocal.aligner.data import Blocks


def fit_arm(
    features, answers, *, local_features=None, holdout=None, n_dropped=0, on_step=None, **options
):
    """Call `fit` with options of `Arm`, `FitData` and `Exact`; local features make it `glocal`."""
    options.setdefault("method", "global" if local_features is None else "glocal")

    def group(model):
        return {name: options.pop(name) for name in model.model_fields if name in options}

    arm = Arm(**group(Arm))
    solver = Exact(**group(Exact))
    data = FitData(features, answers, local_features, n_dropped=n_dropped, **group(Blocks))
    assert not options, options
    return fit(data, arm, solver, holdout=holdout, on_step=on_step)
