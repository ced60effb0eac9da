"""``glocal extract``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glocal.cli.output import AsJson, others_to_stderr, progress_bar, put, put_json, put_table, say
from glocal.errors import DataError, ParameterError
from glocal.extras import needed

if TYPE_CHECKING:
    from glocal.data.sources import ImageSet
    from glocal.extract import Extraction, Extractor
    from glocal.extract.source import Source

_NAMED = 50


def extract(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="timm:NAME, openclip:ARCHITECTURE:WEIGHTS, torchvision:NAME[:WEIGHTS], python:package.module:factory, "
            "or a name of thingsvision's.",
        ),
    ],
    images: Annotated[
        str | None,
        typer.Argument(
            help="Folder, pattern, list of paths, .tar shards, one image, or NAME:SPLIT (see glocal data fetch)."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", help="Module, penultimate, logits or output; give it again for more, in one pass."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the features, their names and record.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="A checkpoint file, or none for random weights.")
    ] = None,
    pool: Annotated[
        str, typer.Option("--pool", help="auto, cls, mean or flatten: from tokens or maps to one row.")
    ] = "auto",
    root: Annotated[
        Path | None,
        typer.Option("--root", help="Where a data set lies. [default: the folder images of glocal's cache]"),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download a data set that is not there; its checksum is compared.")
    ] = False,
    captions: Annotated[
        Path | None, typer.Option("--captions", help="Text, one caption a line, for the text tower; instead of images.")
    ] = None,
    list_layers: Annotated[bool, typer.Option("--list-layers", help="List the layers of the model and stop.")] = False,
    device: Annotated[str, typer.Option("--device", help="Any torch device, or auto: a GPU if there is one.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, float16 or bfloat16.")] = "float32",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images in one pass of the network.")] = 32,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Threads that decode. [default: one a processor, at most 8]")
    ] = None,
    chunk_size: Annotated[
        int, typer.Option("--chunk-size", help="Images written together: what a killed run does again at most.")
    ] = 512,
    shard: Annotated[
        str | None, typer.Option("--shard", help="i/n: do the i-th of n parts; all write into one folder.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Dask cluster to run on: its address, or its scheduler file.")
    ] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Exit 0 although some images have no row; they are named.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a network over images and write one row of features for each.

    A data set is opened by its name, as in cifar100:test; labels.txt beside its features has the class of each row, and
    labels_coarse.txt its superclass. imagenet and imagefolder are class folders below --root.

    A killed run goes on where it was when the command is given again. Images that cannot be read are named at the end,
    and the exit code is 1 unless --skip-unreadable is given; rows are those of file_names.txt.

    Example: glocal extract images --model timm:vit_base_patch16_224.dino --out features
    """
    from glocal.data.sources import parse_set
    from glocal.extract import Extractor, open_captions, open_images
    from glocal.extract.extractor import parse_shard

    if (images is None) == (captions is None) and not list_layers:
        _usage("Missing argument 'IMAGES'" if images is None else "IMAGES and --captions exclude each other")
    if out is None and not list_layers:
        _usage("Missing option '--out'")
    extractor = Extractor(
        model, layer or (), pool=pool, weights=weights, device=device, dtype=dtype, batch_size=batch_size,
        workers=workers, text=captions is not None,
    )  # fmt: skip
    if list_layers:
        _list(extractor, as_json)
        return
    part = None if shard is None else parse_shard(shard)
    named = None if images is None else parse_set(images)
    if named is None and (root is not None or download):
        raise ParameterError(f"--root and --download apply only to named data sets; {images or captions} is not one.")
    if named is not None:
        if scheduler is not None:
            raise ParameterError(
                "a cluster needs the path of the images; give the folder of the data set, or use --shard."
            )
        source = open_images(_data_set(*named, root, download))
    else:
        source = open_captions(captions) if captions is not None else open_images(str(images))
    known = source.known_missing()
    if known and not skip_unreadable:
        _name_missing([(source.items[number].name, reason) for number, reason in known])
        raise DataError(
            f"{len(known)} of {len(source)} images cannot be read; nothing was extracted. Mend or remove them, or pass "
            "--skip-unreadable to go without them."
        )
    began = time.perf_counter()
    with progress_bar("extracting", len(source), unit="images") as progress, others_to_stderr():
        result = extractor.extract(
            source if scheduler is None or captions is not None else str(images), Path(str(out)),
            shard=part, scheduler=scheduler, chunk_size=chunk_size, progress=lambda done, total: progress(done),
        )  # fmt: skip
    _say_left_out(result)
    _put(result, source, time.perf_counter() - began, as_json)
    if result.missing and not skip_unreadable:
        raise DataError(
            f"{len(result.missing)} of {result.total} images have no row; the rows that are there are whole. Pass "
            "--skip-unreadable if that is meant."
        )


