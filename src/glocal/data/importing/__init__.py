"""Read the answer files of other systems into `Answers`, and write answers as a table."""

from glocal.data.importing.convert import FORMATS, import_answers
from glocal.data.importing.table import Imported, to_csv

__all__ = ["FORMATS", "Imported", "import_answers", "to_csv"]
