"""Tables for papers: plain numbers as long CSV, and LaTeX with a caption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.report.front import LOWER_IS_BETTER, method_points, neighbour_counts, summary
from glocal.report.runs import Run
from glocal.suite.table import SIGNIFICANCE, arms_by_tasks, cell, long_scores, main_rows

if TYPE_CHECKING:
    import pandas as pd

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "α": r"$\alpha$",
    "λ": r"$\lambda$",
    "τ": r"$\tau$",
    "η": r"$\eta$",
}


def tables_of(run: Run) -> dict[tuple[str, str], str]:
    """Return the tables of a run by name and kind: ``csv`` with plain numbers, ``tex`` for LaTeX.

    ``methods`` compares agreement and neighbours kept, and ``scores`` has arms × tasks.
    """
    tables = {}
    if len(methods := method_points(run)):
        tables["methods", "csv"] = _named(methods, run).to_csv(index=False)
        tables["methods", "tex"] = _methods_latex(run)
    if len(run.rows):
        tables["scores", "csv"] = long_scores(_named(run.rows, run)).to_csv(index=False)
        tables["scores", "tex"] = _scores_latex(run)
    return tables


def _named(rows: pd.DataFrame, run: Run) -> pd.DataFrame:
    """The rows with an empty network replaced by that of the record, or by the name of the run."""
    names = rows["network"].replace("", run.network or run.name)
    others = [column for column in rows if column != "network"]
    return rows.assign(network=names)[["network", *others]]


def _methods_latex(run: Run) -> str:
    table = summary(run)
    spread = "one standard error over folds" if run.settings is not None else "the 95 % interval"
    numbers = " or ".join(map(str, neighbour_counts(run)))
    neighbours = f"{numbers} nearest neighbours".lstrip()
    caption = (
        f"Agreement with people and share of the {neighbours} kept{_of(run)}; in brackets {spread}."
    )
    body = [[escaped(value) for value in row] for row in table.to_numpy().tolist()]
    return latex([escaped(name) for name in table], body, caption)


def _scores_latex(run: Run) -> str:
    """The table of arms × tasks, with the best value of each task and network in bold."""
    main = main_rows(run.rows)
    lines = arms_by_tasks(main.assign(is_best=_is_best(main)), _cell, "--")
    body = [
        [escaped(network), escaped(arm), *line.values()] for (network, arm), line in lines.items()
    ]
    head = ["network", "arm", *map(escaped, main["task"].unique())]
    if main["network"].nunique() == 1:
        head, *body = (line[1:] for line in (head, *body))
    return latex(head, body, _scores_caption(run, main))


def _cell(row: dict[Any, Any]) -> str:
    text = escaped(cell(row))
    return rf"\textbf{{{text}}}" if row["is_best"] else text


def _scores_caption(run: Run, main: pd.DataFrame) -> str:
    pairs = main[["task", "metric"]].drop_duplicates().to_numpy()
    star = f" *: differs from {run.baseline} (paired, p < 0.05 after correction)."
    if not (main["p_corrected"] < SIGNIFICANCE).any():
        star = ""
    metrics = "; ".join(f"{task}: {metric}" for task, metric in pairs)
    return (
        f"Scores{_of(run)}; in brackets the 95 % interval. Bold: the best of each task. Metrics: "
        f"{metrics}.{star}"
    )


def _is_best(main: pd.DataFrame) -> pd.Series[bool]:
    """Whether each row is the best of its task and network; all rows that tie for it are."""
    sign = 1 - 2 * main["metric"].isin(LOWER_IS_BETTER)
    values = sign * main["value"].map("{:.3f}".format).astype(float)  # as they are printed
    groups = values.groupby([main["network"], main["task"]])
    return (values == groups.transform("max")) & (groups.transform("nunique") > 1)


def _of(run: Run) -> str:
    networks = [name for name in run.rows["network"].unique() if name]
    name = run.network or (networks[0] if len(networks) == 1 else "")
    return f" of {name}" if name else ""


def escaped(text: Any) -> str:
    r"""Escape a text for LaTeX; NaN becomes a dash.

    >>> print(escaped("few_shot 5 % [λ 1]"))
    few\_shot 5 \% [$\lambda$ 1]
    """
    if isinstance(text, float) and math.isnan(text):
        return "--"
    return "".join(_ESCAPED.get(character, character) for character in str(text))


def latex(head: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    """A table environment in the style of booktabs, from cells of LaTeX and a plain caption."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        f"\\caption{{{escaped(caption)}}}",
        f"\\begin{{tabular}}{{{'l' * len(head)}}}",
        "\\toprule",
        f"{' & '.join(head)} \\\\",
        "\\midrule",
        *(f"{' & '.join(row)} \\\\" for row in body),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"
