"""L_global: the loss of choices over all answers at once, through the Gram matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

from glocal.objective.part import Part
from glocal.similarity import Choices, Pairs, candidate_pairs

_GRAM_LIMIT = 20_000  # objects; above that the n × n matrices no longer fit and rows are gathered
_KERNEL_FROM = 300_000  # answers; below that loading the compiled kernel costs more than it saves
_GATHER_KERNEL_FROM = 50_000  # the same for the kernel that gathers rows
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


class _Group(NamedTuple):
    """Answers with the same candidate pairs, on the device: objects (m, t), weights (t,) or None."""

    pairs: Pairs
    objects: Int[Tensor, "m t"]
    weights: Float[Tensor, " t"] | None

    def run(self, start: int) -> _Group:
        """A run of these answers."""
        part = slice(start, start + _ROWS_CHUNK)
        return _Group(self.pairs, self.objects[:, part], None if self.weights is None else self.weights[part])


class _Given(NamedTuple):
    """Answers in groups, with the weights of all."""

    parts: tuple[Part, ...]
    weights: Float[np.ndarray, " t"] | None


class ChoiceLoss:
    """L_global(W, b) and its gradient.

        S = Z Zᵀ,  Z = X W + b
        ℓ = -log [ exp S_chosen / Σ exp S_ij over the candidate pairs ij of the answer ]      nats
        L = Σ w ℓ / Σ w

    For an odd-one-out answer the candidates are the three pairs of its objects, for the others the pairs of the
    reference with each alternative. Each answer reads its
    entries of S and adds its softmax residuals to the same entries of G = ∂L/∂S. Then

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
    answers : Answers, or (t, 3) integers
        In rows of X; an array holds odd-one-out answers, the pair first.
    weights : (t,) float64 or None
        Of the answers in an array.
    gathered : bool or None
        Read the rows of Z answer by answer, in memory linear in n, in place of the (n, n) matrices. None does so above
        20,000 objects.
    compiled : bool or None
        Run the compiled loops in place of torch's operations: on a CPU, and through the matrices in float32 only. None
        does so where there are enough answers to repay loading them, 300,000, or 50,000 gathered ones.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 1 and 2.
    """

    name = "global"

    def __init__(
        self,
        X: Float[Tensor, "n p"],
        answers: Choices | _Given | Int[np.ndarray, "t 3"],
        weights: Float[np.ndarray, " t"] | None = None,
        *,
        gathered: bool | None = None,
        compiled: bool | None = None,
    ) -> None:
        if isinstance(answers, np.ndarray):
            answers = _Given((Part(slice(None), answers, candidate_pairs("odd-one-out")),), weights)
        if not isinstance(answers, _Given):
            answers = _Given((Part(slice(None), answers.objects, answers.pairs),), answers.weights)
        self.X = X
        self.parts, self.weights = tuple(answers.parts), answers.weights
        self.n = len(X)
        self.gathered = self.n > _GRAM_LIMIT if gathered is None else gathered
        self.n_answers = sum(len(part.objects) for part in self.parts)
        self.total_weight = sum(part.total(self.weights) for part in self.parts)
        if compiled is None:
            compiled = self.n_answers >= (_GATHER_KERNEL_FROM if self.gathered else _KERNEL_FROM)
        compiled = compiled and X.device.type == "cpu"
        self._kernel = None
        if compiled and not self.gathered and X.dtype == torch.float32:
            from glocal.objective.choice_kernel import ChoiceKernel

            self._kernel = ChoiceKernel(self.parts, self.weights, self.n, torch.get_num_threads())
        self._rows = None
        if compiled and self.gathered:
            from glocal.objective.gather_kernel import GatherKernel

            self._rows = GatherKernel(self.parts, self.weights, self.total_weight, self.n, torch.get_num_threads())
        self._groups = () if self._kernel is not None else tuple(map(self._group, self.parts))

    def __call__(
        self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None = None
    ) -> tuple[float, Float[Tensor, "p q"], Float[Tensor, " q"] | None]:
        """L and its gradient at (W, b)."""
        Z = self.X @ W if b is None else torch.addmm(b, self.X, W)
        value, dZ = self._of_embedding(Z.to(self.X.dtype))  # NOTE products under autocast come back narrower
        return value, (self.X.T @ dZ).to(W.dtype), None if b is None else dZ.sum(0)

    def batch(self, rows: Int[np.ndarray, " m"]) -> ChoiceLoss:
        """L_global of some of the answers alone, on the rows of X that they name: n is nowhere in its cost.

        Parameters
        ----------
        rows : (m,) integers
            Which answers, m at least 1.
        """
        chosen = [(part, *_among(part, rows)) for part in self.parts]
        named = np.concatenate([part.objects[places].reshape(-1) for part, places, _ in chosen])
        objects, labels = np.unique(named, return_inverse=True)
        pieces = np.split(
            labels.reshape(-1), np.cumsum([len(places) * part.objects.shape[1] for part, places, _ in chosen])
        )
        parts = tuple(
            Part(numbers, piece.reshape(len(places), -1), part.pairs)
            for (part, places, numbers), piece in zip(chosen, pieces[:-1], strict=True)
            if len(places)
        )
        X = self.X[torch.from_numpy(objects).to(self.X.device)]
        gathered = len(objects) ** 2 > _GATHER_ABOVE * len(rows)
        weights = None if self.weights is None else self.weights[rows]
        return ChoiceLoss(X, _Given(parts, weights), gathered=gathered)

    @property
    def given(self) -> tuple[Int[np.ndarray, "t m"], Float[np.ndarray, " t"] | None]:
        """The objects and weights as they were given; those of several kinds one below the other, filled up by -1."""
        m = max(part.objects.shape[1] for part in self.parts)
        short = [m - part.objects.shape[1] for part in self.parts]
        filled = [
            np.pad(part.objects, ((0, 0), (0, by)), constant_values=-1)
            for part, by in zip(self.parts, short, strict=True)
        ]
        return np.concatenate(filled), self.weights

    def double(self) -> ChoiceLoss:
        """The same loss in float64."""
        if self.X.dtype == torch.float64:
            return self
        return self.on(self.X.double())

    def on(self, X: Float[Tensor, "n q"]) -> ChoiceLoss:
        """The same answers about other features of the objects."""
        return ChoiceLoss(X, _Given(self.parts, self.weights), gathered=self.gathered)

    def of_gram(self, S: Float[Tensor, "n n"]) -> tuple[float, Float[Tensor, "n n"]]:
        """L as a function of the Gram matrix, and G + Gᵀ; only i < j of S is read."""
        if self._kernel is not None:
            total, upper = self._kernel(S.numpy())
            G = torch.from_numpy(upper)
            return total / self.total_weight, torch.add(G, G.T).div_(self.total_weight)
        value, G = 0.0, S.new_zeros(self.n * self.n)
        for group in self._groups:
            positions = self._positions(group)
            loss, residuals = self._softmax(S.reshape(-1)[positions], group.weights)
            value += loss
            G.index_add_(0, positions.reshape(-1), residuals.reshape(-1))
        G = G.view(self.n, self.n)
        return value, G + G.T

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

    def bend_of(self, pairs: Sequence[Float[Tensor, "_ _"]]) -> float:
        """The same from the similarities of each answer's pairs, group by group."""
        total = 0.0
        for part, S in zip(self.parts, pairs, strict=True):
            q = torch.softmax(S, dim=0)
            centred = S - (q * S).sum(0)
            variance = (q * centred.square_()).sum(0).double()
            if self.weights is not None:
                variance *= torch.tensor(self.weights[part.rows], device=variance.device)
            total += float(variance.sum())
        return total / self.total_weight

    def bend_of_bias(self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"]) -> Float[Tensor, "p p"]:
        """∂²L/∂v² = Xᵀ K X, float64.

        Pair c of an answer has S rise by u_c·(X v), u_c the indicator of its two objects. With q the softmax an answer
        adds w [Σ q_c u_c u_cᵀ - (Σ q_c u_c) (Σ q_c u_c)ᵀ] to K.
        """
        K = scipy.sparse.csr_matrix((self.n, self.n))
        for part, S in zip(self.parts, self._pairs(torch.addmm(b, self.X, W).to(self.X.dtype)), strict=True):
            q = torch.softmax(S.double(), dim=0).cpu().numpy()
            u = np.zeros((len(part.pairs), part.objects.shape[1]))
            for c, pair in enumerate(part.pairs):
                u[c, list(pair)] = 1
            mean = u.T @ q
            bends = np.einsum("ct,ci,cj->tij", q, u, u) - np.einsum("it,jt->tij", mean, mean)
            if self.weights is not None:
                bends *= self.weights[part.rows][:, None, None]
            rows = np.broadcast_to(part.objects[:, :, None], bends.shape)
            columns = np.broadcast_to(part.objects[:, None, :], bends.shape)
            places = (rows.reshape(-1), columns.reshape(-1))
            K = K + scipy.sparse.csr_matrix((bends.reshape(-1) / self.total_weight, places), shape=K.shape)
        X = self.X.double().cpu().numpy()
        return torch.from_numpy(X.T @ (K @ X)).to(self.X.device)

    def along_scales(self, Z: Float[Tensor, "n p"]) -> Callable[[float], float]:
        """The derivative in m of L at the similarities m Z Zᵀ; the entries that the answers read are read once.

        dL/dm = Σ over answers and their candidate pairs of ∂ℓ/∂S_pair (Z Zᵀ)_pair
        """
        if self._kernel is not None:
            K = Z @ Z.T
            return lambda m: float(torch.sum(self.of_gram(m * K)[1] * K, dtype=torch.float64)) / 2
        pairs = self._pairs(Z)

        def slope(m: float) -> float:
            total = 0.0
            for group, S in zip(self._groups, pairs, strict=True):
                _, residuals = self._softmax(m * S, group.weights)
                total += float(torch.sum(residuals * S, dtype=torch.float64))
            return total

        return slope

    def pairs_of_gram(self, S: Float[Tensor, "n n"]) -> list[Float[Tensor, "_ _"]]:
        """The entries of S that each answer reads, group by group; only i < j of S is read."""
        groups = self._groups or tuple(map(self._group, self.parts))
        return [S.reshape(-1)[self._positions(group)] for group in groups]

    def gathered_product(self, Z: Float[Tensor, "n p"], Y: Float[Tensor, "n r"]) -> tuple[float, Float[Tensor, "n r"]]:
        """L and (G + Gᵀ) Y without any n × n matrix, answer by answer in chunks."""
        if self._rows is not None:
            value, product = self._rows(Z.contiguous().numpy(), Y.contiguous().numpy())
            return value, torch.from_numpy(product)
        value, GY = 0.0, torch.zeros_like(Y)
        for group in self._groups:
            for start in range(0, group.objects.shape[1], _ROWS_CHUNK):
                run = group.run(start)
                z = [Z[column] for column in run.objects]
                loss, r = self._softmax(torch.stack([(z[i] * z[j]).sum(1) for i, j in run.pairs]), run.weights)
                value += loss
                y = z if Y is Z else [Y[column] for column in run.objects]
                for place, column in enumerate(run.objects):
                    ends = [(c, i + j - place) for c, (i, j) in enumerate(run.pairs) if place in (i, j)]
                    (first, other), *rest = ends
                    slopes = r[first, :, None] * y[other]
                    for c, other in rest:
                        slopes.addcmul_(r[c, :, None], y[other])
                    GY.index_add_(0, column, slopes)
        return value, GY

    def _group(self, part: Part) -> _Group:
        objects = torch.as_tensor(np.ascontiguousarray(part.objects.T), device=self.X.device).long()
        weights = None if self.weights is None else self.weights[part.rows]
        on_device = None if weights is None else torch.tensor(weights, dtype=self.X.dtype, device=self.X.device)
        return _Group(part.pairs, objects, on_device)

    def _pairs(self, Z: Float[Tensor, "n p"]) -> list[Float[Tensor, "_ _"]]:
        """The similarities of each answer's candidate pairs, group by group."""
        if not self.gathered:
            return self.pairs_of_gram(gram_upper(Z))
        found = []
        for group in self._groups:
            chunks = []
            for start in range(0, group.objects.shape[1], _ROWS_CHUNK):
                z = [Z[column] for column in group.run(start).objects]
                chunks.append(torch.stack([(z[i] * z[j]).sum(1) for i, j in group.pairs]))
            found.append(torch.cat(chunks, dim=1))
        return found

    def _positions(self, group: _Group) -> Int[Tensor, "k t"]:
        """Where the answers read S: places in the upper triangle."""
        columns = group.objects
        return torch.stack(
            [
                torch.minimum(columns[i], columns[j]) * self.n + torch.maximum(columns[i], columns[j])
                for i, j in group.pairs
            ]
        )

    def _of_embedding(self, Z: Float[Tensor, "n p"]) -> tuple[float, Float[Tensor, "n p"]]:
        if not bool(torch.isfinite(torch.sum(Z * Z))):  # a step far too long: S would overflow
            return float("inf"), torch.full_like(Z, float("nan"))
        if self.gathered:
            return self.gathered_product(Z, Z)
        value, G = self.of_gram(gram_upper(Z).to(Z.dtype))
        return value, (G @ Z).to(Z.dtype)

    def _softmax(
        self, pairs: Float[Tensor, "k c"], weights: Float[Tensor, " c"] | None
    ) -> tuple[float, Float[Tensor, "k c"]]:
        """Σ w ℓ / Σ w of some answers, and ∂/∂pairs."""
        logs = torch.log_softmax(pairs, dim=0)
        residuals = logs.exp()
        others = residuals[1:].sum(0)
        residuals[0] = -others
        # beside 1 the small losses of clear answers would be lost: 1 - q is taken from the others
        losses = torch.where(others < 0.5, -torch.log1p(-others), -logs[0])
        if weights is not None:
            residuals *= weights
            losses = losses * weights
        return float(losses.sum(dtype=torch.float64)) / self.total_weight, residuals / self.total_weight


def _among(part: Part, rows: Int[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
    """Which answers of a group are among these rows of all answers, and at which places of the rows they stand."""
    if isinstance(part.rows, slice):
        return rows, np.arange(len(rows))
    places = np.minimum(np.searchsorted(part.rows, rows), len(part.rows) - 1)
    there = part.rows[places] == rows
    return places[there], np.flatnonzero(there)


def gram_upper(Z: Float[Tensor, "n p"], block: int = 512) -> Float[Tensor, "n n"]:
    """Z Zᵀ, computed for i <= j up to whole blocks; the rest of the matrix is left as it is."""
    n = len(Z)
    if n < 2 * block:
        return Z @ Z.T
    S = Z.new_empty(n, n)
    for start in range(0, n, block):
        S[start : start + block, start:] = Z[start : start + block] @ Z[start:].T
    return S
