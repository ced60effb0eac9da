"""The transforms that `make evidence` compares, and the labelled images on which it does so.

Each arm is fitted without each of three folds of the objects and local images, and to all of them.
`naive`, `global` and the controls have the λ that `keep` found on the folds, without any label. The
plain names of arms and controls are in evidence_pages.toml. The controls are

simulated  `global`, on answers that the SPoSE-49 embedding of the objects gives
shuffled   `global`, on the same questions with an odd one that is drawn at random
exchanged  `global`, on the same answers with shuffled objects
diagonal   one factor for each column, fitted to the answers
random     the singular values of `global` on random directions
"""

import tomllib
import warnings
from copy import copy
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from workbench import LOCAL, OUT, ROOT, UNIT, data_of, kept, object_ids, real_data

from glocal import Answers, Features, FitData, LinearTransform, ObjectiveSettings, fit, join
from glocal.aligner import Exact, KeepCurve, keep_curve
from glocal.aligner.data import Centre
from glocal.aligner.folds import Fold, fit_folds
from glocal.aligner.mixtures import Mixture, best_on_path
from glocal.aligner.search import PathSearch
from glocal.data.labels import load_labels
from glocal.data.world import simulated_answers
from glocal.errors import DataWarning
from glocal.files import array_sha256, make_folder
from glocal.objective import ChoiceLoss, Objective
from glocal.solver import identity_scale

