"""`card`: what others must know about a transform before they use it, as the Markdown of a model card."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from glocal.errors import DataError, ParameterError
from glocal.files import one_line

if TYPE_CHECKING:
    from glocal.transform.linear import LinearTransform

_UNKNOWN = "not recorded"


def card(transform: LinearTransform, *, licence: str | None = None) -> str:
    """Write the card of a transform from its record.

    Parameters
    ----------
    transform : LinearTransform
    licence : str or None
        An identifier such as ``"mit"``; None says that none is stated.

    Returns
    -------
    str
        Markdown with the front matter that the Hugging Face hub reads: what the transform is, from which answers it was
        fitted, its scores with intervals, its licence, and how to use it with and without glocal.

    Raises
    ------
    ParameterError
        The licence is no identifier.
    DataError
        The record of the transform is damaged.

    Examples
    --------
    >>> import numpy as np
    >>> from glocal import LinearTransform
    >>> text = card(LinearTransform(np.eye(3, dtype=np.float32), None, mean=0.5, std=2.0), licence="mit")
    >>> text.splitlines()[0:4]
    ['---', 'library_name: glocal', 'license: mit', 'tags:']
    """
    if licence is not None and not re.fullmatch(r"[\w.+-]+", licence):
        raise ParameterError(f"licence is {licence!r}; it must be an identifier such as mit or cc-by-4.0.")
    try:
        return "\n".join(_lines(transform, licence))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise DataError(f"the record of the transform is damaged ({one_line(error)}). Fit or copy it again.") from error


def _lines(transform: LinearTransform, licence: str | None) -> list[str]:
    fit = dict(transform.meta.get("fit") or {})
    source = dict(transform.meta.get("source") or {})
    model = " / ".join(" ".join(str(source[key]).split()) for key in ("model", "layer") if source.get(key))
    return [
        "---",
        "library_name: glocal",
        *([f"license: {licence}"] if licence else []),
        "tags:",
        "- representational-alignment",
        "- human-similarity",
        "---",
        "",
        f"# Transform of {model or 'features'} to human similarity judgments",
        "",
        "One affine map of a model's features, fitted to people's answers about which things are alike "
        "(Muttenthaler et al., *Improving neural network representations using human similarity judgments*, NeurIPS "
        "2023).",
        "",
        "## What it is",
        "",
        *_table(_facts(transform, fit, source, model)),
        "",
        "## Scores",
        "",
        *(
            list(_scores(transform.meta))
            or ["No score was recorded with this transform. Measure it: `glocal evaluate`."]
        ),
        "",
        "## Use it",
        "",
        *_use(transform),
        "",
        "## Licence",
        "",
        f"{licence}." if licence else "None is stated.",
        "The network and the answers have licences of their own.",
        "",
    ]


def _facts(transform: LinearTransform, fit: dict[str, Any], source: dict[str, Any], model: str) -> Iterator[list[str]]:
    provenance = fit.get("provenance") or {}
    data = provenance.get("data") or {}
    settings = [f"{name} {fit[name]}" for name in ("alpha", "lmbda", "tau", "mix") if fit.get(name) is not None]
    size = f"{transform.dimensions} to {transform.out_dimensions}"
    yield ["model and layer", model or f"{_UNKNOWN}; apply it to the features it was fitted on only"]
    if source.get("preprocessing"):
        yield ["preprocessing", str(source["preprocessing"])]
    yield ["dimensions", size]
    yield ["bias", "no" if transform.bias is None else "yes"]
    yield ["mean and std of the object features", f"{transform.mean:.6g}, {transform.std:.6g}"]
    yield ["method", ", ".join([str(fit["method"]), *settings]) if "method" in fit else _UNKNOWN]
    if "n_triplets" in fit:
        yield ["answers", f"{fit['n_triplets']} about {fit['n_objects']} objects"]
    for name in ("triplets", "features"):
        if name in data:
            yield [f"sha256 of the {'answers' if name == 'triplets' else name}", f"`{data[name]}`"]
    if fit.get("n_local"):
        yield ["images whose neighbours were kept", str(fit["n_local"])]
    if "status" in fit:
        yield ["optimum", f"{fit['status']}: {fit['reason']}"]
    if "version" in provenance:
        yield ["glocal", str(provenance["version"])]


def _scores(meta: dict[str, Any]) -> Iterator[str]:
    """The held-out scores of the fit, and the line of the sweep that was chosen."""
    rows = []
    held = ((meta.get("fit") or {}).get("holdout") or {}).get("heldout")
    if held:
        low, high = held.get("low"), held.get("high")
        interval = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
        rows.append(["agreement on held-out objects", f"{held['accuracy_cosine']:.3f}{interval}", str(held["n"])])
        rows.append(["the same without the transform", f"{held['original_accuracy_cosine']:.3f}", str(held["n"])])
    chosen = [line for line in (meta.get("sweep") or {}).get("front", []) if line.get("chosen")]
    for metric, words in (("accuracy_cosine", "agreement, mean over folds"), ("neighbours_kept", "neighbours kept")):
        for line in chosen:
            if line.get(metric) is not None:
                error = line.get(f"{metric}_se")
                rows.append([words, f"{line[metric]:.3f}" + (f" ± {error:.3f} (standard error)" if error else ""), ""])
    if rows:
        yield from _table(rows, heading=["measure", "value", "answers"])


def _use(transform: LinearTransform) -> Iterator[str]:
    plus = ' + file["bias"]' if transform.bias is not None else ""
    yield from [
        "`X` holds the raw features of the model, one row an image.",
        "",
        "```python",
        "from glocal import LinearTransform",
        "",
        'aligned = LinearTransform.load("transform.npz")(X)',
        "```",
        "",
        "Without glocal:",
        "",
        "```python",
        "import numpy as np",
        "",
        'file = np.load("transform.npz", allow_pickle=False)',
        f'aligned = (X - file["mean"]) / file["std"] @ file["weights"]{plus}',
        "```",
    ]


def _table(rows: Any, heading: list[str] | None = None) -> Iterator[str]:
    rows = [heading or ["", ""], *rows]
    for number, row in enumerate(rows):
        yield "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
        if number == 0:
            yield "|" + "---|" * len(row)
