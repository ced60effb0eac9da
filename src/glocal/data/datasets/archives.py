"""The archives of an image data set: downloaded, compared with their checksums, unpacked whole or not at all."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from glocal.data.datasets.download import Progress, bring
from glocal.data.datasets.registry import ImageSetTerms, RemoteFile
from glocal.errors import FileError
from glocal.files import make_folder
from glocal.jobs.folder import once
from glocal.jobs.leaving import unwritable

_INSIDE = {"dtd": "dtd", "flowers102": "flowers-102"}  # the folder that torchvision unpacks an archive in


def unpack_set(datasets: Any, known: ImageSetTerms, root: Path, progress: Progress | None, timeout: float) -> None:
    """Put the files of a data set below `root`, as torchvision looks for them, unless their folder is there.

    Archives that lie in `root` already are used. Those that are downloaded are removed once they are unpacked. The
    folder appears when all of it is there; what a killed process left is removed by the next one.
    """
    place = root / known.folder
    if place.is_dir():
        return
    make_folder(place.parent)
    with once(place) as missing:
        if not missing:
            return
        for left in root.glob(f".{known.name}.partial-*"):
            shutil.rmtree(left, ignore_errors=True)
        here = [bring(one, Path(one.path), progress, timeout=timeout) for one in _archives(datasets, known, root)]
        with tempfile.TemporaryDirectory(prefix=f".{known.name}.partial-", dir=root) as unpacked:
            for found in here:
                _unpack(known, found.path, make_folder(Path(unpacked, _INSIDE.get(known.name, ""))))
            try:
                Path(unpacked, known.folder).rename(place)
            except FileNotFoundError as error:
                raise FileError(
                    f"the archive of {known.name} has no folder {known.folder}. Use another one."
                ) from error
        for found in here:
            if found.downloaded:
                found.path.unlink()


def _archives(datasets: Any, known: ImageSetTerms, root: Path) -> Iterator[RemoteFile]:
    """The files of a data set, with address and md5 as torchvision states them."""
    if known.name == "dtd":
        listed = [(datasets.DTD._URL, datasets.DTD._MD5)]
    elif known.name == "sun397":
        listed = [(datasets.SUN397._DATASET_URL, datasets.SUN397._DATASET_MD5)]
    elif known.name == "flowers102":
        prefix, files = datasets.Flowers102._download_url_prefix, datasets.Flowers102._file_dict
        listed = [(f"{prefix}{name}", md5) for name, md5 in files.values()]
    else:
        kind = datasets.CIFAR10 if known.name == "cifar10" else datasets.CIFAR100
        listed = [(kind.url, kind.tgz_md5)]
    for url, md5 in listed:
        path = str(root / PurePosixPath(url).name)
        yield RemoteFile(known.name, path, url, f"md5:{md5}", None, known.what, known.terms, known.citation)


def _unpack(known: ImageSetTerms, archive: Path, folder: Path) -> None:
    try:
        if archive.suffix == ".mat":
            shutil.copyfile(archive, folder / archive.name)
        else:
            with tarfile.open(archive) as opened:
                opened.extractall(str(folder), filter=_inside)
    except OSError as error:
        if error.errno is None:  # what gzip raises for damaged bytes
            raise
        raise unwritable(folder.parent / known.folder, error) from error


def _inside(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """`tarfile.data_filter`, and no link that leads upward.

    NOTE that filter, before Python 3.11.13 and 3.13.4, lets such links through where their path is very long.
    """
    if (member.issym() or member.islnk()) and ".." in PurePosixPath(member.linkname).parts:
        raise tarfile.LinkOutsideDestinationError(member, member.linkname)
    return tarfile.data_filter(member, folder)
