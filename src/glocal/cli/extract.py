"""``glocal extract``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from glocal.cli.options import flat
from glocal.cli.output import print_message, print_result, progress_bar
from glocal.errors import DataError, ParameterError
from glocal.extract.names import Running

if TYPE_CHECKING:
    from glocal.extract import Extraction
    from glocal.extract.images import Source


@flat
def extract(
    images: Annotated[str, Argument(help="Folder, pattern, list, or one image.")],
    model: Annotated[
        str,
        Option(
            help="timm:NAME, openclip:ARCHITECTURE:WEIGHTS, torchvision:NAME[:WEIGHTS], "
            "python:package.module:factory, or a name that thingsvision writes.",
        ),
    ],
    out: Annotated[Path, Option(help="Folder for the features, their names and the record.")],
    running: Running,
    layer: list[str] | None = Option(
        None,
        help="Layer to read: a module, penultimate, logits or output. Repeat the option for "
        "several layers in one pass.",
    ),
    shard: str = Option(
        "1/1", help="i/n: compute the i-th of n parts; all parts share one --out folder."
    ),
    skip_unreadable: bool = Option(
        False,
        "--skip-unreadable",
        help="List the images without a row, but exit with 0.",
    ),
) -> None:
    """Run a network over images and write one row of features for each.

    file_names.txt names the image of each row. If IMAGES has a folder for each class, labels.txt
    has the class of each row.

    The same command continues an interrupted run. It lists images that it cannot read, and gives
    them no row. The exit code is then 1 unless you pass --skip-unreadable.

    Example: glocal extract images --model timm:vit_base_patch16_224.dino --out features
    """
    from glocal.extract import Extractor, open_images

    extractor = Extractor(model, layer or (), **running.model_dump())
    part = _part(shard)
    source = open_images(images)
    with progress_bar("extracting", len(source), unit="images") as progress:
        extraction = extractor.extract(source, out, part=part, progress=progress)
    _print_extraction(extraction, source)
    if extraction.missing and not skip_unreadable:
        raise DataError(
            f"{len(extraction.missing)} of {len(source)} images have no row, see record.json; all "
            "other rows are written. If that is acceptable, pass --skip-unreadable."
        )


def _part(shard: str) -> tuple[int, int]:
    """The numbers i and n of ``i/n``."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", shard)
    if match is None:
        raise ParameterError(
            f"--shard is {shard!r}; write i/n, for example 1/4 for the first of four processes."
        )
    return int(match[1]), int(match[2])


def _print_extraction(extraction: Extraction, source: Source) -> None:
    """Report images that have no row, and print what was written."""
    for name, reason in extraction.missing[:50]:  # record.json lists all
        print_message(f"no row: {name} {reason}")
    record = extraction.record
    lines = []
    for layer, file in extraction.files.items():
        shape = f"{record['rows']} rows of {record['dimensions'][layer]} dimensions"
        lines.append(f"{shape} ({layer}) written to {file}")
    if not lines:
        lines = [f"this part is done; the features appear in {extraction.folder} after all parts."]
    summary = {"finished": bool(extraction.files), "total": len(source), "out": extraction.folder}
    print_result(record | summary, *lines)
