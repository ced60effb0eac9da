"""What a transform does to the structure of features: each image's neighbours, and the arrangement of all images."""

from glocal.evaluation.structure.collapse import collapsed
from glocal.evaluation.structure.measure import Structure, structure
from glocal.evaluation.structure.neighbourhoods import neighbours, neighbours_kept

__all__ = ["Structure", "collapsed", "neighbours", "neighbours_kept", "structure"]
