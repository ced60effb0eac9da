"""Few-shot classification of any features under any transform: draws, probes, accuracy."""

from glocal.evaluation.fewshot.episodes import draw_episodes, superclass_split
from glocal.evaluation.fewshot.probes import PROBES
from glocal.evaluation.fewshot.score import FewShot, few_shot

__all__ = ["PROBES", "FewShot", "draw_episodes", "few_shot", "superclass_split"]
