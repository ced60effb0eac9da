"""`verify`: whether a transform is what it should be and fits the features at hand, with the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glocal.data.check import unlike
from glocal.data.features import Features
from glocal.files import PathLike, array_sha256, file_sha256
from glocal.transform.linear import LinearTransform
from glocal.transform.published import WRONG


@dataclass(frozen=True)
class Check:
    """One question about a transform: whether it `passed` (None: unknown) and the `evidence` in words."""

    name: str
    passed: bool | None
    evidence: str


def verify(
    path: PathLike,
    features: Features | None = None,
    *,
    model: str | None = None,
    layer: str | None = None,
    sha256: str | None = None,
) -> list[Check]:
    """Ask of a transform file whether it may be applied to these features.

    Parameters
    ----------
    path : path
        A transform file.
    features : Features or None
        The raw features it is to be applied to.
    model, layer : str or None
        Of the features, as thingsvision writes them.
    sha256 : str or None
        The checksum that the file must have.

    Returns
    -------
    list of Check
        ``file`` (its checksum), ``published`` (content that is known to be of another model, under whatever name),
        ``dimensions``, ``statistics`` (mean and std of the features beside those of the transform), ``model`` and
        ``data`` (whether these are the very features it was fitted on). One that did not pass makes results wrong.

    Raises
    ------
    FileError, DataError
        The file is missing, damaged, or not a transform.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what loading warns of is a check here
        transform = LinearTransform.load(path)
    source = transform.meta.get("source") or {}
    model = model or None
    checks = [_file(Path(path), sha256), _published(transform, model)]
    if features is not None:
        checks += [_dimensions(transform, features)]
        if checks[-1].passed:
            checks += [_statistics(transform, features), _data(transform, features)]
    for name, wanted in (("model", model), ("layer", layer)):
        if wanted is not None:
            checks.append(_named(name, source.get(name), wanted))
    return checks


def _file(path: Path, sha256: str | None) -> Check:
    found = file_sha256(path)
    if sha256 is None:
        return Check("file", None, f"sha256 {found}; none was stated to compare it with")
    same = found == sha256.lower()
    return Check("file", same, f"sha256 {found}" + ("" if same else f", not {sha256}"))


def _published(transform: LinearTransform, model: str | None) -> Check:
    wrong = WRONG.get(array_sha256(transform.weights))
    if wrong is None:
        return Check("published", True, "not among the contents that are known to be published under a wrong name")
    return Check(
        "published",
        model == wrong.fitted_on,
        f"the content is the transform of {wrong.fitted_on}, which was published as {wrong.published_as} too; "
        + (f"the features are of {model}" if model else f"pass --model {wrong.fitted_on} if the features are of it"),
    )


def _dimensions(transform: LinearTransform, features: Features) -> Check:
    p = features.dimensions
    return Check(
        "dimensions",
        p == transform.dimensions,
        f"the transform maps {transform.dimensions} dimensions, the features have {p}",
    )


def _statistics(transform: LinearTransform, features: Features) -> Check:
    mean, std, apart = unlike(transform.standardization, features)
    return Check(
        "statistics",
        not apart,
        f"by the mean {transform.mean:.4g} and std {transform.std:.4g} of the transform the features have mean "
        f"{mean:.3g} and std {std:.3g}, where its own have 0 and 1"
        + ("; they are of another network or layer, or were scaled or normalized" if apart else ""),
    )


def _data(transform: LinearTransform, features: Features) -> Check:
    told: Any = ((transform.meta.get("fit") or {}).get("provenance") or {}).get("data") or {}
    told = told.get("features")
    if told is None:
        return Check("data", None, "the transform does not record which features it was fitted on")
    same = told == array_sha256(features.matrix)
    return Check(
        "data",
        True if same else None,
        "the features are those that it was fitted on"
        if same
        else "the features differ from those it was fitted on, as those of new images do",
    )


def _named(name: str, told: Any, wanted: str) -> Check:
    if told is None:
        return Check(name, None, f"the transform does not record its {name}; yours is {wanted}")
    return Check(
        name, _plain(str(told)) == _plain(wanted), f"the transform is of {name} {told}, the features of {wanted}"
    )


def _plain(name: str) -> str:
    """A name without case, and without the difference between a slash and a dash."""
    return name.casefold().replace("/", "-").replace("_", "-")
