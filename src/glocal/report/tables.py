"""Tables for papers: plain numbers as long CSV, and LaTeX with a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.report.front import LOWER_IS_BETTER
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


def tables_of(run: Run) -> dict[str, str]:
    """Return the scores of a run by kind: ``csv`` with plain numbers, ``tex`` with arms × tasks."""
    if not len(run.rows):
        return {}
    networks = run.rows["network"].replace("", run.network or run.name)
    rows = run.rows.assign(network=networks)
    return {"csv": long_scores(rows).to_csv(index=False), "tex": _latex(run)}


def _latex(run: Run) -> str:
    """The table of arms × tasks, with the best value of each task and network in bold."""
    main = main_rows(run.rows)
    lines = arms_by_tasks(main.assign(is_best=_is_best(main)), _cell, "--")
    body = [
        [escaped(network), escaped(arm), *line.values()] for (network, arm), line in lines.items()
    ]
    head = ["network", "arm", *map(escaped, main["task"].unique())]
    if main["network"].nunique() == 1:
        head, *body = (line[1:] for line in (head, *body))
    return latex(head, body, _caption(run, main))


def _cell(row: dict[Any, Any]) -> str:
    text = escaped(cell(row))
    return rf"\textbf{{{text}}}" if row["is_best"] else text


def _caption(run: Run, main: pd.DataFrame) -> str:
    metrics = []
    for row in main.drop_duplicates("task").to_dict("records"):
        k = row["settings"].get("k")
        metrics.append(f"{row['task']}: {row['metric']}{f' ({k} nearest)' if k else ''}")
    star = f" *: differs from {run.baseline} (paired, p < 0.05 after correction)."
    if not (main["p_corrected"] < SIGNIFICANCE).any():
        star = ""
    return (
        f"Scores of {run.network or run.name}; in brackets the 95 % interval. Bold: the best of "
        f"each task. Metrics: {'; '.join(metrics)}.{star}"
    )


def _is_best(main: pd.DataFrame) -> pd.Series[bool]:
    """Whether each row is the best of its task and network; all rows that tie for it are."""
    sign = 1 - 2 * main["metric"].isin(LOWER_IS_BETTER)
    values = sign * main["value"].map("{:.3f}".format).astype(float)  # as they are printed
    groups = values.groupby([main["network"], main["task"]])
    is_best = (values == groups.transform("max")) & (groups.transform("nunique") > 1)
    # the original features keep all of their neighbours, which is no result
    return is_best & (main["metric"] != "neighbours_kept")


def escaped(text: str) -> str:
    r"""Escape a text for LaTeX.

    >>> print(escaped("few_shot 5 % [λ 1]"))
    few\_shot 5 \% [$\lambda$ 1]
    """
    return "".join(_ESCAPED.get(character, character) for character in text)


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
