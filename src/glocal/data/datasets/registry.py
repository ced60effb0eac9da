"""The published files under the names that `pull` uses."""

from __future__ import annotations

from glocal.data.sources.fetch import RemoteFile, published

FILES = published()
IMAGE_SETS: dict[str, object] = {}

__all__ = ["FILES", "IMAGE_SETS", "RemoteFile"]
