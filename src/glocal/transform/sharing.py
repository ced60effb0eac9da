"""Shared transforms: locate and download them by name, write and publish them with a model card.

`save_pretrained` and `push_to_hub` are methods of `LinearTransform`.
"""

from __future__ import annotations

import difflib
import html
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from glocal.data.readers import READERS
from glocal.data.sources import Progress, cached, fetch, offline, published
from glocal.errors import FileError, GLocalError, ParameterError, import_optional, one_line
from glocal.files import PathLike, ending, make_folder, read_text, write_text
from glocal.results import UNCHANGED, interval_text, value_at
from glocal.transform.formats import ENDINGS, TRANSFORM_NAME, normalised_name, read_transform
from glocal.transform.record import CardOptions, network_name

PUBLISHED = "transforms/"
"""The prefix of the names of transforms in `published`."""
CARD_NAME = "README.md"
_REPOSITORY = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_TAGS = ["representational-alignment", "human-similarity", "odd-one-out", "feature-extraction"]


_CARD_MARK = 'library_name: "glocal"'
"""A line in the front matter of every card that glocal writes."""
_CARD = """---
{front}
---

# Transform of {model} to human similarity judgments

One affine transform of a model's features, fitted to people's answers about which things are alike
(Muttenthaler et al., *Improving neural network representations using human similarity judgments*,
NeurIPS 2023).

| | |
|---|---|
{facts}

## Usage

`X` holds the raw features of the model, one row per image.{step}

```python
from glocal import LinearTransform

aligned = LinearTransform.load("transform.npz")(X{normalize})
```

Without glocal:

```python
import numpy as np

file = np.load("transform.npz", allow_pickle=False)
{scaling}aligned = (X - file["mean"]) / file["std"] @ file["weights"]{bias}
```
{notes}
## Licence

{licence}. The network and the answers have licences of their own.
"""


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


