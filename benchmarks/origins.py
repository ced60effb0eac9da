"""How well anomalies are found, by their share among the images whose mean is subtracted.

Intact cars are normal, and damaged ones the anomalies. Each normal image is scored against the
other normal ones. The mean is that of a collection with the stated share of anomalies, which is
computed from the means of both kinds and needs no draw.

Run: python benchmarks/origins.py
"""

import numpy as np
import workbench
from workbench import real_data

from glocal import LinearTransform
from glocal.evaluation.anomaly import anomaly_of_class
from glocal.transform.origin import RECENTRING_WEIGHT

SHARES = (0.0, 0.05, 0.2, 0.5, 0.7)
TRANSFORM = "clip-vit-b-32-centred"


def aurocs(rows: np.ndarray, is_normal: np.ndarray, weight: float) -> list[float]:
    """The AUROC with a mean of each share of anomalies, beside an origin of a weight."""
    normal_mean, other_mean = (rows[is_used].mean(axis=0) for is_used in (is_normal, ~is_normal))
    n = np.count_nonzero(is_normal)
    values = []
    for share in SHARES:
        mean = (1 - share) * normal_mean + share * other_mean
        size = n / (1 - share)
        moved = rows - size / (size + weight) * mean
        values.append(anomaly_of_class(moved, is_normal).auroc)
    return values


def main() -> None:
    """Print a line for each arm, with its AUROC by share."""
    workbench.parser(__doc__).parse_args()
    folder = real_data() / "downstream" / "clip-vit-b32" / "car-damage-666"
    X = np.load(folder / "features.npy").astype(np.float64)
    is_normal = np.load(folder / "labels.npy") == "Intacto"
    Z = LinearTransform.from_pretrained(TRANSFORM).map_rows(X)
    print("share of anomalies:", *SHARES)
    for arm, rows in {"original": X, TRANSFORM: Z}.items():
        print(f"{arm}: {anomaly_of_class(rows, is_normal).auroc:.3f} whatever the share")
    print("mean subtracted:", *(f"{value:.3f}" for value in aurocs(X, is_normal, 0.0)))
    recentred = aurocs(Z, is_normal, RECENTRING_WEIGHT)
    print(f"{TRANSFORM}, recentred:", *(f"{value:.3f}" for value in recentred))


if __name__ == "__main__":
    main()
