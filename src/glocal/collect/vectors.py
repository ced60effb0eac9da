"""The features of a study's images, in the order of their numbers."""

from __future__ import annotations

import numpy as np

from glocal.collect.study import Study
from glocal.data.features import Features
from glocal.data.join import feature_rows
from glocal.errors import DataError, ParameterError
from glocal.extract import Extractor, open_images


def vectors(study: Study) -> Features:
    """Read the features that the settings name, or extract them once, into the folder ``features`` of the study.

    Raises
    ------
    ParameterError
        The study names neither features nor a model.
    DataError
        An image has no features.
    """
    settings = study.settings
    if settings.features is not None:
        return in_order(Features.load(settings.features), study)
    if settings.model is None:
        raise ParameterError(
            f"the study {study.folder} names no features. Give them once: glocal collect --out {study.folder} "
            "--features FEATURES, or --model MODEL."
        )
    layers = () if settings.layer is None else (settings.layer,)
    out = study.folder / "features"
    Extractor(settings.model, layers).extract(open_images(study.images), out)
    return in_order(Features.load(out), study)


def in_order(features: Features, study: Study) -> Features:
    """The rows of the images of a study, joined by name; without names, row i is image i."""
    if features.names is None:
        if len(features) != len(study):
            raise DataError(
                f"{features.source} has {len(features)} rows and no names, but the study has {len(study)} images. "
                "Put a file_names.txt with one line a row beside it."
            )
        return Features(np.asarray(features.matrix), study.names, features.source)
    rows = feature_rows(features, study.names)
    if (rows < 0).any():
        first = study.names[int(np.flatnonzero(rows < 0)[0])]
        raise DataError(
            f"{features.source} has no row for {int((rows < 0).sum())} of the {len(study)} images of the study, the "
            f"first of them {first!r}. Extract their features too."
        )
    return Features(np.asarray(features.matrix)[rows], study.names, features.source)
