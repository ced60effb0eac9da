"""The definitions of the paper and of the docs once more, in plain loops and float64, to compare whole commands with.

Nothing here imports glocal. `docs/method.md` has the formulas of the fit, `docs/evaluate.md` those of the scores.
"""

from itertools import pairwise

import numpy as np
import scipy.optimize
import torch

CANDIDATES = {"odd-one-out": [(0, 1), (0, 2), (1, 2)], "anchor": [(0, 1), (0, 2)]}


def candidates(kind, answer):
    """The pairs that an answer chooses among, as places in its row; rows that name fewer objects end in -1."""
    return CANDIDATES.get(kind) or [(0, j) for j in range(1, len(answer)) if answer[j] >= 0]


def standardized(X, by):
    """X by the two scalars of `by`: mean and population standard deviation over all its entries."""
    by = np.asarray(by, dtype=np.float64)
    return (np.asarray(X, dtype=np.float64) - by.mean()) / by.std()


def cosines(A, B):
    found = np.zeros((len(A), len(B)))
    for i, a in enumerate(A):
        for j, b in enumerate(B):
            lengths = np.sqrt(a @ a) * np.sqrt(b @ b)
            found[i, j] = a @ b / lengths if lengths > 0 else 0.0
    return found


def rounding(p, largest=1.0):
    return 8 * np.sqrt(p) * np.finfo(np.float64).eps * largest


# --- the objective ---------------------------------------------------------------------------------------------------


def global_loss(Z, answers, weights, kind="odd-one-out"):
    total = 0.0
    for answer, weight in zip(answers, weights, strict=True):
        S = [Z[answer[i]] @ Z[answer[j]] for i, j in candidates(kind, answer)]
        total += weight * (np.logaddexp.reduce(S) - S[0])
    return total / np.sum(weights)


