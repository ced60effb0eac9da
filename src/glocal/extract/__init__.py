"""From images to features: any network, several layers in one pass, streamed, resumable, every image accounted for."""

from glocal.extract.captions import open_captions
from glocal.extract.extractor import Extraction, Extractor
from glocal.extract.images import open_images
from glocal.extract.registry import load_model

__all__ = ["Extraction", "Extractor", "load_model", "open_captions", "open_images"]
