"""Fits by keywords, as the command line and files spell them."""

from glocal.aligner import Arm, Exact, FitData, fit
from glocal.options import taken


def fit_arm(features, answers, *, local_features=None, holdout=None, n_dropped=0, on_step=None, **options):
    """`fit` with the options of `Arm`, `FitData` and `Exact`; without a method it is glocal with local features."""
    options.setdefault("method", "global" if local_features is None else "glocal")
    arm, solver = Arm(**taken(Arm, options)), Exact(**taken(Exact, options))
    data = FitData(features, answers, local_features, n_dropped=n_dropped, **taken(FitData, options))
    unknown = {*options} - {*taken(Arm, options), *taken(Exact, options), *taken(FitData, options)}
    assert not unknown, unknown
    return fit(data, arm, solver, holdout=holdout, on_step=on_step)
