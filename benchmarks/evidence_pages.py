"""The page and the figures that show docs/evidence.json, by the tables of evidence_pages.toml."""

import json
import math
import re
import tomllib
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment
from workbench import ROOT

from glocal.files import make_folder, write_text
from glocal.report import axes_svg

RECORD = ROOT / "docs" / "evidence.json"
PAGE = ROOT / "docs" / "all-results.md"
IMAGES = ROOT / "docs" / "img"
PLAN = tomllib.loads((ROOT / "benchmarks" / "evidence_pages.toml").read_text("utf-8"))
NAMES: dict[str, str] = PLAN["names"]
LEVEL = 0.05
HEAD = """\
---
orphan: true
---
# All results

`make evidence` writes this page from [the record](evidence.json); each table is also a CSV file.
[Results](results.md) says what the numbers mean. Brackets are 95 % intervals; those of differences
are paired, and bold ones have p < .05 after Holm's correction for all comparisons of tasks. A
difference is marked *rough* if its interval rests on too few draws or images. Intervals of
few-shot classification, anomaly detection and retrieval are for other images of the same classes.
"""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
MAX_TICKS = 8
Record = dict[str, Any]


def load() -> Record:
    """The record of all measurements."""
    record: Record = json.loads(RECORD.read_text("utf-8"))
    return record


def rounded(value: Any) -> Any:
    """A value for the record, with six decimals and without NaN."""
    text = json.dumps(value)
    return json.loads(
        text, parse_float=lambda number: round(float(number), 6), parse_constant=lambda _: None
    )


def decimals(value: float, digits: int = 3) -> str:
    """A number without a zero before the point, with a true minus."""
    text = re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")
    return text.replace("-", "−") if float(f"{value:.{digits}f}") else text.replace("-", "")


def name_of(key: str) -> str:
    """The plain name of a network, an arm, or a task and its measure."""
    first, _, rest = key.partition(" ")
    if key in NAMES or rest not in NAMES:
        return NAMES.get(key, key)
    return f"{NAMES[first]}, {NAMES[rest]}"


