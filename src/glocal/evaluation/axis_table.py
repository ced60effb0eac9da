"""The table of axes, whose text has the names of the objects; imported only when axes are made."""

from __future__ import annotations

import pandas as pd


class AxisTable(pd.DataFrame):  # type: ignore[misc]
    """The data frame that `glocal.axes` returns."""

    def __repr__(self) -> str:
        """All columns, in blocks of 80 characters; pandas would leave out the names."""
        return str(self.to_string(max_colwidth=None, line_width=80, float_format="{:.3f}".format))
