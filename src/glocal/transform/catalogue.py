"""Transforms by name: in files, in the package, published, or in repositories on the hub."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glocal.data.readers import FEATURE_ENDINGS
from glocal.data.sources.fetch import Progress, cached, fetch, offline
from glocal.data.sources.registry import published
from glocal.errors import FileError, GLocalError, ParameterError, import_optional, one_line
from glocal.files import PathLike, ending
from glocal.transform.formats import ENDINGS, TRANSFORM_NAME
from glocal.transform.record import folded_name

PUBLISHED = "transforms/"
"""The prefix of the names of transforms in `published`."""
REPOSITORY = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


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
    match = REPOSITORY.fullmatch(text)
    if match is None:
        raise _unknown(text)
    fix = "Check the name and the network, and that the repository is public."
    if offline():
        fix = "$GLOCAL_OFFLINE forbids a download."
    with hub(f"cannot download {text}", fix) as api:
        return Path(
            api.hf_hub_download(
                match[1], TRANSFORM_NAME, revision=match[2], local_files_only=offline()
            )
        )


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
    if REPOSITORY.fullmatch(f"hf://{text}"):
        hint += f" A repository on the Hugging Face hub is hf://{text}."
    return ParameterError(f"there is no file and no transform called {text!r}. {hint}")


@contextmanager
def hub(failure: str, fix: str) -> Iterator[Any]:
    """Yield an ``HfApi``; turn every exception of it into a FileError with `failure`."""
    library = import_optional("huggingface_hub", "the Hugging Face hub")
    try:
        yield library.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    except GLocalError:
        raise
    except Exception as error:  # the HTTP library and its exceptions depend on the version
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise FileError(f"{failure} ({reason}). {fix}") from error
