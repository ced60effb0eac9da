"""`AlignedEmbeddings`: any embeddings of LangChain, aligned."""

from __future__ import annotations

from typing import Any

import numpy as np

from glocal.errors import DataError
from glocal.extras import needed
from glocal.files import one_line
from glocal.transform.linear import LinearTransform

_Embeddings = needed("langchain_core.embeddings", "AlignedEmbeddings").Embeddings


class AlignedEmbeddings(_Embeddings):  # type: ignore[misc, valid-type]
    """Embeddings of LangChain followed by a transform.

    Parameters
    ----------
    embeddings : langchain_core.embeddings.Embeddings
        Those of the model that the transform was fitted on; what else it offers, as ``embed_image``, is aligned too.
    transform : LinearTransform
    strength : float
        1 is the transform, 0 the original up to scale.
    query_strength : float or None
        Of queries; None is `strength`. With 0 the documents alone are aligned, as for texts that look for images.
    normalize : bool
        Scale each vector to length 1.

    Examples
    --------
    >>> from langchain_core.embeddings import DeterministicFakeEmbedding
    >>> transform = LinearTransform(np.eye(4, dtype=np.float32), None, mean=0.0, std=2.0)
    >>> aligned = AlignedEmbeddings(DeterministicFakeEmbedding(size=4), transform, normalize=True)
    >>> len(aligned.embed_query("a camera"))
    4
    """

    def __init__(
        self,
        embeddings: Any,
        transform: LinearTransform,
        *,
        strength: float = 1.0,
        query_strength: float | None = None,
        normalize: bool = False,
    ) -> None:
        self.embeddings = embeddings
        self.normalize = normalize
        self.documents = transform.at_strength(strength) if strength != 1.0 else transform
        self.queries = self.documents if query_strength is None else transform.at_strength(query_strength)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts and align them."""
        return self._aligned(self.documents, self.embeddings.embed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """Embed a query and align it."""
        return self._aligned(self.queries, [self.embeddings.embed_query(text)])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts without blocking and align them."""
        return self._aligned(self.documents, await self.embeddings.aembed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a query without blocking and align it."""
        return self._aligned(self.queries, [await self.embeddings.aembed_query(text)])[0]

    def embed_image(self, uris: list[str]) -> list[list[float]]:
        """Embed images and align them, where the embeddings take images."""
        return self._aligned(self.documents, self.embeddings.embed_image(uris))

    def _aligned(self, transform: LinearTransform, vectors: list[list[float]]) -> list[list[float]]:
        try:
            rows = np.asarray(vectors, dtype=np.float64).reshape(len(vectors), -1 if vectors else transform.dimensions)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the embeddings yield no rows of {transform.dimensions} numbers ({one_line(error)[:160]}). Give those "
                "of the model that the transform was fitted on."
            ) from error
        found: list[list[float]] = transform(rows, normalize=self.normalize).tolist()
        return found