def pull(name: PathLike, *, progress: Progress | None = None) -> Path:
    """Return the path of the file of a transform as `locate` does; download published ones first.

    Parameters
    ----------
    name : str or path
        As in `locate`.
    progress : callable or None
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
    return bundled().get(normalised_name(text))


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
    if ending(text) in (*ENDINGS, *READERS) or os.path.isdir(text):
        return FileError(
            f"there is no transform file {text}, nor {TRANSFORM_NAME} in a folder of this name."
        )
    names = {normalised_name(name): name for name in (*bundled(), *_published_names())}
    near = difflib.get_close_matches(normalised_name(text), names, cutoff=0.4)
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
    except Exception as error:  # the HTTP library and its exceptions depend on the version
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise FileError(f"{failure} ({reason}). {fix}") from error


def save_pretrained(transform: Any, folder: PathLike, **described: Any) -> None:
    """Write ``transform.npz`` and a model card into a folder.

    `described` are the options of `glocal.transform.sharing.card`. The transform file stores them,
    so that the card stays the same when somebody loads the transform and shares it again.

    Raises
    ------
    FileError
        The folder has a ``README.md`` or ``transform.npz`` that glocal did not write, or the folder
        cannot be written to.
    """
    check_replaceable(folder)
    _save_with_card(transform, folder, _kept_options(Path(folder) / TRANSFORM_NAME), described)


def _save_with_card(
    transform: Any, folder: PathLike, kept: Mapping[str, Any], described: Mapping[str, Any]
) -> None:
    """Write both files; `described` overrides the card of the record, which overrides `kept`."""
    options = {key: value for key, value in described.items() if value}
    options = {**kept, **(transform.meta.get("card") or {}), **options}
    text = card(transform, **options)
    recorded = replace(transform, meta={**transform.meta, "card": options})
    recorded.save(make_folder(folder) / TRANSFORM_NAME)
    write_text(Path(folder) / CARD_NAME, text)


def _kept_options(file: Path) -> dict[str, Any]:
    """The licence, network and data sets of a transform that will be replaced; empty for none."""
    meta = read_transform(file)[-1] if file.exists() else {}
    options = meta.get("card") or {}
    return {key: options[key] for key in options if key in ("licence", "base_model", "datasets")}


def _published_options(library: Any, name: str) -> dict[str, Any]:
    """As `_kept_options`, of the transform in a repository on the hub."""
    try:
        file = library.hf_hub_download(name, TRANSFORM_NAME, endpoint=os.environ.get("HF_ENDPOINT"))
    except library.utils.EntryNotFoundError:
        return {}
    return _kept_options(Path(file))


def check_replaceable(folder: PathLike) -> None:
    """Raise a FileError if a folder has a card or a transform that glocal did not write."""
    card_file = Path(folder) / CARD_NAME
    transform_file = Path(folder) / TRANSFORM_NAME
    foreign = None
    if card_file.exists() and _CARD_MARK not in read_text(card_file, what="card"):
        foreign = card_file
    elif transform_file.exists() and not read_transform(transform_file)[-1]:
        foreign = transform_file
    if foreign is not None:
        raise FileError(
            f"{foreign} was not written by glocal, so it is not replaced. Choose another folder, "
            "or move the file."
        )


def push_to_hub(transform: Any, repository: str, *, private: bool = False, **described: Any) -> str:
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
    fix = "Check the network, and log in: hf auth login."
    with TemporaryDirectory() as folder:
        _save_with_card(transform, folder, {}, described)  # invalid options raise before any upload
        with _hub(f"cannot publish hf://{name}", fix) as library:
            api = library.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
            api.create_repo(name, exist_ok=True, private=private)
            _save_with_card(transform, folder, _published_options(library, name), described)
            commit = api.upload_folder(
                repo_id=name, folder_path=folder, commit_message=f"glocal: {transform!r}"
            )
            return f"hf://{name}@{commit.oid}"


def card(
    transform: Any,
    *,
    licence: str | None = None,
    base_model: str | None = None,
    datasets: Sequence[str] = (),
    notes: str = "",
) -> str:
    """Return the model card of a transform, as Markdown for the hub.

    The card describes the transform, the answers of its fit, its scores (with intervals, and as
    ``model-index``) and its licence, and shows how to use it with and without glocal.

    Parameters
    ----------
    licence : str or None
        An identifier such as ``"mit"``; for None the card says that none is stated.
    base_model : str or None
        The network on the Hugging Face hub, ``OWNER/NAME``. None stands for the recorded network
        if it comes from timm, and otherwise for no network.
    datasets : sequence of str
        The data sets of the answers on the hub.
    notes : str
        Additional Markdown, such as where the data come from, and what was and was not measured.

    Raises
    ------
    ParameterError
        The licence is not an identifier, or the network or a data set is not a name on the hub.
    """
    CardOptions(licence=licence, base_model=base_model, datasets=datasets, notes=notes)
    record = transform.meta
    network = value_at(record, "source.model")
    normalised = value_at(record, "rows.normalised")
    if base_model is None and re.fullmatch(r"timm:[\w.-]+", str(network)):
        base_model = network.replace("timm:", "timm/")  # timm's repositories have its model names
    heldout = value_at(record, "fit.heldout") or {}
    facts = _facts(transform) | _heldout_facts(heldout) | dict(_evaluated(record))
    front = {
        "library_name": "glocal",
        "license": licence,
        "base_model": base_model,
        "datasets": list(datasets),
        "tags": _TAGS,
        "model-index": _model_index(heldout),
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in front.items() if value]  # JSON is YAML
    return _CARD.format(
        front="\n".join(lines),
        model=_cell(network_name(record.get("source"))) or "features",
        facts="\n".join(
            f"| {_cell(name)} | {_cell(value)} |"
            for name, value in facts.items()
            if value is not None
        ),
        step=" Each row is scaled to length 1 first." if normalised else "",
        normalize=", normalize=True" if normalised else "",
        scaling="X = X / np.linalg.norm(X, axis=1, keepdims=True)\n" if normalised else "",
        bias="" if transform.bias is None else ' + file["bias"]',
        notes=f"\n{notes.strip()}\n" if notes else "",
        licence=licence or "None is stated",
    )


def _facts(transform: Any) -> dict[str, Any]:
    """The rows of a card's table that are not scores, by their headings; None if unknown."""
    record = transform.meta
    names = ("method", "alpha", "lmbda", "tau", "mix")
    settings = {name: value_at(record, f"fit.{name}") for name in names}
    if value_at(record, "fit.keep"):
        settings = {
            "keep": value_at(record, "fit.keep.keep"),
            "lmbda": value_at(record, "fit.lmbda"),
        }
    stated = [f"{name} {value}" for name, value in settings.items() if value is not None]
    if value_at(record, "fit.status") == UNCHANGED:
        stated.append("the features stay as they are")
    hashes = value_at(record, "fit.provenance.data") or {}
    return {
        "dimensions": "{} to {}".format(*transform.weights.shape),
        "mean and std": f"{transform.mean:.6g}, {transform.std:.6g}",
        "preprocessing": value_at(record, "source.preprocessing") or "not recorded",
        "settings": ", ".join(stated) or "not recorded",
        "answers": value_at(record, "fit.n_answers"),
        "objects": value_at(record, "fit.n_objects"),
        "local images": value_at(record, "fit.n_local"),
        "centre": value_at(record, "fit.keep.centre") or None,
        "fit": value_at(record, "fit.status"),
        **{f"sha256 of the {name}": f"`{digest}`" for name, digest in hashes.items()},
    }


