"""The data under one check: features, local features and answers that belong together, and how to change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from glocal.data.answers import Answers
from glocal.data.features import Features


@dataclass(frozen=True, eq=False)
class Case:
    """What is checked together.

    Parameters
    ----------
    features : Features
        Of the objects.
    local : Features or None
        Of the local images.
    answers, heldout : Answers or None
        Answers to fit, and those of another part, kept apart to score on.
    object_ids : tuple of str, or None
        The list that the answers index; None for the rows of the features.
    order : (n,) int or None
        The sort index that was applied to the answers.
    """

    features: Features
    local: Features | None = None
    answers: Answers | None = None
    heldout: Answers | None = None
    object_ids: tuple[str, ...] | None = None
    order: Int[np.ndarray, " n"] | None = None

    @property
    def listed(self) -> Sequence[str] | None:
        """The names of the objects that the answers index, where they are joined by name."""
        if self.object_ids is not None or self.answers is None or self.features.names is None:
            return self.object_ids
        return self.answers.names

    def of(self, role: str) -> Features:
        """The local features, or those of the objects."""
        return self.local if role == "local" and self.local is not None else self.features

    def with_answers(self, role: str, answers: Answers | None) -> Case:
        """Other answers, or held-out ones."""
        return replace(self, heldout=answers) if role == "heldout" else replace(self, answers=answers)

    def changed(self, change: Callable[[Answers], Answers]) -> Case:
        """Both sets of answers changed in one way."""
        answers = None if self.answers is None else change(self.answers)
        return replace(self, answers=answers, heldout=None if self.heldout is None else change(self.heldout))

    def with_matrix(self, role: str, matrix: np.ndarray, names: Sequence[str] | None = None) -> Case:
        """Other values of the features in this role, and other names where they are given."""
        old = self.of(role)
        new = Features(matrix, old.names if names is None else tuple(names), old.source)
        return replace(self, local=new) if role == "local" else replace(self, features=new)

    def without_rows(
        self, role: str, drop: Bool[np.ndarray, " n"], instead: Int[np.ndarray, " n"] | None = None
    ) -> Case:
        """Drop rows with their names, and the answers about them; or these then name the rows `instead`."""
        old = self.of(role)
        names = None if old.names is None else [name for name, gone in zip(old.names, drop, strict=True) if not gone]
        found = self.with_matrix(role, np.asarray(old.matrix[np.flatnonzero(~drop)]), names)
        if role == "local" or self.listed is not None:
            return found
        new = np.where(drop, -1, np.cumsum(~drop) - 1)
        return found.mapped(new if instead is None else new[instead])

    def without_columns(self, drop: Bool[np.ndarray, " p"]) -> Case:
        """Drop columns of the features, and the same ones of the local features."""
        kept = np.flatnonzero(~drop)
        found = self.with_matrix("features", np.asarray(self.features.matrix[:])[:, kept])
        if self.local is not None and self.local.dimensions == len(drop):
            found = found.with_matrix("local", np.asarray(self.local.matrix[:])[:, kept])
        return found

    def mapped(self, new_index: Int[np.ndarray, " n"]) -> Case:
        """Answers about object i become answers about object ``new_index[i]``; -1 drops them."""

        def change(answers: Answers) -> Answers:
            inside = answers.select(answers.objects.max(axis=1) < len(new_index))
            return replace(inside.relabel(new_index)[0], names=answers.names)

        return self.changed(change)

    def with_columns(self, order: Sequence[int]) -> Case:
        """The columns of the answers in another order."""
        return self.changed(lambda answers: replace(answers, objects=answers.objects[:, list(order)]))
