"""RDMs to and from rsatoolbox, which has many more comparisons and models of RDMs."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.data.rdm import check_rdms
from glocal.errors import DataError, MissingDependencyError


def to_rsatoolbox(
    rdms: Float[np.ndarray, "*people n n"], names: Sequence[str] | None = None, measure: str | None = None
) -> Any:
    """RDMs as ``rsatoolbox.rdm.RDMs``.

    Parameters
    ----------
    rdms : (n, n) or (people, n, n) real array
        People's, or a model's (`model_rdm`). NaN pairs stay missing.
    names : n str or None
        Become the pattern descriptor ``name``.
    measure : str or None
        What the dissimilarities are, for example ``"cosine"``.

    Returns
    -------
    rsatoolbox.rdm.RDMs

    Raises
    ------
    DataError
        No RDM (`check_rdms`), or another number of names than objects.
    MissingDependencyError
        rsatoolbox is not installed.
    """
    checked = check_rdms(np.asarray(rdms))
    if names is not None and len(names) != checked.shape[-1]:
        raise DataError(f"there are {len(names)} names but the RDM is about {checked.shape[-1]} objects.")
    descriptors = None if names is None else {"name": list(names)}
    return _rdm_module().RDMs(checked, dissimilarity_measure=measure, pattern_descriptors=descriptors)


def from_rsatoolbox(rdms: Any) -> Float[np.ndarray, "people n n"]:
    """The (people, n, n) dissimilarities of ``rsatoolbox.rdm.RDMs``, checked.

    Raises
    ------
    DataError
        Not such an object, or no RDM (`check_rdms`).
    """
    if not hasattr(rdms, "get_matrices"):
        raise DataError(
            f"{type(rdms).__name__} is no rsatoolbox RDMs object; give what rsatoolbox.rdm.calc_rdm returns."
        )
    return check_rdms(np.asarray(rdms.get_matrices()), "the rsatoolbox RDM")


def _rdm_module() -> ModuleType:
    try:
        import rsatoolbox.rdm
    except ImportError as error:
        raise MissingDependencyError(
            "rsatoolbox is not installed. Install it with: pip install 'glocal[rsa]'."
        ) from error
    module: ModuleType = rsatoolbox.rdm
    return module
