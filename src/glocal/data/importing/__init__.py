"""Answers as other systems write them, read into `Answers`; and a table of answers, written."""

from glocal.data.importing.convert import FORMATS, import_answers
from glocal.data.importing.table import Imported, to_csv

__all__ = ["FORMATS", "Imported", "import_answers", "to_csv"]
