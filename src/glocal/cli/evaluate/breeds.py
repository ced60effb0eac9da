"""The option ``--breeds`` of the commands that know the BREEDS tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from glocal.data.features import Features
from glocal.data.sources.breeds import breeds_sides, check_breeds
from glocal.errors import ParameterError


@dataclass(frozen=True)
class Breeds:
    """A BREEDS task."""

    breeds: Annotated[
        str | None,
        typer.Option(
            "--breeds",
            help="entity13, entity30, living17 or nonliving26: labels are ImageNet classes; superclasses are told "
            "apart, some of whose classes train and others test.",
        ),
    ] = None

    def check(self, *subclasses: Path | None) -> None:
        """Raise a ParameterError where one option contradicts another, before any work."""
        if self.breeds is None:
            return
        check_breeds(self.breeds)
        if any(subclasses):
            raise ParameterError("--breeds says which subclasses train and test; leave the subclass files out.")

    def sides(
        self, train: Features, train_labels: np.ndarray, test: Features, test_labels: np.ndarray
    ) -> tuple[Features, np.ndarray, Features, np.ndarray]:
        """Both sides with their labels, as they are or as the task selects and labels them."""
        if self.breeds is None:
            return train, train_labels, test, test_labels
        return breeds_sides(self.breeds, train, train_labels, test, test_labels)
