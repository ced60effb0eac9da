"""From images to features: any network, several layers in one pass, resumable, every image accounted for."""

from glocal.extract.images import open_images
from glocal.extract.libraries import load_model
from glocal.extract.run import Extraction, Extractor

__all__ = ["Extraction", "Extractor", "load_model", "open_images"]
