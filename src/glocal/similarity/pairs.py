"""Similarities of rows, and of the candidate pairs of answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import ParameterError
from glocal.similarity.choices import Choices
from glocal.similarity.ties import tie_tolerance

SIMILARITIES = ("cosine", "dot")
Deciding = Annotated[str, "cosine or dot: what decides the choice."]

_GRAM_LIMIT = 20_000
_CHUNK = 1 << 16


def unit_rows(Z: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Rows scaled to length 1; a row of zeros stays zero, so that its similarities are all 0."""
    norms = np.linalg.norm(Z, axis=1, keepdims=True)
    scaled: np.ndarray = Z / np.where(norms > 0, norms, 1)
    return scaled


class PairSimilarities:
    """Similarities of the candidate pairs of answers under one embedding, a chunk of answers at a time.

    They are read from the Gram matrix, or computed from the rows themselves where there are many objects.

    Parameters
    ----------
    Z : (n, p) real array
        Embedding; computed in float64, so that ties are ties and not rounding.
    similarity : {"cosine", "dot"}
    gathered : bool or None
        Read the rows answer by answer, in memory linear in n. None does so above 20,000 objects.
    """

    def __init__(self, Z: np.ndarray, similarity: str = "cosine", *, gathered: bool | None = None) -> None:
        if similarity not in SIMILARITIES:
            raise ParameterError(f"similarity is {similarity!r}; allowed are {' and '.join(SIMILARITIES)}.")
        Z = np.asarray(Z, dtype=np.float64)
        self.rows = unit_rows(Z) if similarity == "cosine" else Z
        gathered = len(Z) > _GRAM_LIMIT if gathered is None else gathered
        self.gram = None if gathered else self.rows @ self.rows.T
        # |S_ij| is at most the largest squared norm, which is also the largest |S_ij| of the Gram matrix
        largest = float(np.einsum("ij,ij->i", self.rows, self.rows).max(initial=0.0))
        self.tolerance = tie_tolerance(Z.shape[1], largest)

    def chunks(self, answers: Choices) -> Iterator[tuple[slice | Int[np.ndarray, " c"], Float[np.ndarray, "k c"]]]:
        """Yield, for a run of answers, their places and the similarities of their candidate pairs, the chosen first."""
        for part in answers.parts:
            for start in range(0, len(part.objects), _CHUNK):
                run = slice(start, min(start + _CHUNK, len(part.objects)))
                columns = np.ascontiguousarray(part.objects[run].T, dtype=np.int64)
                pairs = np.stack([self._pairs(columns[i], columns[j]) for i, j in part.pairs])
                yield run if isinstance(part.rows, slice) else part.rows[run], pairs

    def _pairs(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        if self.gram is not None:
            return self.gram.ravel().take(i * len(self.gram) + j)
        return np.concatenate(
            [
                np.einsum("ij,ij->i", self.rows[i[s : s + 4096]], self.rows[j[s : s + 4096]])
                for s in range(0, len(i), 4096)
            ]
        )
