"""The older name of answers: odd-one-out is their first kind."""

from glocal.data.answers import Answers as Triplets
from glocal.data.answers_file import read_numbers

__all__ = ["Triplets", "read_numbers"]
