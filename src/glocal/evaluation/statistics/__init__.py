"""Intervals and comparisons that respect what scores share: objects, draws, classes."""

from glocal.evaluation.statistics.clusters import answer_estimate, triplet_estimate
from glocal.evaluation.statistics.differences import PairedDifference, holm, paired_difference
from glocal.evaluation.statistics.means import Estimate, mean_estimate, two_way_estimate

__all__ = [
    "Estimate",
    "PairedDifference",
    "answer_estimate",
    "holm",
    "mean_estimate",
    "paired_difference",
    "triplet_estimate",
    "two_way_estimate",
]
