"""`AlignedEmbedding`: any embedding model of LlamaIndex, aligned."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from glocal.errors import DataError, ParameterError
from glocal.extras import needed
from glocal.files import one_line
from glocal.integrations.strength import at_strength
from glocal.transform.linear import LinearTransform

_base = needed("llama_index.core.embeddings.multi_modal_base", "AlignedEmbedding")
_loading = needed("llama_index.core.embeddings.loading", "AlignedEmbedding")
_pydantic = needed("llama_index.core.bridge.pydantic", "AlignedEmbedding")


class AlignedEmbedding(_base.MultiModalEmbedding):  # type: ignore[misc]
    """An embedding model of LlamaIndex followed by a transform.

    Parameters
    ----------
    embed_model : BaseEmbedding
        The model that the transform was fitted on; images are aligned where it embeds them. What ``to_dict`` has stored
        of it is enough where LlamaIndex itself can load it; otherwise ``from_dict(stored, embed_model=...)`` gives it.
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
        path, model = fields.get("transform"), _loaded(fields.get("embed_model"))
        if not isinstance(path, str | os.PathLike):
            raise ParameterError(
                f"transform is {path!r}; an index stores a path. Save the transform and pass the path of its file."
            )
        fields |= {"transform": os.fspath(path), "embed_model": model}
        fields.setdefault("model_name", f"{model.model_name}, aligned")
        super().__init__(**fields)
        transform = LinearTransform.load(self.transform)
        self._documents = at_strength(transform, self.strength)
        self._queries = self._documents if self.query_strength is None else at_strength(transform, self.query_strength)

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
        return _aligned(self._documents, [self._of_images().get_image_embedding(img_file_path)])[0]

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return _aligned(self._documents, [await self._of_images().aget_image_embedding(img_file_path)])[0]

    def _of_images(self) -> Any:
        if not hasattr(self.embed_model, "get_image_embedding"):
            raise DataError(f"{type(self.embed_model).__name__} embeds no images. Give an embed_model that does.")
        return self.embed_model


def _loaded(model: Any) -> Any:
    """An embedding model, also from what an index stores of it."""
    if isinstance(model, dict):
        try:
            return _loading.load_embed_model(dict(model))
        except (ValueError, TypeError) as error:
            raise ParameterError(
                f"the stored embed_model {model.get('class_name')} cannot be loaded ({one_line(error)[:160]}). "
                "Pass it: AlignedEmbedding.from_dict(stored, embed_model=MODEL)."
            ) from error
    if not isinstance(model, _base.BaseEmbedding):
        raise ParameterError(f"embed_model is {model!r}; it must be an embedding model of LlamaIndex.")
    return model


def _aligned(transform: LinearTransform, vectors: list[list[float]]) -> list[list[float]]:
    found: list[list[float]] = transform(np.asarray(vectors, dtype=np.float64)).tolist()
    return found