FOLDER = OUT / "evidence"
DATA = FOLDER / "data"
FOLDS = 3
PARTS = (*map(str, range(FOLDS)), "all")
KEEPS = (0.9, 0.8, 0.6)  # of the arms that are fitted to all data too
CURVE = (0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
PREFIXES: dict[Centre, str] = {0: "", 1: "centred-"}
"""The beginning of the names of arms by the share of the column means that is subtracted first."""
BASELINES: dict[Centre, str] = {0: "original", 1: "centred"}
"""The arms without a fit."""
OTHER_ANSWERS = ("simulated", "shuffled", "exchanged")
DIAGONAL_PENALTY = 1e-3
"""Its held-out loss is below that of 0.01 on each network."""
MAX_COLUMNS_OF_DIAGONAL = 600
"""With more, one factor for each column takes minutes."""
IMAGES = tomllib.loads(Path(__file__).with_name("images.toml").read_text("utf-8"))
FILES = ("features", "labels")
Record = dict[str, Any]


def path(network: str, arm: str, part: str) -> Path:
    """The file of the transform of an arm without a fold, or of the one fitted to all data."""
    return DATA / network / "transforms" / f"{arm}-{part}.npz"


def transforms(network: str, arm: str) -> dict[str, LinearTransform]:
    """The transforms of an arm."""
    files = {part: path(network, arm, part) for part in PARTS}
    return {part: LinearTransform.load(file) for part, file in files.items() if file.exists()}


def hashes(network: str, arm: str) -> list[str]:
    """What the transforms of an arm are."""
    parts = transforms(network, arm).values()
    return [array_sha256(np.vstack(part.folded())) for part in parts]


def make(network: str) -> dict[Centre, Record]:
    """Make the arms that have no files, and return the curve of `keep` for each centre."""
    data = data_of(network)
    inputs = data.hashes(local=True)
    folder = FOLDER / "arms" / network
    make_folder(DATA / network / "transforms")
    curves: dict[Centre, Record] = {}
    for centre, prefix in PREFIXES.items():
        make_arms = partial(make_of_curve, network, centre, data)
        curves[centre] = kept(folder / f"{prefix}curve.json", inputs, make_arms)
    lmbda = curves[0]["lmbda"]
    for arm in ("naive", "random", "diagonal", *OTHER_ANSWERS):
        if arm != "diagonal" or data.features.dimensions <= MAX_COLUMNS_OF_DIAGONAL:
            make_arm = partial(make_other, network, arm, data, lmbda)
            kept(folder / f"{arm}.json", [inputs, lmbda], make_arm)
    return curves


def make_of_curve(network: str, centre: Centre, data: FitData) -> Record:
    """Make the arms that one search over folds yields."""
    data = replace(data, centre=centre)
    curve = keep_curve(data, keep=0.9)
    prefix = PREFIXES[centre]
    identity = np.eye(data.features.dimensions)
    save(network, BASELINES[centre], data, [identity] * len(PARTS))
    settings = ObjectiveSettings(method="global", lmbda=curve.penalty)
    of_all = fit(data, settings).transform.weights
    save(network, f"{prefix}global", data, [*curve.search.fit(curve.penalty), of_all])
    rows = [keep_row(network, f"{prefix}keep-{keep}", curve, keep) for keep in CURVE]
    return {"lmbda": curve.penalty, "rows": rows}


def save(network: str, arm: str, data: FitData, weights: list[np.ndarray]) -> None:
    """Write the transforms of an arm.

    Centred data use the means of the fitted objects.
    """
    for part, W in zip(PARTS, weights, strict=False):
        transform = data.transform(W.astype(np.float32))
        if data.centre == 1 and part != "all":
            fitted = fit_folds(data, FOLDS, "objects")[int(part)].data.objects
            transform = transform.recentred(data.features.matrix[fitted], weight=0)
        transform.save(path(network, arm, part))


def keep_row(network: str, arm: str, curve: KeepCurve, keep: float) -> Record:
    """What a `keep` gives on the folds, whose transforms it saves, for `KEEPS` with that of all."""
    position = curve.choose(keep)
    parts = curve.fold_transforms(position)
    weights = [part.weights for part in parts]
    if keep in KEEPS:
        weights.append(curve.solve(keep).transform.weights)
    save(network, arm, curve.data, weights)
    scores = curve.heldout_scores(position).model_dump(exclude={"seed", "folds", "converged"})
    row = {"arm": arm, "keep": keep, "lmbda": position.lmbda, **scores}
    return row | local_gain(curve, position, keep)


def local_gain(curve: KeepCurve, position: Mixture, keep: float) -> Record:
    """What a mixture gains over the best one of `global` and the original that keeps as many."""
    if curve.data.local_features is None:
        return {}
    of_global = copy(curve.search)  # whose paths lead from the original features to it
    of_global.alphas = (0.0,)
    points = [best_on_path(of_global.path(lmbda), keep) for lmbda in curve.losses]
    best = max(points, key=attrgetter("agreement"))
    gain = curve.search.heldout.estimate(position.credit - best.credit)
    names = ("local_gain", "local_gain_low", "local_gain_high")
    return dict(zip(names, gain.bounded((-1.0, 1.0)), strict=True))


def make_other(network: str, arm: str, data: FitData, lmbda: float) -> None:
    """Make `naive`, or a control of `global`, at the λ of `global`."""
    warnings.filterwarnings("ignore", "answers: the features agree with", DataWarning)
    if arm in OTHER_ANSWERS:
        answers = Answers.from_array(other_answers(arm, data))
        data = replace(data, answers=answers, objects=data.answers.named_objects())
    folds = fit_folds(data, FOLDS, "objects")
    parts = parts_of(data, folds)
    if arm == "random":
        fitted = transforms(network, "global").values()
        weights = [random_directions(part.weights.astype(np.float64)) for part in fitted]
    elif arm == "naive":
        weights = [
            fit(part, ObjectiveSettings(method="naive", lmbda=lmbda)).transform.weights
            for part in parts
        ]
    elif arm == "diagonal":
        weights = [diagonal(part) for part in parts]
    else:
        of_all = fit(parts[-1], ObjectiveSettings(method="global", lmbda=lmbda)).transform.weights
        weights = [*PathSearch(Exact().problem(data, local=False), folds).fit(lmbda), of_all]
    save(network, arm, data, weights)


def parts_of(data: FitData, folds: list[Fold]) -> list[FitData]:
    """The data without each fold, and all data."""
    return [*(fold.data for fold in folds), replace(data, objects=None)]


def other_answers(arm: str, data: FitData) -> np.ndarray:
    """The answers of a control, as rows of the features."""
    rng = np.random.default_rng(42)
    objects = data.answers.objects
    if arm == "shuffled":
        return rng.permuted(objects, axis=1)
    if arm == "exchanged":
        return rng.permutation(len(data.features))[objects]
    mind = np.load(real_data() / "things" / "spose_49d.npy")
    return join(data.features, simulated_answers(mind, len(objects)), object_ids()).answers.objects


def random_directions(W: np.ndarray) -> np.ndarray:
    """The spectrum of a symmetric matrix, on random orthogonal directions."""
    Q, R = np.linalg.qr(np.random.default_rng(42).normal(size=W.shape))
    Q *= np.sign(np.diag(R))
    return (Q * np.linalg.eigvalsh((W + W.T) / 2)) @ Q.T


def diagonal(part: FitData) -> np.ndarray:
    """The diagonal matrix diag d that minimises L_global + λ Σ (d - mean d)²."""
    lmbda = DIAGONAL_PENALTY
    X, answers = part.objects_and_answers("float32")
    loss = ChoiceLoss(X, answers.objects, answers.pairs)

    def objective(d: np.ndarray) -> tuple[float, np.ndarray]:
        value, dW = loss(np.diag(d).astype(X.dtype))
        spread = d - d.mean()
        slope = dW.diagonal().astype(np.float64) + 2 * lmbda * spread
        return value + lmbda * float(spread @ spread), slope

    start = np.full(X.shape[1], identity_scale(Objective(loss, None, 0.0, lmbda, 1.0))[0])
    options = {"ftol": 1e-7}
    return np.diag(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x)


# labelled images


def images(network: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The labelled sets of a network, which are new to all fits: rows and classes."""
    sets = {}
    for each in IMAGES["sets"]:
        file, labels = (f"{real_data()}/{each[key]}".format(network=network) for key in FILES)
        if Path(file).exists() and LOCAL[network] != each["name"]:
            with warnings.catch_warnings():  # line i of these tables is row i
                warnings.filterwarnings("ignore", ".* label i is taken", DataWarning)
                features, names = load_labels(labels, Features.load(file))
            classes = pd.Series(names).astype(str)
            if "class" in each:
                classes = classes.str.extract(each["class"])[0]
            members = classes.groupby(classes)
            is_used = members.transform("size") >= each.get("least", 1)
            is_used &= members.cumcount() < each.get("most", len(classes))
            X = Features(np.asarray(features.matrix)[is_used])
            rows = np.asarray(X.unit(always=network in UNIT).matrix)
            sets[each["name"]] = (rows, classes[is_used].to_numpy(str))
    return sets


def halves(y: np.ndarray) -> np.ndarray:
    """The half of each class that is shown in anomaly detection."""
    shown = pd.Series(y).groupby(y).sample(frac=0.5, random_state=42).index
    return np.isin(np.arange(len(y)), shown)


def write_data(network: str) -> Record:
    """Write the files that evidence.toml names, and return the size of each set."""
    folder = make_folder(DATA / network)
    for source in (real_data() / "things", ROOT / "benchmarks" / "superclasses"):
        if not (DATA / source.name).exists():
            (DATA / source.name).symlink_to(source)
    sizes = {}
    for name, (X, y) in images(network).items():
        shown = halves(y)
        for part, rows in (("", np.full(len(y), True)), ("-shown", shown), ("-tested", ~shown)):
            np.save(folder / f"{name}{part}.npy", X[rows].astype(np.float32))
            np.save(folder / f"{name}{part}-labels.npy", y[rows])
        sizes[name] = [len(y), len(np.unique(y))]
    return sizes
