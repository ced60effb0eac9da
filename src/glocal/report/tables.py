"""Tables for papers: arms × tasks, differences, and the front, as CSV, Markdown and LaTeX."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.files import PathLike, atomic_write, make_folder
from glocal.report.run import Run
from glocal.report.scores import differences, score_table

if TYPE_CHECKING:
    import pandas as pd

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_FRONT = ("chosen", "method", "alpha", "lmbda", "mix", "tau", "eta", "accuracy_cosine", "neighbours_kept", "loss")


def tables(run: Run) -> dict[str, pd.DataFrame]:
    """All tables of a run by name: ``scores``, ``differences`` and one ``front`` a sweep, without empty ones."""
    found = {"scores": score_table(run), "differences": _differences(run)}
    for sweep in run.sweeps:
        if sweep.front is not None:
            name = "front" if len(run.sweeps) == 1 else "front-" + re.sub(r"\W+", "-", sweep.name)
            found[name] = sweep.front[[column for column in _FRONT if column in sweep.front]]
    return {name: table for name, table in found.items() if len(table)}


def save_tables(run: Run, folder: PathLike) -> list[Path]:
    """Write each table as ``NAME.csv``, ``NAME.md`` and ``NAME.tex``; the files, in this order."""
    where = make_folder(folder)
    written = []
    for name, table in tables(run).items():
        for ending, text in (
            ("csv", table.to_csv(index=False)), ("md", markdown(table)), ("tex", latex(table)),
        ):  # fmt: skip
            written.append(where / f"{name}.{ending}")
            with atomic_write(written[-1]) as stream:
                stream.write(text.encode())
    return written


def markdown(table: pd.DataFrame) -> str:
    r"""A table in GitHub's Markdown; a bar in a name does not end its cell.

    >>> import pandas as pd
    >>> print(markdown(pd.DataFrame({"arm": ["a|b"], "n": [0.5]})), end="")
    | arm | n |
    | --- | --- |
    | a\|b | 0.5 |
    """
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *_cells(table)]
    escaped = [[" ".join(cell.replace("|", "\\|").split()) for cell in line] for line in lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in escaped)


def latex(table: pd.DataFrame) -> str:
    r"""A ``tabular`` with the rules of the package booktabs; every character of a name stands for itself.

    >>> import pandas as pd
    >>> print(latex(pd.DataFrame({"arm": ["50% a_b"]})), end="")
    \begin{tabular}{l}
    \toprule
    arm \\
    \midrule
    50\% a\_b \\
    \bottomrule
    \end{tabular}
    """
    head, *body = [list(map(str, table.columns)), *_cells(table)]
    columns = "l" * len(head)

    def line(cells: list[str]) -> str:
        return " & ".join("".join(_LATEX.get(character, character) for character in cell) for cell in cells) + r" \\"

    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(head), r"\midrule", *map(line, body)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cells(table: pd.DataFrame) -> list[list[str]]:
    return [[_text(value) for value in line] for line in table.astype(object).to_numpy().tolist()]


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"  # noqa: PLR0124 - NaN is no value
    return "" if value is None else str(value)


def _differences(run: Run) -> pd.DataFrame:
    found = differences(run)[["network", "task", "transform", "value", "low", "high", "p", "p_holm"]]
    found = found.rename(columns={"transform": "arm", "value": f"minus {run.baseline}"})
    return found.drop(columns="network") if (found["network"] == "").all() else found
