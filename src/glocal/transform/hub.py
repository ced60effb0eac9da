"""Transforms by their names: of the package, files and folders, published ones, repositories on the hub."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from glocal.data.sources import Progress, fetch, published
from glocal.errors import FileError, ParameterError, needed, one_line
from glocal.files import PathLike
from glocal.transform.files import TRANSFORM_NAME, plain

_REPOSITORY = re.compile(r"(?:hf://)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_PUBLISHED = "transforms/"


def in_the_box() -> dict[str, Path]:
    """The files of the transforms that come with the package, by name; `LinearTransform.save_pretrained` made them."""
    return {
        path.parent.name: path for path in sorted((Path(__file__).parent / "pretrained").glob(f"*/{TRANSFORM_NAME}"))
    }


def pull(name: PathLike, *, progress: Progress | None = None) -> Path:
    """Bring the file of a transform here, once, and say where it is.

    Parameters
    ----------
    name : str or path
        The first of these that exists: a file, or a folder with ``transform.npz``; one that comes with the package,
        ``clip-vit-b-32``; a published transform by model and layer as thingsvision writes them,
        ``clip_ViT-L/14/visual``, or by the model alone where one layer is published; a repository on the Hugging Face
        hub, ``OWNER/NAME`` or ``hf://OWNER/NAME``, and ``@REVISION`` if not main.
    progress : callable or None
        Called with the bytes so far, and in all.

    Raises
    ------
    ParameterError
        There is no such transform; the message names the nearest ones.
    FileError
        It cannot be reached, or is not the file that was published.
    """
    text = os.fspath(name)
    for path in (Path(text), Path(text) / TRANSFORM_NAME):
        if path.is_file():
            return path
    boxed, known = in_the_box(), [found for found in published() if found.startswith(_PUBLISHED)]
    if plain(text) in boxed:
        return boxed[plain(text)]
    key = _PUBLISHED + text.removeprefix(_PUBLISHED).rstrip("/")
    layers = [found for found in known if found == key or found.startswith(f"{key}/")]
    if len(layers) == 1:
        return fetch(layers[0], progress=progress)
    if repository := _REPOSITORY.fullmatch(text):
        return _download(repository[1], repository[2])
    if Path(text).suffix or Path(text).is_dir():
        raise FileError(f"there is no transform file {text}, nor {TRANSFORM_NAME} in a folder of this name.")
    near = difflib.get_close_matches(text, [*boxed, *(one.removeprefix(_PUBLISHED) for one in known)], cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else "glocal transforms pull lists them."
    raise ParameterError(f"no transform is called {text!r}. {hint}")


def upload(folder: PathLike, repository: str, *, private: bool, message: str) -> str:
    """Commit the files of a folder to a repository on the Hugging Face hub; see `LinearTransform.push_to_hub`."""
    name = _REPOSITORY.fullmatch(repository)
    if name is None or name[2]:
        raise ParameterError(f"the repository to push to is {repository!r}; it must be OWNER/NAME.")
    library = needed("huggingface_hub", "the Hugging Face hub")
    try:
        api = library.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        api.create_repo(name[1], exist_ok=True, private=private)
        done = api.upload_folder(repo_id=name[1], folder_path=folder, commit_message=message)
    except _errors() as error:
        raise FileError(
            f"the Hugging Face hub refuses {name[1]} ({one_line(error)[:200]}). Are you logged in? hf auth login."
        ) from error
    return f"hf://{name[1]}@{done.oid}"


def _download(repository: str, revision: str | None) -> Path:
    library = needed("huggingface_hub", "the Hugging Face hub")
    try:
        return Path(
            library.hf_hub_download(
                repository, TRANSFORM_NAME, revision=revision, endpoint=os.environ.get("HF_ENDPOINT"),
                local_files_only=bool(os.environ.get("GLOCAL_OFFLINE")),
            )
        )  # fmt: skip
    except _errors() as error:
        raise FileError(
            f"{repository} is neither a published transform (glocal transforms pull lists them) nor served by the "
            f"Hugging Face hub ({one_line(error)[:200]})."
        ) from error


def _errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises: for a name, a server, the network and the disk."""
    import httpx  # a requirement of huggingface_hub

    return (httpx.HTTPError, OSError, ValueError)
