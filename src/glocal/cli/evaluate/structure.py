"""``glocal evaluate structure``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from glocal.cli.command import takes
from glocal.cli.evaluate.common import Scored, record
from glocal.cli.features import FeaturesPath
from glocal.cli.output import interval, status
from glocal.data.labels import load_labels
from glocal.evaluation.structure import Structure, structure
from glocal.evaluation.structure.separation import Separation
from glocal.evaluation.structure.spectrum import Spectrum, spectrum
from glocal.transform import LinearTransform, check_rows

_SHOWN = 10


@takes(structure)
def structure_command(
    given: Scored,
    features: FeaturesPath,
    transform: Annotated[str, typer.Option("--transform", help="A file, or a name that glocal transforms pull takes.")],
    labels: Annotated[
        Path | None, typer.Option("--labels", help="One class or superclass an image: how far they stand apart.")
    ] = None,
    **options: Any,
) -> None:
    """What a transform does to structure: neighbours kept, CKA, trustworthiness, dissimilarities, spectrum.

    Before is the features standardized by the two scalars of the transform.

    Example: glocal evaluate structure --features local.npy --transform transform.npz
    """
    loaded, fitted = given.load(features), LinearTransform.from_pretrained(transform)
    loaded.check_finite()
    check_rows(fitted, loaded)
    names = None if labels is None else load_labels(labels, len(loaded))
    Z = fitted.apply(np.asarray(loaded.matrix, dtype=np.float64))
    X = fitted.standardization(loaded.matrix, "float64")
    with status("measuring"):
        result = structure(X, Z, labels=names, **options)
        found = spectrum(fitted.weights, X)
    values = record(result)
    for name, value in values.items():
        if isinstance(value, Separation):
            values[name] = {**value._asdict(), "gap": value.gap}
    given.put(result.scores, _lines(result, found), {**values, "spectrum": _summary(found)}, split=features.name)


def _summary(found: Spectrum) -> dict[str, Any]:
    """The scale, how many directions are raised, and the leading ones: gain, share of the variance before and after."""
    leading = {name: getattr(found, name)[:_SHOWN].tolist() for name in ("gains", "share_before", "share_after")}
    return {
        "scale": found.scale,
        "raised": found.raised,
        "gain_max": float(found.gains.max()),
        "gain_min": float(found.gains.min()),
        "condition": float(found.singular_values[0] / max(found.singular_values[-1], 1e-300)),
        **leading,
    }


def _lines(result: Structure, found: Spectrum) -> Iterator[str]:
    why = "collapsed" if result.collapsed else "all images are equal"
    kept = interval(result.neighbours_kept, result.low, result.high, why)
    yield f"neighbours kept (k = {result.k})  {kept}   chance {result.k / (result.n - 1):.3f}   images {result.n}"
    yield "at other k  " + "  ".join(f"{size}: {value:.3f}" for size, value in result.overlap.items())
    yield f"trustworthiness  {result.trustworthiness:.4f}   continuity  {result.continuity:.4f}"
    inside = "" if result.local_cka is None else f"   local CKA  {result.local_cka:.3f}"
    yield f"divergence of neighbourhoods (tau = {result.tau})  {result.divergence:.4f} nats{inside}"
    yield f"CKA  {result.cka:.3f} (debiased {result.cka_debiased:.3f})"
    yield (
        f"dissimilarities  Spearman {result.rdm_spearman:.3f}   Pearson {result.rdm_pearson:.3f}   "
        f"images compared {result.rdm_images}"
    )
    yield (
        f"effective directions  {result.participation_before:.1f} before, {result.participation_after:.1f} after; "
        f"for 90 % of the variance {result.directions90_before} and {result.directions90_after}"
    )
    yield f"principal directions raised  {found.raised} of {len(found.gains)}, at most {found.gains.max():.2f} times"
    if result.separation_before is not None and result.separation_after is not None:
        yield (
            f"classes apart (cosine within less between)  {result.separation_before.gap:.3f} before, "
            f"{result.separation_after.gap:.3f} after; silhouette {result.separation_before.silhouette:.3f} and "
            f"{result.separation_after.silhouette:.3f}"
        )
