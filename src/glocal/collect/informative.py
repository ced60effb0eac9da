"""What is worth asking: the questions whose answers say most about the metric, given all answers so far."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.errors import DataError
from glocal.similarity import Pairs, candidate_pairs
from glocal.transform import LinearTransform

_DIMENSIONS = 128  # principal axes in which information is counted: the rest hardly varies
_CANDIDATES = 12  # random questions, for each that is chosen
_ROUNDS = 8  # after each the questions chosen so far count as asked
_PRIOR = 1.0  # answers about an average object that the prior is worth
_SCALE = 10.0  # of the prior variance of M


def propose(
    features: Features, answers: Answers, transform: LinearTransform, n: int, *, seed: int = 0
) -> Int[np.ndarray, "n 3"]:
    """Choose n questions among random ones by the information that their answers carry about M = W Wᵀ.

    With p the model's choice probabilities and g_k = x_i x_jᵀ of the candidate pairs, an answer tells
    ½ log det(I + s F Γ) nats about M, where F = diag p - p pᵀ and Γ_kl = ⟨g_k, g_l⟩ under the posterior of M. That is
    Σ ⊗ Σ with Σ⁻¹ = κI + Σ x xᵀ over the objects of all answers (a Kronecker-factored Laplace approximation), so that
    Γ_kl = ½ (K_ii' K_jj' + K_ij' K_ji') with K = X Σ Xᵀ. Objects and directions that were asked about count less, and
    so do the questions of the same batch.

    Parameters
    ----------
    features : Features
        Row i is of object i of the answers.
    answers : Answers
        So far; their kind is that of the questions.
    transform : LinearTransform
        Fitted on them.
    n : int
    seed : int
        Of the candidates.

    Returns
    -------
    (n, 3) int
        Best first, in each of the rounds; of anchor questions the reference is the first object.
    """
    if answers.objects.shape[1] != 3:
        raise DataError("questions are proposed for answers about three objects each.")
    rng = np.random.default_rng(seed)
    matrix = np.asarray(features.matrix, dtype=np.float64)
    X, Z = principal(transform.standardization(matrix, "float64")), transform.apply(matrix)
    pairs, asked = candidate_pairs(answers.kind), random_questions(rng, len(X), _CANDIDATES * n)
    p = probabilities(Z, asked, pairs)
    counts = np.bincount(answers.objects.ravel(), minlength=len(X)).astype(float)
    return asked[greedy(lambda seen: information(posterior(X, seen), asked, pairs, p), asked, counts, n)]


def principal(X: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n q"]:
    """The rows in their leading principal axes."""
    found: np.ndarray = X @ np.linalg.svd(X, full_matrices=False)[2][:_DIMENSIONS].T
    return found


def greedy(
    worth: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " t"]], asked: Int[np.ndarray, "t 3"],
    counts: Float[np.ndarray, " n"], n: int,
) -> Int[np.ndarray, " k"]:  # fmt: skip
    """The n questions of most worth, in rounds: `worth` is told how often each object has been asked about by then."""
    left, chosen, counts = np.ones(len(asked), dtype=bool), [], counts.copy()
    for size in np.diff(np.arange(_ROUNDS + 1) * n // _ROUNDS):
        best = np.argsort(-np.where(left, worth(counts), -np.inf), kind="stable")[:size]
        left[best] = False
        chosen.append(best)
        counts += np.bincount(asked[best].ravel(), minlength=len(counts))
    return np.concatenate(chosen)


def random_questions(rng: np.random.Generator, n: int, number: int) -> Int[np.ndarray, "t 3"]:
    """Uniform triplets of different objects."""
    drawn = np.empty((0, 3), dtype=np.int64)
    while len(drawn) < number:
        more = rng.integers(0, n, size=(2 * number + 16, 3))
        i, j, k = more.T
        drawn = np.concatenate([drawn, more[(i != j) & (i != k) & (j != k)]])
    return drawn[:number]


def probabilities(Z: Float[np.ndarray, "n q"], asked: Int[np.ndarray, "t 3"], pairs: Pairs) -> Float[np.ndarray, "t k"]:
    """The softmax of the dot products of the candidate pairs."""
    S = np.stack([np.einsum("ij,ij->i", Z[asked[:, i]], Z[asked[:, j]]) for i, j in pairs], axis=1)
    found: np.ndarray = softmax(S, axis=1)
    return found


def posterior(X: Float[np.ndarray, "n q"], counts: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """K = X Σ Xᵀ, where each object counts as often as it was asked about."""
    q = X.shape[1]
    kappa = _PRIOR * np.square(X).sum() / X.size
    found: np.ndarray = X @ np.linalg.solve(kappa * np.eye(q) + (X.T * counts) @ X, X.T)
    return found


def information(
    K: Float[np.ndarray, "n n"], asked: Int[np.ndarray, "t 3"], pairs: Pairs, p: Float[np.ndarray, "t k"]
) -> Float[np.ndarray, " t"]:
    """½ log det(I + s F Γ) of each question, nats."""
    F = fisher(p)
    found: np.ndarray = np.linalg.slogdet(np.eye(len(pairs)) + _SCALE * F @ pair_products(K, asked, pairs))[1] / 2
    return found


def fisher(p: Float[np.ndarray, "t k"]) -> Float[np.ndarray, "t k k"]:
    """F = diag p - p pᵀ."""
    found: np.ndarray = np.eye(p.shape[1]) * p[:, :, None] - p[:, :, None] * p[:, None, :]
    return found


def pair_products(
    K: Float[np.ndarray, "n n"], asked: Int[np.ndarray, "t 3"], pairs: Pairs
) -> Float[np.ndarray, "t k k"]:
    """Γ: the inner products of the candidate pairs of each question."""
    B = K[asked[:, :, None], asked[:, None, :]]
    gram = np.empty((len(asked), len(pairs), len(pairs)))
    for a, (i, j) in enumerate(pairs):
        for b, (u, v) in enumerate(pairs):
            gram[:, a, b] = (B[:, i, u] * B[:, j, v] + B[:, i, v] * B[:, j, u]) / 2
    return gram
