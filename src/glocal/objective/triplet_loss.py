"""L_global: the odd-one-out loss over all answers at once, through the Gram matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

GRAM_LIMIT = 20_000  # objects; above that the n × n matrices no longer fit and rows are gathered
_KERNEL_FROM = 300_000  # answers; below that loading the compiled kernel costs more than it saves
_ROWS_CHUNK = 1 << 15
_GATHER_ABOVE = 64  # objects² per answer in a batch: from there on n × n matrices cost more than gathering


class TripletLoss:
    """L_global(W, b) and its gradient.

        S = Z Zᵀ,  Z = X W + b
        ℓ = -log [ exp S_ab / (exp S_ab + exp S_a,odd + exp S_b,odd) ]      nats
        L = Σ w ℓ / Σ w

    Each answer reads three entries of S and adds its three softmax residuals to the same entries of G = ∂L/∂S. Then

        ∂L/∂Z = (G + Gᵀ) Z,   ∂L/∂W = Xᵀ ∂L/∂Z,   ∂L/∂b = Σ_rows ∂L/∂Z.

    ======  ========  ===========================================
    X       (n, p)    standardized features of the objects named
    W       (p, p)    right-multiplied
    b       (p,)      or None
    S, G    (n, n)    entries (i, j) with i < j are used
    ======  ========  ===========================================

    Parameters
    ----------
    X : (n, p) tensor
        Its dtype and device are those of the computation.
    answers : (t, 3) integers
        Rows of X, pair first, odd one last.
    weights : (t,) float64 or None
    gathered : bool or None
        Read the rows of Z answer by answer, in memory linear in n, in place of the (n, n) matrices. None does so above
        20,000 objects.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 1 and 2.
    """

    name = "global"

    def __init__(
        self,
        X: Float[Tensor, "n p"],
        answers: Int[np.ndarray, "t 3"],
        weights: Float[np.ndarray, " t"] | None = None,
        *,
        gathered: bool | None = None,
    ) -> None:
        self.X = X
        self._given = (answers, weights)
        self.n = len(X)
        self.gathered = self.n > GRAM_LIMIT if gathered is None else gathered
        self.n_answers = len(answers)
        self.total_weight = float(len(answers)) if weights is None else float(weights.sum())
        self._kernel = None
        plain = not self.gathered and X.device.type == "cpu" and X.dtype == torch.float32
        if plain and self.n_answers >= _KERNEL_FROM:
            from glocal.objective.triplet_kernel import TripletKernel

            self._kernel = TripletKernel(answers, weights, self.n, torch.get_num_threads())
        if self._kernel is None:
            columns = torch.as_tensor(np.ascontiguousarray(answers.T), device=X.device).long()
            self._answers = columns
            self._weights = None if weights is None else torch.tensor(weights, dtype=X.dtype, device=X.device)

    def __call__(
        self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None = None
    ) -> tuple[float, Float[Tensor, "p q"], Float[Tensor, " q"] | None]:
        """L and its gradient at (W, b)."""
        Z = self.X @ W if b is None else torch.addmm(b, self.X, W)
        value, dZ = self._of_embedding(Z.to(self.X.dtype))  # NOTE products under autocast come back narrower
        return value, (self.X.T @ dZ).to(W.dtype), None if b is None else dZ.sum(0)

    def __reduce__(self) -> tuple[Any, ...]:
        """For worker processes: the compiled kernel stays behind and is made anew."""
        return _rebuilt, (self.X, *self._given, self.gathered)

    def batch(self, rows: Int[np.ndarray, " m"]) -> TripletLoss:
        """L_global of some of the answers alone, on the rows of X that they name: n is nowhere in its cost.

        Parameters
        ----------
        rows : (m,) integers
            Which answers, m at least 1.
        """
        answers, weights = self._given
        objects, places = np.unique(answers[rows], return_inverse=True)
        X = self.X[torch.from_numpy(objects).to(self.X.device)]
        gathered = len(objects) ** 2 > _GATHER_ABOVE * len(rows)
        return TripletLoss(X, places.reshape(-1, 3), None if weights is None else weights[rows], gathered=gathered)

    @property
    def given(self) -> tuple[Int[np.ndarray, "t 3"], Float[np.ndarray, " t"] | None]:
        """The answers and weights this was made of."""
        return self._given

    def double(self) -> TripletLoss:
        """The same loss in float64."""
        if self.X.dtype == torch.float64:
            return self
        return TripletLoss(self.X.double(), *self._given, gathered=self.gathered)

    def of_gram(self, S: Float[Tensor, "n n"]) -> tuple[float, Float[Tensor, "n n"]]:
        """L as a function of the Gram matrix, and G + Gᵀ; only i < j of S is read."""
        if self._kernel is not None:
            total, upper = self._kernel(S.numpy())
            G = torch.from_numpy(upper)
            return total / self.total_weight, torch.add(G, G.T).div_(self.total_weight)
        positions = self._positions()
        losses, residuals = self._softmax(S.reshape(-1)[positions])
        G = S.new_zeros(self.n * self.n)
        G.index_add_(0, positions.reshape(-1), residuals.reshape(-1))
        G = G.view(self.n, self.n)
        return losses, G + G.T

    def moment_gradient(self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None = None) -> Float[Tensor, "p p"]:
        """∂L/∂M = Xᵀ (G + Gᵀ)/2 X for M = W Wᵀ, on which L depends convexly."""
        Z = self.X @ W if b is None else torch.addmm(b, self.X, W)
        if not self.gathered:
            _, G = self.of_gram(Z @ Z.T)
            return self.X.T @ (G @ self.X) / 2
        _, GX = self.gathered_product(Z, self.X)
        return self.X.T @ GX / 2

    def along_scales(self, Z: Float[Tensor, "n p"]) -> Callable[[float], float]:
        """The derivative in m of L at the similarities m Z Zᵀ; the entries that the answers read are read once.

        dL/dm = Σ over answers and their three pairs of ∂ℓ/∂S_pair (Z Zᵀ)_pair
        """
        if self._kernel is not None:
            K = Z @ Z.T
            return lambda m: float(torch.sum(self.of_gram(m * K)[1] * K, dtype=torch.float64)) / 2
        pairs = self._pairs(Z)

        def slope(m: float) -> float:
            _, residuals = self._softmax(m * pairs)
            return float(torch.sum(residuals * pairs, dtype=torch.float64))

        return slope

    def _pairs(self, Z: Float[Tensor, "n p"]) -> Float[Tensor, "3 t"]:
        """The three similarities of each answer."""
        if not self.gathered:
            return gram_upper(Z).reshape(-1)[self._positions()]
        parts = []
        for a, b, odd in zip(*(column.split(_ROWS_CHUNK) for column in self._answers), strict=True):
            za, zb, zo = Z[a], Z[b], Z[odd]
            parts.append(torch.stack([(za * zb).sum(1), (za * zo).sum(1), (zb * zo).sum(1)]))
        return torch.cat(parts, dim=1)

    def _positions(self) -> Int[Tensor, "3 t"]:
        """Where the answers read S."""
        a, b, odd = self._answers
        return torch.stack([_upper(a, b, self.n), _upper(a, odd, self.n), _upper(b, odd, self.n)])

    def _of_embedding(self, Z: Float[Tensor, "n p"]) -> tuple[float, Float[Tensor, "n p"]]:
        if not bool(torch.isfinite(torch.sum(Z * Z))):  # a step far too long: S would overflow
            return float("inf"), torch.full_like(Z, float("nan"))
        if self.gathered:
            return self.gathered_product(Z, Z)
        value, G = self.of_gram(gram_upper(Z).to(Z.dtype))
        return value, (G @ Z).to(Z.dtype)

    def gathered_product(self, Z: Float[Tensor, "n p"], Y: Float[Tensor, "n p"]) -> tuple[float, Float[Tensor, "n p"]]:
        """L and (G + Gᵀ) Y without any n × n matrix, answer by answer in chunks."""
        value, GY = 0.0, torch.zeros_like(Y)
        for start in range(0, self.n_answers, _ROWS_CHUNK):
            part = slice(start, start + _ROWS_CHUNK)
            a, b, odd = self._answers[:, part]
            za, zb, zo = Z[a], Z[b], Z[odd]
            loss, r = self._softmax(torch.stack([(za * zb).sum(1), (za * zo).sum(1), (zb * zo).sum(1)]), part)
            value += loss
            ab, ao, bo = r[:, :, None]
            ya, yb, yo = (za, zb, zo) if Y is Z else (Y[a], Y[b], Y[odd])
            GY.index_add_(0, a, ab * yb + ao * yo)
            GY.index_add_(0, b, ab * ya + bo * yo)
            GY.index_add_(0, odd, ao * ya + bo * yb)
        return value, GY

    def _softmax(self, pairs: Float[Tensor, "3 c"], part: slice = slice(None)) -> tuple[float, Float[Tensor, "3 c"]]:
        """Σ w ℓ / Σ w of some answers, and ∂/∂pairs."""
        logs = torch.log_softmax(pairs, dim=0)
        residuals = logs.exp()
        residuals[0] -= 1
        losses = -logs[0]
        if self._weights is not None:
            residuals *= self._weights[part]
            losses = losses * self._weights[part]
        return float(losses.sum(dtype=torch.float64)) / self.total_weight, residuals / self.total_weight


def _rebuilt(X: Tensor, answers: np.ndarray, weights: np.ndarray | None, gathered: bool) -> TripletLoss:
    return TripletLoss(X, answers, weights, gathered=gathered)


def _upper(i: Tensor, j: Tensor, n: int) -> Tensor:
    """Flat position of the unordered pair in the upper triangle."""
    return torch.minimum(i, j) * n + torch.maximum(i, j)


def gram_upper(Z: Float[Tensor, "n p"], block: int = 512) -> Float[Tensor, "n n"]:
    """Z Zᵀ, computed for i <= j up to whole blocks; the rest of the matrix is left as it is."""
    n = len(Z)
    if n < 2 * block:
        return Z @ Z.T
    S = Z.new_empty(n, n)
    for start in range(0, n, block):
        S[start : start + block, start:] = Z[start : start + block] @ Z[start:].T
    return S
