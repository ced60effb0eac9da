"""The files of one network of a suite or command: each is loaded once, and hashed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from glocal.data.features import NAMES_FILE, Features
from glocal.data.labels import LabelledRows, load_labels, split_column
from glocal.files import file_sha256
from glocal.transform import LinearTransform


@dataclass(frozen=True, eq=False)
class NetworkFiles:
    """The files of one network.

    A path is relative to `root`, and ``{network}`` in it stands for `name`. A file is loaded when
    it is first asked for, and then kept.
    """

    name: str = "{network}"
    root: Path = Path()
    hashes_in_use: dict[str, str] = field(default_factory=dict, init=False)
    _features: dict[Path, Features] = field(default_factory=dict, init=False)
    _labelled: dict[tuple[Path, Path], LabelledRows] = field(default_factory=dict, init=False)
    _transforms: dict[str, LinearTransform] = field(default_factory=dict, init=False)

    def text(self, file: Path | str) -> str:
        """The path as the suite writes it, with the name of the network for ``{network}``."""
        return str(file).replace("{network}", self.name)

    def path(self, file: Path | str) -> Path:
        """The path of a file, from the root of the suite."""
        return self.root / self.text(file)

    def features(self, file: Path) -> Features:
        """The features of a file."""
        if file not in self._features:
            path = self.path(file)
            self._features[file] = Features.load(path)
        return self._features[file]

    def labelled(self, images: Path, labels: Path) -> LabelledRows:
        """The rows of a feature file that have a label in a file of labels."""
        files = (images, labels)
        if files not in self._labelled:
            path = self.path(labels)
            features = self.features(images)
            self._labelled[files] = load_labels(path, features)
        return self._labelled[files]

    def transform(self, name: str) -> LinearTransform:
        """The transform of a file, or of a name that `glocal.pretrained` takes."""
        if name not in self._transforms:
            self.hashes(name)
            path = self.path(name)
            source = path if os.path.exists(path) else name
            self._transforms[name] = LinearTransform.from_pretrained(source)
        return self._transforms[name]

    def hashes(self, *files: Path | str | None) -> dict[str, str]:
        """The SHA-256 of each file and of the names next to it, or of all files of a folder.

        `hashes_in_use` collects them.
        """
        hashes: dict[str, str] = {}
        for file in files:
            if file is None:
                continue
            path, _ = split_column(self.path(file))
            for part in _hashed_files(path):
                name = self._recorded_name(part)
                if name not in self.hashes_in_use:
                    self.hashes_in_use[name] = file_sha256(part)
                hashes[name] = self.hashes_in_use[name]
        return hashes

    def _recorded_name(self, path: Path) -> str:
        """The path relative to the root; outside of it the path itself."""
        if path.is_relative_to(self.root):  # without a look at drives and links
            path = path.relative_to(self.root)
        return path.as_posix()


def _hashed_files(path: Path) -> list[Path]:
    """A file and the file of names next to it, or all files of a folder."""
    paths = [path, path.with_name(NAMES_FILE)]
    if path.is_dir():
        paths = [*path.iterdir()]
    return sorted(filter(Path.is_file, paths))
