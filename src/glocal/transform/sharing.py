"""Transforms that are shared: found by name (package, files, published ones, hub), and written with a card.

What takes a `transform` is a method of `LinearTransform`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from glocal.data.sources import Progress, fetch, published
from glocal.errors import FileError, ParameterError, needed, one_line
from glocal.files import PathLike, make_folder, write_text
from glocal.transform.formats import TRANSFORM_NAME, plain

PUBLISHED = "transforms/"
"""How the names of published transforms begin in `published`."""
_REPOSITORY = re.compile(r"(?:hf://)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_TAGS = ["representational-alignment", "human-similarity", "odd-one-out", "feature-extraction"]
_FACTS = {"answers": "fit.n_answers", "objects": "fit.n_objects", "local images": "fit.n_local", "fit": "fit.status"}
_SCORES = {  # the part of the record that has a score, its name there, and those of its standard error or interval
    "agreement on held-out objects": ("fit.holdout.heldout", "accuracy_cosine", "low", "high"),
    "the same without the transform": ("fit.holdout.heldout", "original_accuracy_cosine"),
    "neighbours kept of held-out images": ("fit.holdout.heldout", "neighbours_kept"),
    "agreement, mean over folds": ("sweep.best", "accuracy_cosine"),
    "neighbours kept, mean over folds": ("sweep.best", "neighbours_kept"),
    "agreement on held-out objects, cross-fitted": ("fit.keep.expected", "agreement", "agreement_error"),
    "the same without the transform, cross-fitted": ("fit.keep.original", "agreement"),
    "neighbours kept of held-out images, cross-fitted": ("fit.keep.expected", "kept", "kept_error"),
}
_CARD = """---
{front}
---

# Transform of {model} to human similarity judgments

One affine map of a model's features, fitted to people's answers about which things are alike (Muttenthaler et al.,
*Improving neural network representations using human similarity judgments*, NeurIPS 2023).

| | |
|---|---|
{facts}

## Use it

`X` holds the raw features of the model, one row for each image.{said}

```python
from glocal import LinearTransform

aligned = LinearTransform.load("transform.npz")(X{normalize})
```

Without glocal:

```python
import numpy as np

file = np.load("transform.npz", allow_pickle=False)
aligned = ({X} - file["mean"]) / file["std"] @ file["weights"]{bias}
```
{notes}
## Licence

{licence}. The network and the answers have licences of their own.
"""


def in_the_box() -> dict[str, Path]:
    """The files of the transforms that come with the package, by name; `LinearTransform.save_pretrained` made them."""
    folder = Path(__file__).parent / "pretrained"
    return {path.parent.name: path for path in sorted(folder.glob(f"*/{TRANSFORM_NAME}"))}


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
    boxed, known = in_the_box(), [found for found in published() if found.startswith(PUBLISHED)]
    if plain(text) in boxed:
        return boxed[plain(text)]
    key = PUBLISHED + text.removeprefix(PUBLISHED).rstrip("/")
    layers = [found for found in known if found == key or found.startswith(f"{key}/")]
    if len(layers) == 1:
        return fetch(layers[0], progress=progress)
    if repository := _REPOSITORY.fullmatch(text):
        options = {
            "endpoint": os.environ.get("HF_ENDPOINT"),
            "local_files_only": bool(os.environ.get("GLOCAL_OFFLINE")),
        }
        with _hub(repository[1], "It is no published transform either; glocal transforms pull lists those.") as library:
            return Path(library.hf_hub_download(repository[1], TRANSFORM_NAME, revision=repository[2], **options))
    if Path(text).suffix or Path(text).is_dir():
        raise FileError(f"there is no transform file {text}, nor {TRANSFORM_NAME} in a folder of this name.")
    near = difflib.get_close_matches(text, [*boxed, *(one.removeprefix(PUBLISHED) for one in known)], cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else "glocal transforms pull lists them."
    raise ParameterError(f"no transform is called {text!r}. {hint}")


@contextmanager
def _hub(repository: str, fix: str) -> Iterator[Any]:
    """The hub's own library; a FileError where the name, the server, the network or the disk is refused."""
    library = needed("huggingface_hub", "the Hugging Face hub")
    import httpx  # a requirement of it

    try:
        yield library
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise FileError(f"the Hugging Face hub refuses {repository} ({one_line(error)[:200]}). {fix}") from error


def save_pretrained(transform: Any, folder: PathLike, **described: Any) -> None:
    """Write ``transform.npz`` and a model card into a folder; `glocal.transform.sharing.card` takes `described`.

    The file keeps what is described, so that the card of who loads and shares it again says it too.
    """
    described = {**transform.meta.get("card", {}), **{key: value for key, value in described.items() if value}}
    text = card(transform, **described)
    replace(transform, meta={**transform.meta, "card": described}).save(make_folder(folder) / TRANSFORM_NAME)
    write_text(Path(folder) / "README.md", text)


