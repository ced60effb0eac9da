"""``glocal align``."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from pydantic import Field
from typer import Argument, Option

from glocal.aligner.keep import DEFAULT_KEEP, Keep
from glocal.cli.fit import CentreOption, parse_centre, show_fit
from glocal.cli.options import Normalize, ObjectIds, flat, read_ids, refuse_overwriting_inputs
from glocal.cli.output import print_message, print_result, progress_bar
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.sources.fetch import fetch, to_download
from glocal.data.sources.registry import published
from glocal.errors import GLocalError, ParameterError
from glocal.options import Options
from glocal.scores import ORIGINAL
from glocal.screen import screen_width
from glocal.suite.table import network_lines, score_lines
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    from glocal.align import Atlas
    from glocal.aligner import Fit

PUBLISHED = "features/"
"""The prefix of the names of published features."""
ANSWERS = "things/answers"
"""The published answers, which are taken without --answers."""
BUNDLED = "clip-vit-b-32"
"""The published network for which the package has transforms, of this name and with -centred."""
_FOLDER_NAME = re.compile(r"\w[\w .+-]{0,79}")


class Pictures(Options):
    """The options of a network that is run on images."""

    panel: ClassVar[str] = "With --images"

    images: str | None = Field(
        None, description="One image for each object: folder, pattern or list."
    )
    local_images: str | None = Field(None, description="Other images, whose neighbours are kept.")
    layer: str | None = Field(None, description="Layer to extract. [default: penultimate]")


@flat
def align(
    out: Annotated[
        Path, Option(help="Folder of the results; the same command continues an interrupted run.")
    ],
    pictures: Pictures,
    keep: Keep,
    names: Annotated[
        list[str] | None,
        Argument(
            metavar="NAME",
            help="With --images one network, as --model of glocal extract. Without, networks with "
            "published features of the THINGS objects: features/NAME in glocal data fetch.",
        ),
    ] = None,
    features: list[str] | None = Option(
        None,
        metavar="NAME=PATH",
        help="One more network, with features of the objects at hand; repeatable.",
    ),
    answers: Path | None = Option(
        None, help="Answers, as in glocal fit. [default: those of THINGS]"
    ),
    object_ids: ObjectIds = None,
    yes: bool = Option(False, "--yes", help="Download without a question."),
    centre: CentreOption = None,
    normalize: Normalize = False,
    model: str | None = Option(None, hidden=True),
) -> None:
    """Align networks with people's answers, from images or from published features.

    With --images the steps are to extract and check features, to fit by --keep, and to write the
    transform, its card and a report. The same command continues an interrupted run.

    Without it, the command downloads published features and answers, after a question or with
    --yes. It fits each network twice, plain and centred, and scores both on three folds of the
    objects. OUT/NAME gets both transforms and a report. atlas.html and atlas.csv compare several
    networks on the objects that all of them have.

    Example: glocal align clip-vit-l-14 siglip-so400m-14-384 --yes --out atlas
    Example: glocal align timm:vit_base_patch16_224.dino --images objects
    --answers answers.npz --out aligned
    """
    networks = names or []
    if model is not None:
        raise ParameterError(
            f"the network is an argument, and no option: glocal align {model} --images IMAGES …"
        )
    if pictures.images is not None:
        if len(networks) != 1 or features or answers is None:
            raise ParameterError(
                "with `images` give one NAME and `answers`, and no `features`: glocal align "
                "timm:resnet50 --images objects --answers answers.npz --out aligned."
            )
        options: dict[str, Any] = pictures.model_dump() | keep.model_dump()
        options |= {"centre": parse_centre(centre), "normalize": normalize}
        fitted = _align_images(networks[0], answers, object_ids, out, **options)
        files = f"{out}: transform.npz, README.md (the model card), report.html, features"
        return show_fit(fitted.record, out, files)
    if pictures.model_fields_set or centre is not None:
        raise ParameterError(
            "`local_images`, `layer` and `centre` need `images`. Published features are fitted as "
            "they are and centred, and objects stand in for local images."
        )
    paths = _paths(networks, features or [])
    refuse_overwriting_inputs("--out", out, *paths.values())
    _permit_downloads(paths, answers is None, is_permitted=yes)
    share = keep.keep or DEFAULT_KEEP
    return _show(_align_features(paths, answers, object_ids, out, share, normalize), out)


def _align_images(
    network: str, answers: Path, object_ids: Path | None, out: Path, **options: Any
) -> Fit:
    """Align a network that is run on images."""
    ids = read_ids(object_ids)
    options |= {"answers": Answers.load(answers, names=ids), "object_ids": ids}
    with progress_bar("align") as progress:
        from glocal.align import align as run_align  # libraries that it imports print

        return run_align(
            network,
            out=out,
            progress=lambda step, count, total: progress(count or None, total or None, step),
            **options,
        )


def _paths(names: Sequence[str], pairs: Sequence[str]) -> dict[str, Path | None]:
    """The path of the features of each network, None for published ones; checks all names."""
    paths: dict[str, Path | None] = {}
    for name in names:
        if f"{PUBLISHED}{name}" not in published():
            keys = [key for key in published() if key.startswith(PUBLISHED)]
            names_published = ", ".join(key.removeprefix(PUBLISHED) for key in keys)
            raise ParameterError(
                f"nobody has published features of {name!r}. Published are {names_published}. For "
                f"another network give photographs of the objects, `images`, or rows at hand, "
                f"--features {name}=PATH."
            )
        paths[name] = None
    if BUNDLED in names:
        print_message(
            f"{BUNDLED}: the package has better transforms, fitted with photographs: {BUNDLED} and "
            f"{BUNDLED}-centred."
        )
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not _FOLDER_NAME.fullmatch(name) or name in paths:
            raise ParameterError(
                f"--features is {pair!r}; give NAME=PATH, with another NAME for each network of "
                "letters, digits, blanks and . + - _."
            )
        paths[name] = Path(path)
    if not paths:
        raise ParameterError("name a network: glocal align clip-vit-l-14 --out aligned.")
    return paths


def _permit_downloads(
    paths: Mapping[str, Path | None], needs_answers: bool, *, is_permitted: bool
) -> None:
    """Ask before anything is downloaded; without a terminal, raise an error that says how."""
    names = [key for name in paths if paths[name] is None for key in _published_parts(name)]
    if needs_answers:
        names.append(ANSWERS)
    files = to_download(names)
    if not files or is_permitted:
        return
    listing = ", ".join(f"{file.name} ({file.size_in_words})" for file in files)
    if not sys.stdin.isatty():
        raise ParameterError(f"this downloads {listing}. Pass --yes to allow it.")
    print_message(f"This downloads {listing}. Go on? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        print_message("Nothing was downloaded.")
        raise typer.Exit(1)


def _published_parts(network: str) -> list[str]:
    """The published files of a network: its features, and a transform of its authors if any."""
    entry = published()[f"{PUBLISHED}{network}"]
    return [name for name in (entry.name, getattr(entry, "transform", None)) if name]


def _fetched(name: str) -> Path:
    """The published file of this name."""
    with progress_bar(f"fetching {name}", unit="B") as progress:
        return fetch(name, progress=progress)


def _align_features(
    paths: Mapping[str, Path | None],
    answers: Path | None,
    object_ids: Path | None,
    out: Path,
    keep: float,
    normalize: bool,
) -> Atlas:
    """Fit and compare the networks whose features can be read; the others are failed."""
    from glocal.align import Atlas, align_networks  # libraries that it imports print

    features: dict[str, Features] = {}
    fitted: dict[str, LinearTransform] = {}
    failed: dict[str, str] = {}
    for name, path in paths.items():
        try:
            folder, *transforms = [path] if path else map(_fetched, _published_parts(name))
            for file in transforms:
                fitted[name] = LinearTransform.load(file)
            features[name] = Features.load(folder)
        except GLocalError as error:
            failed[name] = str(error)
    if not features:
        return Atlas((), failed)
    ids = read_ids(object_ids)
    judged = Answers.load(answers or _fetched(ANSWERS), names=ids)
    with progress_bar("fitting") as progress:
        atlas = align_networks(
            features,
            judged,
            out,
            object_ids=ids,
            keep=keep,
            normalize=normalize,
            fitted=fitted,
            progress=lambda name: progress(doing=name),
        )
    return replace(atlas, failed={**failed, **atlas.failed})


def _show(atlas: Atlas, out: Path) -> None:
    """Print the scores of all networks and the next steps; exit with 1 if a network failed."""
    for name, reason in atlas.failed.items():
        print_message(f"error: {name}: {reason}")
    width = screen_width()
    table = score_lines(atlas.scores, ORIGINAL, width) if atlas.networks else []
    table += [*network_lines(atlas.differences, width), ""]
    table += [f"next: {network.try_command(out)}" for network in atlas.networks]
    sentences = []
    if len(atlas.networks) > 1:
        sentences = [f"written to {out}: atlas.html, atlas.csv, and a folder for each network"]
    rows = [row.row() for row in (*atlas.scores, *atlas.differences)]
    print_result({"out": out, "rows": rows, "failed": atlas.failed}, *sentences, table=table)
    if atlas.failed:
        raise typer.Exit(1)
