"""The result: one affine map, its file, and its application to any number of rows."""

from glocal.transform.linear import LinearTransform
from glocal.transform.reduction import reduced
from glocal.transform.shards import apply_shards
from glocal.transform.streaming import apply_file

__all__ = ["LinearTransform", "apply_file", "apply_shards", "reduced"]
