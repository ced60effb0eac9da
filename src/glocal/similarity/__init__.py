"""Similarities of pairs, the choice among candidate pairs, and what counts as a tie: each once."""

from glocal.similarity.choices import (
    Choices,
    Pairs,
    Part,
    candidate_pairs,
    choice,
    choice_loss,
    credit,
    strict_credit,
)
from glocal.similarity.pairs import SIMILARITIES, Deciding, PairSimilarities, unit_rows
from glocal.similarity.ties import joined, new_group, tie_tolerance

__all__ = [
    "SIMILARITIES",
    "Choices",
    "Deciding",
    "PairSimilarities",
    "Pairs",
    "Part",
    "candidate_pairs",
    "choice",
    "choice_loss",
    "credit",
    "joined",
    "new_group",
    "strict_credit",
    "tie_tolerance",
    "unit_rows",
]
