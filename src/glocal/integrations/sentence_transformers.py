"""`dense`: a transform as a layer of sentence-transformers, which saves and loads without glocal."""

from __future__ import annotations

from typing import Any

from glocal.extras import needed
from glocal.integrations.strength import at_strength
from glocal.transform.linear import LinearTransform


def dense(transform: LinearTransform, *, strength: float = 1.0) -> Any:
    """Make the ``Dense`` module that follows a model: its sentence embeddings come out aligned.

    It is a module of sentence-transformers itself, so that a model saved with it loads anywhere, without
    ``trust_remote_code``. It aligns whatever the model embeds, images and texts alike.

    Parameters
    ----------
    transform : LinearTransform
        Fitted on the embeddings of the model as they leave the module before this one. Where the model ends in
        ``Normalize``, these are rows of length 1.
    strength : float
        1 is the transform, 0 the original up to scale.

    Returns
    -------
    sentence_transformers.sentence_transformer.modules.Dense
        p → r, with a bias and without an activation function.

    Raises
    ------
    MissingDependencyError
        sentence-transformers is not installed.

    Examples
    --------
    >>> import numpy as np, torch
    >>> transform = LinearTransform(np.eye(2, dtype=np.float32), None, mean=1.0, std=2.0)
    >>> layer = dense(transform)
    >>> layer({"sentence_embedding": torch.tensor([[3.0, 1.0]])})["sentence_embedding"].tolist()
    [[1.0, 0.0]]
    """
    import torch

    modules = needed("sentence_transformers.sentence_transformer.modules", "a module of sentence-transformers")
    linear = at_strength(transform, strength).to_linear()
    layer = modules.Dense(
        linear.in_features,
        linear.out_features,
        bias=True,
        activation_function=torch.nn.Identity(),
        init_weight=linear.weight.detach().clone(),
        init_bias=linear.bias.detach().clone(),
    )
    return layer.requires_grad_(False)
