"""What people look at: map, neighbours, flips, dissimilarities and spectrum of one embedding, small enough to keep."""

from glocal.evaluation.views.measure import BeforeAfter, object_view
from glocal.evaluation.views.view import View, load_view, save_view

__all__ = ["BeforeAfter", "View", "load_view", "object_view", "save_view"]
