"""``glocal transforms``: published and shared transforms, listed, pulled and pushed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.cli.output import AsJson, progress_bar, put, put_json
from glocal.data.sources import cache_folder, published
from glocal.files import writing

app = typer.Typer(help="List, pull and push transforms.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _transforms() -> None:
    """List, pull and push transforms."""


@app.command("pull")
def pull_command(
    name: Annotated[
        str | None,
        typer.Argument(help="clip-vit-b-32, MODEL/LAYER as thingsvision names them, or OWNER/NAME on the hub."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also copy it to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a transform once and print its path; without a name, list those that have one.

    Example: glocal transforms pull clip_ViT-L/14/visual --out transform.npz
    """
    from glocal.transform import LinearTransform
    from glocal.transform.hub import pull

    if name is None:
        _list(as_json)
        return
    with progress_bar(f"pulling {name}", unit="B") as progress:
        found = pull(name, progress=lambda n, total: progress(n, total or None))
    loaded = LinearTransform.load(found)  # a page of an error is no transform
    if out is not None:
        with writing(out):
            found = Path(shutil.copy(found, out))
    put_json({"path": str(found), "dimensions": loaded.dimensions, **loaded.meta}) if as_json else put(str(found))


@app.command("push")
def push_command(
    transform: Annotated[str, typer.Argument(help="Transform file, ours or the authors', or a name of one.")],
    to: Annotated[str, typer.Argument(help="A folder, or hf://OWNER/NAME, a repository on the Hugging Face hub.")],
    licence: Annotated[str | None, typer.Option("--licence", help="Identifier such as mit or cc-by-4.0.")] = None,
    base_model: Annotated[
        str | None, typer.Option("--base-model", help="The network on the hub. [default: of timm, its own]")
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="A data set of answers on the hub.")] = None,
    private: Annotated[bool, typer.Option("--private", help="If the repository is created, make it private.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a transform and its model card to a folder or to a repository on the Hugging Face hub.

    Log in before with hf auth login, or set $HF_TOKEN.

    Example: glocal transforms push transform.npz hf://OWNER/NAME --licence mit
    """
    from glocal.transform import LinearTransform

    loaded = LinearTransform.from_pretrained(transform)
    described = {"licence": licence, "base_model": base_model, "datasets": dataset or ()}
    if "://" in to:
        to = loaded.push_to_hub(to, private=private, **described)
    else:
        loaded.save_pretrained(to, **described)
    put_json({"name": to}) if as_json else put(to)


def _list(as_json: bool) -> None:
    from glocal.transform import LinearTransform
    from glocal.transform.hub import in_the_box

    boxed = {name: LinearTransform.load(path).meta for name, path in in_the_box().items()}
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "what": f"comes with glocal; of {meta['source']['model']}",
            "licence": meta["card"]["licence"],
            "cached": True,
            "warning": None,
        }
        for name, meta in boxed.items()
    ]
    found += [
        {
            "name": name.removeprefix("transforms/"), "what": entry.what, "licence": entry.licence,
            "cached": (cache_folder() / entry.path).is_file(), "warning": entry.warning,
        }
        for name, entry in published().items()
        if name.startswith("transforms/")
    ]  # fmt: skip
    if as_json:
        put_json({"transforms": found})
        return
    for one in found:
        put(f"{one['name']:<48} {one['what']}" + (f". NOTE: {one['warning']}" if one["warning"] else ""))
