"""`AlignedEmbedding`: any embedding model of LlamaIndex, aligned."""

from __future__ import annotations

from typing import Any

import numpy as np

from glocal.extras import needed
from glocal.transform.linear import LinearTransform

_base = needed("llama_index.core.embeddings.multi_modal_base", "AlignedEmbedding")
_pydantic = needed("llama_index.core.bridge.pydantic", "AlignedEmbedding")


class AlignedEmbedding(_base.MultiModalEmbedding):  # type: ignore[misc]
    """An embedding model of LlamaIndex followed by a transform.

    Parameters
    ----------
    embed_model : BaseEmbedding
        The model that the transform was fitted on; images are aligned where it embeds them.
    transform : path
        A transform file; the path is what an index stores of it.
    strength : float
        1 is the transform, 0 the original up to scale.
    query_strength : float or None
        Of queries; None is `strength`. With 0 the documents alone are aligned, as for texts that look for images.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from llama_index.core import MockEmbedding
    >>> transform = LinearTransform(np.eye(3, dtype=np.float32), None, mean=0.0, std=2.0)
    >>> with TemporaryDirectory() as folder:
    ...     transform.save(Path(folder) / "transform.npz")
    ...     aligned = AlignedEmbedding(embed_model=MockEmbedding(embed_dim=3), transform=f"{folder}/transform.npz")
    >>> aligned.get_text_embedding("a camera")
    [0.25, 0.25, 0.25]
    """

    embed_model: Any
    transform: str
    strength: float = 1.0
    query_strength: float | None = None
    _documents: LinearTransform = _pydantic.PrivateAttr()
    _queries: LinearTransform = _pydantic.PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        fields = {**fields, "transform": str(fields["transform"])}
        fields.setdefault("model_name", f"{fields['embed_model'].model_name}, aligned")
        super().__init__(**fields)
        transform = LinearTransform.load(self.transform)
        self._documents = transform.at_strength(self.strength) if self.strength != 1.0 else transform
        self._queries = self._documents if self.query_strength is None else transform.at_strength(self.query_strength)

    @classmethod
    def class_name(cls) -> str:
        """Name the class as an index stores it."""
        return "AlignedEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return _aligned(self._queries, [self.embed_model.get_query_embedding(query)])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return _aligned(self._queries, [await self.embed_model.aget_query_embedding(query)])[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return _aligned(self._documents, self.embed_model.get_text_embedding_batch(texts))

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return _aligned(self._documents, [await self.embed_model.aget_text_embedding(text)])[0]

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        return _aligned(self._documents, [self.embed_model.get_image_embedding(img_file_path)])[0]

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return _aligned(self._documents, [await self.embed_model.aget_image_embedding(img_file_path)])[0]


def _aligned(transform: LinearTransform, vectors: list[list[float]]) -> list[list[float]]:
    found: list[list[float]] = transform(np.asarray(vectors, dtype=np.float64)).tolist()
    return found
