"""The learned affine transform, its file formats, and its application to any number of rows."""

from glocal.transform.apply import apply_file
from glocal.transform.catalogue import pull
from glocal.transform.checks import check_rows
from glocal.transform.linear import LinearTransform
from glocal.transform.reduction import reduced
from glocal.transform.sharing import push_to_hub, save_pretrained

__all__ = [
    "LinearTransform",
    "apply_file",
    "check_rows",
    "pull",
    "push_to_hub",
    "reduced",
    "save_pretrained",
]
