"""Features for a command: a feature file, or images and the network to run on them, kept by content."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.output import others_to_stderr, progress_bar, say
from glocal.data.features import Features
from glocal.data.readers import READERS
from glocal.errors import ParameterError

FeaturesPath = Annotated[
    Path, typer.Option("--features", help="Feature file, or folder with features.npy and file_names.txt.")
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", help="Network to run where images are given for features; as in glocal extract."),
]
LayerName = Annotated[str | None, typer.Option("--layer", help="Its layer. [default: penultimate]")]


def load_features(path: Path, model: str | None = None, layer: str | None = None) -> Features:
    """Load a feature file or folder; with a model, extract the features of images, or find them in the cache.

    What was extracted is kept in the folder that ``GLOCAL_CACHE`` names (else the cache folder of this system) by the
    names, sizes and times of the images, the hash of the weights and the versions of what computes it.
    """
    if model is None:
        if layer is not None:
            raise ParameterError(f"--layer {layer} is about a network; pass --model too.")
        return Features.load(path)
    if _holds_features(path):
        say(f"{path} holds features; --model is not used for it.")
        return Features.load(path)
    from glocal.extract import Extractor, open_images
    from glocal.extract.run import cached_features

    source = open_images(path)
    with progress_bar("extracting", len(source), unit="images") as progress, others_to_stderr():
        result = cached_features(
            Extractor(model, () if layer is None else (layer,)), source, lambda done, total: progress(done)
        )
    if source.ignored:
        say(f"{len(source.ignored)} files under {path} do not have an image extension and are left out.")
    return result.features()


def _holds_features(path: Path) -> bool:
    """A file of a kind that features are kept in, or a folder with features and their names."""
    if path.suffix.lower() in READERS:
        return True
    return path.is_dir() and any((path / f"features{ending}").exists() for ending in READERS)
