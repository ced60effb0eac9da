"""``glocal transforms``: list, pull and push published and shared transforms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

import typer
from pydantic import Field
from typer import Argument, Option

from glocal.cli.options import flat, refuse_overwriting_inputs
from glocal.cli.output import catalogue, print_result, progress_bar
from glocal.data.sources.registry import published
from glocal.errors import ParameterError
from glocal.files import writable_target
from glocal.options import Options
from glocal.transform import LinearTransform, push_to_hub, save_pretrained
from glocal.transform.card import CARD_NAME
from glocal.transform.catalogue import PUBLISHED, bundled, locate, pull
from glocal.transform.formats import ENDINGS, TRANSFORM_NAME, record_json
from glocal.transform.record import TransformRecord

app = typer.Typer(
    help="List, pull and push transforms.", no_args_is_help=True, rich_markup_mode="markdown"
)


@app.command("pull")
@flat
def pull_command(
    name: str | None = Argument(
        None, help="clip-vit-b-32, MODEL/LAYER as thingsvision names them, or hf://OWNER/NAME."
    ),
    out: Path | None = Option(None, help="Also write it to this .npz or .safetensors file."),
) -> None:
    """Download a transform once and print its path; without a name, list all transforms.

    Example: glocal transforms pull clip_ViT-L/14/visual --out transform.npz
    """
    if name is None:
        return _list()
    if out is not None:
        writable_target(out, what="--out", endings=ENDINGS)
    with progress_bar(f"pulling {name}", unit="B") as progress:
        path = pull(name, progress=progress)
    transform = LinearTransform.load(path)  # raises if the file is an error page
    if out is not None:
        refuse_overwriting_inputs("--out", out, path)
        transform.save(out)
        path = out
    stated = {"path": str(path), "dimensions": transform.dimensions}
    print_result(stated | json.loads(record_json(transform.record)), str(path))


def _list() -> None:
    """Print the transforms of the package and the published transforms."""
    rows = []
    for name, path in bundled().items():
        packaged = LinearTransform.load(path).record
        what = f"comes with glocal; for {packaged.source.model}"
        rows.append((name, packaged.card.licence, what, ""))
    for name, entry in published().items():
        if name.startswith(PUBLISHED):
            warning = entry.warning or ""
            rows.append((name.removeprefix(PUBLISHED), entry.licence, entry.what, warning))
    keys = ("name", "licence", "what", "warning")
    record = {"transforms": [dict(zip(keys, row, strict=True)) for row in rows]}
    print_result(record, *catalogue(rows))


@app.command("list", hidden=True)
def list_command() -> None:
    """Say how the names are listed."""
    raise ParameterError(
        "glocal transforms pull, without a name, lists the names of all transforms."
    )


class SourceOptions(Options):
    """The features that a transform maps, and notes on it, for its record and its card."""

    panel: ClassVar[str] = "Record and card"

    model_name: str | None = Field(
        None, description="Name of the network, for the record and the card."
    )
    layer: str | None = Field(None, description="Layer of that network.")
    preprocessing: str | None = Field(
        None, description="Preprocessing of the images, or of the rows after extraction."
    )
    notes: str | None = Field(None, description="Markdown for the card: data, limits, purpose.")

    def described(self, record: TransformRecord) -> TransformRecord:
        """Return the record of a transform, with its entries replaced by these options."""
        options = {
            "model": self.model_name,
            "layer": self.layer,
            "preprocessing": self.preprocessing,
        }
        stated = {name: option for name, option in options.items() if option is not None}
        card = record.card if self.notes is None else record.card.replace(notes=self.notes)
        source = record.source.model_copy(update=stated)
        return record.model_copy(update={"source": source, "card": card})


@app.command("push")
@flat
def push_command(
    source: SourceOptions,
    transform: Annotated[str, Argument(help="Transform file or name.")],
    to: Annotated[
        str,
        Argument(help="A folder, or hf://OWNER/NAME, a repository on the Hugging Face hub."),
    ],
    licence: str | None = Option(None, help="Identifier of the licence, such as mit or cc-by-4.0."),
    base_model: str | None = Option(
        None, help="The network on the hub. [default: the recorded network, if it is from timm]"
    ),
    dataset: list[str] | None = Option(None, help="Data set of answers on the hub; repeatable."),
    private: bool = Option(False, "--private", help="Create the repository as private."),
) -> None:
    """Write a transform and its model card to a folder or to a repository on the Hugging Face hub.

    To push to the hub, log in first with hf auth login, or set $HF_TOKEN.

    Example: glocal transforms push transform.npz hf://OWNER/NAME --licence mit
    """
    path = locate(transform)
    fitted = LinearTransform.load(path)
    fitted = replace(fitted, record=source.described(fitted.record))
    options = {"licence": licence, "base_model": base_model, "datasets": dataset or ()}
    if "://" in to:
        name = push_to_hub(fitted, to, private=private, **options)
        print_result({"name": name}, name)
        return
    for name in (TRANSFORM_NAME, CARD_NAME):
        refuse_overwriting_inputs("the output", Path(to) / name, path)
    save_pretrained(fitted, to, **options)
    print_result(
        {"name": to},
        f"written to the folder {to}, not published; push to hf://OWNER/NAME to publish it",
    )
