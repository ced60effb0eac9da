"""Recipes from a network to its transforms: its images, or features of several networks."""

from glocal.align.atlas import Atlas
from glocal.align.recipes import align, align_networks

__all__ = ["Atlas", "align", "align_networks"]
