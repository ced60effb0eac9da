"""Shared transforms: located and downloaded by name, written to folders, published on the hub.

`save_pretrained` and `push_to_hub` are methods of `LinearTransform`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from glocal.data.readers import FEATURE_ENDINGS
from glocal.data.sources.fetch import Progress, cached, fetch, offline
from glocal.data.sources.registry import published
from glocal.errors import FileError, GLocalError, ParameterError, import_optional, one_line
from glocal.files import PathLike, ending, make_folder, read_text, write_text
from glocal.transform.card import CARD_MARK, CARD_NAME, card, licence_of
from glocal.transform.formats import ENDINGS, TRANSFORM_NAME
from glocal.transform.record import CardOptions, folded_name

if TYPE_CHECKING:
    from glocal.transform.linear import LinearTransform

PUBLISHED = "transforms/"
"""The prefix of the names of transforms in `published`."""
_REPOSITORY = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def bundled() -> dict[str, Path]:
    """The files of the transforms that come with the package, by name."""
    folder = Path(__file__).parent / "pretrained"
    return {path.parent.name: path for path in sorted(folder.glob(f"*/{TRANSFORM_NAME}"))}


def locate(name: PathLike) -> Path:
    """Return the path of the file of a transform; only ``hf://OWNER/NAME`` uses the network.

    Parameters
    ----------
    name : str or path
        The first of these that exists: a file, or a folder with ``transform.npz``; a transform
        that comes with the package, ``clip-vit-b-32``; a published transform that `pull` has
        downloaded, by model and layer as thingsvision writes them, ``clip_ViT-L/14/visual``, or by
        the model alone if only one layer is published; a repository on the Hugging Face hub,
        ``hf://OWNER/NAME``, with ``@REVISION`` if it is not main.

    Raises
    ------
    ParameterError
        There is no such transform; the message suggests similar names.
    FileError
        There is no such file, the published transform was not downloaded yet, or the hub does not
        provide the file.
    """
    text = os.fspath(name)
    path = _local(text)
    if path is not None:
        return path
    key = _published_key(text)
    if key is None:
        return _from_hub(text)
    path = cached(key)
    if path is None:
        raise FileError(
            f"the published transform {text} has not been downloaded yet. Download it once: glocal "
            f"transforms pull {text}, or in Python glocal.transform.pull({text!r})."
        )
    return path


def pull(name: PathLike, *, progress: Progress = lambda count, total: None) -> Path:
    """Return the path of the file of a transform as `locate` does; download published ones first.

    Parameters
    ----------
    name : str or path
        As in `locate`.
    progress : function
        Called with the number of bytes so far and in total.

    Raises
    ------
    ParameterError
        There is no such transform; the message suggests similar names.
    FileError
        The file does not exist or cannot be downloaded, or it is not the published file.
    """
    text = os.fspath(name)
    key = _published_key(text) if _local(text) is None else None
    return locate(text) if key is None else fetch(key, progress=progress)


def _local(text: str) -> Path | None:
    """The file of this name, in a folder of this name, or in the package; None if there is none."""
    for path in (text, os.path.join(text, TRANSFORM_NAME)):
        if os.path.isfile(path):  # False also for a name that is too long
            return Path(path)
    return bundled().get(folded_name(text))


def _published_names() -> list[str]:
    return [key.removeprefix(PUBLISHED) for key in published() if key.startswith(PUBLISHED)]


def _published_key(text: str) -> str | None:
    """The key of a published transform, by model and layer or by a model with one layer."""
    name = text.removeprefix(PUBLISHED).rstrip("/")
    matches = [key for key in _published_names() if key == name or key.startswith(f"{name}/")]
    return PUBLISHED + matches[0] if len(matches) == 1 else None


def _from_hub(text: str) -> Path:
    """Download the transform ``hf://OWNER/NAME``; raise `_unknown` for other text."""
    match = _REPOSITORY.fullmatch(text)
    if match is None:
        raise _unknown(text)
    fix = "Check the name and the network, and that the repository is public."
    if offline():
        fix = "$GLOCAL_OFFLINE forbids a download."
    place = {"repo_id": match[1], "filename": TRANSFORM_NAME, "revision": match[2]}
    endpoint = os.environ.get("HF_ENDPOINT")
    with _hub(f"cannot download {text}", fix) as library:
        is_cached = isinstance(library.try_to_load_from_cache(**place), str)
        if not is_cached and not offline():
            # one request; a download would try again for half a minute if there is no answer
            library.get_hf_file_metadata(library.hf_hub_url(**place, endpoint=endpoint))
        path = library.hf_hub_download(**place, endpoint=endpoint, local_files_only=offline())
        return Path(path)


