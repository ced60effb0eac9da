"""``glocal align``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from glocal.aligner.keep import Keep
from glocal.cli.fit import CentreOption, parse_centre
from glocal.cli.inputs import (
    AnswersFile,
    flat,
    refuse_overwriting_inputs,
)
from glocal.cli.output import AsJson, print_result, progress_bar
from glocal.cli.sweep import KeptShare, chosen


@flat
def align(
    model: Annotated[str, Option(help="Network to align, as in glocal extract.")],
    images: Annotated[str, Option(help="One image for each object: folder, pattern or list.")],
    out: Annotated[
        Path, Option(help="Folder of the results; the same command continues an interrupted run.")
    ],
    answers: AnswersFile,
    promise: Keep,
    keep: KeptShare = None,
    local_images: str | None = Option(None, help="Other images, whose neighbours are kept."),
    layer: str | None = Option(None, help="Layer to extract. [default: penultimate]"),
    centre: CentreOption = "0",
    dry_run: bool = Option(
        False, "--dry-run", help="Print the numbers of images, answers and fits, and stop."
    ),
    as_json: AsJson = False,
) -> None:
    """Align a named network with people's answers, from images to a model card and a report.

    The steps are to extract and check features, to sweep and score settings, and to write the
    transform, its card and a report. The same command continues an interrupted run.

    Example: glocal align --model timm:vit_base_patch16_224.dino --images objects
    --answers answers.npz --out aligned
    """
    refuse_overwriting_inputs({"--out": out}, images, local_images, *answers.paths)
    with contextlib.redirect_stdout(sys.stderr):  # other libraries print
        from glocal.align import Inputs
        from glocal.align import align as run_align

        loaded = answers.load(answers.answers)
        inputs = Inputs(model, images, loaded, answers.names, local_images, layer)
        counts = inputs.counts()
    if dry_run:
        print_result(
            as_json, counts, *(f"{name:<14} {number:,}" for name, number in counts.items())
        )
        return
    with progress_bar("align") as progress:
        result = run_align(
            inputs,
            out,
            keep=promise.keep,
            centre=parse_centre(centre),
            progress=lambda step, count, total: progress(count or None, total or None, step),
        )
    record = {
        **counts,
        "best": result.best,
        "reason": result.reason,
        "scores": result.scores,
        "out": out,
    }
    written = f"written to {out}: transform.npz, README.md (the model card), report.html"
    print_result(as_json, record, *chosen(result), written)
