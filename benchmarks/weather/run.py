"""Run what is tried against the package in bad weather, and write the table of docs/reliability.md.

    python benchmarks/weather/run.py                run every driver: hours
    python benchmarks/weather/run.py numbers        one of them
    … | python benchmarks/weather/run.py -          take lines that a driver has printed

A driver prints one JSON object as its last line: driver, what (was tried), tried (how often), outcomes (name: count).
docs/reliability.json keeps the last one of each, as soon as it has ended. Where a driver fails, the others run all the
same; the exit code is 1 then, and where something came out that may not.
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
MAY_NOT_BE = ("amiss", "differ", "another error", "crashes", "hangs")
_BEGIN, _END = "<!-- The table is written by benchmarks/weather/run.py -->\n", "<!-- end of the table -->\n"


def main(names: list[str]) -> int:
    if unknown := set(names) - {"-", *DRIVERS}:
        sys.exit(f"there is no driver {min(unknown)}; drivers are {', '.join(DRIVERS)}.")
    wrong = 0
    for line in sys.stdin if names == ["-"] else map(_last_line, names or DRIVERS):
        try:
            found = json.loads(line)
            _keep(found)
        except (ValueError, KeyError, TypeError):
            print(f"no result: {line.strip()[:200]!r}", file=sys.stderr)
            wrong += 1
        else:
            wrong += sum(found["outcomes"].get(outcome, 0) for outcome in MAY_NOT_BE)
    return 1 if wrong else 0


def _last_line(name: str) -> str:
    script, *arguments = DRIVERS[name].split()
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    last = done.stdout.splitlines()[-1:]
    return last[0] if last and not done.returncode else f"{name} ended with exit code {done.returncode}, {last}"


def _keep(found: dict) -> None:
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept[found["driver"]] = found
    table = _table(kept)
    before, rest = PAGE.read_text().split(_BEGIN)
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(before + _BEGIN + table + _END + rest.split(_END)[1])


def _table(kept: dict[str, dict]) -> str:
    rows = ["", "| tried | how often | what happened | driver |", "|---|---:|---|---|"]
    for name, found in sorted(kept.items()):
        happened = ", ".join(f"{outcome} {count:,}" for outcome, count in found["outcomes"].items())
        rows.append(f"| {found['what']} | {found['tried']:,} | {happened} | {name} |")
    return "\n".join([*rows, "", ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
