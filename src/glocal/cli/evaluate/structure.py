"""``glocal evaluate structure``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from glocal.cli.evaluate.common import Row, ScoresOut, check_scores_out, put_scores
from glocal.cli.features import LayerName, ModelName, load_features
from glocal.cli.options import AsJson, FeaturesPath
from glocal.cli.output import interval, progress_bar, put, put_json
from glocal.data.labels import load_labels
from glocal.evaluation.structure import Structure, structure
from glocal.evaluation.structure.measure import STEPS
from glocal.evaluation.structure.separation import Separation
from glocal.evaluation.structure.spectrum import Spectrum, spectrum
from glocal.transform import LinearTransform

_PLAIN = (
    "trustworthiness", "continuity", "local_cka", "divergence", "cka", "cka_debiased", "rdm_spearman", "rdm_pearson",
    "participation_before", "participation_after", "directions90_before", "directions90_after",
)  # fmt: skip
_SHOWN = 10


def structure_command(
    features: FeaturesPath,
    transform: Annotated[Path, typer.Option("--transform", help="Transform file, ours or the authors'.")],
    k: Annotated[int, typer.Option("--k", help="Neighbours of each image.")] = 10,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="One class or superclass an image: how far they stand apart.")
    ] = None,
    tau: Annotated[float, typer.Option("--tau", help="Temperature of the divergence of neighbourhoods.")] = 0.25,
    model: ModelName = None,
    layer: LayerName = None,
    out: ScoresOut = None,
    as_json: AsJson = False,
) -> None:
    """What a transform does to structure: neighbours kept, CKA, trustworthiness, dissimilarities, spectrum.

    Before is the features standardized by the two scalars of the transform.

    Example: glocal evaluate structure --features local.npy --transform transform.npz
    """
    check_scores_out(out)
    loaded, fitted = load_features(features, model, layer), LinearTransform.load(transform)
    loaded.check_finite()
    names = None if labels is None else load_labels(labels, len(loaded))
    Z = fitted.apply(np.asarray(loaded.matrix, dtype=np.float64))
    X = fitted.standardization(loaded.matrix, "float64")
    steps = (*STEPS, "spectrum")
    with progress_bar("measuring", len(steps), unit="measures") as progress:

        def begin(step: str) -> None:
            progress(steps.index(step), None, step)

        result = structure(X, Z, k=k, tau=tau, labels=names, progress=begin)
        begin("spectrum")
        found = spectrum(fitted.weights, X)
    put_scores(out, transform, _rows(result, features.name))
    if as_json:
        put_json({**_plain(result), "spectrum": _summary(found)})
        return
    _show(result, found)


def _rows(result: Structure, split: str) -> list[Row]:
    n, task = result.n, "structure"
    rows: list[Row] = [(task, "neighbours_kept", result.neighbours_kept, result.low, result.high, n, split)]
    values = {f"neighbours_kept_{size}": value for size, value in result.overlap.items()}
    values |= {name: getattr(result, name) for name in _PLAIN}
    for when, apart in (("before", result.separation_before), ("after", result.separation_after)):
        if apart is not None:
            values |= {f"class_gap_{when}": apart.gap, f"silhouette_{when}": apart.silhouette}
    return rows + [
        (task, name, float(value), None, None, n, split) for name, value in values.items() if value is not None
    ]


def _plain(result: Structure) -> dict[str, Any]:
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    for name, value in values.items():
        if isinstance(value, Separation):
            values[name] = {**value._asdict(), "gap": value.gap}
    return values


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


def _show(result: Structure, found: Spectrum) -> None:
    why = "collapsed" if result.collapsed else "all images are equal"
    kept = interval(result.neighbours_kept, result.low, result.high, why)
    put(f"neighbours kept (k = {result.k})  {kept}   chance {result.k / (result.n - 1):.3f}   images {result.n}")
    put("at other k  " + "  ".join(f"{size}: {value:.3f}" for size, value in result.overlap.items()))
    put(f"trustworthiness  {result.trustworthiness:.4f}   continuity  {result.continuity:.4f}")
    inside = "" if result.local_cka is None else f"   local CKA  {result.local_cka:.3f}"
    put(f"divergence of neighbourhoods (tau = {result.tau})  {result.divergence:.4f} nats{inside}")
    put(f"CKA  {result.cka:.3f} (debiased {result.cka_debiased:.3f})")
    put(
        f"dissimilarities  Spearman {result.rdm_spearman:.3f}   Pearson {result.rdm_pearson:.3f}   "
        f"images compared {result.rdm_images}"
    )
    put(
        f"effective directions  {result.participation_before:.1f} before, {result.participation_after:.1f} after; "
        f"for 90 % of the variance {result.directions90_before} and {result.directions90_after}"
    )
    put(f"principal directions raised  {found.raised} of {len(found.gains)}, at most {found.gains.max():.2f} times")
    if result.separation_before is not None and result.separation_after is not None:
        put(
            f"classes apart (cosine within less between)  {result.separation_before.gap:.3f} before, "
            f"{result.separation_after.gap:.3f} after; silhouette {result.separation_before.silhouette:.3f} and "
            f"{result.separation_after.silhouette:.3f}"
        )
