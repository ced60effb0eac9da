"""The model card of a transform: a template that the record of the transform fills."""

from __future__ import annotations

import html
import json
import re

from glocal.advice import Subject, advise
from glocal.results import UNCHANGED, HeldOutScores, unchanged_in_words
from glocal.transform.linear import LinearTransform
from glocal.transform.record import Source

CARD_NAME = "README.md"
CARD_MARK = 'library_name: "glocal"'
"""A line in the front matter of every card that glocal writes."""
_TAGS = ["representational-alignment", "human-similarity", "odd-one-out", "feature-extraction"]
_SETTINGS = ("centre", "method", "alpha", "lmbda", "tau", "mix")
_TEMPLATE = """---
{front}
---

# Transform of {model} to human similarity judgments

One affine transform of a model's features. It was fitted to people's answers about which things
are alike (Muttenthaler et al., *Improving neural network representations using human similarity
judgments*, NeurIPS 2023).
{finding}
| | |
|---|---|
{facts}

## Usage

`X` holds features as the model gives them, one row per image.{step}

```python
from glocal import LinearTransform

aligned = LinearTransform.load("transform.npz")(X)
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


def card(transform: LinearTransform) -> str:
    """Return the model card of a transform, as Markdown for the hub.

    The card describes the transform, the answers of its fit, its scores with intervals, and its
    licence, and shows how to use it with and without glocal. All of it stands in the record of the
    transform; its part ``card`` holds `CardOptions`.

    Raises
    ------
    ParameterError
        The licence is not an identifier, or the network or a data set is not a name on the hub.
    """
    record = transform.record
    options = record.card
    facts = _facts(transform)
    finding = ""
    if record.fit is not None and record.fit.heldout is not None:
        subject = Subject.from_fit(record.fit)
        facts |= _heldout_facts(subject, record.fit.heldout)
        finding = f"\n{advise(subject).sentence}\n"
    front = {
        "library_name": "glocal",
        "license": options.licence,
        "base_model": options.base_model or _timm_repository(record.source),
        "datasets": list(options.datasets),
        "tags": _TAGS,
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in front.items() if value]  # JSON is YAML
    is_unit = transform.normalize
    return _TEMPLATE.format(
        front="\n".join(lines),
        model=_cell(record.source.network_name) or "features",
        finding=finding,
        facts="\n".join(
            f"| {_cell(name)} | {_cell(value)} |" for name, value in facts.items() if value
        ),
        step=" Each row is scaled to length 1 first." if is_unit else "",
        scaling="X = X / np.linalg.norm(X, axis=1, keepdims=True)\n" if is_unit else "",
        bias="" if transform.bias is None else ' + file["bias"]',
        notes=f"\n{options.notes.strip()}\n" if options.notes else "",
        licence=options.licence or "None is stated",
    )


def _timm_repository(source: Source) -> str | None:
    """The repository on the hub of a network from timm, which has the name of the model."""
    match = re.fullmatch(r"timm:([\w.-]+)", source.model or "")
    return f"timm/{match[1]}" if match else None


def _facts(transform: LinearTransform) -> dict[str, object]:
    """The rows of a card's table that are not scores, by their headings."""
    record = transform.record
    facts: dict[str, object] = {
        "dimensions": "{} to {}".format(*transform.weights.shape),
        "mean and std": f"{transform.mean:.6g}, {transform.std:.6g}",
        "preprocessing": record.source.preprocessing or "not recorded",
        "settings": "not recorded",
    }
    if fit := record.fit:
        settings = {name: getattr(fit, name) for name in _SETTINGS}
        if fit.keep is not None:
            settings = {"keep": fit.keep.keep, **settings}
        stated = [f"{name} {value}" for name, value in settings.items() if value]
        is_unchanged = fit.status == UNCHANGED
        facts |= {
            "settings": ", ".join(stated) or "not recorded",
            "answers": fit.n_answers,
            "objects": fit.n_objects,
            "local images": fit.n_local,
            "fit": f"{fit.status}: {unchanged_in_words(fit.centre)}"
            if is_unchanged
            else fit.status,
        }
    hashes = {f"sha256 of the {name}": f"`{digest}`" for name, digest in record.hashes.items()}
    return facts | hashes


def _heldout_facts(subject: Subject, heldout: HeldOutScores) -> dict[str, str]:
    """The rows of a card's table on held-out answers and images; empty without any."""
    agreement = subject.agreement
    kept = subject.kept
    if agreement is None or kept is None:
        return {}
    nearest = f"of the {heldout.k} nearest among {kept.n} {heldout.among}"
    return {
        "agreement on held-out answers": agreement.after.text(),
        "agreement without the transform": agreement.before.text(),
        "neighbours kept of held-out images": f"{kept.text()} {nearest}",
    }


def _cell(value: object) -> str:
    """A value on one line, as the cell of a table, without HTML, links and images of its own."""
    line = html.escape(" ".join(str(value).split()), quote=False)
    return line.replace("|", "\\|").replace("](", "]\\(")
