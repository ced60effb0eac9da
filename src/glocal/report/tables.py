"""Tables for papers: numbers in long CSV, and LaTeX with its caption."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glocal.report.front import LOWER_IS_BETTER, method_points, neighbour_counts, summary
from glocal.report.runs import Run
from glocal.suite.table import cell, long_scores, main_rows

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


def tables_of(run: Run) -> dict[str, tuple[pd.DataFrame, str]]:
    """The tables of a run by name, each as numbers for CSV and as a text of LaTeX.

    ``methods`` compares agreement and neighbours kept, ``scores`` has arms × tasks.
    """
    tables = {}
    if len(methods := method_points(run)):
        tables["methods"] = (_named(methods, run), _methods_latex(run))
    if len(run.rows):
        tables["scores"] = (long_scores(_named(run.rows, run)), _scores_latex(run))
    return tables


def _named(rows: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Rows that all name a network: that of the record, or the name of the run."""
    names = rows["network"].replace("", run.network or run.name)
    others = [column for column in rows if column != "network"]
    return rows.assign(network=names)[["network", *others]]


def _methods_latex(run: Run) -> str:
    table = summary(run)
    spread = "one standard error over folds" if run.means is not None else "the 95 % interval"
    numbers = " or ".join(map(str, neighbour_counts(run)))
    neighbours = f"{numbers} nearest neighbours".lstrip()
    caption = (
        f"Agreement with people and share of the {neighbours} kept{_of(run)}; in brackets {spread}."
    )
    body = [[escaped(value) for value in row] for row in table.to_numpy().tolist()]
    return latex([escaped(name) for name in table], body, caption)


def _scores_latex(run: Run) -> str:
    """Arms × tasks; the best value of each task and network is bold."""
    main = main_rows(run.rows)
    texts = {label: cell(dict(row)) for label, row in main.iterrows()}
    best = _best(main)
    tasks = main["task"].unique().tolist()
    has_networks = main["network"].nunique() > 1
    body: list[list[str]] = []
    for (network, arm), rows in main.groupby(["network", "transform"], sort=False):
        cells = dict.fromkeys(tasks, "--") | _cells(rows, texts, best)
        line = [escaped(arm), *cells.values()]
        body.append([escaped(network), *line] if has_networks else line)
    head = [*(["network"] if has_networks else []), "arm", *map(escaped, tasks)]
    return latex(head, body, _scores_caption(run, main, texts))


def _cells(rows: pd.DataFrame, texts: Mapping[Any, str], best: set[Any]) -> dict[str, str]:
    """The cells of a network and arm by task; those of the best rows are bold."""
    cells = {}
    for label, task in rows["task"].items():
        text = escaped(texts[label])
        cells[task] = rf"\textbf{{{text}}}" if label in best else text
    return cells


def _scores_caption(run: Run, main: pd.DataFrame, texts: Mapping[Any, str]) -> str:
    pairs = main[["task", "metric"]].drop_duplicates().to_numpy()
    has_star = any(text.endswith("*") for text in texts.values())
    star = f" *: differs from {run.baseline} (paired, p < 0.05 after correction)."
    star = star if has_star else ""
    metrics = "; ".join(f"{task}: {metric}" for task, metric in pairs)
    return (
        f"Scores{_of(run)}; in brackets the 95 % interval. Bold: the best of each task. Metrics: "
        f"{metrics}.{star}"
    )


def _best(main: pd.DataFrame) -> set[Any]:
    """The labels of the best rows of each task and network, equal ones all of them."""
    best: set[Any] = set()
    for _, rows in main.dropna(subset=["value"]).groupby(["network", "task"], sort=False):
        values = rows["value"].round(3)
        is_loss = rows["metric"].isin(LOWER_IS_BETTER).all()
        largest = values.min() if is_loss else values.max()
        if len(rows) > 1 and values.nunique() > 1:
            best |= set(rows.index[values == largest])
    return best


def _of(run: Run) -> str:
    networks = [name for name in run.rows["network"].unique() if name]
    name = run.network or (networks[0] if len(networks) == 1 else "")
    return f" of {name}" if name else ""


def escaped(text: Any) -> str:
    r"""A text whose characters mean themselves in LaTeX.

    >>> print(escaped("few_shot 5 % [λ 1]"))
    few\_shot 5 \% [$\lambda$ 1]
    """
    if isinstance(text, float) and math.isnan(text):
        return "--"
    return "".join(_ESCAPED.get(character, character) for character in str(text))


def latex(head: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    """A table environment with the rules of booktabs; cells are LaTeX, the caption is a text."""
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
