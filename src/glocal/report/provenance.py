"""Where the numbers of a report come from, as a table of names and values for each folder."""

from __future__ import annotations

from typing import Any

from glocal._version import __version__
from glocal.errors import counted
from glocal.report.loading import Run, SweepRun


def provenance(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """(folder, [(name, value)]): settings, seed, versions, machine and SHA-256 of the data; the report's own last."""
    found = []
    for name in run.names:
        suite = run.suites.get(name)
        lines = [] if suite is None else _suite(suite)
        for sweep in run.sweeps:
            if sweep.name == name:
                lines += _sweep(sweep)
        found.append((name, lines or [("provenance", "none was recorded in this folder")]))
    return [*found, ("this page", [("glocal", __version__)])]


def brief(run: Run) -> list[str]:
    """One line a folder for the head of the page; versions and all hashes stand in `provenance`."""
    lines = []
    for name in run.names:
        told = []
        if name in run.suites:
            plan = run.suites[name]["plan"]
            counts = ", ".join(counted(len(plan[f"{what}s"]), what) for what in ("network", "arm", "task"))
            record = run.suites[name].get("provenance") or {}
            told.append(f"suite of {counts}; fold {plan['fold']} of {plan['folds']} held out, seed {plan['seed']}")
            told.append(f"glocal {record.get('version')}")
        for sweep in run.sweeps:
            if sweep.name == name:
                told.append(f"sweep of {counted(len(sweep.points), 'point')}, seed {sweep.config.get('seed')}")
                told += [f"{what} {str(sha)[:12]}" for what, sha in sweep.config.get("data", {}).items()]
        lines.append(f"{name}: {'; '.join(told) or 'scores without provenance'}")
    return [*lines, f"page by glocal {__version__}"]


def _suite(suite: dict[str, Any]) -> list[tuple[str, str]]:
    plan = suite["plan"]
    lines = [
        ("kind", "suite"), ("networks", ", ".join(plan["networks"])), ("baseline", str(plan["baseline"])),
        ("held out", f"fold {plan['fold']} of {plan['folds']}, seed {plan['seed']}"),
    ]  # fmt: skip
    lines += [(f"arm {name}", _settings(settings) or "no transform") for name, settings in plan["arms"].items()]
    lines += [(f"task {name}", _settings(settings)) for name, settings in plan["tasks"].items()]
    return lines + _record(suite.get("provenance") or {})


def _sweep(sweep: SweepRun) -> list[tuple[str, str]]:
    kept = (
        "method", "alpha", "lmbda", "mix", "tau", "eta", "bias", "folds", "seed", "tol", "block_size", "dtype", "local",
    )  # fmt: skip
    lines = [("kind", "sweep"), *((key, _text(sweep.config[key])) for key in kept if key in sweep.config)]
    chosen = sweep.meta.get("sweep", {})
    if chosen:
        settings = {key: chosen["best"].get(key) for key in ("method", "alpha", "lmbda", "mix", "tau", "eta", "bias")}
        lines += [
            ("rule", str(chosen.get("rule"))),
            ("chosen", _settings(settings)),
            ("reason", str(chosen.get("reason"))),
        ]
    record = sweep.meta.get("fit", {}).get("provenance") or {"data": sweep.config.get("data", {})}
    return lines + _record(record)


def _record(record: dict[str, Any]) -> list[tuple[str, str]]:
    kept = ("version", "seed", "device", "machine", "python", "threads")
    lines = [("glocal" if key == "version" else key, str(record[key])) for key in kept if record.get(key) is not None]
    return lines + [(f"SHA-256 of {name}", str(sha)) for name, sha in (record.get("data") or {}).items()]


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in settings.items() if value is not None)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
