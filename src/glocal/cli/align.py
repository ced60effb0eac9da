"""``glocal align``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.cli.answers import AnswersForm, names_of
from glocal.cli.command import takes
from glocal.cli.features import LayerName
from glocal.cli.output import AsJson, others_to_stderr, progress_bar, put, put_json, put_table, say
from glocal.errors import ParameterError


@takes()
def align(
    model: Annotated[str, typer.Option("--model", help="Network to align; as in glocal extract.")],
    images: Annotated[str, typer.Option("--images", help="One image for each object: folder, pattern or list.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the results; the same command goes on in it.")],
    given: AnswersForm,
    triplets: Annotated[
        Path | None, typer.Option("--triplets", "--answers", help="Answers. [default: those of THINGS, fetched]")
    ] = None,
    local_images: Annotated[
        str | None, typer.Option("--local-images", help="Other images, whose neighbours are kept.")
    ] = None,
    layer: LayerName = None,
    skip: Annotated[
        str | None,
        typer.Option("--skip", help="Steps to leave out, with commas between: check,score,export,page,card."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, with sizes and times, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Align a named network with people's answers: extract, check, choose and fit, score, export, page, card.

    Each step is done once for its content: the same command goes on after an interruption and repeats nothing.

    Example: glocal align --model timm:vit_base_patch16_224.dino --images objects --answers answers.npz --out aligned
    """
    with others_to_stderr():
        from glocal.align import Inputs, plan
        from glocal.align import align as align_all

        if triplets is None and given != AnswersForm():
            raise ParameterError("--object-ids, --kind and the like say how to read --answers; pass --answers too.")
        answers = None if triplets is None else given.load(triplets)
        inputs = Inputs(model, images, answers, names_of(given.object_ids), local_images, layer)
        left_out = [step for step in (skip or "").replace(" ", "").split(",") if step]
        planned = plan(inputs, out, left_out)
    steps = [{"step": one.step, "what": one.what, "seconds": round(one.seconds, 1)} for one in planned]
    rows = [[one.step, one.what, _time(one.seconds)] for one in planned]
    if dry_run:
        if as_json:
            put_json({"plan": steps, "seconds": sum(one.seconds for one in planned)})
        else:
            put_table(["step", "on", "about"], rows, keys=2)
        return
    for row in rows:
        say(f"{row[0]}: {row[1]}, about {row[2]}")
    with progress_bar("align") as progress, others_to_stderr():
        done = align_all(
            inputs, out, skip=left_out,
            on_step=lambda step, part, total: progress(part or None, total or None, step),
        )  # fmt: skip
    if as_json:
        told: dict[str, Any] = {"plan": steps, "choice": done.choice, "score": done.score, "findings": done.findings}
        put_json({**told, "files": done.files, "sweep": done.sweep, "said": done.said, "out": out})
        return
    put(*(f"written to {file}" for file in done.files), f"chosen: {done.choice['reason']}", *done.said)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
