"""Advice from records and scores: a choice, what was measured, and the command that follows.

Only what prints imports it; the core returns numbers.
"""

from glocal.advice.choice import ACTIONS, Advice, Choice, advise
from glocal.advice.sentences import fit_notes, network_sentence, sentence
from glocal.advice.situation import (
    MAKE,
    NO_TRANSFORM,
    SituationChoice,
    SituationRow,
    neighbours_sentence,
    read_situations,
    save_situations,
)
from glocal.advice.study import attained_sentence, attained_shares, doubling_sentence, has_gained
from glocal.advice.subject import MARGIN, SIGNIFICANCE, Subject, direction, recorded_scores

__all__ = [
    "ACTIONS",
    "MAKE",
    "MARGIN",
    "NO_TRANSFORM",
    "SIGNIFICANCE",
    "Advice",
    "Choice",
    "SituationChoice",
    "SituationRow",
    "Subject",
    "advise",
    "attained_sentence",
    "attained_shares",
    "direction",
    "doubling_sentence",
    "fit_notes",
    "has_gained",
    "neighbours_sentence",
    "network_sentence",
    "read_situations",
    "recorded_scores",
    "save_situations",
    "sentence",
]
