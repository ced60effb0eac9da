"""``glocal transforms``: published and shared transforms, listed, pulled, pushed, verified and described."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from glocal.cli.features import load_features
from glocal.cli.output import AsJson, progress_bar, put, put_json, say
from glocal.data.datasets.download import cache_folder, copied
from glocal.data.datasets.registry import FILES
from glocal.errors import FileError, GLocalError
from glocal.files import atomic_write, one_line

app = typer.Typer(help="List, pull, push, verify and describe transforms.", no_args_is_help=True, rich_markup_mode=None)
Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="Cache folder; else $GLOCAL_CACHE, or the cache folder of this system."),
]
Sha256 = Annotated[str | None, typer.Option("--sha256", help="The checksum that the file must have.")]
Licence = Annotated[str | None, typer.Option("--licence", help="Of the transform, as an identifier: mit, cc-by-4.0.")]
TransformFile = Annotated[Path, typer.Argument(help="Transform file, ours or the authors'.")]


@app.callback()
def _transforms() -> None:
    """List, pull, push, verify and describe transforms."""


@app.command("list")
def list_command(
    folder: Annotated[Path | None, typer.Argument(help="A folder of transforms. [default: the published ones]")] = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """List the published transforms by model and layer, or those in a folder with what their records say.

    Nothing is downloaded.

    Example: glocal transforms list --json
    """
    found = _published(cache or cache_folder()) if folder is None else _in_folder(folder)
    if as_json:
        put_json({"transforms": found})
        return
    for one in found:
        noted = "; ".join(str(one[key]) for key in ("what", "cached", "error") if one.get(key))
        put(f"{one['name']:<48} {noted}" + (f". NOTE: {one['warning']}" if one.get("warning") else ""))


@app.command("pull")
def pull_command(
    name: Annotated[
        str,
        typer.Argument(help="MODEL/LAYER as thingsvision writes them, a folder, an address, or hf://OWNER/NAME."),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Also copy it to this file.")] = None,
    sha256: Sha256 = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no server; serve what is in the cache.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the server again for a file in the cache.")] = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Bring a transform here once, compare its checksum, and print where it is.

    The checksum is the one that is stated or known, or else the one recorded when it was first pulled.

    Example: glocal transforms pull clip_ViT-L/14/visual --out transform.npz
    """
    from glocal.transform import LinearTransform
    from glocal.transform.pull import pull

    with progress_bar(f"pulling {name}", unit="B") as progress:
        found = pull(
            name, sha256=sha256, cache=cache, offline=offline, refresh=refresh,
            progress=lambda n, total: progress(n, total or None),
        )  # fmt: skip
    LinearTransform.load(found.path)  # a page of an error is no transform
    if out is not None:
        found = copied(found, out)
    say(f"{name}: sha256 {found.sha256}, " + ("as expected" if found.verified else "recorded from now on"))
    put_json(asdict(found)) if as_json else put(str(found.path))


@app.command("push")
def push_command(
    transform: TransformFile,
    to: Annotated[str, typer.Argument(help="A folder, or hf://OWNER/NAME.")],
    licence: Licence = None,
    private: Annotated[bool, typer.Option("--private", help="Of a repository that is created.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a transform and its card into a folder or a repository on the Hugging Face hub, where others can pull it.

    The token is that of hf auth login, or $HF_TOKEN.

    Example: glocal transforms push transform.npz hf://OWNER/NAME --licence mit
    """
    from glocal.transform.pull import push

    place = push(transform, to, licence=licence, private=private)
    put_json({"name": place}) if as_json else put(place)


@app.command("verify")
def verify_command(
    transform: TransformFile,
    features: Annotated[
        Path | None, typer.Option("--features", help="What it is to be applied to: a file, or a folder.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Of the features. [default: their record's]")] = None,
    layer: Annotated[str | None, typer.Option("--layer", help="Of the features. [default: their record's]")] = None,
    sha256: Sha256 = None,
    as_json: AsJson = False,
) -> None:
    """Check that a transform is what it should be and fits the features at hand; exits 1 where it does not.

    Example: glocal transforms verify transform.npz --features features.npy --model clip_ViT-L/14 --layer visual
    """
    from glocal.transform.verification import verify

    loaded = None if features is None else load_features(features)
    source = {} if loaded is None else loaded.network
    checks = verify(
        transform, loaded, model=model or source.get("model"), layer=layer or source.get("layer"), sha256=sha256
    )
    refused = [check for check in checks if check.passed is False]
    if as_json:
        put_json({"ok": not refused, "checks": [asdict(check) for check in checks]})
    else:
        words = {True: "ok", False: "REFUSED", None: "unknown"}
        put(*(f"{words[check.passed]:<8} {check.name}: {check.evidence}" for check in checks))
    if refused:
        raise typer.Exit(1)


@app.command("card")
def card_command(
    transform: TransformFile,
    out: Annotated[Path | None, typer.Option("--out", help="Markdown file. [default: standard output]")] = None,
    licence: Licence = None,
) -> None:
    """Write the model card of a transform from its record.

    Example: glocal transforms card transform.npz --licence mit --out README.md
    """
    from glocal.transform import LinearTransform
    from glocal.transform.card import card

    text = card(LinearTransform.load(transform), licence=licence)
    if out is None:
        put(*text.splitlines())
        return
    with atomic_write(out) as stream:
        stream.write(text.encode())


def _published(cache: Path) -> list[dict[str, Any]]:
    return [
        {
            "name": name.removeprefix("transforms/"), "what": entry.what, "licence": entry.licence,
            "checksum": entry.checksum, "warning": entry.warning,
            "cached": "in the cache" if (cache / entry.path).is_file() else None,
        }
        for name, entry in FILES.items()
        if name.startswith("transforms/")
    ]  # fmt: skip


def _in_folder(folder: Path) -> list[dict[str, Any]]:
    from glocal.transform import LinearTransform

    if not folder.is_dir():
        raise FileError(f"{folder} is not a folder. Name one with transforms, or leave it out for the published ones.")
    found: list[dict[str, Any]] = []
    for path in sorted(part for part in folder.rglob("*") if part.suffix in (".npz", ".safetensors")):
        try:
            loaded = LinearTransform.load(path)
        except GLocalError as error:
            found.append({"name": str(path), "error": one_line(error)})
            continue
        source = loaded.meta.get("source") or {}
        found.append({"name": str(path), "what": f"{loaded!r}", **{key: source.get(key) for key in ("model", "layer")}})
    return found
