"""Intervals and comparisons that respect what scores share: objects, draws, classes."""

from glocal.evaluation.statistics.bootstrap import triplet_bootstrap
from glocal.evaluation.statistics.clusters import triplet_estimate, triplet_interval
from glocal.evaluation.statistics.crossed import two_way_estimate
from glocal.evaluation.statistics.differences import Comparison, PairedDifference, compare, holm, paired_difference
from glocal.evaluation.statistics.estimate import Estimate

__all__ = [
    "Comparison",
    "Estimate",
    "PairedDifference",
    "compare",
    "holm",
    "paired_difference",
    "triplet_bootstrap",
    "triplet_estimate",
    "triplet_interval",
    "two_way_estimate",
]
