"""Published files, image data sets and the BREEDS tasks by name: the one place of the package that uses the network."""

from glocal.data.sources.breeds import breeds, breeds_sides
from glocal.data.sources.fetch import Progress, RemoteFile, cache_folder, fetch, published, retrieve
from glocal.data.sources.images import ImageSet, image_sets, load_images, parse_set

__all__ = [
    "ImageSet",
    "Progress",
    "RemoteFile",
    "breeds",
    "breeds_sides",
    "cache_folder",
    "fetch",
    "image_sets",
    "load_images",
    "parse_set",
    "published",
    "retrieve",
]
