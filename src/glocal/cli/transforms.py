"""``glocal transforms``: published and shared transforms, listed, pulled and pushed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.inputs import refuse_overwriting_inputs
from glocal.cli.output import AsJson, progress_bar, put_json, put_table, show
from glocal.data.sources import published
from glocal.files import writing
from glocal.transform import LinearTransform
from glocal.transform.sharing import PUBLISHED, in_the_box, pull

app = typer.Typer(help="List, pull and push transforms.", no_args_is_help=True, rich_markup_mode="rich")


@app.command("pull")
def pull_command(
    name: Annotated[
        str | None,
        typer.Argument(help="clip-vit-b-32, MODEL/LAYER as thingsvision names them, or OWNER/NAME on the hub."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also copy it to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a transform once and print its path; without a name, list those that have one.

    Example: glocal transforms pull clip_ViT-L/14/visual --out transform.npz
    """
    if name is None:
        heads, rows = ("name", "what", "licence", "warning"), []
        for key, path in in_the_box().items():
            meta = LinearTransform.load(path).meta
            rows.append((key, f"comes with glocal; of {meta['source']['model']}", meta["card"]["licence"], ""))
        for key, entry in published().items():
            if key.startswith(PUBLISHED):
                rows.append((key.removeprefix(PUBLISHED), entry.what, entry.licence, entry.warning or ""))
        if as_json:
            return put_json({"transforms": [dict(zip(heads, row, strict=True)) for row in rows]})
        return put_table(heads, rows)
    refuse_overwriting_inputs({"--out": out}, name)
    with progress_bar(f"pulling {name}", unit="B") as progress:
        path = pull(name, progress=lambda n, total: progress(n, total or None))
    loaded = LinearTransform.load(path)  # a page of an error is no transform
    if out is not None:
        with writing(out):
            path = Path(shutil.copy(path, out))
    show(as_json, {"path": str(path), "dimensions": loaded.dimensions, **loaded.meta}, str(path))


@app.command("push")
def push_command(
    transform: Annotated[str, typer.Argument(help="Transform file, ours or the authors', or a name of one.")],
    to: Annotated[str, typer.Argument(help="A folder, or hf://OWNER/NAME, a repository on the Hugging Face hub.")],
    licence: Annotated[str | None, typer.Option(help="Identifier such as mit or cc-by-4.0.")] = None,
    base_model: Annotated[str | None, typer.Option(help="The network on the hub. [default: that of timm]")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="A data set of answers on the hub; repeatable.")] = None,
    private: Annotated[bool, typer.Option("--private", help="If the repository is created, make it private.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a transform and its model card to a folder or to a repository on the Hugging Face hub.

    Log in first with hf auth login, or set $HF_TOKEN.

    Example: glocal transforms push transform.npz hf://OWNER/NAME --licence mit
    """
    loaded = LinearTransform.from_pretrained(transform)
    described = {"licence": licence, "base_model": base_model, "datasets": dataset or ()}
    if "://" in to:
        to = loaded.push_to_hub(to, private=private, **described)
    else:
        loaded.save_pretrained(to, **described)
    show(as_json, {"name": to}, to)
