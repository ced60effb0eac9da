"""`card`: what others must know about a transform before they use it, as the Markdown of a model card."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from glocal.errors import ParameterError

_TAGS = ["representational-alignment", "human-similarity", "odd-one-out", "feature-extraction"]
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


def card(
    weights: Float[ndarray, "p r"],
    bias: Float[ndarray, " r"] | None,
    mean: float,
    std: float,
    meta: Mapping[str, Any],
    *,
    licence: str | None = None,
    base_model: str | None = None,
    datasets: Sequence[str] = (),
    notes: str = "",
) -> str:
    """Write the card of a transform from its parts; see `LinearTransform`.

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

    Returns
    -------
    str
        Markdown with the front matter that the hub reads: what the transform is, from which answers it was fitted, its
        scores with intervals (``model-index``), its licence, and how to use it with and without glocal.

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
    network = str(_at(meta, "source.model") or "")
    if base_model is None and re.fullmatch(r"timm:[\w.-]+", network):  # the hub has it under its own name
        base_model = network.replace("timm:", "timm/")
    scores, unit = list(_scores(meta)), _at(meta, "rows.normalised")
    front = {
        "library_name": "glocal", "license": licence, "base_model": base_model, "datasets": list(datasets),
        "tags": _TAGS, "model-index": _model_index({name: value for name, value, _ in scores}),
    }  # fmt: skip
    facts = [
        ("dimensions", "{} to {}".format(*weights.shape)),
        ("mean and std", f"{mean:.6g}, {std:.6g}"),
        *_facts(meta),
        *((name, f"{value:.3f}{around}") for name, value, around in scores),
    ]
    return _CARD.format(
        front="\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items() if value),  # JSON is YAML
        model=_cell(" / ".join(str(part) for part in (network, _at(meta, "source.layer")) if part)) or "features",
        facts="\n".join(f"| {name} | {_cell(value)} |" for name, value in facts),
        said=" Each row is scaled to length 1 first." if unit else "",
        normalize=", normalize=True" if unit else "",
        X="X / np.linalg.norm(X, axis=1, keepdims=True)" if unit else "X",
        bias="" if bias is None else ' + file["bias"]',
        notes=f"\n{notes.strip()}\n" if notes else "",
        licence=licence or "None is stated",
    )


def _facts(meta: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "preprocessing", _at(meta, "source.preprocessing") or "not recorded"
    names = ("keep.keep", "lmbda") if _at(meta, "fit.keep") else ("method", "alpha", "lmbda", "tau", "mix")
    settings = {name.rpartition(".")[2]: _at(meta, f"fit.{name}") for name in names}
    yield "settings", ", ".join(f"{k} {v}" for k, v in settings.items() if v is not None) or "not recorded"
    for key, what in (
        ("n_answers", "answers"),
        ("n_objects", "objects"),
        ("n_local", "local images"),
        ("status", "fit"),
    ):
        if _at(meta, f"fit.{key}") is not None:
            yield what, _at(meta, f"fit.{key}")
    for name, digest in (_at(meta, "fit.provenance.data") or {}).items():
        yield f"sha256 of the {name}", f"`{digest}`"


def _scores(meta: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    """What the record has of scores on held-out objects: name, value, and how sure it is."""
    for name, (place, key, *around) in _SCORES.items():
        if isinstance(value := _at(meta, f"{place}.{key}"), float):
            ends = [end for end in (_at(meta, f"{place}.{key}") for key in around) if isinstance(end, float)]
            sure = ("", " ± {:.3f}", " [{:.3f}, {:.3f}]")[len(ends)]
            yield name, value, sure.format(*ends)


def _model_index(scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """The scores as the hub's ``model-index``: https://huggingface.co/docs/hub/model-cards."""
    metrics = [
        {"type": "accuracy" if "agreement" in name else "neighbours_kept", "name": name, "value": value}
        for name, value in scores.items()
        if "without" not in name
    ]
    result = {"task": {"type": "odd-one-out"}, "dataset": {"name": "held-out objects", "type": "odd-one-out"}}
    return [{"name": "glocal", "results": [{**result, "metrics": metrics}]}] if metrics else []


def _at(record: Any, place: str) -> Any:
    """What a record holds at a place such as ``"fit.holdout"``, or None."""
    for key in place.split("."):
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
