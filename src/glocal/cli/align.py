"""``glocal align``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from typer import Argument, Option

from glocal.aligner.keep import Keep
from glocal.cli.fit import CentreOption, parsed_centre, show_fit
from glocal.cli.options import Normalize, ObjectIds, flat, read_ids
from glocal.cli.output import progress_bar
from glocal.data.answers import Answers
from glocal.options import Options


class Pictures(Options):
    """The images that a network is run on."""

    panel: ClassVar[str] = "Images"

    images: str = Field(description="One image for each object: folder, pattern or list.")
    local_images: str | None = Field(None, description="Other images, whose neighbours are kept.")
    layer: str | None = Field(None, description="Layer to extract. [default: penultimate]")


@flat
def align(
    model: Annotated[str, Argument(help="Network, as --model of glocal extract.")],
    answers: Annotated[Path, Option(help="Answers, as in glocal fit.")],
    out: Annotated[
        Path, Option(help="Folder of the results; the same command continues an interrupted run.")
    ],
    pictures: Pictures,
    keep: Keep,
    object_ids: ObjectIds = None,
    centre: CentreOption = None,
    normalize: Normalize = False,
) -> None:
    """Align a network with people's answers about images.

    The steps are to extract and check features, to fit by --keep, and to write the transform, its
    card and a report. With features at hand, published ones too, use glocal fit.

    Example: glocal align timm:vit_base_patch16_224.dino --images objects
    --answers answers.npz --out aligned
    """
    ids = read_ids(object_ids)
    judged = Answers.load(answers, names=ids)
    with progress_bar("align") as progress:
        from glocal import recipes  # libraries that it imports print

        fitted = recipes.align(
            model,
            answers=judged,
            object_ids=ids,
            out=out,
            centre=parsed_centre(centre),
            normalize=normalize,
            progress=lambda step, count, total: progress(count or None, total or None, step),
            **pictures.model_dump(),
            **keep.model_dump(),
        )
    files = f"{out}: transform.npz, README.md (the model card), report.html, features"
    show_fit(fitted.record, out, files)
