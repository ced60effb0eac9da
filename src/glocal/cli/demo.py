"""``glocal demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.cli.options import AsJson
from glocal.cli.output import interval, put_json, put_table, say
from glocal.data.splits import object_folds, split_triplets
from glocal.data.triplets import Triplets
from glocal.data.world import World, simulated_world
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.files import atomic_write, make_folder
from glocal.records import Score, to_json

# naive shrinks toward 0 and not toward an identity: the same λ would be a far stronger penalty
_LMBDA = {"naive": 0.02, "global": 0.1, "glocal": 0.1}
_ALPHA, _TAU = 0.25, 0.1
_SEED = 42


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for scores.jsonl and the transforms.")] = Path(
        "glocal-demo"
    ),
    as_json: AsJson = False,
) -> None:
    """Fit and score every arm on a small simulated world whose answer is known.

    Example: glocal demo --out demo-out
    """
    make_folder(out)
    began = time.perf_counter()
    scores = _run(simulated_world(), out)
    with atomic_write(out / "scores.jsonl") as stream:
        stream.write("".join(to_json(score) + "\n" for score in scores).encode())
    seconds = time.perf_counter() - began
    if as_json:
        put_json({"simulated": True, "seconds": seconds, "scores": scores, "out": str(out)})
        return
    _show(scores)
    typer.echo(f"\n{seconds:.1f} s; scores and transforms written to {out}")


def _run(world: World, out: Path) -> list[Score]:
    """All arms on the training fold, scored on held-out objects and held-out local images."""
    from glocal.aligner import fit_arm
    from glocal.data.features import Features

    objects, local = world.objects, world.local
    train, heldout = (world.triplets.select(part) for part in split_triplets(world.triplets, len(objects), seed=_SEED))
    heldout_images = object_folds(len(local), 3, _SEED)[0]
    training_images = np.setdiff1d(np.arange(len(local)), heldout_images)
    training_local = Features(local.matrix[training_images], None, local.source)
    say(
        f"simulated world: {len(objects)} objects, {len(world.triplets)} simulated answers ({len(train)} to train on, "
        f"{len(heldout)} on held-out objects), {len(local)} local images ({len(heldout_images)} held out)"
    )
    scalars = objects.standardization
    before = scalars(local.matrix[heldout_images], "float64")
    scores = _score("original", scalars(objects.matrix, "float64"), heldout, before, before)
    for method, lmbda in _LMBDA.items():
        fitted = fit_arm(
            objects, train, local_features=training_local, method=method,
            alpha=_ALPHA, tau=_TAU, lmbda=lmbda, seed=_SEED,
        )  # fmt: skip
        fitted.transform.save(out / f"{method}.npz")
        after = fitted.transform.apply(local.matrix[heldout_images].astype(np.float64))
        scores += _score(
            method, fitted.transform.apply(np.asarray(objects.matrix, dtype=np.float64)), heldout, before, after
        )
    return scores + _score("the simulated people", world.mind, heldout, None, None)


def _score(
    arm: str, Z: np.ndarray, heldout: Triplets, before: np.ndarray | None, after: np.ndarray | None
) -> list[Score]:
    similarity = "cosine" if before is not None else "dot"  # simulated people compare by dot products
    found = odd_one_out(Z, heldout, similarity=similarity)
    scores = [
        Score("odd-one-out", f"accuracy_{similarity}", found.accuracy, found.low, found.high, found.n, "heldout", arm),
        Score("odd-one-out", "loss", found.loss, None, None, found.n, "heldout", arm),
    ]
    if before is not None and after is not None:
        kept = neighbours_kept(before, after)
        scores.append(Score("structure", "neighbours_kept", kept, None, None, len(before), "heldout", arm))
    return scores


def _show(scores: list[Score]) -> None:
    rows = []
    for arm in dict.fromkeys(score.transform for score in scores):
        of_arm = {
            score.metric.removesuffix("_cosine").removesuffix("_dot"): score
            for score in scores
            if score.transform == arm
        }
        accuracy = of_arm["accuracy"]
        kept = of_arm.get("neighbours_kept")
        rows.append([arm, interval(accuracy.value, accuracy.low, accuracy.high), f"{kept.value:.3f}" if kept else ""])
    typer.echo("SIMULATED DATA: a world with a known answer, not people\n")
    put_table(["arm", "agreement on held-out objects", "neighbours kept"], rows)
    typer.echo(
        "\nagreement: odd-one-out accuracy with 95 % interval, chance 0.333; the last row answers by the similarities"
        "\nthe simulated people used, the best any features can reach. neighbours kept: share of each held-out image's"
        "\nten nearest neighbours that stay."
    )