def _data_set(name: str, split: str | None, root: Path | None, download: bool) -> ImageSet:
    from glocal.data.sources import image_sets, load_images

    terms = image_sets()[name]
    say(f"{name}: {terms['what']}; terms: {terms['terms']}; cite {terms['citation']}")
    with others_to_stderr():
        found = load_images(name, split, root, download=download)
    say(f"{len(found)} images, {found.source}")
    return found


def _usage(what: str) -> None:
    say(f"error: {what}. See glocal extract --help.")
    raise typer.Exit(2)


def _say_left_out(result: Extraction) -> None:
    _name_missing(result.missing)
    if result.ignored:
        shown = ", ".join(result.ignored[:5]) + (", …" if len(result.ignored) > 5 else "")
        say(f"{len(result.ignored)} files do not have the extension of an image and were left out: {shown}")


def _name_missing(missing: Any) -> None:
    for name, reason in missing[:_NAMED]:
        say(f"no row: {name} {reason}")
    if len(missing) > _NAMED:
        say(f"no row: {len(missing) - _NAMED} more; record.json lists all once the run is finished.")


def _put(result: Extraction, source: Source, seconds: float, as_json: bool) -> None:
    if as_json:
        keys = ("model", "weights", "weights_sha256", "preprocessing", "layers", "pool", "dtype", "dimensions")
        put_json({
            **{key: result.record.get(key) for key in keys}, "finished": result.finished, "rows": result.rows,
            "total": result.total, "missing": [{"name": n, "reason": r} for n, r in result.missing],
            "ignored": len(result.ignored), "files": {layer: str(file) for layer, file in result.files.items()},
            "seconds": seconds, "out": str(result.folder),
        })  # fmt: skip
        return
    if not result.finished:
        put(
            f"{result.rows + len(result.missing)} of {result.total} inputs are done in {result.folder}; other parts "
            "are still missing. The features appear with the last of them."
        )
        return
    for layer, file in result.files.items():
        put(f"{result.rows} rows of {result.record['dimensions'][layer]} dimensions ({layer}) written to {file}")
    if source.labels:
        put(f"labels beside them: {', '.join(f'{name}.txt' for name in source.labels)}")
    put(f"order: {source.order}")


def _list(extractor: Extractor, as_json: bool) -> None:
    from glocal.extract.layers import list_layers

    if extractor.text:
        raise ParameterError("--list-layers is about the image tower; leave --captions out.")
    with others_to_stderr():
        model = extractor.loaded
        Image = needed("PIL.Image", "--list-layers")
        if model.module is not None:
            model.module.eval()
        rows = [list(row) for row in list_layers(model, Image.new("RGB", (256, 256), "gray"))]
    meaning = {name: str(layer) for name, layer in model.named.items()}
    if as_json:
        put_json({
            "model": model.name, "default": model.default_layer, "named": meaning,
            "layers": [dict(zip(("layer", "type", "shape"), row, strict=True)) for row in rows],
        })  # fmt: skip
        return
    put_table(["layer", "type", "shape for one image"], rows)
    for name, meant in meaning.items():
        put(f"{name} is the {meant}")
    put(f"default: {model.default_layer}")
