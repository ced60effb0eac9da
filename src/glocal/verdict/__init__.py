"""Choose a transform, if any, for labelled images, in each situation that a user may be in.

`glocal.verdict` is the function of `glocal.verdict.decision`.
"""
