"""The page and the figures that show docs/evidence.json, by the tables of evidence_pages.toml."""

import json
import math
import re
import tomllib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from workbench import ROOT

from glocal.files import make_folder, write_text
from glocal.report.looks import COLOURS, CONTROL, Look, looks

RECORD = ROOT / "docs/evidence.json"
PAGE = ROOT / "docs/all-results.md"
IMAGES = ROOT / "docs/img"
PLAN = tomllib.loads((ROOT / "benchmarks/evidence_pages.toml").read_text("utf-8"))
NAMES: dict[str, str] = PLAN["names"]
LEVEL = 0.05
HEAD = """\
# All results

`make evidence` writes this page from [the record](evidence.json): a table for each network, and CSV
files with all arms. [Results](results.md) says what the numbers mean. Brackets are 95 % intervals.
Differences are paired, and bold ones have p < .05 after Holm's correction for all comparisons of
tasks. A difference is marked *rough* if its interval rests on too few draws or images. Intervals of
few-shot classification, anomaly detection and retrieval are for other images of the same classes.
"""
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
MAX_TICKS = 8
OUTLINES = {
    "original": "m0,1a4,4 0 1 1 -0.01,0z",
    "keep": "m0,-1l5,9h-10z",
    "centred": "l5,5l-5,5l-5,-5z",
    "glocal": "m-1.5,0h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
    "naive": "m-5,1h10l-5,9z",
    "names": "m4,0v10l-9,-5z",
    "mean subtracted": "m-4,1h8v8h-8z",
    "global": "m-4,0v10l9,-5z",
}
"""The outline of a method's mark, drawn from five pixels above its middle."""
FIGURES = Environment(loader=FileSystemLoader(ROOT / "benchmarks"), autoescape=True)
FIGURES.globals["outlines"] = {COLOURS[method]: d for method, d in OUTLINES.items()}
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
    return [
        row
        for row in record.get(plan.get("rows", "scores"), [])
        if all(row[field] in values for field, values in allowed.items())
    ]


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
    files = []
    for plan in PLAN["tables"]:
        rows = selected_rows(record, plan)
        compared = [row for row in rows if row.get("difference_high") is not None]
        n = len(compared)
        if plan.get("worse"):
            rows = [row for row in compared if row["difference_high"] < 0]
        if rows:
            note = plan["note"].format(n=n, worse=len(rows), by_chance=round(n * LEVEL / 2))
            address = f"all-results/{plan['rows']}.csv"
            if plan.get("is_file_alone"):
                files.append(f"- [{plan['title']}]({address}). {note}")
                continue
            text = markdown(table(rows, plan))
            parts.append(f"## {plan['title']}\n\n{note} [CSV]({address})\n\n{text}\n")
    listing = "\n".join(files)
    parts.append(f"## Tables that are files alone\n\n{listing}\n")
    return "\n".join(parts)


def write_page(record: Record) -> None:
    """Write the page, and the rows of all its tables as CSV."""
    folder = make_folder(PAGE.with_suffix(""))
    for name in dict.fromkeys(plan["rows"] for plan in PLAN["tables"]):
        if record.get(name):
            write_text(folder / f"{name}.csv", pd.DataFrame(record[name]).to_csv(index=False))
    write_text(PAGE, page(record))


def draw(record: Record) -> None:
    """Draw the figures of the record, each once more for a phone."""
    for plan in PLAN["figures"]:
        for layout in ("", "-narrow"):
            file = make_folder(IMAGES) / f"{plan['name']}{layout}.svg"
            write_text(file, drawing(record, plan, is_narrow=bool(layout)))


def drawing(record: Record, plan: Record, *, is_narrow: bool = False) -> str:
    """The figure of a plan: differences by lines, or what its kind says."""
    kind = plan.get("kind", "forest")
    values = FIGURE_VALUES[kind](record, plan)
    return FIGURES.get_template(f"{kind}.svg").render(plan | values, is_narrow=is_narrow)


