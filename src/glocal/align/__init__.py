"""From a named model, images and answers to an aligned model: every step planned, kept by content, and resumed."""

from glocal.align.inputs import Inputs, things_answers
from glocal.align.plan import SKIPPABLE, STEPS, PlannedStep, plan
from glocal.align.run import Aligned, align
from glocal.align.sentences import sentences

__all__ = ["SKIPPABLE", "STEPS", "Aligned", "Inputs", "PlannedStep", "align", "plan", "sentences", "things_answers"]
