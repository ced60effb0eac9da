"""L_global: the odd-one-out loss over all answers at once, through the Gram matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

GRAM_LIMIT = 20_000  # objects; above that the n × n matrices no longer fit and rows are gathered
_KERNEL_FROM = 300_000  # answers; below that loading the compiled kernel costs more than it saves
_ROWS_CHUNK = 1 << 15
_GATHER_ABOVE = 64  # objects² per answer in a batch: from there on n × n matrices cost more than gathering


@dataclass(frozen=True, eq=False)
class Slopes:
    """L at one point, and its slopes toward M = W Wᵀ and v = W b, on which it depends convexly.

    `along` is dL/dm at the similarities mS, m = 1: ⟨∂L/∂M, M⟩ + ⟨∂L/∂v, v⟩. M, v and `along` are float64.
    """

    value: float
    M: Float[Tensor, "p p"]
    v: Float[Tensor, " p"] | None
    along: float

    @property
    def entropy(self) -> float:
        """The mean entropy of the model's choices, L - along, nats."""
        return self.value - self.along


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

    def slopes(self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None = None) -> Slopes:
        """∂L/∂M = Xᵀ (G + Gᵀ)/2 X and ∂L/∂v = Xᵀ (G + Gᵀ) 1, at M = W Wᵀ and v = W b."""
        Z = (self.X @ W if b is None else torch.addmm(b, self.X, W)).to(self.X.dtype)
        if self.gathered:
            value, GX = self.gathered_product(Z, torch.cat([self.X, torch.ones_like(self.X[:, :1])], dim=1))
            GX, G1 = GX[:, :-1], GX[:, -1]
        else:
            value, G = self.of_gram(gram_upper(Z).to(Z.dtype))
            GX, G1 = G @ self.X, G.sum(1)
        A = self.X.T @ GX
        A = (A + A.T).div_(4)
        along = float(torch.sum((A @ W) * W, dtype=torch.float64))
        if b is None:
            return Slopes(value, A.double(), None, along)
        v = (self.X.T @ G1).double()
        return Slopes(value, A.double(), v, along + float(v @ W.double() @ b.double()))

    def bend_along_scales(self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None = None) -> float:
        """d²L/dm² at the similarities mS, m = 1: the mean variance of an answer's similarities under its softmax."""
        return self.bend_of(self._pairs((self.X @ W if b is None else torch.addmm(b, self.X, W)).to(self.X.dtype)))

    def bend_of(self, pairs: Float[Tensor, "3 t"]) -> float:
        """The same from the similarities of each answer's pairs."""
        q = torch.softmax(pairs, dim=0)
        centred = pairs - (q * pairs).sum(0)
        variance = (q * centred.square_()).sum(0).double()
        if self._given[1] is not None:
            variance *= torch.tensor(self._given[1], device=variance.device)
        return float(variance.sum()) / self.total_weight

    def bend_of_bias(self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"]) -> Float[Tensor, "p p"]:
        """∂²L/∂v² = Xᵀ K X, float64, where an answer adds w (diag o - o oᵀ) to K, o its objects' chances to be odd."""
        pairs = self._pairs(torch.addmm(b, self.X, W).to(self.X.dtype)).double()
        odd = torch.softmax(pairs, dim=0).flip(0).cpu().numpy()  # the pairs ab, ao, bo leave out odd, b and a
        answers, weights = self._given
        share = np.full(len(answers), 1.0) if weights is None else weights
        places = [(i, j) for i in range(3) for j in range(3)]
        values = np.concatenate([share * odd[i] * ((i == j) - odd[j]) for i, j in places])
        rows, columns = (np.concatenate([answers[:, place[end]] for place in places]) for end in (0, 1))
        K = scipy.sparse.csr_matrix((values / self.total_weight, (rows, columns)), shape=(self.n, self.n))
        X = self.X.double().cpu().numpy()
        return torch.from_numpy(X.T @ (K @ X)).to(self.X.device)

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
            return self.pairs_of_gram(gram_upper(Z))
        parts = []
        for a, b, odd in zip(*(column.split(_ROWS_CHUNK) for column in self._answers), strict=True):
            za, zb, zo = Z[a], Z[b], Z[odd]
            parts.append(torch.stack([(za * zb).sum(1), (za * zo).sum(1), (zb * zo).sum(1)]))
        return torch.cat(parts, dim=1)

    def pairs_of_gram(self, S: Float[Tensor, "n n"]) -> Float[Tensor, "3 t"]:
        """The three entries of S that each answer reads; only i < j of S is read."""
        return S.reshape(-1)[self._positions()]

    def _positions(self) -> Int[Tensor, "3 t"]:
        """Where the answers read S."""
        a, b, odd = self._answers if self._kernel is None else torch.tensor(self._given[0].T, dtype=torch.int64)
        return torch.stack([_upper(a, b, self.n), _upper(a, odd, self.n), _upper(b, odd, self.n)])

    def _of_embedding(self, Z: Float[Tensor, "n p"]) -> tuple[float, Float[Tensor, "n p"]]:
        if not bool(torch.isfinite(torch.sum(Z * Z))):  # a step far too long: S would overflow
            return float("inf"), torch.full_like(Z, float("nan"))
        if self.gathered:
            return self.gathered_product(Z, Z)
        value, G = self.of_gram(gram_upper(Z).to(Z.dtype))
        return value, (G @ Z).to(Z.dtype)

    def gathered_product(self, Z: Float[Tensor, "n p"], Y: Float[Tensor, "n r"]) -> tuple[float, Float[Tensor, "n r"]]:
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
