"""Published files and the BREEDS tasks, by name; every download is verified."""

from glocal.data.sources.breeds import breeds, breeds_sides
from glocal.data.sources.fetch import (
    Progress,
    RemoteFile,
    cache_folder,
    cached,
    fetch,
    offline,
    published,
    retrieve,
    unknown_name,
)

__all__ = [
    "Progress",
    "RemoteFile",
    "breeds",
    "breeds_sides",
    "cache_folder",
    "cached",
    "fetch",
    "offline",
    "published",
    "retrieve",
    "unknown_name",
]
