"""Run what is tried against the package in bad weather, and write the table of docs/reliability.md.

    python benchmarks/weather/run.py                run every driver: hours
    python benchmarks/weather/run.py numbers        one of them
    … | python benchmarks/weather/run.py -          take lines that a driver has printed

A driver prints one JSON object as its last line: driver, what (was tried), tried (how often), outcomes (name: count).
docs/reliability.json keeps the last one of each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parents[1] / "docs" / "reliability.md"
KEPT = PAGE.with_suffix(".json")
DRIVERS = {
    "readers": "readers.py 100000 1 --out readers.jsonl",
    "faults": "faults.py 10 1 --out faults.jsonl",
    "numbers": "random_problems.py 100 1",
    "mutants": "mutants.py 10 1 --out mutants.jsonl",
}
_BEGIN, _END = "<!-- The table is written by benchmarks/weather/run.py -->\n", "<!-- end of the table -->\n"


def main(names: list[str]) -> None:
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    lines = sys.stdin if names == ["-"] else (_last_line(DRIVERS[name]) for name in names or DRIVERS)
    for line in lines:
        found = json.loads(line)
        kept[found["driver"]] = found
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    before, rest = PAGE.read_text().split(_BEGIN)
    PAGE.write_text(before + _BEGIN + _table(kept) + _END + rest.split(_END)[1])


def _last_line(command: str) -> str:
    script, *arguments = command.split()
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def _table(kept: dict[str, dict]) -> str:
    rows = ["", "| tried | how often | what happened | driver |", "|---|---:|---|---|"]
    for name, found in sorted(kept.items()):
        happened = ", ".join(f"{outcome} {count:,}" for outcome, count in found["outcomes"].items())
        rows.append(f"| {found['what']} | {found['tried']:,} | {happened} | {name} |")
    return "\n".join([*rows, "", ""])


if __name__ == "__main__":
    main(sys.argv[1:])
