"""Published files and image data sets by name: the one place of the package that may use the network."""

from glocal.data.datasets.download import Fetched, cache_folder, fetch, fetch_address
from glocal.data.datasets.images import ImageSet
from glocal.data.datasets.registry import FILES, IMAGE_SETS, ImageSetTerms, RemoteFile
from glocal.data.datasets.sources import load_images

__all__ = [
    "FILES",
    "IMAGE_SETS",
    "Fetched",
    "ImageSet",
    "ImageSetTerms",
    "RemoteFile",
    "cache_folder",
    "fetch",
    "fetch_address",
    "load_images",
]