def push_to_hub(transform: Any, repository: str, *, private: bool = False, **described: Any) -> str:
    """Commit what `save_pretrained` writes to a repository on the Hugging Face hub, ``OWNER/NAME``.

    It is created if need be. The token is the one that ``hf auth login`` or ``$HF_TOKEN`` gives. What is returned,
    ``hf://OWNER/NAME@COMMIT``, is a name for `from_pretrained`.
    """
    name = _REPOSITORY.fullmatch(repository)
    if name is None or name[2]:
        raise ParameterError(f"the repository to push to is {repository!r}; it must be OWNER/NAME.")
    with TemporaryDirectory() as folder:
        save_pretrained(transform, folder, **described)
        with _hub(name[1], "Are you logged in? hf auth login.") as library:
            api = library.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
            api.create_repo(name[1], exist_ok=True, private=private)
            message = f"glocal: {transform!r}"
            done = api.upload_folder(repo_id=name[1], folder_path=folder, commit_message=message)
    return f"hf://{name[1]}@{done.oid}"


def card(
    transform: Any, *, licence: str | None = None, base_model: str | None = None, datasets: Sequence[str] = (),
    notes: str = "",
) -> str:  # fmt: skip
    """Write what others must know about a transform before they use it, as Markdown with the front matter of the hub.

    What it is, from which answers it was fitted, its scores with intervals (``model-index``), its licence, and how to
    use it with and without glocal.

    Parameters
    ----------
    licence : str or None
        An identifier such as ``"mit"``; None says that none is stated.
    base_model : str or None
        The network on the Hugging Face hub, ``OWNER/NAME``; None is that of a network of timm, and else none.
    datasets : sequence of str
        The answers' data sets on the hub.
    notes : str
        Markdown of your own: where the data come from, what was measured, what was not.

    Raises
    ------
    ParameterError
        The licence is not an identifier, or the network or a data set is not a name on the hub.
    """
    if licence is not None and not re.fullmatch(r"[\w.+-]+", licence):
        raise ParameterError(f"licence is {licence!r}; it must be an identifier such as mit or cc-by-4.0.")
    for name in (*datasets, *([base_model] if base_model else [])):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
            raise ParameterError(f"{name!r} is not the name of a repository on the Hugging Face hub (OWNER/NAME).")
    meta = transform.meta
    network, layer, unit = (_at(meta, place) for place in ("source.model", "source.layer", "rows.normalised"))
    if base_model is None and re.fullmatch(r"timm:[\w.-]+", str(network)):  # the hub has it under its own name
        base_model = network.replace("timm:", "timm/")
    names = ("keep.keep", "lmbda") if _at(meta, "fit.keep") else ("method", "alpha", "lmbda", "tau", "mix")
    settings = {name.rpartition(".")[2]: _at(meta, f"fit.{name}") for name in names}
    facts = {
        "dimensions": "{} to {}".format(*transform.weights.shape),
        "mean and std": f"{transform.mean:.6g}, {transform.std:.6g}",
        "preprocessing": _at(meta, "source.preprocessing") or "not recorded",
        "settings": ", ".join(f"{k} {v}" for k, v in settings.items() if v is not None) or "not recorded",
        **{what: _at(meta, place) for what, place in _FACTS.items()},
        **{f"sha256 of the {k}": f"`{v}`" for k, v in (_at(meta, "fit.provenance.data") or {}).items()},
    }
    metrics = []
    for name, (place, key, *ends) in _SCORES.items():
        if isinstance(value := _at(meta, f"{place}.{key}"), float):
            around = [end for end in (_at(meta, f"{place}.{key}") for key in ends) if isinstance(end, float)]
            sure = ("", " ± {:.3f}", " [{:.3f}, {:.3f}]")[len(around)]  # nothing, a standard error, or an interval
            facts[name] = f"{value:.3f}{sure.format(*around)}"
            if "without" not in name:
                kind = "accuracy" if "agreement" in name else "neighbours_kept"
                metrics.append({"type": kind, "name": name, "value": value})
    result = {"task": {"type": "odd-one-out"}, "dataset": {"name": "held-out objects", "type": "odd-one-out"}}
    front: dict[str, Any] = {
        "library_name": "glocal", "license": licence, "base_model": base_model, "datasets": list(datasets),
        "tags": _TAGS, "model-index": metrics and [{"name": "glocal", "results": [{**result, "metrics": metrics}]}],
    }  # fmt: skip
    return _CARD.format(
        front="\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items() if value),  # JSON is YAML
        model=_cell(" / ".join(str(part) for part in (network, layer) if part)) or "features",
        facts="\n".join(f"| {name} | {_cell(value)} |" for name, value in facts.items() if value is not None),
        said=" Each row is scaled to length 1 first." if unit else "",
        normalize=", normalize=True" if unit else "",
        X="X / np.linalg.norm(X, axis=1, keepdims=True)" if unit else "X",
        bias="" if transform.bias is None else ' + file["bias"]',
        notes=f"\n{notes.strip()}\n" if notes else "",
        licence=licence or "None is stated",
    )


def _at(record: Any, place: str) -> Any:
    """What a record holds at a place such as ``"fit.holdout"``, or None."""
    for key in place.split("."):
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def _cell(value: Any) -> str:
    """A value on one line, as the cell of a table."""
    return " ".join(str(value).split()).replace("|", "\\|")
