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
_AGREEMENT = "agreement on held-out objects"
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

`X` holds the raw features of the model, one row for each image.{rows}

```python
from glocal import LinearTransform

aligned = LinearTransform.load("transform.npz")(X)
```

Without glocal:

```python
import numpy as np

file = np.load("transform.npz", allow_pickle=False)
aligned = (X - file["mean"]) / file["std"] @ file["weights"]{bias}
```

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
    network = str(_at(meta, "source.model") or "")
    for name in (*datasets, *([base_model] if base_model else [])):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
            raise ParameterError(f"{name!r} is not the name of a repository on the Hugging Face hub (OWNER/NAME).")
    front = {
        "library_name": "glocal", "license": licence, "base_model": base_model or _of_timm(network),
        "datasets": list(datasets), "tags": _TAGS, "model-index": _model_index(meta),
    }  # fmt: skip
    model = " / ".join(" ".join(str(part).split()) for part in (network, _at(meta, "source.layer")) if part)
    facts = [
        ("dimensions", "{} to {}".format(*weights.shape)),
        ("mean and std", f"{mean:.6g}, {std:.6g}"),
        *_facts(meta),
    ]
    return _CARD.format(
        front="\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items() if value),  # JSON is YAML
        model=model or "features",
        facts="\n".join(f"| {name} | {_cell(value)} |" for name, value in facts),
        rows=" Scale each row to length 1 first." if _at(meta, "rows.normalised") else "",
        bias="" if bias is None else ' + file["bias"]',
        licence=licence or "None is stated",
    )


def _facts(meta: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "preprocessing", _at(meta, "source.preprocessing") or "not recorded"
    settings = [f"{name} {_at(meta, f'fit.{name}')}" for name in ("method", "alpha", "lmbda", "tau", "mix")]
    yield "settings", ", ".join(text for text in settings if not text.endswith(" None")) or "not recorded"
    for key in ("n_answers", "n_objects", "n_local", "status"):
        if _at(meta, f"fit.{key}") is not None:
            yield key.replace("n_", "number of "), _at(meta, f"fit.{key}")
    for name, digest in (_at(meta, "fit.provenance.data") or {}).items():
        yield f"sha256 of the {name}", f"`{digest}`"
    for name, value in _scores(meta).items():
        ends = [_at(meta, f"fit.holdout.heldout.{key}") for key in ("low", "high")]
        interval = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if name == _AGREEMENT and None not in ends else ""
        yield name, f"{value:.3f}{interval}"


def _scores(meta: Mapping[str, Any]) -> dict[str, float]:
    """What the record has of scores on held-out objects, by name."""
    named = {
        _AGREEMENT: "fit.holdout.heldout.accuracy_cosine",
        "the same without the transform": "fit.holdout.heldout.original_accuracy_cosine",
        "neighbours kept of held-out images": "fit.holdout.heldout.neighbours_kept",
        "agreement, mean over folds": "sweep.best.accuracy_cosine",
        "neighbours kept, mean over folds": "sweep.best.neighbours_kept",
    }
    return {name: value for name, place in named.items() if isinstance(value := _at(meta, place), float)}


def _model_index(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scores as the hub's ``model-index``: https://huggingface.co/docs/hub/model-cards."""
    metrics = [
        {"type": "accuracy" if "agreement" in name else "neighbours_kept", "name": name, "value": value}
        for name, value in _scores(meta).items()
        if "without" not in name
    ]
    result = {"task": {"type": "odd-one-out"}, "dataset": {"name": "held-out objects", "type": "odd-one-out"}}
    return [{"name": "glocal", "results": [{**result, "metrics": metrics}]}] if metrics else []


def _of_timm(network: str) -> str | None:
    """The repository on the hub of a network of timm, which is there under its own name."""
    return network.replace("timm:", "timm/") if re.fullmatch(r"timm:[\w.-]+", network) else None


def _at(record: Any, place: str) -> Any:
    """What a record holds at a place such as ``"fit.holdout"``, or None."""
    for key in place.split("."):
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
