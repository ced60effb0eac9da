#!/bin/sh
# A run on real data by the command line alone: human THINGS answers, CLIP ViT-B/32, every method in four tasks, one page.
# Usage: GLOCAL_DATA_DIR=/path/to/data examples/things.sh [OUT]     (GLOCAL=... names another glocal)
set -eu

: "${GLOCAL_DATA_DIR:?set GLOCAL_DATA_DIR to the folder that holds things/, local/ and downstream/}"
out=${1:-things-out}
glocal=${GLOCAL:-glocal}

echo "Human answers about objects that no fit has seen; CIFAR-10; neighbours among Flickr photographs:"
"${PYTHON:-python}" - "$out/data" <<'CODE'
import os, pathlib, shutil, sys
import numpy as np

data, out = pathlib.Path(os.environ["GLOCAL_DATA_DIR"]), pathlib.Path(sys.argv[1])
(out / "objects").mkdir(parents=True, exist_ok=True)

def load(place):
    return np.load(data / place / "features.npy")

for name in ("features.npy", "file_names.txt"):
    shutil.copy(data / "things/features/clip-vit-b32" / name, out / "objects")
for name in ("triplets.npy", "unique_id.txt"):
    shutil.copy(data / "things" / name, out)
for name, rows in zip(("local", "near"), np.split(load("local/clip-vit-b32"), [750])):
    np.save(out / f"{name}.npy", rows)
images, labels = load("downstream/clip-vit-b32/cifar10-500"), np.load(data / "downstream/clip-vit-b32/cifar10-500/labels.npy")
for part, rows in (("train", slice(250)), ("test", slice(250, None))):
    np.save(out / f"cifar-{part}.npy", images[rows])
    np.save(out / f"cifar-{part}-labels.npy", labels[rows])
CODE
"$glocal" suite "$(dirname "$0")/clip.toml" --root "$out/data" --out "$out"
"$glocal" report "$out" --out "$out/report.html"
