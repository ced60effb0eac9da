"""Answers as other systems write them: read into `Answers`, and written back."""
