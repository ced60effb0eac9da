"""``glocal data fetch``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.cli.output import AsJson, progress_bar, put, put_json, say
from glocal.data.sources import cache_folder, fetch, image_sets, published


def fetch_command(
    names: Annotated[list[str] | None, typer.Argument(help="Published files; without a name they are listed.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also copy the files below this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download published files once, verify their checksums, and say where they are; without a name, list them.

    The list has each file with its size and licence, and each image data set that extract opens by name with its terms.
    Files are kept in the folder that $GLOCAL_CACHE names, or else in the cache folder of this system; one that is there
    and whole is not downloaded again. The proxies of the environment are used.

    Example: glocal data fetch transforms/clip_ViT-L/14/visual things/triplets-test10 things/sortindex --out data
    """
    known = published()
    if not names:
        _list(as_json)
        return
    results: list[dict[str, Any]] = []
    if unknown := [name for name in names if name not in known]:
        fetch(unknown[0])  # says which names are near
    for name in names:
        with progress_bar(f"fetching {name}", unit="B") as progress:
            path = fetch(name, out=out, progress=lambda done, total: progress(done, total or None))
        entry = known[name]
        say(f"{name}: {entry.licence}; {entry.citation}")
        results.append({**asdict(entry), "path": str(path)})
        if not as_json:
            put(str(path))
    if as_json:
        put_json({"files": results})


def _list(as_json: bool) -> None:
    folder = cache_folder()
    if as_json:
        files = [{**asdict(one), "cached": (folder / one.path).is_file()} for one in published().values()]
        put_json({"cache": str(folder), "files": files, "image_sets": list(image_sets().values())})
        return
    put(f"files (kept in {folder})")
    for one in published().values():
        size = f"{one.size / 1e6:.3g} MB" if one.size else "? MB"
        cached = "cached" if (folder / one.path).is_file() else ""
        put(f"  {one.name:<58} {size:>9}  {cached:<6}  {one.licence}")
        put(f"      {one.what}" + (f". NOTE: {one.warning}" if one.warning else ""))
    put(f"image data sets of glocal extract NAME:SPLIT (kept below --root, or in {folder / 'images'})")
    for name, terms in image_sets().items():
        put(f"  {name:<58} {terms['size']:>9}  {'':<6}  {terms['terms']}")
        put(f"      {terms['what']}" + f" (splits: {', '.join(terms['splits'])})" * bool(terms["splits"]))
