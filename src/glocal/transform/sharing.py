"""A transform with its model card, in a folder or published on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from glocal.errors import FileError, ParameterError
from glocal.files import PathLike, make_folder, read_text, write_text
from glocal.transform.card import CARD_MARK, CARD_NAME, card
from glocal.transform.catalogue import REPOSITORY, hub
from glocal.transform.formats import TRANSFORM_NAME
from glocal.transform.linear import LinearTransform


def save_pretrained(transform: LinearTransform, folder: PathLike, **described: Any) -> None:
    """Write ``transform.npz`` and a model card into a folder.

    `described` are `glocal.transform.record.CardOptions`. The transform file stores them, so that
    the card stays the same when somebody loads the transform and shares it again.

    Raises
    ------
    ParameterError
        An option of the card is not allowed.
    FileError
        The folder has a ``README.md`` or ``transform.npz`` that glocal did not write, or the folder
        cannot be written to.
    """
    check_replaceable(folder)
    transform = _described(transform, **described)
    make_folder(folder)
    # the card first, since it marks the folder as written by glocal
    card_file = Path(folder) / CARD_NAME
    write_text(card_file, card(transform))
    transform.save(Path(folder) / TRANSFORM_NAME)


def _described(transform: LinearTransform, **options: Any) -> LinearTransform:
    """The transform with these options of its card in its record."""
    stated = {}
    for name, option in options.items():
        if option:
            stated[name] = option
    card_options = transform.record.card.replace(**stated)
    record = transform.record.model_copy(update={"card": card_options})
    return replace(transform, record=record)


def check_replaceable(folder: PathLike) -> None:
    """Raise a FileError if a folder has a card or a transform but no card of glocal."""
    card_file = Path(folder) / CARD_NAME
    transform_file = Path(folder) / TRANSFORM_NAME
    if card_file.exists():
        text = read_text(card_file, what="card")
        if CARD_MARK in text:
            return
    for file in (card_file, transform_file):
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
    match = REPOSITORY.fullmatch(f"hf://{name}")
    if match is None or match[2]:
        raise ParameterError(f"the repository to push to is {repository!r}; it must be OWNER/NAME.")
    transform = _described(transform, **described)  # invalid options raise before any request
    fix = "Check the network, and log in: hf auth login."
    with hub(f"cannot publish hf://{name}", fix) as api, TemporaryDirectory() as folder:
        save_pretrained(transform, folder)
        api.create_repo(name, exist_ok=True, private=private)
        message = f"glocal: {transform!r}"
        commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
        return f"hf://{name}@{commit.oid}"
