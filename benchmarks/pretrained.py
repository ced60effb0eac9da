"""Make the transforms that come with the package, and their cards. Run: make pretrained.

They are for CLIP ViT-B/32 with rows of length 1, and `keep` chooses them on all available answers
and photographs, once for the rows as they are and once for centred rows. `measured` computes the
numbers of a card; a test compares them with those of the file in the package.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import arms
import evidence_pages
import numpy as np
import workbench

from glocal import FitData, Keep, LinearTransform, axes, few_shot, fit, odd_one_out, structure
from glocal.aligner import keep_curve
from glocal.aligner.data import Centre
from glocal.evaluation.axes import FoldTransform
from glocal.transform import save_pretrained
from glocal.transform.record import Source

CENTRES: dict[str, Centre] = {"clip-vit-b-32": 0, "clip-vit-b-32-centred": 1}
NETWORK = "clip-vit-b32"
SETS = {
    "articles": "2,000 fashion products: articles with 20 images",
    "cifar10": "CIFAR-10, test images",
    "cars": "damaged cars",
}
"""The labelled images on the card."""
KEEP = 0.9
FOLDER = workbench.ROOT / "src" / "glocal" / "transform" / "pretrained"
SOURCE = Source(
    model="openclip:ViT-B-32-quickgelu:openai",
    layer="visual",
    preprocessing="that of the model; each row is then scaled to length 1",
)
DESCRIBED = {"licence": "cc-by-4.0", "base_model": "openai/clip-vit-base-patch32"}
NOTES = Path(__file__).with_suffix(".md").read_text("utf-8")
PURPOSES: dict[Centre, str] = {
    0: """\
Use it where each image should keep its nearest neighbours: search among images, and agreement
with people. For coarse classes with few examples take `clip-vit-b-32-centred`.""",
    1: """\
Use it where labels are few and classes coarse, and for anomalies of another kind. It subtracts the
column means of the THINGS features first, which changes neighbours: {kept:.2f} of those among the
original rows stay on photographs that it was not fitted to. Where neighbours should stay, use
`clip-vit-b-32`. For a mixed collection of your own, move its origin:
`transform.recentred(images)`.""",
}
COMPARISON = """\
Such fine classes gain as much from subtracting the column means of the THINGS features, without any
answer. Coarse classes gain more. For 15 categories of objects, from one example of each, accuracy
is {things[original]:.3f} with the original features and {things[centred]:.3f} with the mean
subtracted. It is {things[arm]:.3f} with a transform that was fitted in the same way without these
objects. Between animals and vehicles anomalies are found with an AUROC of {animals[original]:.3f},
{animals[centred]:.3f} and {animals[arm]:.3f}. In seven other tasks the mean does as much
(docs/results.md). If your classes have names, compare with CLIP's texts first: a name does more
than one example."""
RECORDED = {"things": "things 1", "animals": "animals anomalies"}


def data() -> FitData:
    """All answers, the objects that they name, and the photographs."""
    return workbench.data_of(NETWORK)


def measured(transform: LinearTransform, data: FitData) -> dict[str, Any]:
    """The numbers of the card: scores on the data of the fit, and on images that took no part."""
    before, after = sides(transform, data.features.matrix)
    assert data.local_features is not None
    sets = arms.images(NETWORK)
    return {
        "agreement": odd_one_out(after, data.answers, interval=False).agreement,
        "original": odd_one_out(before, data.answers, interval=False).agreement,
        "neighbours_kept": structure(*sides(transform, data.local_features.matrix)).neighbours_kept,
        "others": {title: scores(transform, *sets[name]) for name, title in SETS.items()},
    }


def sides(transform: LinearTransform, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows before the transform and after it."""
    return np.asarray(X, dtype=np.float64), transform(X)


def scores(transform: LinearTransform, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Neighbours kept, and accuracy with one example a class before and after the transform."""
    pair = sides(transform, X)
    kept = structure(*pair)
    before, after = (few_shot(Z, y, shots=1, probe="ncm").accuracy for Z in pair)
    error = kept.units.estimate().error
    row = {"n": len(X), "neighbours_kept": kept.neighbours_kept, "error": error}
    return {**row, "original": before, "shot": after}


def made(data: FitData, name: str) -> LinearTransform:
    """The transform of a name, with its weights rounded to float16, without a card."""
    data = replace(data, centre=CENTRES[name])
    fitted = fit(data, Keep(keep=KEEP))
    table = axes(fitted.transform, data.features, folds=folds(data))
    assert fitted.record.heldout is not None
    level = {"axes_chance": table.attrs["chance"]}
    fitted = fitted.with_heldout(fitted.record.heldout.model_copy(update=level))
    record = fitted.transform.record.model_copy(update={"source": SOURCE})
    weights = fitted.transform.weights.astype(np.float16)
    return replace(fitted.transform, weights=weights, record=record)


def folds(data: FitData) -> list[FoldTransform]:
    """Fits of the same choice, each without the answers about a third of the objects."""
    curve = keep_curve(data)
    transforms = curve.fold_transforms(curve.choose(KEEP))
    sizes = [len(problem.data.answers) for problem in curve.search.problems]
    return [*map(FoldTransform, transforms, sizes)]


def write(transform: LinearTransform, data: FitData, name: str) -> None:
    """Write a folder of the package: the transform, and its card with the measured numbers."""
    numbers = measured(transform, data)
    record = transform.record.fit
    assert record is not None
    assert record.heldout is not None
    centre = CENTRES[name]
    line = "| {title} | {n:,} | {neighbours_kept:.3f} ± {error:.3f} | {original:.3f}, {shot:.3f} |"
    others = [line.format(title=title, **row) for title, row in numbers.pop("others").items()]
    purpose = PURPOSES[centre].format(kept=record.heldout.neighbours_kept)
    texts = {"purpose": purpose, "comparison": comparison(centre), "others": "\n".join(others)}
    notes = NOTES.format(name=name, centre=centre, keep=KEEP, fit=record, **texts, **numbers)
    save_pretrained(transform, FOLDER / name, notes=notes, **DESCRIBED)


def comparison(centre: Centre) -> str:
    """What the record of the evidence says about a transform that was fitted in the same way."""
    texts = {}
    for name, task in RECORDED.items():
        rows = evidence_pages.selected_rows(
            evidence_pages.load(), {"where": {"network": [NETWORK], "task": [task]}}
        )
        values = {row["arm"]: row["value"] for row in rows}
        texts[name] = values | {"arm": values[f"{arms.PREFIXES[centre]}keep-{KEEP}"]}
    return COMPARISON.format(**texts)


def main() -> None:
    """Fit and write the transforms."""
    fit_data = data()
    for name in CENTRES:
        write(made(fit_data, name), fit_data, name)
        print(FOLDER / name)


if __name__ == "__main__":
    main()