def _unknown(text: str) -> GLocalError:
    """The error for a name that no transform has."""
    if text.startswith("hf://"):
        return ParameterError(
            f"{text!r} names no repository; it must be hf://OWNER/NAME or hf://OWNER/NAME@REVISION."
        )
    if ending(text) in (*ENDINGS, *FEATURE_ENDINGS) or os.path.isdir(text):
        return FileError(
            f"there is no transform file {text}, nor {TRANSFORM_NAME} in a folder of this name."
        )
    names = {folded_name(name): name for name in (*bundled(), *_published_names())}
    near = difflib.get_close_matches(folded_name(text), names, cutoff=0.4)
    hint = "glocal transforms pull lists the names."
    if near:
        hint = f"Did you mean {' or '.join(names[name] for name in near)}?"
    if _REPOSITORY.fullmatch(f"hf://{text}"):
        hint += f" A repository on the Hugging Face hub is hf://{text}."
    return ParameterError(f"there is no file and no transform called {text!r}. {hint}")


@contextmanager
def _hub(failure: str, fix: str) -> Iterator[Any]:
    """Yield the hub's library; turn every exception of it into a FileError with `failure`."""
    library = import_optional("huggingface_hub", "the Hugging Face hub")
    try:
        yield library
    except GLocalError:
        raise
    except Exception as error:  # the HTTP library and its exceptions depend on the version
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise FileError(f"{failure} ({reason}). {fix}") from error


def save_pretrained(transform: LinearTransform, folder: PathLike, **described: Any) -> None:
    """Write ``transform.npz`` and a model card into a folder.

    `described` are `glocal.transform.record.CardOptions`. The transform file stores them, so that
    the card stays the same when somebody loads the transform and shares it again. A card that is
    replaced hands on its licence if no other is stated.

    Raises
    ------
    ParameterError
        An option of the card is not allowed.
    FileError
        The folder has a ``README.md`` or ``transform.npz`` that glocal did not write, or the folder
        cannot be written to.
    """
    check_replaceable(folder)
    card_file = Path(folder) / CARD_NAME
    transform = _described(transform, described, licence_of(card_file))
    make_folder(folder)
    write_text(card_file, card(transform))  # first, since it marks the folder as written by glocal
    transform.save(Path(folder) / TRANSFORM_NAME)


def _described(
    transform: LinearTransform, options: Mapping[str, Any], licence: str | None = None
) -> LinearTransform:
    """The transform with these options of its card in its record, and with a licence."""
    stated = {key: value for key, value in options.items() if value}
    options = {"licence": licence, **(transform.meta.get("card") or {}), **stated}
    CardOptions(**options)
    return replace(transform, meta={**transform.meta, "card": options})


def check_replaceable(folder: PathLike) -> None:
    """Raise a FileError if a folder has a card or a transform but no card of glocal."""
    card_file = Path(folder) / CARD_NAME
    if card_file.exists() and CARD_MARK in read_text(card_file, what="card"):
        return
    for file in (card_file, Path(folder) / TRANSFORM_NAME):
        if file.exists():
            raise FileError(
                f"{file} is not replaced, because its folder has no card that glocal wrote. Choose "
                "another folder, or move the file."
            )


def push_to_hub(
    transform: LinearTransform, repository: str, *, private: bool = False, **described: Any
) -> str:
    """Commit the files of `save_pretrained` to a repository on the Hugging Face hub.

    The repository ``OWNER/NAME`` is created if it does not exist. The token comes from ``hf auth
    login`` or ``$HF_TOKEN``. Returns ``hf://OWNER/NAME@COMMIT``, a name for `from_pretrained`.

    Raises
    ------
    ParameterError
        The repository is not ``OWNER/NAME``, or an option of the card is not allowed.
    FileError
        The hub cannot be reached or refuses the commit.
    """
    name = repository.removeprefix("hf://")
    match = _REPOSITORY.fullmatch(f"hf://{name}")
    if match is None or match[2]:
        raise ParameterError(f"the repository to push to is {repository!r}; it must be OWNER/NAME.")
    transform = _described(transform, described)  # invalid options raise before any request
    fix = "Check the network, and log in: hf auth login."
    with _hub(f"cannot publish hf://{name}", fix) as library, TemporaryDirectory() as folder:
        api = library.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        api.create_repo(name, exist_ok=True, private=private)
        licence = transform.meta["card"]["licence"] or _published_licence(library, name)
        transform.save_pretrained(folder, licence=licence)
        commit = api.upload_folder(
            repo_id=name, folder_path=folder, commit_message=f"glocal: {transform!r}"
        )
        return f"hf://{name}@{commit.oid}"


def _published_licence(library: Any, name: str) -> str | None:
    """The licence on the card of a repository on the hub; None if there is none."""
    try:
        file = library.hf_hub_download(name, CARD_NAME, endpoint=os.environ.get("HF_ENDPOINT"))
    except library.utils.EntryNotFoundError:
        return None
    return licence_of(Path(file))
