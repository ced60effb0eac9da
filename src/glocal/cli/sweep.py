"""``glocal sweep`` and ``glocal align``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glocal.aligner import Exact, FitData, PaperLoop
from glocal.aligner.data import Blocks
from glocal.aligner.keep import Keep
from glocal.cli.fit import CentreOption, SolverName, parse_centre, solver_of, words
from glocal.cli.inputs import AnswersFile, FeaturesPath, LayerName, LocalPath, flat, names_of
from glocal.cli.output import AsJson, Verbose, interval, progress_bar, put_table, say, show
from glocal.data.features import Features

if TYPE_CHECKING:
    from glocal.sweep import Sweep


@flat
def sweep(
    features: FeaturesPath,
    answers: AnswersFile,
    out: Annotated[Path, typer.Option(help="Folder of the sweep.")],
    keep: Keep,
    exact: Exact,
    paper: PaperLoop,
    blocks: Blocks,
    local_features: LocalPath = None,
    grid: Annotated[
        str,
        typer.Option(help="arms (all methods on one front), paper, or a TOML file: method, lmbda, mix, "
                     "alpha, tau; eta with --solver paper."),
    ] = "arms",
    folds: Annotated[int, typer.Option(help="Parts of objects and local images.")] = 3,
    select: Annotated[
        str | None,
        typer.Option(help="In place of --keep: loss, 'neighbours_kept>=0.9' or 'agreement>=0.5', each "
                     "also with a method before it, as in 'naive loss'."),
    ] = None,
    centre: CentreOption = "0",
    solver: SolverName = "exact",
    jobs: Annotated[int, typer.Option(help="Processes that fit the grid; -1 for one per core.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Dask cluster to run on: address or scheduler file.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep in --out.")] = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Fit and score all methods on folds of objects; choose one setting and refit it on all objects.

    Example: glocal sweep --features features.npy --answers triplets.npy --local-features local.npy --out sweep
    """
    loaded = Features.load(features)
    joined = answers.to_fit(loaded)
    local = None if local_features is None else Features.load(local_features)
    from glocal.sweep import sweep as run

    data = FitData(loaded, joined.answers, local, n_dropped=joined.n_dropped, centre=parse_centre(centre), **blocks.model_dump())
    with progress_bar("sweep", unit="points") as progress:
        found = run(
            data, grid, folds=folds, select=select, keep=keep.keep, jobs=jobs, scheduler=scheduler, out=out,
            resume=resume, solver=solver_of(solver, exact, paper),
            progress=lambda row, done, total: progress(done, total, f"fold {row['fold']}, {row['method']}"),
        )  # fmt: skip
    ended = found.points["status"]
    if trivial := int((ended == "trivial").sum()):
        say(f"{trivial} points have no scores, since their optimum is W = 0: their lmbda is too large.")
    if unconverged := int((~ended.isin(["converged", "trivial"])).sum()):
        say(f"warning: {unconverged} of {len(ended)} points are not converged; see their status in points.jsonl.")
    record = {
        "points": len(found.points), "evaluations": int(found.points["evaluations"].sum()),
        "unconverged": unconverged, "best": found.best, "rule": found.transform.meta["sweep"]["rule"],
        "reason": found.reason, "n_dropped": joined.n_dropped, "out": str(out),
    }  # fmt: skip
    if verbose and not as_json:
        front = found.front.drop(columns="front").dropna(axis=1, how="all").round(4).map(str)
        put_table(list(front), front.to_numpy().tolist())
    written = f"written to {out}: transform.npz (refitted on all objects), the front, means and points"
    show(as_json, record, *chosen(found), written)


@flat
def align(
    model: Annotated[str, typer.Option(help="Network to align; as in glocal extract.")],
    images: Annotated[str, typer.Option(help="One image for each object: folder, pattern or list.")],
    out: Annotated[Path, typer.Option(help="Folder of the results; the same command continues in it.")],
    given: AnswersFile,
    keep: Keep,
    local_images: Annotated[str | None, typer.Option(help="Other images, whose neighbours are kept.")] = None,
    layer: LayerName = None,
    centre: CentreOption = "0",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the numbers of images, answers and fits; stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Align a named network with people's answers: extract, check, sweep, score, transform, card and page.

    The same command continues after an interruption.

    Example: glocal align --model timm:vit_base_patch16_224.dino --images objects --answers answers.npz --out aligned
    """
    with contextlib.redirect_stdout(sys.stderr):  # what the code of others prints
        from glocal import align as steps

        asked, names = given.load(given.answers), names_of(given.object_ids)
        inputs = steps.Inputs(model, images, asked, names, local_images, layer)
        counts = inputs.counts()
    if dry_run:
        show(as_json, counts, *(f"{name:<14} {number:,}" for name, number in counts.items()))
        return
    with progress_bar("align") as progress:
        found = steps.align(
            inputs, out, keep=keep.keep, centre=parse_centre(centre),
            progress=lambda step, done, total: progress(done or None, total or None, step),
        )  # fmt: skip
    record = {**counts, "best": found.best, "reason": found.reason, "scores": found.scores, "out": str(out)}
    written = f"written to {out}: transform.npz, README.md (the model card), report.html"
    show(as_json, record, *chosen(found), written)


def chosen(found: Sweep) -> list[str]:
    """What the choice of a sweep gains and keeps on held-out objects, and which setting it is."""
    before, after, gain = found.scores
    told = f"agreement {before.value:.3f} -> {after.value:.3f}, neighbours kept {found.best['neighbours_kept']:.3f}"
    if gain.p_holm is not None:
        told += (
            f"; gain {interval(gain.value, gain.low, gain.high, sign='+')} on {gain.n:,} held-out answers, "
            f"p = {gain.p_holm:.2g} (corrected for {gain.settings['n_settings']} settings)"
        )
    return [told, f"chosen: {words(found.best)}, {found.reason}"]
