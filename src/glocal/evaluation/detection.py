"""How well scores tell anomalies from normal images: AUROC, AUPR, FPR95, ties exact; and the interval of an average."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.errors import DataError

Z95 = 1.959963984540054
NORMAL, ANOMALOUS, LEFT_OUT = 0, 1, -1


@dataclass(frozen=True, eq=False)
class Detection:
    """Detection of anomalies in one task a class.

    `auroc`, `aupr` and `fpr95` are (c,) fractions, one a class; `normal` and `anomalous` (c,) the numbers of test
    images of each kind; `low` and `high` the 95 % interval of the mean of `auroc` over classes, None where nothing
    varies (every AUROC is 0 or 1) or the only task has a single image of a kind.
    """

    auroc: Float[np.ndarray, " c"]
    aupr: Float[np.ndarray, " c"]
    fpr95: Float[np.ndarray, " c"]
    normal: Int[np.ndarray, " c"]
    anomalous: Int[np.ndarray, " c"]
    low: float | None
    high: float | None


def placements(scores: Float[np.ndarray, " n"], anomalous: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The share of images of the other kind that each image stands on the right side of, a tie counting one half.

    Their mean over the anomalies, or over the normal images, is the AUROC (Mann & Whitney); collapsed scores give
    exactly one half.
    """
    found = np.empty(len(scores))
    for kind in (anomalous, ~anomalous):
        others = np.sort(scores[~kind])
        below = np.searchsorted(others, scores[kind], "left") + np.searchsorted(others, scores[kind], "right")
        found[kind] = below / (2 * len(others))
    found[~anomalous] = 1 - found[~anomalous]
    return found


def fpr_at_95(scores: Float[np.ndarray, " n"], anomalous: Bool[np.ndarray, " n"]) -> float:
    """The share of normal images flagged where 95 % of the anomalies are flagged; lower is better.

    Among tied images flags fall at random (the ROC curve is linear there), so that collapsed scores give 0.95. Where
    nothing is tied it is the false-positive rate at the first threshold with a true-positive rate of at least 0.95.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of each group of ties
    tp = np.append(0, np.cumsum(anomalous[order])[last])  # at or above each distinct score, from the highest down
    fp = np.append(0, last + 1) - tp
    wanted = 0.95 * tp[-1]
    i = int(np.argmax(tp >= wanted - 1e-9))  # 0.95 · 20 is 19 whatever its last bit
    share = min(1.0, (wanted - tp[i - 1]) / (tp[i] - tp[i - 1]))
    return float(fp[i - 1] + share * (fp[i] - fp[i - 1])) / int(fp[-1])


def detection(tasks: Iterable[tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]]) -> Detection:
    """Score tasks on the same n test images, one task a class, and give the interval of their mean AUROC.

    AUPR is scikit-learn's average precision, anomalies positive: tied images pass a threshold together, and chance, the
    value of collapsed scores, is the share of anomalies.

    The interval is for new images and new classes of the same kind. With V_ci the placement of image i in task c,
    n_ci the number of images of its kind there, and θ_c the AUROC (DeLong et al. 1988),

        ψ_ci = (V_ci - θ_c) / √(n_ci (n_ci - 1)),     Cov(θ_c, θ_c') = Σ_i ψ_ci ψ_c'i,

    which counts that the same images serve all tasks. Over C classes, with s² the variance of the θ_c among them,

        half² = max{ 1.96² · mean over all c, c' of Cov,   t² s² / C + 1.96² · mean over c ≠ c' of Cov },

    t the 97.5 % quantile of Student's distribution with C - 1 degrees of freedom; of one task the first alone. The
    training images count as fixed.

    Parameters
    ----------
    tasks : iterable of (scores, kind)
        Higher scores are more anomalous; kind is 0 for normal, 1 for anomalous images, -1 for those left out. Each task
        has images of both kinds.

    Raises
    ------
    DataError
        There is no task.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837.
    """
    from sklearn.metrics import average_precision_score

    rows: list[tuple[float, float, float, int, int]] = []
    summed: np.ndarray | float = 0.0
    own = 0.0
    for scores, kind in tasks:
        used = kind != LEFT_OUT
        s, anomalous = scores[used], kind[used] == ANOMALOUS
        V = placements(s, anomalous)
        auroc = float(V[anomalous].mean())
        n_anomalous = int(anomalous.sum())
        n_normal = len(s) - n_anomalous
        psi = np.zeros(len(scores))
        counts = np.where(anomalous, n_anomalous, n_normal)
        psi[used] = (V - auroc) / np.sqrt(np.maximum(counts * (counts - 1), 1))
        summed = summed + psi
        own += float(psi @ psi)
        rows.append(
            (auroc, float(average_precision_score(anomalous, s)), fpr_at_95(s, anomalous), n_normal, n_anomalous)
        )
    if not rows:
        raise DataError("no class has both normal and anomalous test images; there is nothing to detect.")
    auroc_c, aupr_c, fpr_c, normal, anomalies = (np.array(column) for column in zip(*rows, strict=True))
    half = _half_width(auroc_c, float(np.sum(np.square(summed))), own)
    mean = float(auroc_c.mean())
    low, high = max(0.0, mean - half), min(1.0, mean + half)
    if half == 0 or (len(rows) == 1 and min(normal[0], anomalies[0]) < 2):
        return Detection(auroc_c, aupr_c, fpr_c, normal, anomalies, None, None)
    return Detection(auroc_c, aupr_c, fpr_c, normal, anomalies, low, high)


def _half_width(auroc: np.ndarray, summed: float, own: float) -> float:
    """Half the interval from the sum of all covariances and that of the variances alone."""
    C = len(auroc)
    images = Z95**2 * summed / C**2
    if C == 1:
        return float(np.sqrt(images))
    from scipy.special import stdtrit

    between = stdtrit(C - 1, 0.975) ** 2 * auroc.var(ddof=1) / C + Z95**2 * (summed - own) / (C * (C - 1))
    return float(np.sqrt(max(images, between)))
