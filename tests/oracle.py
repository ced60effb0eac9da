"""The definitions of the paper and the docs in plain float64, to check whole commands by.

Nothing here imports glocal. `docs/method.md` has the formulas of the fit, `docs/measures.md` those
of the scores.
"""

import numpy as np
import scipy.optimize
import torch


def candidates(kind, answer):
    """The pairs among which an answer chooses, as positions in its row."""
    pairs = [(0, j) for j in range(1, len(answer))]
    return [*pairs, (1, 2)] if kind == "odd-one-out" else pairs


def standardized(X, by):
    """X standardized by the mean and the population standard deviation over all entries of `by`."""
    by = np.float64(by)
    return (np.float64(X) - by.mean()) / by.std()


# --- the objective ---


def global_loss(Z, answers, weights, kind="odd-one-out"):
    Z, weights = map(torch.as_tensor, (Z, weights))
    objects = torch.tensor(answers).long()
    S = [(Z[objects[:, i]] * Z[objects[:, j]]).sum(1) for i, j in candidates(kind, answers[0])]
    return (weights * (torch.logsumexp(torch.stack(S), 0) - S[0])).sum() / weights.sum()


def blocks(n, size=1024, seed=42):
    return np.array_split(np.random.RandomState(seed).permutation(n), -(-n // size))


def local_loss(X, Z, tau, parts):
    total = 0.0
    for part in parts:
        before, after = (
            torch.nn.functional.normalize(torch.as_tensor(rows)[part]) for rows in (X, Z)
        )
        diagonal = torch.eye(len(part), dtype=torch.bool)
        teacher = (before @ before.T / tau).masked_fill(diagonal, -torch.inf)
        student = (after @ after.T / tau).masked_fill(diagonal, -torch.inf)
        logs = torch.log_softmax(student, 1).masked_fill(diagonal, 0.0)
        total = total - (torch.softmax(teacher, 1) * logs).sum()
    return total / sum(map(len, parts))


def objective(problem, W):
    """The objective f and its unweighted parts."""
    W = torch.as_tensor(W)
    X = torch.from_numpy(problem.X)
    parts = {"global": global_loss(X @ W, problem.answers, problem.weights, problem.kind)}
    alpha = 0 if problem.local is None else problem.alpha
    if alpha:
        local = torch.from_numpy(problem.local)
        parts["local"] = local_loss(local, local @ W, problem.tau, problem.blocks)
    freedom = problem.mix * (problem.method != "naive")
    parts["penalty"] = (W * W).sum() - freedom * torch.trace(W) ** 2 / len(W)
    losses = (1 - alpha) * parts["global"] + alpha * parts.get("local", 0.0)
    return losses + problem.lmbda * parts["penalty"], parts


def lowest(problem, starts):
    """The lowest f that SciPy's L-BFGS-B reaches from the best of several starts, by autograd."""

    def f(flat):
        W = torch.tensor(flat.reshape(starts[0].shape), requires_grad=True)
        value = objective(problem, W)[0]
        value.backward()
        return value.item(), W.grad.numpy().ravel()

    def descended(start, rounds):
        limits = {"maxiter": rounds, "maxfun": 2 * rounds, "ftol": 1e-15, "gtol": 1e-12}
        return scipy.optimize.minimize(
            f, start.ravel(), jac=True, method="L-BFGS-B", options=limits | {"maxcor": 30}
        )

    results = [descended(start, 30) for start in starts]
    finite = [result for result in results if np.isfinite(result.fun)]
    return descended(min(finite, key=lambda result: result.fun).x, 300).fun


def lambda_max(X, answers, weights, kind):
    """The smallest λ with optimum W = 0 for `naive`: minus the least slope of L_global in M."""
    total = 0
    for answer, weight in zip(answers, weights, strict=True):
        pairs = candidates(kind, answer)
        for c, (i, j) in enumerate(pairs):
            residual = 1 / len(pairs) - (c == 0)
            product = np.outer(X[answer[i]], X[answer[j]])
            total += weight * residual * (product + product.T) / 2
    return -np.linalg.eigvalsh(total / np.sum(weights))[0]


# --- agreement ---


def agreement(Z, answers, weights, kind="odd-one-out", similarity="cosine"):
    """Accuracy with ties shared, and the tie rate."""
    if similarity == "cosine":
        lengths = np.linalg.norm(Z, axis=1, keepdims=True)
        Z = Z / np.where(lengths > 0, lengths, 1)
    S = Z @ Z.T
    close = 8 * np.sqrt(Z.shape[1]) * np.finfo(float).eps * S.max()  # a rounding difference
    earned = tied = 0.0
    for answer, weight in zip(answers, weights, strict=True):
        values = np.array([S[answer[i], answer[j]] for i, j in candidates(kind, answer)])
        best = values >= max(values) - close
        earned += weight * best[0] / best.sum()
        tied += weight * (best.sum() > 1)
    return earned / np.sum(weights), tied / np.sum(weights)