def field_text(field: str, value: Any) -> str:
    """The text of a field: differences have their sign, and settings are written as they are."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return name_of(value)
    if not isinstance(value, float):
        return str(value)
    if field in ("keep", "centre", "lmbda", "alpha", "tau"):
        return f"{value:g}"
    sign = "+" if field.endswith(("difference", "gain")) and round(value, 3) > 0 else ""
    return sign + decimals(value)


def score_text(row: Record, pattern: str) -> str:
    """The text of a row; one without a difference has its score in place of it."""
    if "{difference}" in pattern and row.get("difference") is None:
        pattern = "{value} [{low}, {high}]" if "value" in row else pattern
    fields = re.findall(r"{(\w+)}", pattern)
    if row.get(fields[0]) is None:
        return "-"
    text = pattern.format_map({field: field_text(field, row.get(field)) for field in fields})
    text = text.replace(" [-, -]", "")
    if row.get("rough") and "difference" in row:
        text += " *rough*"
    return f"**{text}**" if is_certain(row) else text


def is_certain(row: Record) -> bool:
    """Whether a difference is significant after the correction."""
    return (1 if row.get("p_corrected") is None else row["p_corrected"]) < LEVEL


def members(values: Any) -> list[Any]:
    """A list of values, or the group of this name."""
    listed: list[Any] = PLAN["groups"][values] if isinstance(values, str) else values
    return listed


def selected_rows(record: Record, plan: Record) -> list[Record]:
    """The rows of the record that a table or figure shows."""
    allowed = {field: members(values) for field, values in plan.get("where", {}).items()}
    rows = [
        row
        for row in record.get(plan.get("rows", "scores"), [])
        if all(row[field] in values for field, values in allowed.items())
    ]
    if plan.get("worse"):
        return [row for row in rows if is_certain(row) and row["difference"] < 0]
    return rows


def table(rows: list[Record], plan: Record) -> pd.DataFrame:
    """The texts of a table by the fields of `lines` and by one field of columns, if it has one."""
    fields = plan["lines"]
    columns = members(plan["columns"])
    texts = pd.DataFrame(
        {
            **{field: [field_text(field, row[field]) for row in rows] for field in fields},
            "column": [row[plan["column"]] if "column" in plan else columns[0] for row in rows],
            "score": [score_text(row, plan["cell"]) for row in rows],
        }
    )
    pivoted = texts.pivot(index=fields, columns="column", values="score")
    in_order = pivoted.reindex(index=texts.set_index(fields).index.unique(), columns=columns)
    return (
        in_order.astype(object)
        .fillna("-")
        .reset_index()
        .rename(columns=lambda key: name_of(str(key)))
    )


def markdown(texts: pd.DataFrame) -> str:
    """A table as Markdown."""
    lines = [texts.columns, ["---"] * len(texts.columns), *texts.to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(record: Record) -> str:
    """The page of all tables."""
    parts = [HEAD]
    for plan in PLAN["tables"]:
        if rows := selected_rows(record, plan):
            file = f"[CSV](all-results/{plan['rows']}.csv)"
            text = markdown(table(rows, plan))
            parts.append(f"## {plan['title']}\n\n{plan['note']} {file}\n\n{text}\n")
    return "\n".join(parts)


def write_page(record: Record) -> None:
    """Write the page, and the rows of all its tables as CSV."""
    folder = make_folder(PAGE.with_suffix(""))
    for name in dict.fromkeys(plan["rows"] for plan in PLAN["tables"]):
        if record.get(name):
            write_text(folder / f"{name}.csv", pd.DataFrame(record[name]).to_csv(index=False))
    write_text(PAGE, page(record))


def draw(record: Record) -> None:
    """Draw the plots of the record, and the axes of the transform in the package."""
    for plan in PLAN["figures"]:
        write_text(make_folder(IMAGES) / f"{plan['name']}.svg", forest(record, plan))
    naive = [row | {"method": "naive"} for row in record["arms"] if row["arm"] == "naive"]
    fronts = drawing("fronts", rows=record["fronts"] + naive, networks=members("networks"))
    write_text(IMAGES / "fronts.svg", fronts)
    table = pd.DataFrame(record["axes"]["rows"]).query("factor > 1")
    svg = axes_svg(table, "What people’s answers amplify in CLIP ViT-B/32")
    write_text(IMAGES / "axes-clip.svg", svg)


def forest(record: Record, plan: Record) -> str:
    """Differences with their intervals, a group for each line and a colour for each method."""
    columns = members(plan["columns"])
    rows = [
        row
        for row in selected_rows(record, plan)
        if row[plan["column"]] in columns and row.get("difference_low") is not None
    ]
    lines: dict[str, list[tuple[int, Record]]] = {}
    for row in rows:
        line = lines.setdefault(label(plan["lines"], row[plan["lines"]]), [])
        line.append((columns.index(row[plan["column"]]), row))
    low = min(0.0, *(row["difference_low"] for row in rows))
    high = max(0.01, *(row["difference_high"] for row in rows))
    return drawing(
        "forest",
        title=plan["title"],
        columns=[label(plan["column"], column) for column in columns],
        lines=lines.items(),
        ticks=[(tick, field_text("difference", tick)) for tick in ticks(low, high)],
    )


def ticks(low: float, high: float) -> list[float]:
    """The ticks of an axis from low to high, at most `MAX_TICKS` of a round size."""
    step = next(size for size in TICKS if high - low <= MAX_TICKS * size)
    positions: list[float] = (
        step * np.arange(math.floor(low / step), math.ceil(high / step) + 1)
    ).tolist()
    return positions


def drawing(template: str, **values: Any) -> str:
    """The picture of a template of this folder."""
    text = (ROOT / "benchmarks" / f"{template}.svg").read_text("utf-8")
    return (
        Environment(autoescape=True).from_string(text).render(values, colours=COLOURS, names=NAMES)
    )


def label(field: str, value: Any) -> str:
    """The name of a line or method without marks of code; a `keep` has its name before it."""
    name = name_of(str(value)).replace("`", "")
    return f"keep {name}" if field == "keep" else name
