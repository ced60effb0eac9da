"""`pull` and `push`: transforms by the name of their model, from a folder, an address or the Hugging Face hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from glocal.data.datasets.download import (
    Fetched,
    Progress,
    cache_folder,
    checksum_of,
    fetch,
    fetch_address,
    is_offline,
    record_checksum,
)
from glocal.data.datasets.registry import FILES
from glocal.errors import FileError, ParameterError
from glocal.extras import needed
from glocal.files import PathLike, atomic_write, file_sha256, make_folder, one_line
from glocal.jobs.leaving import existing_file
from glocal.transform.card import card
from glocal.transform.linear import LinearTransform

TRANSFORM_NAME = "transform.npz"
_PUBLISHED = "transforms/"
_HUB = re.compile(
    r"(?:hf://|https://huggingface\.co/)([\w.-]+/[\w.-]+)(?:@([\w./-]+?))?(/[\w./-]+\.(?:npz|safetensors))?"
)


def pull(
    name: PathLike,
    *,
    sha256: str | None = None,
    cache: PathLike | None = None,
    offline: bool = False,
    refresh: bool = False,
    progress: Progress | None = None,
) -> Fetched:
    """Bring a transform file here, and make sure that it is the one that it was.

    Parameters
    ----------
    name : str or path
        One of

        - a file, or a folder with ``transform.npz``,
        - model and layer of a published transform as thingsvision writes them, ``clip_ViT-L/14/visual``; the model
          alone where one layer is published,
        - an address of http, https or file,
        - ``hf://OWNER/NAME``, with ``@REVISION`` and ``/PATH`` of the file where they are not ``main`` and
          ``transform.npz``.
    sha256 : str or None
        The checksum that it must have. None: that of the registry, or the one recorded when it was first pulled.
    cache : path or None
        None is ``$GLOCAL_CACHE`` or the cache folder of this system.
    offline : bool
        Ask no server; what is in the cache is served. ``$GLOCAL_OFFLINE`` does the same.
    refresh : bool
        Ask the server again, though the file is in the cache.
    progress : callable or None
        Called with (bytes so far, bytes in all).

    Returns
    -------
    Fetched

    Raises
    ------
    ParameterError
        There is no such transform; the message names the nearest ones.
    FileError
        It cannot be reached, is damaged, or has another checksum than it should.

    Warns
    -----
    DataWarning
        The published file is known to be that of another model.
    """
    text, folder = os.fspath(name), cache_folder() if cache is None else Path(cache)
    if hub := _HUB.fullmatch(text):
        file = (hub[3] or f"/{TRANSFORM_NAME}")[1:]
        return _from_hub(
            hub[1], hub[2] or "main", file, checksum=sha256, folder=folder, offline=offline or is_offline()
        )
    if re.match(r"[a-z]+://", text):
        return fetch_address(
            text, sha256=sha256, cache=folder, progress=progress, offline=offline, refresh=refresh,
            check=LinearTransform.load,
        )  # fmt: skip
    if Path(text).exists():
        path = Path(text)
        path = existing_file(path / TRANSFORM_NAME if path.is_dir() else path, what="transform")
        found = Fetched(text, path, file_sha256(path), sha256 is not None, downloaded=False)
    else:
        found = fetch(published_name(text), cache=folder, progress=progress, offline=offline)
    _compare(found, sha256)
    return found


def published_name(name: str) -> str:
    """The key in `FILES` of a published transform.

    >>> published_name("clip_RN50")
    'transforms/clip_RN50/visual'
    """
    layers = [key for key in FILES if key.startswith(f"{_PUBLISHED}{name.removeprefix(_PUBLISHED).rstrip('/')}/")]
    return layers[0] if len(layers) == 1 else f"{_PUBLISHED}{name.removeprefix(_PUBLISHED)}"


def push(
    transform: PathLike, to: str, *, licence: str | None = None, private: bool = False, message: str | None = None
) -> str:
    """Put a transform and its card where others can pull it.

    Parameters
    ----------
    transform : path
        A transform file.
    to : str
        A folder, or ``hf://OWNER/NAME``, a repository on the Hugging Face hub; either is created if it does not exist.
        The token for the hub is the one that ``hf auth login`` or ``$HF_TOKEN`` gives.
    licence : str or None
        For the card, e.g. ``"mit"``.
    private : bool
        Of a repository that is created.
    message : str or None
        Of the commit on the hub.

    Returns
    -------
    str
        What `pull` takes: the folder, or the repository at the commit that was made.

    Raises
    ------
    ParameterError
        The name of a repository without an owner, or with a file or a revision.
    FileError
        The hub refuses, cannot be reached, or a file cannot be written.
    MissingDependencyError
        huggingface_hub is not installed.
    """
    loaded = LinearTransform.load(transform)
    if not to.startswith(("hf://", "https://huggingface.co/")):
        if "://" in to:
            raise ParameterError(f"the place to push to is {to!r}; allowed are a folder and hf://OWNER/NAME.")
        _write(loaded, Path(to), licence)
        return to
    hub = _HUB.fullmatch(to)
    if hub is None or hub[2] or hub[3]:
        raise ParameterError(f"the repository to push to is {to!r}; it must be hf://OWNER/NAME.")
    api = needed("huggingface_hub", "the Hugging Face hub").HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    with TemporaryDirectory() as folder, _hub_errors(to):
        _write(loaded, Path(folder), licence)
        api.create_repo(hub[1], exist_ok=True, private=private)
        done = api.upload_folder(
            repo_id=hub[1], folder_path=folder, commit_message=message or f"Transform of glocal, {loaded!r}"
        )
    return f"hf://{hub[1]}@{done.oid}"


def _write(transform: LinearTransform, folder: Path, licence: str | None) -> None:
    make_folder(folder)
    transform.save(folder / TRANSFORM_NAME)
    with atomic_write(folder / "README.md") as stream:
        stream.write(card(transform, licence=licence).encode())


def _from_hub(
    repository: str, revision: str, file: str, *, checksum: str | None, folder: Path, offline: bool
) -> Fetched:
    hub = needed("huggingface_hub", "the Hugging Face hub")
    address = f"hf://{repository}@{revision}/{file}"
    known = checksum_of(address, checksum, folder)
    with _hub_errors(address):
        path = Path(
            hub.hf_hub_download(
                repository,
                file,
                revision=revision,
                cache_dir=folder / "huggingface",
                local_files_only=offline,
                endpoint=os.environ.get("HF_ENDPOINT"),
            )
        )
    found = Fetched(address, path, file_sha256(path), known is not None, downloaded=not offline)
    _compare(found, known)
    LinearTransform.load(path)
    record_checksum(address, found.sha256, folder)
    return found


def _compare(found: Fetched, sha256: str | None) -> None:
    if sha256 is not None and found.sha256 != sha256.lower():
        raise FileError(
            f"{found.name} has sha256 {found.sha256}, not {sha256}, the one that was stated, or recorded when it was "
            "first pulled. If you expect the new one, state its sha256."
        )


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Say in one sentence what huggingface_hub raises."""
    errors: Any = needed("huggingface_hub.errors", "the Hugging Face hub")
    import httpx

    try:
        yield
    except errors.LocalEntryNotFoundError as error:
        raise FileError(
            f"{name} is not in the cache and the hub cannot be reached ({one_line(error)[:160]})."
        ) from error
    except (errors.HfHubHTTPError, errors.HFValidationError, httpx.HTTPError, OSError, ValueError) as error:
        raise FileError(
            f"the Hugging Face hub does not serve {name} ({one_line(error)[:200]}). Check the name, the revision and "
            "whether you are logged in (hf auth login)."
        ) from error
