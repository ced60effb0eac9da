"""``glocal data list`` and ``glocal data fetch``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.output import AsJson, progress_bar, put_json, say
from glocal.data.datasets.download import Fetched, cache_folder, fetch, find
from glocal.data.datasets.registry import FILES, IMAGE_SETS, ImageSetTerms
from glocal.files import make_folder

Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="Cache folder; else $GLOCAL_CACHE, or the cache folder of this system."),
]


def list_command(cache: Cache = None, as_json: AsJson = False) -> None:
    """List the published files that fetch knows, and the image data sets that extract opens by name.

    For each file its size, licence, and whether it is in the cache; for each image data set its terms, splits and the
    command that extracts it. Nothing is downloaded.

    Example: glocal data list --json
    """
    folder = cache or cache_folder()
    files = [
        {**asdict(entry), "cached": (folder / entry.path).is_file(), "verified": entry.checksum is not None}
        for entry in FILES.values()
    ]
    if as_json:
        sets = [{**asdict(one), "extract": _extraction(one)} for one in IMAGE_SETS.values()]
        put_json({"cache": str(folder), "files": files, "image_sets": sets})
        return
    typer.echo(f"files for glocal data fetch (cache: {folder})")
    for entry in FILES.values():
        cached = "cached" if (folder / entry.path).is_file() else ""
        typer.echo(f"  {entry.name:<58} {_megabytes(entry.size):>9}  {cached:<6}  {entry.licence}")
        typer.echo(f"      {entry.what}" + (f". NOTE: {entry.warning}" if entry.warning else ""))
    typer.echo(f"image data sets for glocal extract (--root; else {folder / 'images'})")
    for one in IMAGE_SETS.values():
        typer.echo(f"  {one.name:<58} {one.size:>9}  {'':<6}  {one.terms}")
        typer.echo(f"      {one.what}")
        typer.echo(f"      {_extraction(one)}" + f"   (splits: {', '.join(one.splits)})" * bool(one.splits))


def _extraction(one: ImageSetTerms) -> str:
    """The command that extracts a data set."""
    split = one.splits[0] if one.splits else "SPLIT"
    where = "--download" if one.download else "--root DIR"
    return f"glocal extract {one.name}:{split} --model MODEL --out OUT {where}"


def fetch_command(
    names: Annotated[list[str], typer.Argument(help="Names that glocal data list prints.")],
    out: Annotated[Path | None, typer.Option("--out", help="Also copy the files below this folder.")] = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Download published files once, verify their checksums, and say where they are.

    The proxies of the environment are used. A file that is in the cache and whole is not downloaded again.

    Example: glocal data fetch transforms/clip_ViT-L/14/visual things/triplets-test10 things/sortindex --out data
    """
    entries = [find(name) for name in names]
    if out is not None:
        make_folder(out)
    results = []
    for entry in entries:
        done = _fetched(entry.name, out, cache)
        say(f"{entry.name}: {'downloaded' if done.downloaded else 'in the cache'}; {entry.licence}; {entry.citation}")
        results.append({**asdict(done), "licence": entry.licence, "citation": entry.citation})
        if not as_json:
            typer.echo(str(done.path))
    if as_json:
        put_json({"files": results})


def _fetched(name: str, out: Path | None, cache: Path | None) -> Fetched:
    with progress_bar(f"fetching {name}", unit="B") as progress:
        return fetch(name, out=out, cache=cache, progress=lambda n, total: progress(n, total or None))


def _megabytes(n: int | None) -> str:
    return f"{n / 1e6:.3g} MB" if n else "? MB"
