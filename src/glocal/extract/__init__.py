"""From images to features: any network, several layers in one pass, streamed, resumable, every image accounted for."""

from glocal.extract.extractor import Extraction, Extractor
from glocal.extract.images import open_captions, open_images
from glocal.extract.registry import load_model

__all__ = ["Extraction", "Extractor", "load_model", "open_captions", "open_images"]