def blocks(n, size=1024, seed=42):
    return np.array_split(np.random.RandomState(seed).permutation(n), -(-n // size))


def folds(n, k, seed=42):
    return np.array_split(np.random.RandomState(seed).permutation(n), k)


def local_loss(X, Z, tau, parts):
    total = 0.0
    for part in parts:
        before, after = cosines(X[part], X[part]) / tau, cosines(Z[part], Z[part]) / tau
        for i in range(len(part)):
            others = np.arange(len(part)) != i
            P = np.exp(before[i, others] - np.logaddexp.reduce(before[i, others]))
            total -= P @ (after[i, others] - np.logaddexp.reduce(after[i, others]))
    return total / sum(map(len, parts))


def penalty(W, method, mix=1.0):
    squared = sum(x * x for x in W.ravel())
    return squared if method == "naive" else squared - mix * np.trace(W) ** 2 / len(W)


def objective(problem, W, b=None):
    """f and its unweighted parts."""
    b = np.zeros(W.shape[1]) if b is None else b
    loss = global_loss(problem.X @ W + b, problem.answers, problem.weights, problem.kind)
    near = None if problem.local is None else local_loss(
        problem.local, problem.local @ W + b, problem.tau, problem.blocks
    )  # fmt: skip
    away = penalty(W, problem.method, problem.mix)
    alpha = problem.alpha if near is not None else 0.0
    f = (1 - alpha) * loss + alpha * (near or 0.0) + problem.lmbda * away
    return f, {"global": loss, "local": near, "penalty": away}


def lowest(problem, starts, rounds=300):
    """The lowest f of scipy's L-BFGS-B from the best of several starts; gradients by automatic differentiation."""
    p = problem.X.shape[1]
    X = torch.from_numpy(problem.X)
    objects, weights = torch.from_numpy(problem.answers.T.copy()), torch.from_numpy(problem.weights)
    named = [candidates(problem.kind, answer) for answer in problem.answers]
    pairs = max(named, key=len)
    missing = torch.tensor([[c >= len(own) for own in named] for c in range(len(pairs))])
    images = None if problem.local is None else torch.from_numpy(problem.local)
    unit = torch.nn.functional.normalize

    def f(flat):
        given = torch.tensor(flat, requires_grad=True)
        W, b = given[: p * p].reshape(p, p), given[p * p :] if len(flat) > p * p else 0.0
        Z = X @ W + b
        S = torch.stack([(Z[objects[i]] * Z[objects[j]]).sum(1) for i, j in pairs]).masked_fill(missing, -torch.inf)
        value = (weights * (torch.logsumexp(S, 0) - S[0])).sum() / weights.sum()
        if images is not None:
            near = 0.0
            for part in problem.blocks:
                teacher = unit(images[part]) @ unit(images[part]).T / problem.tau
                student = unit(images[part] @ W + b) @ unit(images[part] @ W + b).T / problem.tau
                itself = torch.eye(len(part), dtype=torch.bool)
                teacher, student = (C.masked_fill(itself, -torch.inf) for C in (teacher, student))
                logs = torch.log_softmax(student, 1).masked_fill(itself, 0.0)
                near = near - (torch.softmax(teacher, 1) * logs).sum()
            value = (1 - problem.alpha) * value + problem.alpha * near / len(images)
        squared = (W * W).sum()
        value = value + problem.lmbda * (
            squared if problem.method == "naive" else squared - problem.mix * torch.trace(W) ** 2 / p
        )
        value.backward()
        return float(value.detach()), given.grad.numpy()

    def descended(start, rounds):
        options = {"maxiter": rounds, "maxfun": 2 * rounds, "ftol": 1e-15, "gtol": 1e-12, "maxcor": 30}
        return scipy.optimize.minimize(f, start, jac=True, method="L-BFGS-B", options=options)

    some = [result for result in (descended(start, 30) for start in starts) if np.isfinite(result.fun)]
    return descended(min(some, key=lambda result: result.fun).x, rounds).fun


def lambda_max(X, answers, weights, kind):
    """From which λ on `naive` has its optimum at W = 0: minus the smallest slope of L_global along a direction of M."""
    total = np.zeros((X.shape[1], X.shape[1]))
    for answer, weight in zip(answers, weights, strict=True):
        pairs = candidates(kind, answer)
        for c, (i, j) in enumerate(pairs):
            residual = 1 / len(pairs) - (c == 0)
            product = np.outer(X[answer[i]], X[answer[j]])
            total += weight * residual * (product + product.T) / 2
    return -np.linalg.eigvalsh(total / np.sum(weights))[0]


# --- agreement -------------------------------------------------------------------------------------------------------


def agreement(Z, answers, weights, kind="odd-one-out", similarity="cosine"):
    """Accuracy with ties shared, and the tie rate."""
    S = cosines(Z, Z) if similarity == "cosine" else Z @ Z.T
    close = rounding(Z.shape[1], 1.0 if similarity == "cosine" else max(z @ z for z in Z))
    earned = tied = 0.0
    for answer, weight in zip(answers, weights, strict=True):
        values = [S[answer[i], answer[j]] for i, j in candidates(kind, answer)]
        best = [c for c, value in enumerate(values) if value >= max(values) - close]
        earned += weight * (0 in best) / len(best)
        tied += weight * (len(best) > 1)
    return earned / np.sum(weights), tied / np.sum(weights)


# --- structure -------------------------------------------------------------------------------------------------------


def grouped(values, close):
    """Values in which those that follow each other within `close` are equal."""
    order = np.argsort(values, kind="stable")
    found = values.copy()
    for before, at in pairwise(order):
        if values[at] - values[before] <= close:
            found[at] = found[before]
    return found


def neighbours_kept(X, Z, k):
    return np.mean(
        [np.minimum(p, q).sum() / k for p, q in zip(_among_nearest(X, k), _among_nearest(Z, k), strict=True)]
    )


def _among_nearest(X, k):
    """The probability that row j is among the k nearest of row i where ties come in random order."""
    near, found = cosines(X, X), np.zeros((len(X), len(X)))
    for i in range(len(X)):
        others = np.arange(len(X)) != i
        values = grouped(near[i, others], rounding(X.shape[1]))
        chance, left = np.zeros(len(values)), k
        for value in np.unique(values)[::-1]:
            group = values == value
            chance[group] = min(1.0, left / group.sum())
            left = max(0, left - group.sum())
        found[i, others] = chance
    return found
