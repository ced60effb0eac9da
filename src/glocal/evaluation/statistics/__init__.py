"""Intervals and comparisons that respect what scores share: objects, draws, classes."""

from glocal.evaluation.statistics.bootstrap import triplet_bootstrap
from glocal.evaluation.statistics.clusters import triplet_interval, triplet_variance
from glocal.evaluation.statistics.crossed import TwoWay, two_way_interval
from glocal.evaluation.statistics.differences import Comparison, PairedDifference, compare, holm, paired_difference

__all__ = [
    "Comparison",
    "PairedDifference",
    "TwoWay",
    "compare",
    "holm",
    "paired_difference",
    "triplet_bootstrap",
    "triplet_interval",
    "triplet_variance",
    "two_way_interval",
]