def forest(record: Record, plan: Record) -> Record:
    """Differences with their intervals, a group for each line and a colour for each method.

    Groups are sorted by their largest difference. Arms that share a colour are named beside their
    intervals, and stand in the sections of the plan, if it has any. Figures of the same columns
    and measured networks have one axis.
    """
    order = [label(plan["column"], column) for column in members(plan["columns"])]
    sections = plan.get("sections", {"": members(plan["columns"])})
    groups = [
        group
        for section, columns in sections.items()
        for group in sorted_groups(record, plan, section, columns)
    ]
    alike = [other for other in PLAN["figures"] if has_same_axis(plan, other)]
    rows = [row for figure in [plan, *alike] for row in differences(record, figure)]
    low = min(0.0, *(row["difference_low"] for row in rows))
    high = max(0.01, *(row["difference_high"] for row in rows))
    styles = looks_of(order)
    return {
        "looks": styles,
        "is_named": len({look.colour for look in styles.values()}) < len(styles),
        "groups": groups,
        "ticks": ticks(low, high),
    }


def sorted_groups(
    record: Record, plan: Record, section: str, columns: list[Any]
) -> list[tuple[str, list[tuple[str, Record]]]]:
    """The groups of a section, from the largest difference on, with their arms in order."""
    groups: dict[str, list[tuple[str, Record]]] = {}
    rows = differences(record, plan)
    for column in columns:
        for row in rows:
            if row[plan["column"]] == column:
                line = label(plan["lines"], row[plan["lines"]])
                group = groups.setdefault(f"{section}\n{line}".strip(), [])
                group.append((label(plan["column"], column), row))
    return sorted(groups.items(), key=largest_difference, reverse=True)


def differences(record: Record, plan: Record) -> list[Record]:
    """The rows of a figure that have a difference with an interval."""
    columns = members(plan["columns"])
    return [
        row
        for row in selected_rows(record, plan)
        if row[plan["column"]] in columns and row.get("difference_low") is not None
    ]


def has_same_axis(plan: Record, other: Record) -> bool:
    """Whether two figures show the gains of the same arms on the same networks."""
    if plan["columns"] != "gains" or other.get("columns") != "gains":
        return False
    return bool(plan["where"]["network"] == other["where"]["network"])


def largest_difference(group: tuple[str, list[tuple[str, Record]]]) -> float:
    """The largest difference of a group."""
    return max(row["difference"] for _, row in group[1])


def fronts(record: Record, plan: Record) -> Record:
    """Agreement against neighbours kept of each setting of a sweep, a panel for each network."""
    naive = [row | {"method": "naive"} for row in record["arms"] if row["arm"] == "naive"]
    networks: dict[str, dict[str, list[Record]]] = {}
    for row in record["fronts"] + naive:
        methods = networks.setdefault(name_of(row["network"]), {})
        methods.setdefault(label("arm", row["method"]), []).append(row)
    styles = looks_of(label("arm", method) for method in members(plan["columns"]))
    return {"networks": networks, "looks": styles}


def trade(record: Record, plan: Record) -> Record:
    """The gain of each `keep` over the neighbours given up, a line for each network."""
    networks: dict[str, list[Record]] = {}
    for row in selected_rows(record, plan):
        point = row | {"given_up": 1 - row["neighbours_kept"]}
        networks.setdefault(name_of(row["network"]), []).append(point)
    for points in networks.values():
        points.sort(key=lambda point: point["given_up"])
    return {"networks": networks, "looks": looks_of(networks)}


def atlas_map(record: Record, plan: Record) -> Record:
    """The places of unseen objects before and after, and a look for each of their groups."""
    places = record["map"]
    groups = dict.fromkeys(point["group"] for point in places["points"])
    before, after = map(decimals, places["silhouette"])
    note = plan["note"].format(
        shown=len(places["points"]), objects=places["objects"], before=before, after=after
    )
    return {"map": places, "looks": looks_of(groups), "note": note}


FIGURE_VALUES = {"forest": forest, "fronts": fronts, "trade": trade, "map": atlas_map}


def looks_of(arms: Iterable[str]) -> dict[str, Look]:
    """The looks of arms by their names; controls look alike."""
    controls = {label("arm", control): CONTROL for control in members("controls")[2:]}
    return {arm: controls.get(arm, look) for arm, look in looks(arms).items()}


def ticks(low: float, high: float) -> list[float]:
    """The ticks of an axis from low to high, at most `MAX_TICKS` of a round size."""
    step = next(size for size in TICKS if high - low <= MAX_TICKS * size)
    positions: list[float] = (
        step * np.arange(math.floor(low / step), math.ceil(high / step) + 1)
    ).tolist()
    return positions


def label(field: str, value: Any) -> str:
    """The name of a line or method without marks of code; a `keep` has its name before it."""
    name = name_of(str(value)).replace("`", "")
    return f"keep {name}" if field == "keep" else name
