"""`AlignedEmbeddings`: any embeddings of LangChain, aligned."""

from __future__ import annotations

from typing import Any

import numpy as np

from glocal.errors import DataError
from glocal.extras import needed
from glocal.files import one_line
from glocal.integrations.strength import at_strength
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
        self.documents = at_strength(transform, strength)
        self.queries = self.documents if query_strength is None else at_strength(transform, query_strength)

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
        embed_image = getattr(self.embeddings, "embed_image", None)
        if embed_image is None:
            raise DataError(
                f"{type(self.embeddings).__name__} embeds no images. Give embeddings that have embed_image."
            )
        return self._aligned(self.documents, embed_image(uris))

    def _aligned(self, transform: LinearTransform, vectors: list[list[float]]) -> list[list[float]]:
        try:
            n = len(vectors)
            rows = np.asarray(vectors, dtype=np.float64).reshape(n, -1 if n else transform.dimensions)
        except (TypeError, ValueError, RuntimeError) as error:  # the last is of tensors with gradients
            raise DataError(
                f"the embeddings yield no rows of {transform.dimensions} numbers ({one_line(error)[:160]}). Give those "
                "of the model that the transform was fitted on."
            ) from error
        found: list[list[float]] = transform(rows, normalize=self.normalize).tolist()
        return found
