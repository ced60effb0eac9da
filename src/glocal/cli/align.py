"""``glocal align``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from glocal.aligner.keep import Keep
from glocal.cli.fit import CentreOption, parse_centre, show_fit
from glocal.cli.inputs import AnswersFile, Normalize
from glocal.cli.options import flat
from glocal.cli.output import AsJson, progress_bar


@flat
def align(
    model: Annotated[str, Option(help="Network to align, as in glocal extract.")],
    images: Annotated[str, Option(help="One image for each object: folder, pattern or list.")],
    out: Annotated[
        Path, Option(help="Folder of the results; the same command continues an interrupted run.")
    ],
    answers: AnswersFile,
    keep: Keep,
    local_images: str | None = Option(None, help="Other images, whose neighbours are kept."),
    layer: str | None = Option(None, help="Layer to extract. [default: penultimate]"),
    centre: CentreOption = "0",
    normalize: Normalize = False,
    as_json: AsJson = False,
) -> None:
    """Align a named network with people's answers, from images to a model card and a report.

    The steps are to extract and check features, to fit by --keep, and to write the transform, its
    card and a report. The same command continues an interrupted run.

    Example: glocal align --model timm:vit_base_patch16_224.dino --images objects
    --answers answers.npz --out aligned
    """
    loaded = answers.load()
    with progress_bar("align") as progress:
        from glocal.align import align as run_align  # libraries that it imports print

        fitted = run_align(
            model,
            images,
            loaded,
            out,
            object_ids=answers.names,
            local_images=local_images,
            layer=layer,
            keep=keep.keep,
            centre=parse_centre(centre),
            normalize=normalize,
            progress=lambda step, count, total: progress(count or None, total or None, step),
        )
    show_fit(
        fitted.record,
        out,
        written=f"{out}: transform.npz, README.md (the model card), report.html, features",
        as_json=as_json,
    )
