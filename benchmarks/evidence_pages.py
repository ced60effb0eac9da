"""The page and the figures that show docs/evidence.json, by the tables of evidence_pages.toml."""

import json
import math
import re
import tomllib
from collections.abc import Iterator
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
Line = tuple[Any, ...]


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


def text_of(name: str, value: Any) -> str:
    """The text of a field: differences have their sign, and settings are written as they are."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return title(value) if isinstance(value, str) else str(value)
    if name in ("keep", "centre", "lmbda", "alpha", "tau"):
        return f"{value:g}"
    sign = "+" if name.endswith(("difference", "gain")) and round(value, 3) > 0 else ""
    return sign + decimals(value)


def title(name: str) -> str:
    """The plain name of a network, an arm, or a task and its measure."""
    first, _, rest = name.partition(" ")
    if name in NAMES or rest not in NAMES:
        return NAMES.get(name, name)
    return f"{NAMES[first]}, {NAMES[rest]}"


def group(values: Any) -> list[Any]:
    """A list of values, or that of a group."""
    members: list[Any] = PLAN["groups"][values] if isinstance(values, str) else values
    return members


def chosen(record: Record, plan: Record) -> list[Record]:
    """The rows of a table or figure."""
    wanted = {name: group(values) for name, values in plan.get("where", {}).items()}
    rows = [
        row
        for row in record.get(plan.get("rows", "scores"), [])
        if all(row[name] in values for name, values in wanted.items())
    ]
    if plan.get("worse"):
        return [row for row in rows if is_certain(row) and row["difference"] < 0]
    return rows


def is_certain(row: Record) -> bool:
    """Whether a difference is significant after the correction."""
    return (1 if row.get("p_corrected") is None else row["p_corrected"]) < LEVEL


def cell(row: Record | None, pattern: str) -> str:
    """The text of a row; one without a difference has its score in place of it."""
    if row is None:
        return "-"
    if "{difference}" in pattern and row.get("difference") is None:
        pattern = "{value} [{low}, {high}]" if "value" in row else pattern
    names = re.findall(r"{(\w+)}", pattern)
    if row.get(names[0]) is None:
        return "-"
    text = pattern.format_map({name: text_of(name, row.get(name)) for name in names})
    text = text.replace(" [-, -]", "")
    if row.get("rough") and "difference" in row:
        text += " *rough*"
    return f"**{text}**" if is_certain(row) else text


def lines_of(record: Record, plan: Record) -> Iterator[list[str]]:
    """The head of a table, and its lines; without a field of columns each row is a line."""
    names = plan["lines"]
    columns = group(plan["columns"])
    yield [*map(title, names), *(title(str(column)) for column in columns)]
    lines: dict[Line, dict[Any, Record]] = {}
    for row in chosen(record, plan):
        line = lines.setdefault(tuple(row[name] for name in names), {})
        line[row.get(plan.get("column", ""), columns[0])] = row
    for key, line in lines.items():
        texts = [text_of(name, value) for name, value in zip(names, key, strict=True)]
        yield [*texts, *(cell(line.get(column), plan["cell"]) for column in columns)]


def page(record: Record) -> str:
    """The page of all tables."""
    parts = [HEAD]
    for plan in PLAN["tables"]:
        head, *lines = lines_of(record, plan)
        if lines:
            table = [" | ".join(line) for line in (head, ["---"] * len(head), *lines)]
            text = "\n".join(f"| {line} |" for line in table)
            file = f"[CSV](all-results/{plan['rows']}.csv)"
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
    fronts = drawing("fronts", rows=record["fronts"] + naive, networks=group("networks"))
    write_text(IMAGES / "fronts.svg", fronts)
    table = pd.DataFrame(record["axes"]["rows"]).query("factor > 1")
    svg = axes_svg(table, "What people’s answers amplify in CLIP ViT-B/32")
    write_text(IMAGES / "axes-clip.svg", svg)


def forest(record: Record, plan: Record) -> str:
    """Differences with their intervals, a group for each line and a colour for each method."""
    columns = group(plan["columns"])
    lines: dict[str, list[tuple[int, Record]]] = {}
    low = 0.0
    high = 0.01
    for row in chosen(record, plan):
        if row[plan["column"]] in columns and row.get("difference_low") is not None:
            low = min(low, row["difference_low"])
            high = max(high, row["difference_high"])
            members = lines.setdefault(plain(row[plan["lines"]], plan["lines"]), [])
            members.append((columns.index(row[plan["column"]]), row))
    step = next(size for size in TICKS if high - low <= MAX_TICKS * size)
    ticks = step * np.arange(math.floor(low / step), math.ceil(high / step) + 1)
    return drawing(
        "forest",
        title=plan["title"],
        columns=[plain(column, plan["column"]) for column in columns],
        lines=lines.items(),
        ticks=[(tick, text_of("difference", tick)) for tick in ticks.tolist()],
    )


def drawing(template: str, **values: Any) -> str:
    """The picture of a template of this folder."""
    text = (ROOT / "benchmarks" / f"{template}.svg").read_text("utf-8")
    return (
        Environment(autoescape=True).from_string(text).render(values, colours=COLOURS, names=NAMES)
    )


def plain(value: Any, field: str) -> str:
    """The name of a line or method without marks of code; a `keep` has its name before it."""
    name = title(str(value)).replace("`", "")
    return f"keep {name}" if field == "keep" else name
