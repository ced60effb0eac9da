"""``glocal extract``."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glocal.cli.inputs import flat, refuse_overwriting_inputs
from glocal.cli.output import AsJson, progress_bar, put, put_json, put_table, say, show
from glocal.errors import DataError, ParameterError
from glocal.extract.network import Running

if TYPE_CHECKING:
    from glocal.extract import Extraction, Extractor
    from glocal.extract.images import Source


@flat
def extract(
    model: Annotated[
        str,
        typer.Option(
            help="timm:NAME, openclip:ARCHITECTURE:WEIGHTS, torchvision:NAME[:WEIGHTS], python:package.module:factory, "
            "or a name that thingsvision writes.",
        ),
    ],
    running: Running,
    images: Annotated[str, typer.Argument(help="Folder, pattern, list, one image, or a data set as NAME:SPLIT.")] = "",
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Module, penultimate, logits or output; repeat it for several, in one pass."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the features, their names and record.")] = None,
    list_layers: Annotated[bool, typer.Option("--list-layers", help="List the layers of the model and stop.")] = False,
    root: Annotated[Path | None, typer.Option(help="Folder of a data set. [default: images in glocal's cache]")] = None,
    download: Annotated[bool, typer.Option("--download", help="Download a data set that is missing.")] = False,
    shard: Annotated[
        str, typer.Option(help="i/n: compute the i-th of n parts; all parts share one --out folder.")
    ] = "1/1",
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Exit with 0 even if some images have no row, and list them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a network over images and write one row of features for each.

    The features of a data set come with labels: labels.txt has the class of each row, labels_coarse.txt its superclass.
    imagenet and imagefolder are class folders below --root.

    An interrupted run continues when the same command is given again. Images that cannot be read are listed, and the
    exit code is 1 unless --skip-unreadable is given; the rows are those of file_names.txt.

    Example: glocal extract images --model timm:vit_base_patch16_224.dino --out features
    """
    from glocal.extract import Extractor

    extractor = Extractor(model, layer or (), **running.model_dump())
    if list_layers:
        return _list(extractor, as_json)
    if not images or out is None:
        raise ParameterError(f"{'--out' if images else 'IMAGES'} is missing. See glocal extract --help.")
    refuse_overwriting_inputs({"--out": out}, images, root, running.weights)
    part = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", shard)
    if part is None:
        raise ParameterError(f"--shard is {shard!r}; write i/n, for example 1/4 for the first of four processes.")
    source = _source(images, root, download)
    with progress_bar("extracting", len(source), unit="images") as progress:
        numbers = int(part[1]), int(part[2])
        result = extractor.extract(source, out, part=numbers, progress=lambda done, total: progress(done))
    _put(result, source, as_json)
    if result.missing and not skip_unreadable:
        raise DataError(
            f"{len(result.missing)} of {len(source)} images have no row, see record.json; all other rows are written. "
            "If that is acceptable, pass --skip-unreadable."
        )


def _source(images: str, root: Path | None, download: bool) -> Source:
    """The images of a data set by name, or of a path."""
    from glocal.extract import load_images, open_images
    from glocal.extract.sets import image_sets, parse_set

    named = parse_set(images)
    if named is None:
        if root is not None or download:
            raise ParameterError(f"--root and --download apply only to named data sets; {images} is not one.")
        return open_images(images)
    name, split = named
    terms = image_sets()[name]
    say(f"{name}: {terms['what']}; terms: {terms['terms']}; cite {terms['citation']}")
    with progress_bar(f"opening {name}"):
        return load_images(name, split, root, download=download)


def _put(result: Extraction, source: Source, as_json: bool) -> None:
    """Say what has no row and what was left out, and print what was written."""
    for name, reason in result.missing[:50]:  # record.json lists all
        say(f"no row: {name} {reason}")
    if source.ignored:
        say(f"left out for want of an image extension: {len(source.ignored)} of the files, {source.ignored[0]} first.")
    record, finished = result.record, bool(result.files)
    told = [
        f"{record['rows']} rows of {record['dimensions'][layer]} dimensions ({layer}) written to {file}"
        for layer, file in result.files.items()
    ]
    if not finished:
        told = [f"this part is done; the features appear in {result.folder} when the last part is."]
    show(as_json, {**record, "finished": finished, "total": len(source), "out": result.folder}, *told)


def _list(extractor: Extractor, as_json: bool) -> None:
    """Print the modules of a network, and what the other names of layers stand for."""
    with contextlib.redirect_stdout(sys.stderr):  # what the code of others prints
        model = extractor.loaded
    layers = [{"layer": name, "type": type(module).__name__} for name, module in model.modules.items()]
    named = {name: str(layer) for name, layer in model.named.items()} | {"default": model.default_layer}
    if as_json:
        return put_json({"model": model.name, "layers": layers, "named": named})
    put_table(["layer", "type"], [list(one.values()) for one in layers])
    put(*(f"{name} is the {meant}" for name, meant in named.items()))
