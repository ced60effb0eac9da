"""Advice from records and scores: a choice, what was measured, and the command that follows.

Only what prints imports it; the core returns numbers.
"""

from glocal.advice.finding import Advice, Choice, Subject, advise, fit_notes

__all__ = ["Advice", "Choice", "Subject", "advise", "fit_notes"]
