"""From what a layer gives to one row an image: class token, mean, or everything."""

from __future__ import annotations

from torch import Tensor

from glocal.errors import DataError, ParameterError

POOLS = ("auto", "cls", "mean", "flatten")


def check_pool(pool: str) -> str:
    """The name of a pooling, or a ParameterError."""
    if pool not in POOLS:
        raise ParameterError(f"pool is {pool!r}; allowed are {', '.join(POOLS)}.")
    return pool


def pooled(activations: Tensor, pool: str, *, prefix_tokens: int = 0, channels_last: bool = False) -> Tensor:
    """One (n, p) row for each image, from (n, p), (n, tokens, p) or maps (n, channels, rows, columns).

    Vectors stay as they are. ``cls`` is the first token; ``mean`` the mean over tokens without the `prefix_tokens`
    (class and registers), or over the places of a map; ``flatten`` everything; ``auto`` cls where there is a class
    token, else mean. `channels_last` says that maps are (n, rows, columns, channels).
    """
    axes = activations.ndim
    if axes <= 2:
        return activations.reshape(len(activations), -1)
    if pool == "flatten" or axes > 4:
        return activations.flatten(1)
    if axes == 4:
        if pool == "cls":
            raise DataError(
                f"a layer gives maps of shape {tuple(activations.shape[1:])}, which have no class token. "
                "Use --pool mean or --pool flatten."
            )
        if activations.shape[2:] == (1, 1):
            return activations.flatten(1)
        return activations.mean((1, 2) if channels_last else (2, 3))
    if pool == "cls" or (pool == "auto" and prefix_tokens):
        return activations[:, 0]
    # NOTE a layer may drop the prefix or hold fewer tokens than it (an attention pool): then all of them are averaged
    return activations[:, prefix_tokens if activations.shape[1] > prefix_tokens else 0 :].mean(1)