def _evaluated(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the scores of ``glocal evaluate`` in a record, by task and metric."""
    for row in record.get("scores") or ():
        if row.get("value") is None:
            continue
        text = interval_text(row["value"], row.get("low"), row.get("high"))
        number = f" (n = {row['n']:,})" if row.get("n") else ""
        name = f"{row['task']}, {row['metric'].replace('_', ' ')}"
        if row.get("split") not in (None, "all"):
            name += f", {row['split']}"
        yield name, f"{text}{number}"


def _heldout_facts(heldout: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of a card's table on held-out answers and images; empty without any."""
    if not heldout:
        return {}

    def interval(names: str, sign: str = "") -> str:
        value, low, high = (heldout[name] for name in names.split())
        return interval_text(value, low, high, sign)

    facts = {
        "held out": heldout["of"],
        "agreement on held-out answers": interval("agreement low high"),
        "agreement without the transform": f"{heldout['original']:.3f}",
        "gain on held-out answers": interval("gain gain_low gain_high", "+"),
    }
    if heldout.get("kept") is not None:
        kept = interval("kept kept_low kept_high")
        nearest = f"of the {heldout['k']} nearest among {heldout['n_images']} {heldout['among']}"
        facts["neighbours kept of held-out images"] = f"{kept} {nearest}"
    return facts


def _model_index(heldout: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scores on held-out objects or questions, as the hub reads them; empty without any."""
    names = {
        "accuracy": ("agreement on held-out answers", "agreement"),
        "neighbours_kept": ("neighbours kept of held-out images", "kept"),
    }
    metrics = [
        {"type": kind, "name": name, "value": heldout[key]}
        for kind, (name, key) in names.items()
        if heldout.get(key) is not None
    ]
    result = {
        "task": {"type": "odd-one-out"},
        "dataset": {"name": f"held-out {heldout.get('of')}", "type": "odd-one-out"},
        "metrics": metrics,
    }
    return [{"name": "glocal", "results": [result]}] if metrics else []


def _cell(value: Any) -> str:
    """A value on one line, as the cell of a table, without HTML, links and images of its own."""
    line = html.escape(" ".join(str(value).split()), quote=False)
    return line.replace("|", "\\|").replace("](", "]\\(")
